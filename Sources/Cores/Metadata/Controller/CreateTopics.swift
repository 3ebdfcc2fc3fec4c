import Base
package import Model

/// Creates topics, each independently of the others' fate, all that succeed in one batch.
package struct CreateTopics: ControllerRequest {
  package struct Topic: Sendable, Hashable {
    package struct Assignment: Sendable, Hashable {
      package var partition: PartitionID
      package var replicas: [NodeID]
      package init(partition: PartitionID, replicas: [NodeID]) { (self.partition, self.replicas) = (partition, replicas) }
    }
    package struct Config: Sendable, Hashable {
      package var name: String
      package var value: String?
      package init(name: String, value: String?) { (self.name, self.value) = (name, value) }
    }
    package var name: String
    /// -1: the controller's default.
    package var numPartitions: Int32
    /// -1: the controller's default.
    package var replicationFactor: Int16
    /// If there are any, both counts must be -1.
    package var assignments: [Assignment]
    package var configs: [Config]

    package init(
      _ name: String, numPartitions: Int32 = -1, replicationFactor: Int16 = -1, assignments: [Assignment] = [], configs: [Config] = []
    ) {
      self.name = name
      self.numPartitions = numPartitions
      self.replicationFactor = replicationFactor
      self.assignments = assignments
      self.configs = configs
    }
  }

  package struct Created: Sendable, Hashable {
    package var topicID: KafkaUUID
    package var numPartitions: Int32
    package var replicationFactor: Int16
    /// The configs that count for the topic, in the order of their names.
    package var configs: [ConfigDescription]
  }
  package struct TopicResult: Sendable {
    package var name: String
    package var outcome: Result<Created, ApiError>
  }

  package var topics: [Topic]
  /// Answer as if, and write nothing.
  package var validateOnly: Bool
  package init(_ topics: [Topic], validateOnly: Bool = false) { (self.topics, self.validateOnly) = (topics, validateOnly) }

  /// In the order of the request; a name that comes twice is answered once.
  package typealias Response = [TopicResult]

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<[TopicResult]> {
    try self.checkPartitionTotal(state)
    var generator = state.generator(at: nextOffset)
    var records = BoundedRecords()
    var results: [TopicResult] = []
    var counts: [String: Int] = [:]
    for topic in self.topics { counts[topic.name, default: 0] += 1 }
    var answered: Set<String> = []
    /// Names with `.` or `_` that this request creates, by their unified form.
    var unified: [String: String] = [:]
    for topic in self.topics where answered.insert(topic.name).inserted {
      do throws(ApiError) {
        if counts[topic.name]! > 1 { throw ApiError(.invalidRequest, "Duplicate topic name.") }
        try self.validateName(topic.name, state.image, unified)
        let (topicRecords, created) = try self.create(topic, state, &generator)
        try records.append(contentsOf: topicRecords)
        if TopicName.canCollide(topic.name) { unified[TopicName.unified(topic.name)] = topic.name }
        results.append(TopicResult(name: topic.name, outcome: .success(created)))
      } catch {
        if error == BoundedRecords.tooMany { throw error }
        results.append(TopicResult(name: topic.name, outcome: .failure(error)))
      }
    }
    return Decision(self.validateOnly ? [] : records.records, results)
  }

  /// Refused before anything is allocated for it.
  private func checkPartitionTotal(_ state: ControllerMachine) throws(ApiError) {
    var total = 0
    for topic in self.topics {
      if topic.assignments.isEmpty {
        total += Int(topic.numPartitions == -1 ? state.settings.numPartitions : max(0, topic.numPartitions))
      } else {
        total += topic.assignments.count
      }
      if total > BoundedRecords.countMax {
        throw ApiError(
          .policyViolation, "The request creates too many partitions: at most \(BoundedRecords.countMax) come to be at once.")
      }
    }
  }

  private func validateName(_ name: String, _ image: MetadataImage, _ unified: [String: String]) throws(ApiError) {
    if name == TopicName.clusterMetadata {
      throw ApiError(.invalidRequest, "The topic \(name) belongs to the cluster and cannot be created.")
    }
    if let problem = TopicName.problem(with: name) { throw ApiError(.invalidTopicException, "Topic name is invalid: \(problem)") }
    if image.topicID(name) != nil { throw ApiError(.topicAlreadyExists, "Topic '\(name)' already exists.") }
    let other = image.topicColliding(with: name) ?? (TopicName.canCollide(name) ? unified[TopicName.unified(name)] : nil)
    if let other {
      throw ApiError(.invalidTopicException, "Topic '\(name)' collides with topic '\(other)': metrics cannot tell '.' from '_'.")
    }
  }

  private func create(
    _ topic: Topic, _ state: ControllerMachine, _ generator: inout SeededGenerator
  ) throws(ApiError) -> ([MetadataChange], Created) {
    let configs = try self.configs(of: topic, state)
    let partitions = topic.assignments.isEmpty
      ? try self.placed(topic, state, &generator) : try self.assigned(topic, state.image)
    var id = KafkaUUID.random(using: &generator)
    while state.image.topic(id) != nil { id = KafkaUUID.random(using: &generator) }

    // Kafka's order: the topic, its configs, its partitions.
    var records: [MetadataChange] = [.topic(name: topic.name, id: id)]
    for pair in configs.pairs { records.append(.config(.topic(topic.name), name: pair.name, value: pair.value)) }
    for (index, partition) in partitions.enumerated() {
      records.append(.partition(TopicIDPartition(id, PartitionID(Int32(index))), partition))
    }
    let created = Created(
      topicID: id, numPartitions: Int32(partitions.count), replicationFactor: Int16(partitions[0].assignedReplicas.count),
      configs: ConfigDescription.topic(overrides: configs, broker: state.layers))
    return (records, created)
  }

  private func configs(of topic: Topic, _ state: ControllerMachine) throws(ApiError) -> ConfigValues {
    var configs = ConfigValues()
    let nulls = topic.configs.filter { $0.value == nil }.map(\.name)
    if !nulls.isEmpty {
      throw ApiError(.invalidConfig, "A new topic's configs need values; these have none: \(nulls.joined(separator: ", "))")
    }
    for config in topic.configs { configs[config.name] = config.value }
    do throws(ConfigError) { try TopicConfig.validate(configs, over: state.topicDefaults()) } catch {
      throw ApiError(.invalidConfig, error.description)
    }
    return configs
  }

  private func placed(
    _ topic: Topic, _ state: ControllerMachine, _ generator: inout SeededGenerator
  ) throws(ApiError) -> [PartitionImage] {
    if topic.replicationFactor < -1 || topic.replicationFactor == 0 {
      throw ApiError(.invalidReplicationFactor, "The replication factor must be at least 1, or -1 for the default.")
    }
    if topic.numPartitions < -1 || topic.numPartitions == 0 {
      throw ApiError(.invalidPartitions, "The number of partitions must be at least 1, or -1 for the default.")
    }
    let count = topic.numPartitions == -1 ? state.settings.numPartitions : topic.numPartitions
    let factor = Int(topic.replicationFactor == -1 ? state.settings.defaultReplicationFactor : topic.replicationFactor)
    let placer = ReplicaPlacer(state.image.brokers, using: &generator)
    return try newPartitions(try placer.place(count: Int(count), replicationFactor: factor), in: state.image)
  }

  private func assigned(_ topic: Topic, _ image: MetadataImage) throws(ApiError) -> [PartitionImage] {
    if topic.replicationFactor != -1 {
      throw ApiError(.invalidRequest, "With a replica assignment the replication factor must be -1.")
    }
    if topic.numPartitions != -1 {
      throw ApiError(.invalidRequest, "With a replica assignment the number of partitions must be -1.")
    }
    var byPartition: [PartitionID: PartitionImage] = [:]
    var factor: Int?
    for assignment in topic.assignments {
      let partition = assignment.partition
      if byPartition[partition] != nil {
        throw ApiError(.invalidReplicaAssignment, "Partition \(partition) is assigned more than once.")
      }
      try validateAssignment(assignment.replicas, replicationFactor: factor, in: image)
      factor = assignment.replicas.count
      guard let registered = newPartition(assignment.replicas, in: image) else { throw allInactive(partition) }
      byPartition[partition] = registered
    }
    return try (0..<topic.assignments.count).map { index throws(ApiError) in
      guard let partition = byPartition[PartitionID(Int32(index))] else {
        throw ApiError(.invalidReplicaAssignment, "The assigned partitions must be numbered from 0 without gaps; \(index) is missing.")
      }
      return partition
    }
  }
}

/// Partitions as the placer laid them out.
func newPartitions(_ placements: [[NodeID]], in image: MetadataImage) throws(ApiError) -> [PartitionImage] {
  try placements.map { replicas throws(ApiError) in
    guard let partition = newPartition(replicas, in: image) else {
      throw ApiError(
        .invalidReplicationFactor,
        "Partitions cannot be placed: every chosen broker is fenced or shutting down.")
    }
    return partition
  }
}

func allInactive(_ partition: PartitionID) -> ApiError {
  ApiError(
    .invalidReplicaAssignment,
    "Every broker assigned to partition \(partition) is fenced or shutting down.")
}
