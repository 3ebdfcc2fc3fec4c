package import Base
package import Model

/// What one Fetch request to a leader's broker carries, in the terms of an incremental session (KIP-227).
package struct FetchPlan<Key: Hashable & Sendable>: Sendable {
  package struct Item: Hashable, Sendable {
    package var key: Key
    package var position: FetchPosition
    package init(key: Key, position: FetchPosition) { (self.key, self.position) = (key, position) }
  }
  /// Names the request in `answered` and `failed`.
  package var number: UInt64
  /// 0: no session yet.
  package var sessionID: Int32
  /// 0: a full request, which opens a session (and closes `sessionID`).
  package var sessionEpoch: Int32
  /// New or changed partitions; in a full request all of them.
  package var positions: [Item]
  /// Partitions that leave the session.
  package var forgotten: [Key]
}

/// Fetches many partitions from one broker with one request at a time.
///
/// A request carries only what changed since the last, and the leader answers only what has news, so partitions at rest cost nothing on
/// either side. A partition whose answer is being appended or flushed is *busy*; the next request waits for it a little, so that one
/// request tells of all, then goes without it: it leaves the session, or the leader would send the same records again.
///
/// Fairness: partitions enter a session in the order they became ready, a full request begins one further each time, and a leader moves
/// those it has answered to the end (KIP-74), so no partition starves behind others that fill every answer.
///
/// Inputs only take note; `turnEnded` sends, so that a driver's turn with a thousand partitions makes one request. A `Key` is hashed to
/// find its slot, never to order anything.
package struct ReplicaFetcherMachine<Key: Hashable & Sendable>: Sendable {
  package enum Input: Sendable {
    /// The partition may be asked for from here, not before `notBefore`. Adds it, and ends its being busy.
    case ready(Key, FetchPosition, notBefore: Instant?)
    /// The partition is not to be asked for until it is ready again.
    case paused(Key)
    /// The partition follows somebody else now.
    case removed(Key)
    /// The partition is subject to the replication quota: a replica that is being moved and not in sync yet (KIP-73). Until it is removed.
    case throttled(Key, Bool)
    /// More than the quota was fetched lately, or no longer.
    case quotaExceeded(Bool)
    /// The answer came, with these partitions in it. Their followers are to be told next, and each gives `ready`, `paused` or `removed`.
    case answered(number: UInt64, sessionID: Int32, error: ErrorCode, keys: [Key])
    /// No answer will come: the connection is gone or the request timed out.
    case failed(number: UInt64)
    case timerFired
    /// The driver has nothing more to tell now.
    case turnEnded
  }

  package enum Effect: Sendable {
    case send(FetchPlan<Key>)
    /// The session was lost; the next request is a full one.
    case sessionLost(ErrorCode)
  }

  package struct Settings: Hashable, Sendable {
    /// How long the next request waits for partitions that are being flushed.
    package var patience: Duration
    /// After a failed request; doubled by each that follows, up to `backoffMax`.
    package var backoff: Duration
    package var backoffMax: Duration
    /// Whether a partition that becomes ready while a request waits at the leader is asked for at once, by another request behind it. The
    /// leader answers the first one then, and the two answers come in order. Otherwise it waits until that request was answered.
    package var overtakes: Bool
    package init(
      patience: Duration = .milliseconds(10), backoff: Duration = .milliseconds(50), backoffMax: Duration = .seconds(1),
      overtakes: Bool = false
    ) {
      self.patience = patience
      self.backoff = backoff
      self.backoffMax = backoffMax
      self.overtakes = overtakes
    }
  }

  private struct Slot {
    let key: Key
    /// Nil while paused.
    var position: FetchPosition?
    /// What the leader has, if it is in the session.
    var sentPosition: FetchPosition?
    /// The session it is in; it is in the present one if they are equal.
    var session: UInt64 = 0
    var isBusy = false
    var isRemoved = false
    var isThrottled = false
    /// It is in `changed`.
    var isNoted = false
    var delay: TimerWheel<Int>.Handle?
  }

  private let settings: Settings
  private var slots: [Slot?] = []
  private var freeSlots: [Int] = []
  private var places: [Key: Int] = [:]
  /// Slots that may have to be told to the leader, in the order they came.
  private var changed: [Int] = []
  private var throttled: [Int] = []
  private var quotaIsExceeded = false
  private var delays: TimerWheel<Int>
  private var due: [Int] = []

  private var sessionID: Int32 = 0
  /// Of the next request.
  private var sessionEpoch: Int32 = 0
  /// Counts sessions, so that losing one takes every slot out of it at once.
  private var session: UInt64 = 1
  private var sessionCount = 0
  /// Where the next full request begins.
  private var rotation = 0

  private var lastNumber: UInt64 = 0
  /// The youngest request without an answer.
  private var inFlight: UInt64?
  /// One before it that has none either.
  private var overtaken: UInt64?
  private var busyCount = 0
  /// At least the slots that are busy.
  private var busy: [Int] = []
  private var patienceEnd: Instant?
  private var failures = 0
  private var backoffEnd: Instant?

  package init(settings: Settings = Settings(), now: Instant) {
    self.settings = settings
    self.delays = TimerWheel(now: now)
  }

  /// How many partitions it was given.
  package var count: Int { self.places.count }
  /// Whether an answer to this request is still awaited. If not, its partitions are not to be told of it.
  package func awaits(_ number: UInt64) -> Bool { self.inFlight == number || self.overtaken == number }
  /// Whether a quota holds for any of them.
  package var hasThrottled: Bool { !self.throttled.isEmpty }
  package var isIdle: Bool { self.places.isEmpty && self.inFlight == nil }

  /// When `timerFired` is due. Nil while only an answer, or a partition, can bring something to do.
  package var nextDeadline: Instant? {
    var deadline = self.delays.nextInstant
    guard self.inFlight == nil else { return deadline }
    // Nothing is sent before both have come: one that has passed already must not wake anybody while the other lies ahead.
    var sending = self.backoffEnd
    if self.busyCount > 0, let patienceEnd, self.hasWorkBesidesBusy { sending = max(sending ?? patienceEnd, patienceEnd) }
    if let sending { deadline = min(deadline ?? sending, sending) }
    return deadline
  }

  package mutating func handle(_ input: Input, now: Instant, into effects: inout [Effect]) {
    switch input {
    case .ready(let key, let position, let notBefore): self.ready(key, position, notBefore: notBefore, now)
    case .paused(let key): self.withSlot(of: key) { $0.pause($1) }
    case .removed(let key): self.withSlot(of: key) { $0.remove($1) }
    case .throttled(let key, let isThrottled): self.withSlot(of: key) { $0.throttle($1, isThrottled) }
    case .quotaExceeded(let isExceeded):
      guard isExceeded != self.quotaIsExceeded else { return }
      self.quotaIsExceeded = isExceeded
      for place in self.throttled { self.note(place) }
    case .answered(let number, let sessionID, let error, let keys):
      self.conclude(number, sessionID, error, keys, now, into: &effects)
    case .failed(let number):
      guard self.awaits(number) else { return }
      self.loseSession(.networkException, now, into: &effects)
    case .timerFired:
      self.endDelays(now)
      self.sendIfDue(now, into: &effects)
    case .turnEnded: self.sendIfDue(now, into: &effects)
    }
  }

  // MARK: - Partitions

  private mutating func withSlot(of key: Key, _ body: (inout Self, Int) -> Void) {
    if let place = self.places[key] { body(&self, place) }
  }

  private mutating func ready(_ key: Key, _ position: FetchPosition, notBefore: Instant?, _ now: Instant) {
    let place = self.places[key] ?? self.add(key)
    self.endBusy(place)
    self.cancelDelay(place)
    self.slots[place]!.isRemoved = false
    self.slots[place]!.position = position
    if let notBefore, notBefore > now { self.slots[place]!.delay = self.delays.insert(place, at: notBefore) }
    self.note(place)
  }

  private mutating func add(_ key: Key) -> Int {
    let place: Int
    if let free = self.freeSlots.popLast() {
      place = free
      self.slots[place] = Slot(key: key)
    } else {
      place = self.slots.count
      self.slots.append(Slot(key: key))
    }
    self.places[key] = place
    return place
  }

  private mutating func pause(_ place: Int) {
    self.endBusy(place)
    self.cancelDelay(place)
    self.slots[place]!.position = nil
    self.note(place)
  }

  /// The slot stays until the leader was told, since a partition may not be both forgotten and fetched in one request.
  private mutating func remove(_ place: Int) {
    self.pause(place)
    self.throttle(place, false)
    self.slots[place]!.isRemoved = true
    self.note(place)
  }

  private mutating func throttle(_ place: Int, _ isThrottled: Bool) {
    guard self.slots[place]!.isThrottled != isThrottled, !self.slots[place]!.isRemoved || !isThrottled else { return }
    self.slots[place]!.isThrottled = isThrottled
    if isThrottled { self.throttled.append(place) } else { self.throttled.removeAll { $0 == place } }
    self.note(place)
  }

  private mutating func endBusy(_ place: Int) {
    guard self.slots[place]!.isBusy else { return }
    self.slots[place]!.isBusy = false
    self.busyCount -= 1
  }

  private mutating func cancelDelay(_ place: Int) {
    if let delay = self.slots[place]!.delay { self.delays.cancel(delay) }
    self.slots[place]!.delay = nil
  }

  private mutating func endDelays(_ now: Instant) {
    self.due.removeAll(keepingCapacity: true)
    self.delays.advance(to: now, into: &self.due)
    for place in self.due {
      self.slots[place]!.delay = nil
      self.note(place)
    }
  }

  /// Remembers that the leader may have to hear of the slot. One whose position is what the leader has is of no interest.
  private mutating func note(_ place: Int) {
    if self.slots[place]!.isNoted || !self.differs(self.slots[place]!) { return }
    self.slots[place]!.isNoted = true
    self.changed.append(place)
  }

  private func isActive(_ slot: Slot) -> Bool {
    slot.position != nil && !slot.isBusy && slot.delay == nil && !(slot.isThrottled && self.quotaIsExceeded)
  }

  private func isInSession(_ slot: Slot) -> Bool { slot.session == self.session }

  private func differs(_ slot: Slot) -> Bool {
    if slot.isRemoved { return true }
    return self.isActive(slot) ? !self.isInSession(slot) || slot.sentPosition != slot.position : self.isInSession(slot)
  }

  // MARK: - Answers

  private mutating func conclude(
    _ number: UInt64, _ sessionID: Int32, _ error: ErrorCode, _ keys: [Key], _ now: Instant, into effects: inout [Effect]
  ) {
    guard self.awaits(number) else { return }
    guard error == .none else { return self.loseSession(error, now, into: &effects) }
    if number == self.inFlight { self.inFlight = nil }
    // Answers come in order: one to the younger request says that none comes to the older.
    self.overtaken = nil
    self.failures = 0
    if sessionID != self.sessionID || self.sessionEpoch == 0 {
      self.sessionID = sessionID
      // Without a session at the leader every request is a full one.
      self.sessionEpoch = sessionID == 0 ? 0 : 1
    }
    self.busy.removeAll { self.slots[$0]?.isBusy != true }
    for key in keys {
      guard let place = self.places[key], self.slots[place]!.position != nil, !self.slots[place]!.isBusy else { continue }
      self.slots[place]!.isBusy = true
      self.busyCount += 1
      self.busy.append(place)
    }
    self.patienceEnd = now + self.settings.patience
  }

  private mutating func loseSession(_ error: ErrorCode, _ now: Instant, into effects: inout [Effect]) {
    effects.append(.sessionLost(error))
    // Neither answer would be of the next session.
    (self.inFlight, self.overtaken) = (nil, nil)
    self.session += 1
    self.sessionCount = 0
    self.sessionEpoch = 0
    // A lost connection may have left a session behind, which the next request closes; the other errors say there is none.
    if error != .networkException { self.sessionID = 0 }
    let isSessionError = [.fetchSessionIdNotFound, .invalidFetchSessionEpoch, .fetchSessionTopicIdError].contains(error)
    if !isSessionError || self.failures > 0 {
      self.backoffEnd = now + min(self.settings.backoff * (1 << min(self.failures, 16)), self.settings.backoffMax)
    }
    self.failures += 1
  }

  // MARK: - Requests

  /// Whether a request without the busy partitions would say or ask anything.
  private var hasWorkBesidesBusy: Bool {
    if self.sessionEpoch == 0 { return self.hasActive }
    // Those that were left out of an earlier request are not in the session any more.
    return !self.changed.isEmpty
      || self.sessionCount > self.busy.count { place in self.slots[place].map { $0.isBusy && self.isInSession($0) } ?? false }
  }

  /// Only asked while there is no session.
  private var hasActive: Bool { self.slots.contains { $0.map(self.isActive) ?? false } }

  private mutating func sendIfDue(_ now: Instant, into effects: inout [Effect]) {
    if self.inFlight != nil, !self.mayOvertake { return }
    if let backoffEnd, now < backoffEnd { return }
    self.backoffEnd = nil
    if self.inFlight == nil, self.busyCount > 0, let patienceEnd, now < patienceEnd { return }
    let plan = self.sessionEpoch == 0 ? self.fullPlan() : self.incrementalPlan()
    guard let plan else { return }
    self.overtaken = self.inFlight
    self.inFlight = plan.number
    // Epochs run from 1 to the largest, and start over at 1. A full request's answer says whether there is a session at all.
    if self.sessionEpoch > 0 { self.sessionEpoch = self.sessionEpoch == .max ? 1 : self.sessionEpoch + 1 }
    effects.append(.send(plan))
  }

  /// Only for a partition that could bring records: whoever leaves the session can do so later.
  private var mayOvertake: Bool {
    guard self.settings.overtakes, self.overtaken == nil, self.sessionEpoch > 0 else { return false }
    return self.changed.contains { place in self.slots[place].map { self.isActive($0) && self.differs($0) } ?? false }
  }

  private mutating func plan() -> FetchPlan<Key> {
    self.lastNumber += 1
    return FetchPlan(
      number: self.lastNumber, sessionID: self.sessionID, sessionEpoch: self.sessionEpoch, positions: [], forgotten: [])
  }

  private mutating func fullPlan() -> FetchPlan<Key>? {
    // A session that never came about has members too.
    self.session += 1
    self.sessionCount = 0
    for place in self.changed {
      self.slots[place]?.isNoted = false
      if self.slots[place]?.isRemoved == true { self.free(place) }
    }
    self.changed.removeAll(keepingCapacity: true)
    guard self.hasActive else { return nil }
    var plan = self.plan()
    plan.positions.reserveCapacity(self.places.count)
    self.rotation = (self.rotation + 1) % self.slots.count
    for step in 0..<self.slots.count { self.join((self.rotation + step) % self.slots.count, &plan) }
    return plan
  }

  private mutating func join(_ place: Int, _ plan: inout FetchPlan<Key>) {
    guard let slot = self.slots[place], self.isActive(slot), let position = slot.position else { return }
    if !self.isInSession(slot) { self.sessionCount += 1 }
    self.slots[place]!.session = self.session
    self.slots[place]!.sentPosition = position
    plan.positions.append(.init(key: slot.key, position: position))
  }

  private mutating func incrementalPlan() -> FetchPlan<Key>? {
    // The busy were not noted: they were to be given a position before this request.
    if self.busyCount > 0 {
      for place in self.busy where self.slots[place]?.isBusy == true { self.note(place) }
    }
    var plan = self.plan()
    for place in self.changed {
      guard let slot = self.slots[place] else { continue }
      self.slots[place]!.isNoted = false
      guard self.differs(slot) else { continue }
      if self.isActive(slot) {
        self.join(place, &plan)
        continue
      }
      if self.isInSession(slot) {
        plan.forgotten.append(slot.key)
        self.slots[place]!.session = 0
        self.sessionCount -= 1
      }
      if slot.isRemoved { self.free(place) }
    }
    self.changed.removeAll(keepingCapacity: true)
    // Nobody to ask for: the session waits at the leader for what comes.
    return self.sessionCount > 0 || !plan.forgotten.isEmpty ? plan : nil
  }

  private mutating func free(_ place: Int) {
    guard let slot = self.slots[place] else { return }
    self.places[slot.key] = nil
    self.slots[place] = nil
    self.freeSlots.append(place)
  }
}
