import Metadata
import Model
import Wire

/// Partitions between the core's words and Kafka's stored records.

private func numbers(_ nodes: [NodeID]) -> [Int32] { nodes.map(\.rawValue) }
private func nodes(_ numbers: [Int32]) -> [NodeID] { numbers.map { NodeID($0) } }

private func recoveryState(_ number: Int8, _ field: String) throws(MetadataRecordError) -> PartitionImage.LeaderRecoveryState {
  guard let state = PartitionImage.LeaderRecoveryState(rawValue: number) else { throw .invalidField(field, Int64(number)) }
  return state
}

/// A number of a later version is read as "unspecified": the reason explains the change and is no part of it.
private func changeReason(_ number: Int8) -> PartitionChangeReason { PartitionChangeReason(rawValue: number) ?? .unspecified }

extension PartitionRecord {
  init(_ partition: TopicIDPartition, _ image: PartitionImage) {
    self.init(
      partitionId: partition.partition.rawValue, topicId: partition.topicID, replicas: numbers(image.assignedReplicas),
      isr: numbers(image.inSyncReplicas), removingReplicas: numbers(image.removingReplicas), addingReplicas: numbers(image.addingReplicas),
      leader: image.leader.rawValue, leaderRecoveryState: image.leaderRecoveryState.rawValue, leaderEpoch: image.leaderEpoch.rawValue,
      partitionEpoch: image.partitionEpoch.rawValue, directories: image.directories,
      // Kafka writes these two only where there are any.
      eligibleLeaderReplicas: image.eligibleLeaderReplicas.isEmpty ? nil : numbers(image.eligibleLeaderReplicas),
      lastKnownElr: image.lastKnownEligibleLeaderReplicas.isEmpty ? nil : numbers(image.lastKnownEligibleLeaderReplicas),
      reason: image.reason.rawValue)
  }
}

extension PartitionImage {
  init(_ record: PartitionRecord) throws(MetadataRecordError) {
    self.init(
      assignedReplicas: nodes(record.replicas), inSyncReplicas: nodes(record.isr), leader: NodeID(record.leader),
      leaderEpoch: LeaderEpoch(record.leaderEpoch), partitionEpoch: PartitionEpoch(record.partitionEpoch), directories: record.directories)
    self.leaderRecoveryState = try recoveryState(record.leaderRecoveryState, "PartitionRecord.leaderRecoveryState")
    self.removingReplicas = nodes(record.removingReplicas)
    self.addingReplicas = nodes(record.addingReplicas)
    self.eligibleLeaderReplicas = nodes(record.eligibleLeaderReplicas ?? [])
    self.lastKnownEligibleLeaderReplicas = nodes(record.lastKnownElr ?? [])
    self.reason = changeReason(record.reason)
  }
}

/// What stands for "unchanged" in a PartitionChangeRecord.
private let sameLeader: Int32 = -2
private let sameRecoveryState: Int8 = -1

extension PartitionChangeRecord {
  init(_ partition: TopicIDPartition, _ change: PartitionChange) {
    self.init(
      partitionId: partition.partition.rawValue, topicId: partition.topicID, isr: change.inSyncReplicas.map(numbers),
      leader: change.leader?.rawValue ?? sameLeader, replicas: change.assignedReplicas.map(numbers),
      removingReplicas: change.removingReplicas.map(numbers), addingReplicas: change.addingReplicas.map(numbers),
      leaderRecoveryState: change.leaderRecoveryState?.rawValue ?? sameRecoveryState, directories: change.directories,
      eligibleLeaderReplicas: change.eligibleLeaderReplicas.map(numbers), lastKnownElr: change.lastKnownEligibleLeaderReplicas.map(numbers),
      reason: change.reason.rawValue)
  }
}

extension PartitionChange {
  init(_ record: PartitionChangeRecord) throws(MetadataRecordError) {
    self.init()
    self.inSyncReplicas = record.isr.map(nodes)
    self.leader = record.leader == sameLeader ? nil : NodeID(record.leader)
    self.assignedReplicas = record.replicas.map(nodes)
    self.removingReplicas = record.removingReplicas.map(nodes)
    self.addingReplicas = record.addingReplicas.map(nodes)
    if record.leaderRecoveryState != sameRecoveryState {
      self.leaderRecoveryState = try recoveryState(record.leaderRecoveryState, "PartitionChangeRecord.leaderRecoveryState")
    }
    self.directories = record.directories
    self.eligibleLeaderReplicas = record.eligibleLeaderReplicas.map(nodes)
    self.lastKnownEligibleLeaderReplicas = record.lastKnownElr.map(nodes)
    self.reason = changeReason(record.reason)
  }
}
