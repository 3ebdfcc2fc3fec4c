import Metadata
import Replication

extension PartitionRegistration {
  /// What the replicas act on, out of what the metadata log says.
  init(_ image: PartitionImage) {
    self.init(
      leader: image.leader, leaderEpoch: image.leaderEpoch, partitionEpoch: image.partitionEpoch, assignedReplicas: image.assignedReplicas,
      inSyncReplicas: image.inSyncReplicas, isRecovering: image.leaderRecoveryState == .recovering)
  }
}

extension BrokerStanding {
  /// What leaders act on, out of what the metadata log says of a broker.
  init(_ registration: BrokerRegistration) {
    self.init(
      node: registration.nodeID, brokerEpoch: registration.epoch, isFenced: registration.isFenced,
      isShuttingDown: registration.isInControlledShutdown, rack: registration.rack)
  }
}
