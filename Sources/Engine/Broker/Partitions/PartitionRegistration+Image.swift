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
