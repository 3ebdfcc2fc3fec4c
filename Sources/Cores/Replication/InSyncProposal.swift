import Base
package import Model

/// A member of a proposed ISR, with the incarnation that was seen fetching (KIP-903).
package struct InSyncReplica: Hashable, Sendable {
  package var node: NodeID
  /// `.unknown` for one whose incarnation nobody has named; the controller then does not check it.
  package var brokerEpoch: BrokerEpoch
  package init(_ node: NodeID, _ brokerEpoch: BrokerEpoch) { (self.node, self.brokerEpoch) = (node, brokerEpoch) }
}

/// An ISR that a leader asks the controller for: one partition of an AlterPartition request. A compare-and-set on `partitionEpoch`.
package struct InSyncProposal: Hashable, Sendable {
  package var leaderEpoch: LeaderEpoch
  /// What it is based on.
  package var partitionEpoch: PartitionEpoch
  /// In the order of the assignment.
  package var inSyncReplicas: [InSyncReplica]

  package init(leaderEpoch: LeaderEpoch, partitionEpoch: PartitionEpoch, inSyncReplicas: [InSyncReplica]) {
    self.leaderEpoch = leaderEpoch
    self.partitionEpoch = partitionEpoch
    self.inSyncReplicas = inSyncReplicas
  }
}

/// What the controller said to a proposal.
package struct ProposalAnswer: Hashable, Sendable {
  /// Of the proposal that is answered.
  package var basis: PartitionEpoch
  package var error: ErrorCode
  /// How often the request was sent. A refusal says nothing about copies that may still be on their way.
  package var sendCount: Int
  /// The partition as it is now. Only where `error` is `none`.
  package var leaderEpoch: LeaderEpoch
  package var partitionEpoch: PartitionEpoch
  package var inSyncReplicas: [NodeID]

  package init(
    basis: PartitionEpoch, error: ErrorCode = .none, sendCount: Int = 1, leaderEpoch: LeaderEpoch = .unknown,
    partitionEpoch: PartitionEpoch = PartitionEpoch(-1), inSyncReplicas: [NodeID] = []
  ) {
    self.basis = basis
    self.error = error
    self.sendCount = sendCount
    self.leaderEpoch = leaderEpoch
    self.partitionEpoch = partitionEpoch
    self.inSyncReplicas = inSyncReplicas
  }

  enum Verdict {
    case accepted
    /// The controller looked at it and did not apply it.
    case refused
    /// The leader's knowledge is out of date: the metadata log will say what is.
    case superseded
    /// Applied or not: only the same proposal again can tell.
    case uncertain
  }

  var verdict: Verdict {
    switch self.error {
    case .none: .accepted
    case .ineligibleReplica, .operationNotAttempted, .invalidRequest: .refused
    case .invalidUpdateVersion, .fencedLeaderEpoch, .newLeaderElected, .unknownTopicOrPartition, .unknownTopicId: .superseded
    default: .uncertain
    }
  }
}

/// A proposal whose outcome its leader does not know. Its replicas count for the watermark.
struct PendingProposal: Sendable {
  enum State: Equatable { case sent, retrying(at: Instant), awaitingMetadata, refused(until: Instant) }
  var proposal: InSyncProposal
  var state: State
  /// How often it was given to the coordination with the controller.
  var attempts: Int
}
