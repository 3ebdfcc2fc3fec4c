import Base
package import Model

/// What a leader knows of one follower.
///
/// `durableEnd` is the offset of its last fetch: a follower asks for what comes after all that counts as held under its flush
/// policy, so that Kafka's own Fetch carries the durable position.
///
/// Not generic, as nothing nested in the machine may be that every append looks at: the compiler specializes generics of other modules only
/// if they are public, and a value whose layout is known at run time only costs hundreds of instructions a look.
struct FollowerProgress: Sendable {
  let node: NodeID
  /// In the ISR that the controller committed.
  var isInSync: Bool
  /// In the ISR of the proposal in flight, which may be committed without our knowing.
  var isProposed = false
  /// From the metadata log; nil while nothing is known of the broker.
  var standing: BrokerStanding?
  /// The incarnation of its fetches; older ones are refused.
  var brokerEpoch = BrokerEpoch.unknown

  /// -1 until it has fetched in this leader epoch.
  var durableEnd = Offset.unknown
  var logStartOffset = Offset.unknown
  /// When it last held everything the leader did. While it does, this is not kept up: see `append`.
  var caughtUpAt: Instant
  var lastFetchAt: Instant
  /// Where the leader's log ended at `lastFetchAt`.
  var leaderEndAtLastFetch = Offset.unknown

  /// The high watermark of the last answer to it.
  var sentHighWatermark = Offset.unknown
  /// The log start of the last answer to it.
  var sentLogStartOffset = Offset.unknown
  /// From where its parked fetch reads; nil if it has none.
  var parkedAt: Offset?

  /// It left the ISR because it lagged, and has to show that it keeps up before it comes back.
  var isOnProbation = false
  /// Since when it has kept up, while on probation.
  var steadySince: Instant?
  /// The controller refused it; not proposed again before.
  var refusedUntil: Instant?

  init(node: NodeID, isInSync: Bool, standing: BrokerStanding?, now: Instant) {
    self.node = node
    self.isInSync = isInSync
    self.standing = standing
    self.caughtUpAt = now
    self.lastFetchAt = now
  }

  /// The controller may count it as in sync, or soon will.
  var countsForHighWatermark: Bool { self.isInSync || self.isProposed }

  /// Whether the controller would take it (KIP-841, KIP-903).
  var isEligible: Bool {
    guard let standing, !standing.isFenced, !standing.isShuttingDown else { return false }
    return self.brokerEpoch == .unknown || self.brokerEpoch == standing.brokerEpoch
  }

  /// The leader's log grows from `oldEnd`. Whoever held it all until now has been caught up until now, however long ago it last asked:
  /// a silent partition needs no fetches, and the first write after a silence evicts nobody.
  mutating func append(after oldEnd: Offset, now: Instant) {
    if self.durableEnd >= oldEnd { self.caughtUpAt = now }
  }

  mutating func fetch(_ fetch: FollowerFetch, leaderEnd: Offset, now: Instant) {
    if fetch.fetchOffset >= leaderEnd {
      self.caughtUpAt = now
    } else if fetch.fetchOffset >= self.leaderEndAtLastFetch, self.leaderEndAtLastFetch != .unknown {
      // It now holds what the leader held when it last asked: then it was caught up then (KIP-16).
      self.caughtUpAt = max(self.caughtUpAt, self.lastFetchAt)
    }
    self.brokerEpoch = fetch.brokerEpoch
    self.durableEnd = fetch.fetchOffset
    self.logStartOffset = fetch.logStartOffset
    self.lastFetchAt = now
    self.leaderEndAtLastFetch = leaderEnd
  }

  /// How long it has been behind. Zero while it holds everything.
  func lag(leaderEnd: Offset, now: Instant) -> Duration {
    self.durableEnd >= leaderEnd ? .zero : max(.zero, now - self.caughtUpAt)
  }

  /// Forgets what it said in an older leader epoch, where its log may have been another.
  mutating func beginEpoch(now: Instant) {
    self.durableEnd = .unknown
    self.logStartOffset = .unknown
    self.leaderEndAtLastFetch = .unknown
    self.sentHighWatermark = .unknown
    self.sentLogStartOffset = .unknown
    self.caughtUpAt = now
    self.lastFetchAt = now
    self.isOnProbation = false
    self.steadySince = nil
    self.refusedUntil = nil
  }
}

/// What a follower's fetch says of it.
package struct FollowerFetch: Hashable, Sendable {
  package var node: NodeID
  package var brokerEpoch: BrokerEpoch
  /// The end of what the follower holds durably, in the sense of its flush policy.
  package var fetchOffset: Offset
  package var logStartOffset: Offset
  /// The epoch the follower believes in; `.unknown` from one that names none.
  package var currentLeaderEpoch: LeaderEpoch

  package init(
    node: NodeID, brokerEpoch: BrokerEpoch, fetchOffset: Offset, logStartOffset: Offset, currentLeaderEpoch: LeaderEpoch
  ) {
    self.node = node
    self.brokerEpoch = brokerEpoch
    self.fetchOffset = fetchOffset
    self.logStartOffset = logStartOffset
    self.currentLeaderEpoch = currentLeaderEpoch
  }
}
