package import Base
package import Model

/// What a follower takes from the configuration.
package struct FollowerSettings: Hashable, Sendable {
  package var flushPolicy: FlushPolicy
  /// `replica.fetch.backoff.ms`: the first wait after an error; doubled by each that follows, up to `backoffMax`.
  package var backoff: Duration
  package var backoffMax: Duration
  /// `unclean.leader.election.enable`: whoever set it has decided that committed records may be lost.
  package var allowsUncleanTruncation: Bool

  package init(
    flushPolicy: FlushPolicy, backoff: Duration = .milliseconds(50), backoffMax: Duration = .seconds(1),
    allowsUncleanTruncation: Bool = false
  ) {
    self.flushPolicy = flushPolicy
    self.backoff = backoff
    self.backoffMax = backoffMax
    self.allowsUncleanTruncation = allowsUncleanTruncation
  }
}

/// From where a follower asks next: one partition of a Fetch request.
package struct FetchPosition: Hashable, Sendable {
  package var currentLeaderEpoch: LeaderEpoch
  /// The end of what the follower holds durably.
  package var fetchOffset: Offset
  /// The epoch of the record before `fetchOffset`; `.unknown` where there is none.
  package var lastFetchedEpoch: LeaderEpoch
  package var logStartOffset: Offset

  package init(currentLeaderEpoch: LeaderEpoch, fetchOffset: Offset, lastFetchedEpoch: LeaderEpoch, logStartOffset: Offset) {
    self.currentLeaderEpoch = currentLeaderEpoch
    self.fetchOffset = fetchOffset
    self.lastFetchedEpoch = lastFetchedEpoch
    self.logStartOffset = logStartOffset
  }
}

/// What a follower is about.
package enum FollowerPhase: Hashable, Sendable {
  /// There is no leader to follow.
  case idle
  case fetching
  case askingOffsets
  /// The leader's log contradicts what is committed here.
  case halted(truncationTo: Offset)
  case failed
}

/// A follower of one partition: what it asks the leader for, where its log parts from the leader's, and what it may show to consumers.
///
/// **The fetch offset is the durable end.** With `flush.policy=fsync` a follower asks for more only when all it has is synced, so the
/// offset it asks for says what survives a loss of power, in Kafka's own Fetch and to a leader of either make. A second field for the
/// durable end would let it read ahead, but then the news of a flush would have to wait for a request that is parked at the leader, or
/// cost another; this way the request that reports a flush is the one that asks on. Reading pauses for the time of a flush, and takes all
/// that has gathered meanwhile: one flush for many appends, on this side as on the leader's. Partitions of other fetchers use the network
/// meanwhile.
///
/// **Truncation is by leader epoch** (KIP-101, KIP-279, in the way of KIP-595): each fetch names the epoch of its last record, a leader
/// whose log differs answers with the end of the newest epoch it shares, and the follower cuts and asks again until they agree. It never
/// cuts to its high watermark, which is only what it has heard, and never below it unless records were given up on purpose.
///
/// ```
/// idle -> fetching <-> asking for the leader's offsets
///          fetching -> halted (truncation refused) -> fetching (allowed, or a newer leader)
/// any -> idle (no leader, fenced), any -> failed (the disk)
/// logStartOffset <= highWatermark <= durable end <= logEndOffset   while following
/// ```
package struct FollowerMachine<Token: Equatable & Sendable>: Sendable {
  package enum Input: Sendable {
    /// The metadata log says something of this partition, whose leader is another broker or none. Older than what is known: ignored.
    case registrationChanged(PartitionRegistration)
    /// The leader answered a fetch.
    case answered(FetchAnswer)
    /// The records of `append` are in the log, the last of them from `lastEpoch`.
    case appended(endOffset: Offset, lastEpoch: LeaderEpoch)
    /// The records of `append` were refused; the log is as before.
    case appendFailed(ErrorCode)
    /// The log was cut as `truncate` said.
    case truncated(endOffset: Offset, lastEpoch: LeaderEpoch)
    /// The log was emptied as `restart` said.
    case restarted(at: Offset)
    case flushBegan
    /// Everything below `offset` of the log as it is now was synced. A flush that began before a truncation says nothing of what came
    /// after.
    case flushed(upTo: Offset)
    /// Records below `offset` were deleted.
    case logStartAdvanced(to: Offset)
    /// The leader answered `askLeaderOffsets`.
    case leaderOffsetsLearned(LeaderOffsets)
    /// A consumer's fetch is to be woken when it may read something at or after `offset` (KIP-392).
    case awaitFetch(Token, from: Offset)
    case cancelFetch(Token)
    case settingsChanged(FollowerSettings)
    /// Somebody decided that the committed records in the way of the leader's log are to go.
    case uncleanTruncationAllowed
    /// This broker is to lead, or the replica goes away, or its disk failed.
    case stopped(ErrorCode)
  }

  package enum Effect: Equatable, Sendable {
    /// Ask the leader from here, not before `notBefore`. Replaces an earlier position.
    case fetch(FetchPosition, notBefore: Instant?)
    /// Do not ask any more.
    case stopFetching
    /// Append the records of the answer just handled, then give `appended` or `appendFailed`.
    case append
    /// Cut the log to end at `offset`, then give `truncated`.
    case truncate(to: Offset)
    /// Remove all records and begin at `offset`, then give `restarted`.
    case restart(at: Offset)
    /// Delete records below `offset`, then give `logStartAdvanced`.
    case advanceLogStart(to: Offset)
    /// Ask the leader where its log begins and ends, not before `notBefore`.
    case askLeaderOffsets(LeaderEpoch, notBefore: Instant?)
    /// The log should be flushed soon. Given once for all appends before the next `flushBegan`.
    case requestFlush
    case highWatermarkAdvanced(to: Offset)
    /// The consumer's fetch has something to look at.
    case wake(Token)
    case trace(ReplicationEvent)
  }

  struct WaitingFetch: Sendable { var token: Token, offset: Offset }

  package let node: NodeID
  package internal(set) var phase = FollowerPhase.idle
  package internal(set) var leader: NodeID
  package internal(set) var epoch: LeaderEpoch
  package internal(set) var partitionEpoch: PartitionEpoch
  package internal(set) var isRecovering: Bool
  package internal(set) var settings: FollowerSettings
  package internal(set) var log: LogPositions
  /// The epoch of the last record; `.unknown` if there is none.
  package internal(set) var lastEpoch: LeaderEpoch
  /// What the leader last said; ours is the smaller of it and what we hold.
  var leaderHighWatermark = Offset.unknown
  var flushIsRequested = false
  /// Errors since the last answer without one.
  var failures = 0
  var cutCause = ReplicationEvent.TruncationCause.beyondLeaderEnd
  var fetches: [WaitingFetch] = []
  #if APUS_MUTANTS
    package var mutant: Mutant?
  #else
    var mutant: Mutant? { nil }
  #endif

  /// A replica that follows nobody yet: `registrationChanged` comes next.
  package init(node: NodeID, settings: FollowerSettings, log: LogPositions, lastEpoch: LeaderEpoch) {
    invariant(log.isOrdered, "a log out of order: \(log)")
    self.node = node
    self.settings = settings
    self.log = log
    self.lastEpoch = lastEpoch
    self.leader = .none
    self.epoch = .unknown
    self.partitionEpoch = PartitionEpoch(-1)
    self.isRecovering = false
  }

  package mutating func handle(_ input: Input, now: Instant, into effects: inout [Effect]) {
    defer { invariant(self.log.isOrdered, "a log out of order: \(self.log)") }
    switch input {
    case .registrationChanged(let registration): self.change(to: registration, into: &effects)
    case .answered(let answer): self.conclude(answer, now, into: &effects)
    case .appended(let endOffset, let lastEpoch): self.append(to: endOffset, lastEpoch, into: &effects)
    case .appendFailed(let error): self.backOff(error, now, into: &effects)
    case .truncated(let endOffset, let lastEpoch): self.truncate(to: endOffset, lastEpoch, into: &effects)
    case .restarted(let offset): self.restart(at: offset, into: &effects)
    case .flushBegan: self.flushIsRequested = false
    case .flushed(let offset): self.flush(upTo: offset, into: &effects)
    case .logStartAdvanced(let offset): self.advanceLogStart(to: offset, into: &effects)
    case .leaderOffsetsLearned(let offsets): self.compare(offsets, now, into: &effects)
    case .awaitFetch(let token, let offset): self.awaitFetch(token, offset, into: &effects)
    case .cancelFetch(let token): self.fetches.removeAll { $0.token == token }
    case .settingsChanged(let settings):
      self.settings = settings
      self.requestFlushIfNeeded(into: &effects)
      self.advanceHighWatermark(into: &effects)
      if case .halted(let offset) = self.phase, settings.allowsUncleanTruncation {
        self.cut(to: offset, self.cutCause, isAllowed: true, into: &effects)
      } else {
        self.resume(into: &effects)
      }
    case .uncleanTruncationAllowed:
      if case .halted(let offset) = self.phase { self.cut(to: offset, self.cutCause, isAllowed: true, into: &effects) }
    case .stopped(let error): self.stop(error, into: &effects)
    }
  }

  // MARK: - Queries

  /// Up to where this replica holds the log in the sense of its flush policy.
  package var durableEnd: Offset { self.log.durableEnd(self.settings.flushPolicy.durability) }

  /// There is more to copy than what is produced now: it does not hold what the leader says is committed, or has not heard of it yet.
  package var isBehind: Bool { self.leaderHighWatermark == .unknown || self.log.logEndOffset < self.leaderHighWatermark }

  /// What `replication-offset-checkpoint` is to hold.
  package var checkpointedHighWatermark: Offset { self.log.highWatermark }

  package var waitingCount: Int { self.fetches.count }

  /// Why a consumer's fetch at `offset` is not served here (KIP-392). A replica behind the leader does not know what is committed beyond
  /// its own watermark; the consumer asks again, or asks the leader.
  package func refusal(ofConsumerAt offset: Offset, currentLeaderEpoch: LeaderEpoch) -> ErrorCode? {
    if self.phase == .idle || self.phase == .failed { return self.phase == .failed ? .kafkaStorageError : .notLeaderOrFollower }
    if currentLeaderEpoch != .unknown, currentLeaderEpoch != self.epoch {
      return currentLeaderEpoch < self.epoch ? .fencedLeaderEpoch : .unknownLeaderEpoch
    }
    if offset < self.log.logStartOffset || offset > self.log.logEndOffset { return .offsetOutOfRange }
    return offset > self.log.highWatermark ? .offsetNotAvailable : nil
  }

  // MARK: - Whom to follow

  private mutating func change(to registration: PartitionRegistration, into effects: inout [Effect]) {
    guard registration.isNewer(than: self.epoch, self.partitionEpoch), self.phase != .failed else { return }
    invariant(registration.leader != self.node, "node \(self.node) is to follow itself")
    let isNewLeader = registration.leaderEpoch > self.epoch
    self.partitionEpoch = registration.partitionEpoch
    self.isRecovering = registration.isRecovering
    guard isNewLeader else { return }
    self.epoch = registration.leaderEpoch
    self.leader = registration.leader
    self.leaderHighWatermark = .unknown
    self.failures = 0
    // Consumers named the epoch before, and have to hear that it is over.
    self.wakeAll(into: &effects)
    guard registration.leader != .none else {
      self.phase = .idle
      return effects.append(.stopFetching)
    }
    let hint = LeaderHint(node: self.leader, epoch: self.epoch)
    effects.append(.trace(.following(hint, logEndOffset: self.log.logEndOffset, highWatermark: self.log.highWatermark)))
    self.phase = .fetching
    if self.mutant == .truncatesToHighWatermark, self.log.highWatermark < self.log.logEndOffset {
      return effects.append(.truncate(to: self.log.highWatermark))
    }
    self.resume(into: &effects)
  }

  private mutating func stop(_ error: ErrorCode, into effects: inout [Effect]) {
    self.phase = error == .kafkaStorageError ? .failed : .idle
    self.wakeAll(into: &effects)
    effects.append(.stopFetching)
    effects.append(.trace(.stoppedFollowing(error)))
  }

  /// Asks for what comes next, once all before it counts as held.
  mutating func resume(into effects: inout [Effect]) {
    guard self.phase == .fetching else { return }
    if self.durableEnd < self.log.logEndOffset, self.mutant != .claimsUnflushed { return self.requestFlushIfNeeded(into: &effects) }
    effects.append(.fetch(self.position, notBefore: nil))
  }

  var position: FetchPosition {
    FetchPosition(
      currentLeaderEpoch: self.epoch, fetchOffset: self.log.logEndOffset, lastFetchedEpoch: self.lastEpoch,
      logStartOffset: self.log.logStartOffset)
  }

  // MARK: - Waiting consumers

  private mutating func awaitFetch(_ token: Token, _ offset: Offset, into effects: inout [Effect]) {
    if self.phase == .idle || self.phase == .failed || offset < self.log.highWatermark || offset < self.log.logStartOffset {
      effects.append(.wake(token))
    } else {
      self.fetches.append(WaitingFetch(token: token, offset: offset))
    }
  }

  mutating func wakeFetches(into effects: inout [Effect], where isReady: (WaitingFetch) -> Bool) {
    if self.fetches.isEmpty { return }
    for waiting in self.fetches where isReady(waiting) { effects.append(.wake(waiting.token)) }
    self.fetches.removeAll(where: isReady)
  }

  private mutating func wakeAll(into effects: inout [Effect]) { self.wakeFetches(into: &effects) { _ in true } }
}

extension FollowerMachine.Effect: Hashable where Token: Hashable {}
