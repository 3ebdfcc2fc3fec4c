package import Base
package import Model

/// The partitions one client follows by incremental fetches, and what it was last told about each (KIP-227).
///
/// They are kept in a ring order: a partition that had records moves to the end, so that none starves when answers are full.
package struct FetchSession: Sendable {
  package let id: Int32
  /// The epoch the next request has to carry.
  package fileprivate(set) var epoch: Int32
  package let usesTopicIDs: Bool

  private struct Slot: Sendable {
    var interest: FetchInterest
    /// As the client knows them; unknown if it has to be told whatever they are.
    var highWatermark: Offset = .unknown
    var logStartOffset: Offset = .unknown
    var previous: Int = -1
    var next: Int = -1
  }

  private var slots: [Slot] = []
  private var slotByKey: [FetchPartitionKey: Int] = [:]
  private var first = -1
  private var last = -1
  private var firstFree = -1

  package init(id: Int32, usesTopicIDs: Bool) {
    self.id = id
    self.usesTopicIDs = usesTopicIDs
    self.epoch = Self.epoch(after: 0)
  }

  package var count: Int { self.slotByKey.count }

  /// Epochs of requests: 0 asks for a new session, -1 for none; the rest count from 1 and wrap to 1.
  package static func epoch(after epoch: Int32) -> Int32 { epoch < 0 ? -1 : epoch == .max ? 1 : epoch + 1 }

  /// Adds the partition or replaces what was asked of it.
  package mutating func follow(_ interest: FetchInterest) {
    if let slot = self.slotByKey[interest.key] {
      self.slots[slot].interest = interest
      self.slots[slot].interest.slot = slot
      return
    }
    let slot: Int
    if self.firstFree >= 0 {
      slot = self.firstFree
      self.firstFree = self.slots[slot].next
      self.slots[slot] = Slot(interest: interest)
    } else {
      slot = self.slots.count
      self.slots.append(Slot(interest: interest))
    }
    self.slots[slot].interest.slot = slot
    self.slotByKey[interest.key] = slot
    self.appendToRing(slot)
  }

  package mutating func forget(_ key: FetchPartitionKey) {
    guard let slot = self.slotByKey.removeValue(forKey: key) else { return }
    self.removeFromRing(slot)
    self.slots[slot].next = self.firstFree
    self.firstFree = slot
  }

  /// What to read for the next answer, in order.
  package func interests() -> [FetchInterest] {
    var interests: [FetchInterest] = []
    interests.reserveCapacity(self.count)
    var slot = self.first
    while slot >= 0 {
      interests.append(self.slots[slot].interest)
      slot = self.slots[slot].next
    }
    return interests
  }

  /// Whether an incremental answer has to mention the partition; remembers what the client knows after it.
  package mutating func mustTell(_ outcome: FetchOutcome, about slot: Int) -> Bool {
    let isNews =
      outcome.hasRecords || outcome.isError || outcome.isDiverging || outcome.highWatermark != self.slots[slot].highWatermark
      || outcome.logStartOffset != self.slots[slot].logStartOffset
    // After an error the partition is told again, even if its watermark comes back unchanged.
    self.slots[slot].highWatermark = outcome.isError ? .unknown : outcome.highWatermark
    self.slots[slot].logStartOffset = outcome.logStartOffset
    if outcome.hasRecords {
      self.removeFromRing(slot)
      self.appendToRing(slot)
    }
    return isNews
  }

  /// Remembers what a full answer tells about the partition that was followed with `key`.
  package mutating func remember(_ outcome: FetchOutcome, about key: FetchPartitionKey) {
    guard let slot = self.slotByKey[key] else { return }
    self.slots[slot].highWatermark = outcome.isError ? .unknown : outcome.highWatermark
    self.slots[slot].logStartOffset = outcome.logStartOffset
  }

  fileprivate mutating func advanceEpoch() { self.epoch = Self.epoch(after: self.epoch) }

  private mutating func appendToRing(_ slot: Int) {
    self.slots[slot].previous = self.last
    self.slots[slot].next = -1
    if self.last >= 0 { self.slots[self.last].next = slot } else { self.first = slot }
    self.last = slot
  }

  private mutating func removeFromRing(_ slot: Int) {
    let (previous, next) = (self.slots[slot].previous, self.slots[slot].next)
    if previous >= 0 { self.slots[previous].next = next } else { self.first = next }
    if next >= 0 { self.slots[next].previous = previous } else { self.last = previous }
  }
}

/// How a fetch request is answered with regard to sessions.
package enum FetchPlan: Sendable {
  /// The session is gone, or the request is out of step with it.
  case refuse(ErrorCode)
  /// All partitions are answered; no session.
  case sessionless([FetchInterest])
  /// All partitions are answered; a session is made for the client if there is room.
  case full([FetchInterest])
  /// Only partitions with news are answered.
  case incremental(sessionID: Int32, epoch: Int32, [FetchInterest])

  package var interests: [FetchInterest] {
    switch self {
    case .refuse: []
    case .sessionless(let interests), .full(let interests), .incremental(_, _, let interests): interests
    }
  }
}

/// A bounded set of fetch sessions. The least valuable one makes room: first any not used for two minutes, then, in favour of a bigger one,
/// the smallest that has lived for two minutes.
package struct FetchSessionCache: Sendable {
  /// How long a session is safe from eviction, as in Kafka.
  package static let protectedSpan = Duration.seconds(120)

  private struct Entry: Sendable {
    var session: FetchSession
    let createdAt: Instant
    var lastUsedAt: Instant
  }

  private let sessionsMax: Int
  private let shard: Int32
  private let shardCount: Int32
  private var generator: SeededGenerator
  private var entries: [Int32: Entry] = [:]

  /// - Parameters:
  ///   - shard: the remainder that ids of this cache's sessions leave when divided by `shardCount`.
  package init(sessionsMax: Int, shard: Int32 = 0, shardCount: Int32 = 1, seed: UInt64) {
    self.sessionsMax = sessionsMax
    self.shard = shard
    self.shardCount = shardCount
    self.generator = SeededGenerator(seed: seed)
  }

  package var count: Int { self.entries.count }
  /// Partitions followed by all sessions.
  package var partitionCount: Int { self.entries.values.reduce(0) { $0 + $1.session.count } }

  /// Decides how a request is answered. `interests` and `forgotten` are what it carries.
  package mutating func plan(
    sessionID: Int32, epoch: Int32, interests: [FetchInterest], forgotten: [FetchPartitionKey], usesTopicIDs: Bool, now: Instant
  ) -> FetchPlan {
    if epoch == 0 || epoch == -1 {
      // A full request ends the session it names.
      self.entries[sessionID] = nil
      return epoch == 0 ? .full(interests) : .sessionless(interests)
    }
    guard let entry = self.entries[sessionID] else { return .refuse(.fetchSessionIdNotFound) }
    guard entry.session.epoch == epoch else { return .refuse(.invalidFetchSessionEpoch) }
    guard entry.session.usesTopicIDs == usesTopicIDs else { return .refuse(.fetchSessionTopicIdError) }
    for interest in interests { self.entries[sessionID]!.session.follow(interest) }
    for key in forgotten { self.entries[sessionID]!.session.forget(key) }
    if self.entries[sessionID]!.session.count == 0 {
      self.entries[sessionID] = nil
      return .sessionless([])
    }
    self.entries[sessionID]!.lastUsedAt = now
    self.entries[sessionID]!.session.advanceEpoch()
    let session = self.entries[sessionID]!.session
    return .incremental(sessionID: sessionID, epoch: session.epoch, session.interests())
  }

  /// Makes a session of a full answer; 0 if there is no room for it.
  package mutating func create(_ answered: [(FetchInterest, FetchOutcome)], usesTopicIDs: Bool, now: Instant) -> Int32 {
    if answered.isEmpty { return 0 }
    if self.entries.count >= self.sessionsMax, !self.evict(for: answered.count, now: now) { return 0 }
    var id: Int32
    repeat {
      id = Int32.random(in: 0..<(Int32.max / self.shardCount), using: &self.generator) * self.shardCount + self.shard
    } while id == 0 || self.entries[id] != nil
    var session = FetchSession(id: id, usesTopicIDs: usesTopicIDs)
    for (interest, outcome) in answered {
      session.follow(interest)
      session.remember(outcome, about: interest.key)
    }
    self.entries[id] = Entry(session: session, createdAt: now, lastUsedAt: now)
    return id
  }

  /// Which of the outcomes an incremental answer has to mention; nil if another request has moved the session on (a duplicate, or
  /// one that did not wait for its answer).
  package mutating func news(sessionID: Int32, epoch: Int32, _ outcomes: [(slot: Int, FetchOutcome)]) -> [Bool]? {
    guard let index = self.entries.index(forKey: sessionID), self.entries.values[index].session.epoch == epoch else { return nil }
    var news: [Bool] = []
    news.reserveCapacity(outcomes.count)
    for (slot, outcome) in outcomes { news.append(self.entries.values[index].session.mustTell(outcome, about: slot)) }
    return news
  }

  private mutating func evict(for newCount: Int, now: Instant) -> Bool {
    // A cache of at most a few hundred, searched only when it is full; the order of the dictionary does not show, since ids break ties.
    if let stalest = self.entries.min(by: { ($0.value.lastUsedAt, $0.key) < ($1.value.lastUsedAt, $1.key) }),
      now - stalest.value.lastUsedAt > Self.protectedSpan
    {
      self.entries[stalest.key] = nil
      return true
    }
    let evictable = self.entries.filter { now - $0.value.createdAt > Self.protectedSpan }
    guard let smallest = evictable.min(by: { ($0.value.session.count, $0.key) < ($1.value.session.count, $1.key) }) else { return false }
    guard newCount > smallest.value.session.count else { return false }
    self.entries[smallest.key] = nil
    return true
  }
}
