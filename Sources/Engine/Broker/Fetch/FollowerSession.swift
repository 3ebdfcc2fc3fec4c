import Base
import Environment
import Model
import NIOCore
import Replication
import Synchronization
import Wire

/// The partitions one follower's fetcher follows (KIP-227), and its request if one waits.
///
/// Partitions at rest cost nothing: each stays registered with its leader's machine from one request to the next, and is looked at again
/// only when it has news or the follower says something new of it. A session lives as long as its connection, so that nothing else, such
/// as consumers' sessions, can push it out.
///
/// A slot is *dirty* while it has to be looked at, *told* from the answer that had it to the next request, and *watched* otherwise.
final class FollowerSession<Env: Environment>: Expirable {
  private struct Slot: Sendable {
    var interest: FetchInterest
    var partition: Result<Partition<Env>, ErrorCode.Refusal>
    /// It is in `dirty`.
    var isDirty = false
    /// The leader has not counted its position yet.
    var isPosition = true
    /// It is dirty because the leader's machine woke it.
    var isWoken = false
    /// It is in `heldBack`.
    var isHeldBack = false
  }
  private struct Request: Sendable {
    var number: UInt64
    var exchange: Exchange<Env.Disk.File>
    var limits: FetchLimits
    /// All partitions are answered, whether they have news or not.
    var isFull: Bool
    /// It has waited long enough.
    var isDue: Bool
    var deadline: DeadlineQueue<Env>.Handle?
  }
  private struct State: Sendable {
    /// The epoch the next request has to carry.
    var epoch: Int32 = 1
    var slots: [Slot?] = []
    var freeSlots: [Int] = []
    var slotByKey: [FetchPartitionKey: Int] = [:]
    /// In the order in which they came, so that none starves behind those that fill every answer (KIP-74).
    var dirty: [Int] = []
    /// In the last answer. A follower that says nothing new of one knows what it was told.
    var told: [Int] = []
    /// They have records, but fewer than `minBytes` all together.
    var held: [Int] = []
    /// They have records that the replication quota holds back, until it is free again.
    var heldBack: [Int] = []
    var awaitsQuota = false
    var request: Request?
    var lastNumber: UInt64 = 0
    /// A thread looks at the dirty ones.
    var isLooking = false
    var isOver = false
  }

  let id: Int32
  private let broker: Broker<Env>
  private let replica: FetchingReplica
  private let state = Mutex(State())

  /// - Parameter id: 0 for a fetch without a session.
  init(broker: Broker<Env>, id: Int32, replica: FetchingReplica) {
    (self.broker, self.id, self.replica) = (broker, id, replica)
  }

  /// Whether a request that carries this belongs to the session as it is.
  func refusal(ofEpoch epoch: Int32, from replica: FetchingReplica) -> ErrorCode? {
    if replica != self.replica { return .fetchSessionIdNotFound }
    return self.state.withLock { state in state.isOver ? .fetchSessionIdNotFound : state.epoch == epoch ? nil : .invalidFetchSessionEpoch }
  }

  // MARK: - Requests

  /// Serves a request: at once if there is something to tell, else when there is.
  func serve(
    _ exchange: Exchange<Env.Disk.File>, _ interests: [FetchInterest], forgotten: [FetchPartitionKey], _ limits: FetchLimits, isFull: Bool
  ) {
    let catalog = self.broker.catalog
    let found = interests.map { catalog.partition($0.topic, $0.partition) }
    var dropped: [(Partition<Env>, Int)] = []
    let (overtaken, number): (Request?, UInt64) = self.state.withLock { state in
      state.lastNumber += 1
      defer {
        state.request = Request(
          number: state.lastNumber, exchange: exchange, limits: limits, isFull: isFull, isDue: isFull || limits.maxWait <= .zero)
      }
      if !isFull { state.epoch = FetchSession.epoch(after: state.epoch) }
      for key in forgotten {
        guard let slot = state.slotByKey.removeValue(forKey: key) else { continue }
        if case .success(let partition)? = state.slots[slot]?.partition { dropped.append((partition, slot)) }
        state.slots[slot] = nil
        state.freeSlots.append(slot)
      }
      for slot in state.told { Self.soil(slot, &state) }
      state.told = []
      for (interest, partition) in zip(interests, found) {
        if let (old, slot) = self.follow(interest, partition, &state) { dropped.append((old, slot)) }
      }
      return (state.request, state.lastNumber)
    }
    for (partition, slot) in dropped { partition.cancelFetch(.follower(self, slot)) }
    // Whoever sends another request behind one that waits has more to ask for than that: it ends the waiting.
    if let overtaken { self.answer(overtaken, [], [], isEmpty: true) }
    if !isFull, limits.maxWait > .zero {
      let handle = self.broker.deadlines.add(self, deadline: self.broker.environment.now() + limits.maxWait)
      let isMine = self.state.withLock { state in
        guard state.request?.number == number else { return false }
        state.request?.deadline = handle
        return true
      }
      if !isMine { self.broker.deadlines.cancel(handle) }
    }
    self.look()
  }

  /// Adds the partition or takes note of its new position. Returns another one that was in its place.
  private func follow(
    _ interest: FetchInterest, _ partition: Result<Partition<Env>, ErrorCode.Refusal>, _ state: inout State
  ) -> (Partition<Env>, Int)? {
    var replaced: (Partition<Env>, Int)?
    let slot: Int
    if let known = state.slotByKey[interest.key] {
      slot = known
      if case .success(let old)? = state.slots[slot]?.partition {
        if case .success(let new) = partition, new === old {} else { replaced = (old, slot) }
      }
      let isDirty = state.slots[slot]?.isDirty ?? false
      state.slots[slot] = Slot(interest: interest, partition: partition, isDirty: isDirty)
    } else {
      slot = state.freeSlots.popLast() ?? state.slots.count
      if slot == state.slots.count { state.slots.append(nil) }
      state.slots[slot] = Slot(interest: interest, partition: partition)
      state.slotByKey[interest.key] = slot
    }
    Self.soil(slot, &state)
    return replaced
  }

  private static func soil(_ slot: Int, _ state: inout State) {
    guard state.slots[slot]?.isDirty == false else { return }
    state.slots[slot]?.isDirty = true
    state.dirty.append(slot)
  }

  // MARK: - Waiting

  /// The partition in `slot` has news.
  func wake(_ slot: Int) {
    self.state.withLock { state in
      guard slot < state.slots.count, state.slots[slot] != nil else { return }
      if state.slots[slot]?.isDirty == false { state.slots[slot]?.isWoken = true }
      Self.soil(slot, &state)
    }
    self.look()
  }

  func expire() {
    self.state.withLock { $0.request?.isDue = true }
    self.look()
  }

  /// The connection is gone, or another session takes this one's place.
  /// - Parameter answers: a request that waits is still to be answered.
  func end(answers: Bool) {
    let (slots, request) = self.state.withLock { state in
      defer { (state.isOver, state.slots, state.slotByKey, state.dirty, state.request) = (true, [], [:], [], nil) }
      return (state.slots, state.request)
    }
    for (index, slot) in slots.enumerated() {
      if case .success(let partition)? = slot?.partition { partition.cancelFetch(.follower(self, index)) }
    }
    guard let request else { return }
    if let deadline = request.deadline { self.broker.deadlines.cancel(deadline) }
    if answers { request.exchange.respond(FetchResponse(sessionId: self.id)) } else { request.exchange.skip() }
  }

  // MARK: - Looking

  private struct Look: Sendable {
    var slot: Int
    var target: FetchTarget<Env>
    var isPosition: Bool
    var isWoken: Bool
  }

  /// Looks at the dirty partitions, on one thread at a time, until there is an answer or nothing left to look at.
  private func look() {
    guard self.beginLooking() else { return }
    var (looks, reads): ([Look], [FetchRead<Env.Disk.File>]) = ([], [])
    var (byteCount, isUrgent) = (0, false)
    while true {
      guard let (batch, request) = self.takeDirty() else { return }
      for (position, look) in batch.enumerated() {
        let left = request.limits.maxBytes - byteCount
        if left <= 0, byteCount > 0 {
          self.putBack(batch[position...])
          break
        }
        let read = self.read(look, request, left: left, isFirst: byteCount == 0)
        if read.isHeldBack, !request.isFull, !read.hasNews {
          self.awaitQuota(look, from: read.logEndOffset)
          continue
        }
        guard request.isFull || read.hasNews else {
          // Woken for nothing: another connection of the same follower waits in this one's place. Two must not wake each other for ever.
          if look.isWoken { self.leave(look) } else { self.watch(look, from: look.target.interest.fetchOffset) }
          continue
        }
        byteCount += read.byteCount
        isUrgent = isUrgent || read.isUrgent || read.owesOffsets
        looks.append(look)
        reads.append(read)
      }
      let isEnough = isUrgent || byteCount >= max(1, request.limits.minBytes)
      switch self.decide(looks, isEnough: isEnough) {
      case .goOn: continue
      case .stop(let held):
        // Too little: each is looked at again when it grows, or when the time is over.
        if held { for (look, read) in zip(looks, reads) { self.watch(look, from: read.logEndOffset) } }
        return
      case .answer(let request):
        self.answer(request, looks, reads, isEmpty: false)
        // What was soiled meanwhile waits for the next request, unless that is here already.
        return self.look()
      }
    }
  }

  private func beginLooking() -> Bool {
    self.state.withLock { state in
      guard state.request != nil, !state.isLooking else { return false }
      state.isLooking = true
      return true
    }
  }

  private func takeDirty() -> ([Look], Request)? {
    self.state.withLock { state in
      guard let request = state.request else {
        state.isLooking = false
        return nil
      }
      let dirty = state.held.filter { state.slots[$0]?.isDirty == false } + state.dirty
      (state.held, state.dirty) = ([], [])
      return (dirty.compactMap { self.take($0, &state) }, request)
    }
  }

  private func take(_ slot: Int, _ state: inout State) -> Look? {
    guard let taken = state.slots[slot] else { return nil }
    state.slots[slot]?.isDirty = false
    state.slots[slot]?.isPosition = false
    state.slots[slot]?.isWoken = false
    return Look(
      slot: slot, target: FetchTarget(interest: taken.interest, partition: taken.partition), isPosition: taken.isPosition,
      isWoken: taken.isWoken)
  }

  /// There was no room for these.
  private func putBack(_ looks: ArraySlice<Look>) {
    self.state.withLock { state in
      if state.isOver { return }
      var slots: [Int] = []
      for look in looks where state.slots[look.slot]?.interest == look.target.interest {
        if look.isPosition { state.slots[look.slot]?.isPosition = true }
        if state.slots[look.slot]?.isDirty == false {
          state.slots[look.slot]?.isDirty = true
          slots.append(look.slot)
        }
      }
      state.dirty.insert(contentsOf: slots, at: 0)
    }
  }

  private func read(_ look: Look, _ request: Request, left: Int, isFirst: Bool) -> FetchRead<Env.Disk.File> {
    switch look.target.partition {
    case .failure(let refusal): FetchRead(refusal.code)
    case .success(let partition):
      partition.read(
        look.target.interest, for: self.replica, isPosition: look.isPosition, mustTell: request.isFull,
        maxBytes: min(left, look.target.interest.maxByteCount), takesOversizedBatch: isFirst)
    }
  }

  /// Looks at it again with the next request.
  private func leave(_ look: Look) { self.state.withLock { $0.told.append(look.slot) } }

  private func watch(_ look: Look, from offset: Offset) {
    guard case .success(let partition) = look.target.partition else { return }
    partition.awaitFollowerFetch(.follower(self, look.slot), self.replica.node, from: offset)
    // Forgotten, or over, while it was being watched.
    let isWanted = self.state.withLock { state in
      !state.isOver && look.slot < state.slots.count && state.slots[look.slot]?.interest.key == look.target.interest.key
    }
    if !isWanted { partition.cancelFetch(.follower(self, look.slot)) }
  }

  // MARK: - The quota

  /// There is more for the follower than it may get now.
  private func awaitQuota(_ look: Look, from end: Offset) {
    self.watch(look, from: end)
    let isFirst = self.state.withLock { state in
      guard !state.isOver, state.slots[look.slot]?.isHeldBack == false else { return false }
      state.slots[look.slot]?.isHeldBack = true
      state.heldBack.append(look.slot)
      defer { state.awaitsQuota = true }
      return !state.awaitsQuota
    }
    if isFirst { self.broker.leaderThrottle.whenFree { [weak self] in self?.quotaIsFree() } }
  }

  private func quotaIsFree() {
    self.state.withLock { state in
      for slot in state.heldBack where slot < state.slots.count {
        state.slots[slot]?.isHeldBack = false
        Self.soil(slot, &state)
      }
      (state.heldBack, state.awaitsQuota) = ([], false)
    }
    self.look()
  }

  private enum Decision {
    case goOn
    /// - held: what was read waits for more.
    case stop(held: Bool)
    case answer(Request)
  }

  private func decide(_ looks: [Look], isEnough: Bool) -> Decision {
    self.state.withLock { state in
      guard let request = state.request else {
        // Ended meanwhile: a session that is over is looked at no more.
        state.isLooking = false
        return .stop(held: false)
      }
      if isEnough || request.isDue {
        state.isLooking = false
        state.request = nil
        state.told += looks.map { $0.slot }
        return .answer(request)
      }
      if !state.dirty.isEmpty { return .goOn }
      state.isLooking = false
      state.held = looks.map { $0.slot }
      return .stop(held: !looks.isEmpty)
    }
  }

  private func answer(_ request: Request, _ looks: [Look], _ reads: [FetchRead<Env.Disk.File>], isEmpty: Bool) {
    if let deadline = request.deadline { self.broker.deadlines.cancel(deadline) }
    var response = FetchResponse()
    response.sessionId = self.id
    if isEmpty { return request.exchange.respond(response) }
    let throttled = reads.reduce(0) { $0 + $1.throttledByteCount }
    if throttled > 0 { _ = self.broker.leaderThrottle.record(throttled) }
    var reads = reads
    let targets = looks.map { $0.target }
    let copies = self.broker.copySmall(&reads, targets)
    if self.id == 0 { self.end(answers: false) }
    self.broker.respond(request.exchange, response, targets, reads, copies, isReadCommitted: false) { _ in true }
  }
}
