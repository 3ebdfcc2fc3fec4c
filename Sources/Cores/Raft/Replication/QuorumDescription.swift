package import Base
package import Model

/// What DescribeQuorum tells: the leader's view of who has how much of the log.
package struct QuorumDescription: Hashable, Sendable {
  package var term: Term
  package var leader: NodeID
  package var highWatermark: LogIndex
  /// The leader itself included, with what it has on disk.
  package var voters: [ReplicaProgress]
  package var observers: [ReplicaProgress]
}

extension RaftMachine {
  /// Nil unless this replica leads: a DescribeQuorum is refused with NOT_LEADER_OR_FOLLOWER then.
  package func describe(at now: Instant) -> QuorumDescription? {
    guard self.role == .leader else { return nil }
    var voters = self.leading.voters
    if self.isVoter {
      var own = ReplicaProgress(replica: self.config.local, heard: now)
      own.endIndex = self.log.durableEnd
      own.lastCaughtUp = now
      voters.append(own)
    }
    return QuorumDescription(
      term: self.term, leader: self.config.local.node, highWatermark: self.highWatermark,
      voters: voters.sorted { $0.replica < $1.replica }, observers: self.leading.observers.sorted { $0.replica < $1.replica })
  }
}
