import Environment
import Metadata
import Model

/// One partition as Metadata and DescribeTopicPartitions show it.
struct PartitionDescription: Sendable {
  var error: ErrorCode
  var leader: NodeID
  var leaderEpoch: LeaderEpoch
  var replicas: [Int32]
  var inSyncReplicas: [Int32]
  var offlineReplicas: [Int32]
  var eligibleLeaderReplicas: [Int32]
  var lastKnownEligibleLeaderReplicas: [Int32]

  /// - Parameters:
  ///   - listener: the client's; a leader that is not reachable there is as good as none.
  ///   - distinguishesListener: whether the client knows the error LISTENER_NOT_FOUND (Metadata v6).
  ///   - doubted: brokers that may just have died, and are not named as leaders.
  init<Env: Environment>(
    _ partition: PartitionImage, in catalog: Catalog<Env>, listener: String, distinguishesListener: Bool = true,
    doubted: Set<NodeID> = []
  ) {
    func isAlive(_ node: NodeID) -> Bool { catalog.image.broker(node).map { !$0.isFenced } ?? false }
    self.leaderEpoch = partition.leaderEpoch
    self.replicas = partition.assignedReplicas.map(\.rawValue)
    self.inSyncReplicas = partition.inSyncReplicas.map(\.rawValue)
    self.offlineReplicas = partition.assignedReplicas.filter { !isAlive($0) }.map(\.rawValue)
    self.eligibleLeaderReplicas = partition.eligibleLeaderReplicas.map(\.rawValue)
    self.lastKnownEligibleLeaderReplicas = partition.lastKnownEligibleLeaderReplicas.map(\.rawValue)
    if partition.leader == .none || !isAlive(partition.leader) || doubted.contains(partition.leader) {
      (self.error, self.leader) = (.leaderNotAvailable, .none)
    } else if catalog.endpoint(of: partition.leader, listener: listener) == nil {
      (self.error, self.leader) = (distinguishesListener ? .listenerNotFound : .leaderNotAvailable, .none)
    } else {
      (self.error, self.leader) = (.none, partition.leader)
    }
  }
}

extension ErrorCode {
  /// Why a topic of that name is not there: because it cannot be, or because nobody made it.
  static func missingTopic(_ name: String) -> ErrorCode {
    TopicName.problem(with: name) == nil ? .unknownTopicOrPartition : .invalidTopicException
  }
}
