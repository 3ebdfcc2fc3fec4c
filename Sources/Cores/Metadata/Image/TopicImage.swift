package import Model

/// One partition as the controller registered it.
package struct PartitionImage: Sendable, Hashable {
  /// Whether the leader was elected uncleanly and has yet to recover (KIP-704).
  package enum LeaderRecoveryState: Int8, Sendable, Hashable { case recovered = 0, recovering = 1 }

  /// In the order of preference: the first is the preferred leader.
  package var assignedReplicas: [NodeID]
  package var inSyncReplicas: [NodeID]
  /// `.none`: no replica may lead.
  package var leader: NodeID
  package var leaderEpoch: LeaderEpoch
  package var partitionEpoch: PartitionEpoch
  package var leaderRecoveryState: LeaderRecoveryState = .recovered
  package var addingReplicas: [NodeID] = []
  package var removingReplicas: [NodeID] = []
  /// Out of the ISR, yet known to hold every record up to the high watermark (KIP-966).
  package var eligibleLeaderReplicas: [NodeID] = []
  package var lastKnownEligibleLeaderReplicas: [NodeID] = []
  /// The log directory of each assigned replica, in their order; `.zero` where it is not known (KIP-858).
  package var directories: [KafkaUUID]
  /// Of the last change.
  package var reason: PartitionChangeReason = .created

  package init(
    assignedReplicas: [NodeID], inSyncReplicas: [NodeID], leader: NodeID, leaderEpoch: LeaderEpoch = LeaderEpoch(0),
    partitionEpoch: PartitionEpoch = PartitionEpoch(0), directories: [KafkaUUID] = []
  ) {
    self.assignedReplicas = assignedReplicas
    self.inSyncReplicas = inSyncReplicas
    self.leader = leader
    self.leaderEpoch = leaderEpoch
    self.partitionEpoch = partitionEpoch
    self.directories = directories
  }

  package func isReplica(_ node: NodeID) -> Bool { self.assignedReplicas.contains(node) }
  package var hasLeader: Bool { self.leader != .none }
  /// Kafka's "preferred replica": the first of the assignment.
  package var preferredLeader: NodeID { self.assignedReplicas.first ?? .none }
  package var hasPreferredLeader: Bool { self.leader == self.preferredLeader }
  package var isReassigning: Bool { !self.addingReplicas.isEmpty || !self.removingReplicas.isEmpty }
  /// Where the replica keeps its log; `.zero` where it is not known.
  package func directory(of node: NodeID) -> KafkaUUID {
    guard let place = self.assignedReplicas.firstIndex(of: node), place < self.directories.count else { return .zero }
    return self.directories[place]
  }

  package mutating func apply(_ change: PartitionChange) {
    if let replicas = change.inSyncReplicas { self.inSyncReplicas = replicas }
    if let replicas = change.assignedReplicas { self.assignedReplicas = replicas }
    if let replicas = change.addingReplicas { self.addingReplicas = replicas }
    if let replicas = change.removingReplicas { self.removingReplicas = replicas }
    if let replicas = change.eligibleLeaderReplicas { self.eligibleLeaderReplicas = replicas }
    if let replicas = change.lastKnownEligibleLeaderReplicas { self.lastKnownEligibleLeaderReplicas = replicas }
    if let directories = change.directories { self.directories = directories }
    if let state = change.leaderRecoveryState { self.leaderRecoveryState = state }
    if let leader = change.leader {
      // Naming a leader begins a new leader epoch, even if it is the same one.
      self.leader = leader
      self.leaderEpoch = LeaderEpoch(self.leaderEpoch.rawValue + 1)
    }
    self.partitionEpoch = PartitionEpoch(self.partitionEpoch.rawValue + 1)
    self.reason = change.reason
  }
}

/// A topic with its partitions. Its configs are the image's, by its name.
package struct TopicImage: Sendable, Hashable {
  package var name: String
  package var id: KafkaUUID
  /// By partition id, which run from 0 without gaps.
  package internal(set) var partitions: [PartitionImage] = []

  package init(name: String, id: KafkaUUID) { (self.name, self.id) = (name, id) }

  /// Nil if there is no such partition.
  package subscript(partition: PartitionID) -> PartitionImage? {
    let index = Int(partition.rawValue)
    return index >= 0 && index < self.partitions.count ? self.partitions[index] : nil
  }
}

/// A partition by its topic's id: what the metadata log speaks of.
package struct TopicIDPartition: Sendable, Hashable, Comparable, CustomStringConvertible {
  package var topicID: KafkaUUID
  package var partition: PartitionID
  package init(_ topicID: KafkaUUID, _ partition: PartitionID) { (self.topicID, self.partition) = (topicID, partition) }
  package var description: String { "\(self.topicID)-\(self.partition)" }
  package static func < (a: TopicIDPartition, b: TopicIDPartition) -> Bool {
    a.topicID == b.topicID ? a.partition < b.partition : a.topicID < b.topicID
  }
}
