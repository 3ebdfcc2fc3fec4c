import Environment
import Model
import Wire

/// What one client knows of the cluster: where nodes listen, and who leads the partitions of its topics.
struct ClusterView: Sendable {
  struct Partition: Sendable {
    var leader = NodeID.none
    var epoch = LeaderEpoch.unknown
  }
  struct Topic: Sendable {
    var id: KafkaUUID
    /// By partition number.
    var partitions: [Partition]
  }

  private(set) var addresses: [NodeID: NodeAddress] = [:]
  private(set) var topics: [String: Topic] = [:]
  private var names: [KafkaUUID: String] = [:]

  func name(of id: KafkaUUID) -> String? { self.names[id] }

  subscript(partition: TopicPartition) -> Partition? {
    guard let topic = self.topics[partition.topic], Int(partition.partition.rawValue) < topic.partitions.count else { return nil }
    return topic.partitions[Int(partition.partition.rawValue)]
  }

  /// Takes in an answer. What it says of a partition is passed over if it is older than what is known, as nodes learn of changes at
  /// different times.
  mutating func merge(_ response: MetadataResponse) {
    for broker in response.brokers { self.note(broker.nodeId, broker.host, broker.port) }
    for answer in response.topics where answer.errorCode == .none {
      guard let name = answer.name else { continue }
      var topic = self.topics[name].flatMap { $0.id == answer.topicId ? $0 : nil } ?? Topic(id: answer.topicId, partitions: [])
      for partition in answer.partitions where (0..<1_000).contains(partition.partitionIndex) {
        let index = Int(partition.partitionIndex)
        while topic.partitions.count <= index { topic.partitions.append(Partition()) }
        if LeaderEpoch(partition.leaderEpoch) < topic.partitions[index].epoch { continue }
        topic.partitions[index] = Partition(leader: NodeID(partition.leaderId), epoch: LeaderEpoch(partition.leaderEpoch))
      }
      self.topics[name] = topic
      self.names[answer.topicId] = name
    }
  }

  mutating func note(_ node: Int32, _ host: String, _ port: Int32) {
    self.addresses[NodeID(node)] = NodeAddress(host: host, port: UInt16(clamping: port))
  }

  /// Takes the leader that a refusal named (KIP-951). Whether that was news.
  mutating func follow(leader: Int32, epoch: Int32, of partition: TopicPartition) -> Bool {
    guard leader >= 0, let known = self[partition], LeaderEpoch(epoch) > known.epoch else { return false }
    self.topics[partition.topic]!.partitions[Int(partition.partition.rawValue)] =
      Partition(leader: NodeID(leader), epoch: LeaderEpoch(epoch))
    return true
  }

  mutating func forget(_ topic: String) {
    if let known = self.topics.removeValue(forKey: topic) { self.names[known.id] = nil }
  }
}
