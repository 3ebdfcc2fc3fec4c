package import Base
package import Model

/// What a leader takes from the configuration.
package struct LeaderSettings: Hashable, Sendable {
  package var flushPolicy: FlushPolicy
  /// `min.insync.replicas`; at most as many as there are replicas are ever asked for.
  package var minInSyncReplicas: Int
  /// `replica.lag.time.max.ms`.
  package var lagTimeMax: Duration
  /// Before a proposal whose outcome is open is sent again.
  package var proposalBackoff: Duration
  /// Before a replica that the controller refused is proposed again, unless its standing changes; and how long a copy of a request may
  /// be under way.
  package var proposalLifetime: Duration

  package init(
    flushPolicy: FlushPolicy, minInSyncReplicas: Int = 1, lagTimeMax: Duration = .seconds(30),
    proposalBackoff: Duration = .milliseconds(50), proposalLifetime: Duration = .seconds(2)
  ) {
    self.flushPolicy = flushPolicy
    self.minInSyncReplicas = minInSyncReplicas
    self.lagTimeMax = lagTimeMax
    self.proposalBackoff = proposalBackoff
    self.proposalLifetime = proposalLifetime
  }
}

/// The leader of one partition: what is committed, which replicas are in sync, who waits, and when the log must be flushed.
///
/// The high watermark is the smallest durable end over the *maximal* ISR: the replicas of the committed ISR and those of a proposal in
/// flight, since any of them may be the next leader's (KIP-497). It moves only while the broker's lease lives and enough
/// replicas are in sync, and never back while one leader leads. Consumers read below it and `acks=all` waits for it.
///
/// One proposal is in flight at a time. Until its outcome is certain, its replicas count; an answer is matched by partition epoch.
///
/// `Token` names a waiting request; the machine hands it back in an effect exactly once, or never after it was cancelled. The machine
/// orders nothing by it and never hashes it. A driver may compute `nextDeadline` lazily: it only moves when an input is handled.
///
/// ```
/// logStartOffset <= highWatermark <= logEndOffset, flushedOffset <= logEndOffset
/// highWatermark' > highWatermark  =>  highWatermark' <= durable end of every replica of the maximal ISR
/// ```
package struct LeaderMachine<Token: Equatable & Sendable>: Sendable {
  package enum Input: Sendable {
    /// The first input: what an earlier run left unflushed is to be flushed now, since nothing else may ever ask for it. Again it asks
    /// for that only.
    case began
    /// The metadata log says something of this partition. Older than what is known: ignored.
    case registrationChanged(PartitionRegistration)
    /// The metadata log says something of a broker. Of no interest if it holds no replica.
    case standingChanged(BrokerStanding)
    /// The lease reaches further than when `awaitLease` was asked for.
    case leaseRenewed
    /// The log grew to `endOffset` (exclusive).
    case appended(endOffset: Offset)
    /// A flush begins; appends from here on need another one.
    case flushBegan
    /// Everything below `offset` was synced.
    case flushed(upTo: Offset)
    /// Records below `offset` were deleted, by retention or by a client.
    case logStartAdvanced(to: Offset)
    /// A transaction began or ended: the first offset that is not decided; nil if all are.
    case firstUnstableOffsetChanged(Offset?)
    /// A follower asks for records, `refusal(of:)` does not refuse it, and its log does not part from ours before `fetchOffset`.
    case followerFetched(FollowerFetch)
    /// A follower's fetch was answered: it knows the present high watermark and log start.
    case followerAnswered(NodeID)
    /// There was nothing to answer: the fetch is to be woken when there is. A follower has one; an older one is woken at once.
    case awaitFollowerFetch(Token, NodeID, from: Offset)
    /// A produce with `acks=all` is to be told when everything below `requiredOffset` is committed.
    case awaitCommit(Token, requiredOffset: Offset)
    /// A consumer's fetch is to be woken when it may read something at or after `offset`.
    case awaitFetch(Token, from: Offset, seesUncommitted: Bool = true)
    /// A deletion of records is to be told when all live replicas have deleted what is below `offset`.
    case awaitLowWatermark(Token, offset: Offset)
    /// The produce gave up waiting.
    case cancelCommit(Token)
    /// The fetch, a consumer's or a follower's, was answered from elsewhere or gave up.
    case cancelFetch(Token)
    case cancelLowWatermark(Token)
    /// The controller answered a proposal.
    case proposalAnswered(ProposalAnswer)
    /// A configuration was changed.
    case settingsChanged(LeaderSettings)
    /// `nextDeadline` has come.
    case timerFired
    /// This broker no longer leads the partition, or its log failed: all who wait are told so with `error`.
    case resigned(ErrorCode)
  }

  package enum Effect: Equatable, Sendable {
    /// Readers may now see everything below `offset`.
    case highWatermarkAdvanced(to: Offset)
    /// The log should be flushed soon. Given once for all appends before the next `flushBegan`.
    case requestFlush
    /// The produce's records are committed, or the deletion is complete.
    case acknowledge(Token)
    /// The request will not be fulfilled here.
    case fail(Token, ErrorCode)
    /// The fetch has something to look at: new records, a new high watermark or log start, or an error.
    case wake(Token)
    /// The controller is to be asked for this ISR.
    case propose(InSyncProposal)
    /// `leaseRenewed` is to be given when the lease lives again. Asked for once.
    case awaitLease
    /// Something worth telling happened.
    case trace(ReplicationEvent)
  }

  struct WaitingOffset: Sendable { var token: Token, offset: Offset }
  struct WaitingFetch: Sendable { var token: Token, offset: Offset, seesUncommitted: Bool }
  struct ParkedFetch: Sendable { var token: Token, node: NodeID }

  package let node: NodeID
  package internal(set) var epoch: LeaderEpoch
  package internal(set) var partitionEpoch: PartitionEpoch
  /// Where the log ended when this epoch began: offsets from here on belong to it.
  package internal(set) var epochStartOffset: Offset
  package internal(set) var settings: LeaderSettings
  package internal(set) var log: LogPositions
  var firstUnstableOffset: Offset?
  package internal(set) var assignedReplicas: [NodeID]
  /// Every assigned replica but this one.
  var followers: [FollowerProgress]
  var pending: PendingProposal?
  /// Set once this broker stopped leading; every later wait fails with it.
  package internal(set) var resignation: ErrorCode?
  /// Who leads instead, if that is known.
  package internal(set) var successor: LeaderHint?
  /// Whether a flush was requested that has not begun.
  var flushIsRequested = false
  /// Whether `awaitLease` was asked for.
  var isAwaitingLease = false
  var wasUnderMinInSync = false
  var hasBegun = false
  /// In the order of their offsets, since offsets are handed out in order.
  var commits: [WaitingOffset] = []
  var fetches: [WaitingFetch] = []
  /// One for each follower with a `parkedAt`.
  var parked: [ParkedFetch] = []
  var deletions: [WaitingOffset] = []
  #if APUS_MUTANTS
    package var mutant: Mutant?
  #else
    var mutant: Mutant? { nil }
  #endif

  /// - Parameters:
  ///   - registration: names this broker as the leader.
  ///   - log: where it stands; the high watermark may be from a checkpoint.
  ///   - standings: what is known of the brokers that hold replicas.
  package init(
    node: NodeID, registration: PartitionRegistration, settings: LeaderSettings, log: LogPositions, standings: [BrokerStanding] = [],
    now: Instant
  ) {
    invariant(registration.leader == node, "node \(node) is to lead what node \(registration.leader) leads")
    invariant(log.isOrdered, "a log out of order: \(log)")
    self.node = node
    self.epoch = registration.leaderEpoch
    self.partitionEpoch = registration.partitionEpoch
    self.settings = settings
    self.log = log
    self.epochStartOffset = log.logEndOffset
    self.assignedReplicas = registration.assignedReplicas
    self.followers = registration.assignedReplicas.filter { $0 != node }.map { follower in
      FollowerProgress(
        node: follower, isInSync: registration.inSyncReplicas.contains(follower), standing: standings.first { $0.node == follower },
        now: now)
    }
  }

  package mutating func handle(_ input: Input, now: Instant, lease: BrokerLease, into effects: inout [Effect]) {
    defer { invariant(self.log.isOrdered, "a log out of order: \(self.log)") }
    switch input {
    case .began: self.begin(now, lease, into: &effects)
    case .registrationChanged(let registration): self.change(to: registration, now, lease, into: &effects)
    case .standingChanged(let standing): self.change(standing, now, lease, into: &effects)
    case .leaseRenewed:
      self.isAwaitingLease = false
      self.advanceHighWatermark(now, lease, into: &effects)
    case .appended(let endOffset): self.append(to: endOffset, now, lease, into: &effects)
    case .flushBegan: self.flushIsRequested = false
    case .flushed(let offset):
      // A flush that began before another may end after it.
      self.log.flushedOffset = min(max(self.log.flushedOffset, offset), self.log.logEndOffset)
      self.advanceHighWatermark(now, lease, into: &effects)
    case .logStartAdvanced(let offset): self.advanceLogStart(to: offset, into: &effects)
    case .firstUnstableOffsetChanged(let offset):
      self.firstUnstableOffset = offset
      self.wakeReaders(into: &effects)
    case .followerFetched(let fetch): self.observe(fetch, now, lease, into: &effects)
    case .followerAnswered(let node):
      if let index = self.index(of: node) {
        self.followers[index].sentHighWatermark = self.log.highWatermark
        self.followers[index].sentLogStartOffset = self.log.logStartOffset
      }
    case .awaitFollowerFetch(let token, let node, let offset): self.awaitFollowerFetch(token, node, offset, into: &effects)
    case .awaitCommit(let token, let requiredOffset): self.awaitCommit(token, requiredOffset, now, lease, into: &effects)
    case .awaitFetch(let token, let offset, let seesUncommitted): self.awaitFetch(token, offset, seesUncommitted, into: &effects)
    case .awaitLowWatermark(let token, let offset): self.awaitLowWatermark(token, offset, into: &effects)
    case .cancelCommit(let token): self.commits.removeAll { $0.token == token }
    case .cancelFetch(let token): self.cancelFetch(token)
    case .cancelLowWatermark(let token): self.deletions.removeAll { $0.token == token }
    case .proposalAnswered(let answer): self.conclude(answer, now, lease, into: &effects)
    case .settingsChanged(let settings): self.change(settings, now, lease, into: &effects)
    case .timerFired: self.timerFired(now, lease, into: &effects)
    case .resigned(let error): self.resign(error, successor: nil, into: &effects)
    }
  }

  // MARK: - Beginning and ending

  private mutating func begin(_ now: Instant, _ lease: BrokerLease, into effects: inout [Effect]) {
    if self.mutant == .trustsOwnEnd { self.log.highWatermark = self.log.logEndOffset }
    if !self.hasBegun {
      self.hasBegun = true
      effects.append(.trace(.tookLeadership(self.epoch, logEndOffset: self.log.logEndOffset, highWatermark: self.log.highWatermark)))
    }
    self.requestFlushIfNeeded(into: &effects)
    self.noteMinInSync(into: &effects)
    self.advanceHighWatermark(now, lease, into: &effects)
  }

  private mutating func change(
    to registration: PartitionRegistration, _ now: Instant, _ lease: BrokerLease, into effects: inout [Effect]
  ) {
    // A log whose disk failed does not come back with a new epoch.
    guard registration.isNewer(than: self.epoch, self.partitionEpoch), self.resignation != .kafkaStorageError else { return }
    guard registration.leader == self.node else {
      self.partitionEpoch = registration.partitionEpoch
      let successor = LeaderHint(node: registration.leader, epoch: registration.leaderEpoch)
      return self.resign(.notLeaderOrFollower, successor: registration.leader == .none ? nil : successor, into: &effects)
    }
    let isNewEpoch = registration.leaderEpoch > self.epoch
    if isNewEpoch {
      self.epoch = registration.leaderEpoch
      self.epochStartOffset = self.log.logEndOffset
      self.resignation = nil
      self.successor = nil
      self.requestFlushIfNeeded(into: &effects)
    }
    self.adopt(registration, now, into: &effects)
    if isNewEpoch {
      for index in self.followers.indices { self.followers[index].beginEpoch(now: now) }
      // Those who wait named the epoch before, and have to hear that it is over.
      self.wakeAll(into: &effects)
      effects.append(.trace(.tookLeadership(self.epoch, logEndOffset: self.log.logEndOffset, highWatermark: self.log.highWatermark)))
    }
    // Who is out of the ISR now may hold everything, and has then nothing more to ask for.
    self.proposeExpansion(now, into: &effects)
    self.advanceHighWatermark(now, lease, into: &effects)
    self.completeDeletions(into: &effects)
  }

  private mutating func resign(_ error: ErrorCode, successor: LeaderHint?, into effects: inout [Effect]) {
    if let successor { self.successor = successor }
    if self.resignation == .kafkaStorageError || self.resignation == error { return }
    self.resignation = error
    effects.append(.trace(.resigned(error, successor: self.successor)))
    for waiting in self.commits { effects.append(.fail(waiting.token, error)) }
    self.commits.removeAll()
    for waiting in self.deletions { effects.append(.fail(waiting.token, error)) }
    self.deletions.removeAll()
    self.wakeAll(into: &effects)
    self.dropProposal()
  }

  // MARK: - The log

  private mutating func append(to endOffset: Offset, _ now: Instant, _ lease: BrokerLease, into effects: inout [Effect]) {
    let oldEnd = self.log.logEndOffset
    invariant(endOffset >= oldEnd, "appended to \(endOffset), before the log's end \(oldEnd)")
    self.log.logEndOffset = endOffset
    for index in self.followers.indices {
      if self.mutant != .evictsOnFirstWrite { self.followers[index].append(after: oldEnd, now: now) }
      if let offset = self.followers[index].parkedAt, offset < endOffset { self.wakeFollower(index, into: &effects) }
    }
    self.requestFlushIfNeeded(into: &effects)
    self.advanceHighWatermark(now, lease, into: &effects)
  }

  private mutating func requestFlushIfNeeded(into effects: inout [Effect]) {
    let unflushed = self.log.logEndOffset - self.log.flushedOffset
    guard !self.flushIsRequested, unflushed > 0 else { return }
    let policy = self.settings.flushPolicy
    guard policy.durability == .flushed || unflushed >= policy.unflushedRecordsMax else { return }
    self.flushIsRequested = true
    effects.append(.requestFlush)
  }

  private mutating func advanceLogStart(to offset: Offset, into effects: inout [Effect]) {
    invariant(offset <= self.log.highWatermark, "log start \(offset) beyond the high watermark \(self.log.highWatermark)")
    guard offset > self.log.logStartOffset else { return }
    self.log.logStartOffset = offset
    // A fetch that waits below the new start has to learn that its offset is out of range.
    self.wakeFetches(into: &effects) { $0.offset < offset }
    // The followers are to delete what we did: clients that delete records wait for them.
    self.wakeFollowers(into: &effects) { _ in true }
    self.completeDeletions(into: &effects)
  }

  private mutating func change(_ settings: LeaderSettings, _ now: Instant, _ lease: BrokerLease, into effects: inout [Effect]) {
    self.settings = settings
    self.requestFlushIfNeeded(into: &effects)
    self.noteMinInSync(into: &effects)
    self.advanceHighWatermark(now, lease, into: &effects)
  }

  func index(of node: NodeID) -> Int? { self.followers.firstIndex { $0.node == node } }
}

extension LeaderMachine.Effect: Hashable where Token: Hashable {}
