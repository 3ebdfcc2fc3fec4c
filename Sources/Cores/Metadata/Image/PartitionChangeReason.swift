/// Why the controller changed a partition. Kept with the change in the metadata log, so that every node, and whoever reads the log
/// years later, can tell how each leader came to lead.
///
/// The numbers are stored: they keep their meaning for ever.
package enum PartitionChangeReason: Int8, Sendable, Hashable, CaseIterable {
  /// The record was not written by Apus, or by a version that gave no reasons.
  case unspecified = 0
  case created = 1
  /// A replica's broker was fenced: its session ended, its process is known to be dead, or it asked for it.
  case brokerFenced = 2
  /// A replica's broker may lead again.
  case brokerUnfenced = 3
  /// A replica's broker shuts down in an orderly way.
  case controlledShutdown = 4
  case brokerUnregistered = 5
  /// A replica's broker came back after an orderly stop and was not fenced yet.
  case brokerRestarted = 6
  /// A replica's broker came back without proof of an orderly stop: its log may have lost its end (KIP-966).
  case uncleanShutdown = 7
  case logDirectoryFailed = 8
  /// The leader found a follower lagging.
  case isrShrink = 9
  /// The leader found a follower caught up.
  case isrExpand = 10
  /// The leader has recovered from its unclean election (KIP-704).
  case leaderRecovered = 11
  /// The preferred leader took over, for an administrator or for balance.
  case preferredElection = 12
  /// A replica in sync or eligible was elected where none had led.
  case election = 13
  /// Neither the ISR nor the ELR had anybody: the last leader is back (KIP-966, balanced recovery).
  case lastKnownLeaderElection = 14
  /// Records may be lost: the longest log among the replicas that answered.
  case uncleanElection = 15
  case reassignmentStarted = 16
  case reassignmentCompleted = 17
  case reassignmentCancelled = 18
  /// `min.insync.replicas` changed, and with it who counts as eligible.
  case minInSyncReplicasChanged = 19
  /// The feature `eligible.leader.replicas.version` was turned off.
  case eligibleLeaderReplicasDisabled = 20
  case directoryAssigned = 21
}

/// A change of one partition as it was replayed: what an operator is told when asking why a leader or an ISR is what it is.
package struct PartitionTransition: Sendable, Hashable {
  package var partition: TopicIDPartition
  package var reason: PartitionChangeReason
  /// Nil: the partition is new.
  package var before: PartitionImage?
  package var after: PartitionImage

  package init(partition: TopicIDPartition, reason: PartitionChangeReason, before: PartitionImage?, after: PartitionImage) {
    (self.partition, self.reason, self.before, self.after) = (partition, reason, before, after)
  }

  package var leaderChanged: Bool { self.before?.leader != self.after.leader }
  package var inSyncReplicasChanged: Bool { self.before?.inSyncReplicas != self.after.inSyncReplicas }
}
