package import Model
package import Wire

/// What is known of the cluster: its brokers, and where each partition of the topics of interest is led.
package struct ClusterMetadata: Sendable {
  package struct Broker: Hashable, Sendable {
    package var nodeID: Int32
    package var address: BrokerAddress
    package var rack: String?
  }
  package struct Partition: Hashable, Sendable {
    /// -1: none at the moment.
    package var leader: Int32
    /// -1: the broker is too old to say.
    package var leaderEpoch: Int32
    package var replicas: [Int32]
    package var inSyncReplicas: [Int32]
    package var offlineReplicas: [Int32]
    package var errorCode: ErrorCode
  }
  package struct Topic: Sendable {
    package var name: String
    /// Zero: the broker is too old to say.
    package var id: KafkaUUID
    package var isInternal: Bool
    package var errorCode: ErrorCode
    /// By partition number; nil where the answer left a hole.
    package var partitions: [Partition?]
  }

  package private(set) var clusterID: String?
  package private(set) var controllerID: Int32 = -1
  package private(set) var brokers: [Int32: Broker] = [:]
  package private(set) var topics: [String: Topic] = [:]
  private var names: [KafkaUUID: String] = [:]

  package init() {}

  package func name(of id: KafkaUUID) -> String? { self.names[id] }

  package func partition(_ number: Int32, of topic: String) -> Partition? {
    guard let partitions = self.topics[topic]?.partitions, number >= 0, Int(number) < partitions.count else { return nil }
    return partitions[Int(number)]
  }

  /// Takes in an answer. What it says of a partition is ignored if it comes from an older leader epoch than what is known, unless
  /// the topic was made anew: brokers learn of a change at different times, and a lagging one must not send us back.
  package mutating func merge(_ response: MetadataResponse) {
    if let clusterID = response.clusterId { self.clusterID = clusterID }
    self.controllerID = response.controllerId
    self.brokers = [:]
    for broker in response.brokers {
      let address = BrokerAddress(host: broker.host, port: Int(broker.port))
      self.brokers[broker.nodeId] = Broker(nodeID: broker.nodeId, address: address, rack: broker.rack)
    }
    for topic in response.topics {
      guard let name = topic.name ?? self.names[topic.topicId] else { continue }
      self.merge(topic, named: name)
    }
  }

  private mutating func merge(_ answer: MetadataResponse.MetadataResponseTopic, named name: String) {
    let known = self.topics[name]
    if answer.errorCode != .none, answer.partitions.isEmpty {
      // A refusal that may pass keeps what is known; a topic that is gone is forgotten, with the reason.
      if let known, answer.errorCode.isRetriable, answer.errorCode != .unknownTopicOrPartition { self.topics[name] = known; return }
      if let known { self.names[known.id] = nil }
      self.topics[name] = Topic(name: name, id: .zero, isInternal: false, errorCode: answer.errorCode, partitions: [])
      return
    }
    let sameTopic = known.map { $0.id == answer.topicId } ?? false
    let count = Int(answer.partitions.map(\.partitionIndex).max() ?? -1) + 1
    // Numbers are believed only as far as the answer is long.
    var partitions = [Partition?](repeating: nil, count: min(max(count, 0), answer.partitions.count * 2 + 1024))
    for partition in answer.partitions where partition.partitionIndex >= 0 && Int(partition.partitionIndex) < partitions.count {
      let index = Int(partition.partitionIndex)
      if sameTopic, let old = known?.partitions, index < old.count, let old = old[index], old.leaderEpoch > partition.leaderEpoch {
        partitions[index] = old
        continue
      }
      partitions[index] = Partition(
        leader: partition.leaderId, leaderEpoch: partition.leaderEpoch, replicas: partition.replicaNodes,
        inSyncReplicas: partition.isrNodes, offlineReplicas: partition.offlineReplicas, errorCode: partition.errorCode)
    }
    if let known, !sameTopic { self.names[known.id] = nil }
    if answer.topicId != .zero { self.names[answer.topicId] = name }
    self.topics[name] = Topic(
      name: name, id: answer.topicId, isInternal: answer.isInternal, errorCode: answer.errorCode, partitions: partitions)
  }

  /// Takes the leader that a refusal named (KIP-951). Returns true if that was news.
  @discardableResult
  package mutating func observe(leader: Int32, leaderEpoch: Int32, of partition: TopicPartition) -> Bool {
    guard leader >= 0, let known = self.partition(partition.partition, of: partition.topic), leaderEpoch > known.leaderEpoch
    else { return false }
    self.topics[partition.topic]!.partitions[Int(partition.partition)]!.leader = leader
    self.topics[partition.topic]!.partitions[Int(partition.partition)]!.leaderEpoch = leaderEpoch
    return true
  }

  /// Takes the address that came with such a hint.
  package mutating func observe(node: Int32, host: String, port: Int32, rack: String?) {
    self.brokers[node] = Broker(nodeID: node, address: BrokerAddress(host: host, port: Int(port)), rack: rack)
  }

  /// Forgets a topic, so that the next use asks for it again.
  package mutating func forget(topic: String) {
    if let known = self.topics.removeValue(forKey: topic) { self.names[known.id] = nil }
  }
}
