package import Model

/// What the metadata log says of one partition, as far as its replicas act on it.
package struct PartitionRegistration: Hashable, Sendable {
  /// `.none`: nobody leads.
  package var leader: NodeID
  package var leaderEpoch: LeaderEpoch
  package var partitionEpoch: PartitionEpoch
  /// In the order of preference.
  package var assignedReplicas: [NodeID]
  package var inSyncReplicas: [NodeID]
  /// The leader was elected without being known to hold all that is committed (KIP-704): an explicit decision to lose records.
  package var isRecovering: Bool

  package init(
    leader: NodeID, leaderEpoch: LeaderEpoch, partitionEpoch: PartitionEpoch, assignedReplicas: [NodeID], inSyncReplicas: [NodeID],
    isRecovering: Bool = false
  ) {
    self.leader = leader
    self.leaderEpoch = leaderEpoch
    self.partitionEpoch = partitionEpoch
    self.assignedReplicas = assignedReplicas
    self.inSyncReplicas = inSyncReplicas
    self.isRecovering = isRecovering
  }

  /// Every change of the partition raises its partition epoch, and a change of leader the leader epoch as well.
  package func isNewer(than leaderEpoch: LeaderEpoch, _ partitionEpoch: PartitionEpoch) -> Bool {
    (self.leaderEpoch, self.partitionEpoch) > (leaderEpoch, partitionEpoch)
  }
}

/// What the metadata log says of a broker that holds replicas.
package struct BrokerStanding: Hashable, Sendable {
  package var node: NodeID
  package var brokerEpoch: BrokerEpoch
  package var isFenced: Bool
  /// It asked to be shut down, and is about to lose its leaderships and its places in the ISRs.
  package var isShuttingDown: Bool
  package var rack: String?

  package init(node: NodeID, brokerEpoch: BrokerEpoch, isFenced: Bool = false, isShuttingDown: Bool = false, rack: String? = nil) {
    self.node = node
    self.brokerEpoch = brokerEpoch
    self.isFenced = isFenced
    self.isShuttingDown = isShuttingDown
    self.rack = rack
  }
}

/// Who leads now, for an answer that refuses because we do not (KIP-951).
package struct LeaderHint: Hashable, Sendable {
  package var node: NodeID
  package var epoch: LeaderEpoch
  package init(node: NodeID, epoch: LeaderEpoch) { (self.node, self.epoch) = (node, epoch) }
}

/// Where a replica's log stands: what a change of role carries over.
///
/// ```
/// logStartOffset <= highWatermark <= logEndOffset
/// flushedOffset <= logEndOffset
/// ```
package struct LogPositions: Hashable, Sendable {
  package var logStartOffset: Offset
  /// Exclusive.
  package var logEndOffset: Offset
  /// Everything below was synced.
  package var flushedOffset: Offset
  /// The last one known, possibly from a checkpoint; it is moved into the log's range.
  package var highWatermark: Offset

  package init(logStartOffset: Offset, logEndOffset: Offset, flushedOffset: Offset, highWatermark: Offset) {
    self.logStartOffset = logStartOffset
    self.logEndOffset = logEndOffset
    self.flushedOffset = min(flushedOffset, logEndOffset)
    self.highWatermark = max(logStartOffset, min(highWatermark, logEndOffset))
  }

  /// Up to where the log counts as held by this replica.
  package func durableEnd(_ durability: FlushPolicy.Durability) -> Offset {
    switch durability {
    case .written: self.logEndOffset
    case .flushed: self.flushedOffset
    }
  }

  var isOrdered: Bool {
    self.logStartOffset <= self.highWatermark && self.highWatermark <= self.logEndOffset && self.flushedOffset <= self.logEndOffset
  }
}
