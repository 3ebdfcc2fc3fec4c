package import Base
package import Model

// What a driver asks a leader before it reads, appends or answers. Nothing here changes anything.
extension LeaderMachine {
  package var highWatermark: Offset { self.log.highWatermark }
  package var logStartOffset: Offset { self.log.logStartOffset }
  package var logEndOffset: Offset { self.log.logEndOffset }
  package var flushedOffset: Offset { self.log.flushedOffset }
  package var flushPolicy: FlushPolicy { self.settings.flushPolicy }

  /// What `replication-offset-checkpoint` is to hold. It may be behind what this says by the time a crash comes, never before it.
  package var checkpointedHighWatermark: Offset { self.log.highWatermark }

  /// Readers of committed transactions see everything below: at most the high watermark.
  package var lastStableOffset: Offset { self.firstUnstableOffset.map { min($0, self.log.highWatermark) } ?? self.log.highWatermark }

  /// Every live replica has deleted what is below, or never had it.
  package var lowWatermark: Offset {
    var low = self.log.logStartOffset
    for follower in self.followers where follower.standing?.isFenced == false { low = min(low, follower.logStartOffset) }
    return low
  }

  /// In the order of the assignment, as the controller committed it; the leader is always among them.
  /// Whether the high watermark waits for this follower: it is in sync, or may be as soon as the proposal in flight is committed.
  package func waits(for node: NodeID) -> Bool { self.followers.contains { $0.node == node && $0.countsForHighWatermark } }

  package var inSyncReplicas: [NodeID] {
    self.assignedReplicas.filter { node in node == self.node || self.followers.contains { $0.node == node && $0.isInSync } }
  }

  var inSyncCount: Int {
    var count = 1
    for follower in self.followers where follower.isInSync { count += 1 }
    return count
  }

  /// `min.insync.replicas`, but no more than there are (KIP-966).
  package var minInSyncReplicas: Int { min(self.settings.minInSyncReplicas, self.followers.count + 1) }

  /// Whether somebody waits for a commit.
  package var isAwaitingCommit: Bool { !self.commits.isEmpty }

  package var isUnderMinInSync: Bool { self.inSyncCount < self.minInSyncReplicas }

  /// Whether `count` replicas are in sync.
  package func hasInSyncReplicas(_ count: Int) -> Bool { self.inSyncCount >= count }

  /// Nothing may be said of the log's latest offset until the watermark has passed where this epoch began: an earlier leader may have shown
  /// consumers more than we yet know to be committed (KIP-207).
  package var isCatchingUp: Bool { self.log.highWatermark < self.epochStartOffset }

  /// How many requests wait, for limits and tests.
  package var waitingCount: Int {
    self.commits.count + self.fetches.count + self.deletions.count + self.parked.count
  }

  /// Holds the epoch that a client or a follower names against ours (KIP-320).
  package func refusal(ofEpoch epoch: LeaderEpoch) -> ErrorCode? {
    if let resignation { return resignation }
    if epoch == .unknown || epoch == self.epoch { return nil }
    return epoch < self.epoch ? .fencedLeaderEpoch : .unknownLeaderEpoch
  }

  /// Why a produce may not be appended, and not be acknowledged if it asks for less than all.
  package func refusalOfProduce(needsAll: Bool, now: Instant, lease: BrokerLease) -> ErrorCode? {
    if let resignation { return resignation }
    if !self.holds(lease, at: now) { return .notLeaderOrFollower }
    return needsAll && self.isUnderMinInSync && self.mutant != .ignoresMinInSync ? .notEnoughReplicas : nil
  }

  /// Why a consumer may not be told where the readable log ends now. What lies below the high watermark may always be read.
  package func refusalOfLatest(now: Instant, lease: BrokerLease) -> ErrorCode? {
    if let resignation { return resignation }
    if !self.holds(lease, at: now) { return .notLeaderOrFollower }
    return self.isCatchingUp ? .offsetNotAvailable : nil
  }

  /// The high watermark as a consumer is told it that has read everything below `offset`. What it has read was committed, whether or not
  /// this leader knows yet, so that it is not told that the log ends before that.
  package func highWatermark(forConsumerAt offset: Offset) -> Offset {
    self.isCatchingUp ? max(self.log.highWatermark, min(offset, self.log.logEndOffset)) : self.log.highWatermark
  }

  /// Why a consumer's fetch is not served. Before this leader has had a lease in its epoch its watermark is what a checkpoint or an earlier
  /// leader told, and consumers may have been shown more: for them it would go back. Asked only of one that `isCatchingUp`; one whose lease
  /// lives catches up as soon as its followers ask, and serves what it knows until then, as Kafka's does.
  package func refusalOfFetch(now: Instant, lease: BrokerLease) -> ErrorCode? {
    self.isCatchingUp && !self.holds(lease, at: now) ? .notLeaderOrFollower : nil
  }

  /// Why a follower's fetch is not served.
  package func refusal(of fetch: FollowerFetch) -> ErrorCode? {
    if let refusal = self.refusal(ofEpoch: fetch.currentLeaderEpoch) { return refusal }
    // Kafka answers a node that holds no replica like this: its metadata or ours is old.
    guard let index = self.index(of: fetch.node) else {
      return fetch.currentLeaderEpoch == .unknown ? .notLeaderOrFollower : .unknownLeaderEpoch
    }
    return self.isOfOlderIncarnation(fetch, self.followers[index]) ? .notLeaderOrFollower : nil
  }

  /// An older incarnation's log may have been another (KIP-903).
  func isOfOlderIncarnation(_ fetch: FollowerFetch, _ follower: FollowerProgress) -> Bool {
    let known = max(follower.brokerEpoch, follower.standing?.brokerEpoch ?? .unknown)
    return fetch.brokerEpoch != .unknown && fetch.brokerEpoch < known
  }

  /// Whether the follower's fetch should be answered at once, for the sake of the high watermark or the log start.
  package func owesOffsets(to node: NodeID) -> Bool {
    guard self.mutant != .withholdsHighWatermark, let index = self.index(of: node) else { return false }
    return self.followers[index].sentHighWatermark < self.log.highWatermark
      || self.followers[index].sentLogStartOffset < self.log.logStartOffset
  }

  /// The replica in the client's rack that it should read from; nil if that is this one or there is none better (KIP-392).
  ///
  /// - Parameter spread: any number that differs between clients, so that replicas of one rack share them.
  package func preferredReadReplica(rack: String, leaderRack: String?, fetchOffset: Offset, spread: UInt64) -> NodeID? {
    if self.resignation != nil || rack.isEmpty || rack == leaderRack { return nil }
    func serves(_ follower: FollowerProgress) -> Bool {
      follower.isInSync && follower.standing?.rack == rack && follower.isEligible
        && follower.logStartOffset <= fetchOffset && fetchOffset <= follower.durableEnd
    }
    let count = self.followers.count(where: serves)
    if count == 0 { return nil }
    var place = Int(spread % UInt64(count))
    for follower in self.followers where serves(follower) {
      if place == 0 { return follower.node }
      place -= 1
    }
    return nil
  }
}
