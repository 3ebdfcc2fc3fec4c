import Base
import Model
import NIOCore
import Wire

/// Administers a cluster: topics, partitions, configuration, offsets. Works with any Kafka broker.
///
/// Every call finds the right broker by itself and repeats itself after passing failures, up to
/// `ClientConfiguration.operationTimeout`. Errors are `KafkaError`s; where a call takes several names, the result tells them apart.
public final class KafkaAdmin: Sendable {
  package let cluster: ClusterClient

  public init(_ configuration: ClientConfiguration) { self.cluster = ClusterClient(configuration) }

  deinit {
    let cluster = self.cluster
    cluster.eventLoop.execute { cluster.close() }
  }

  /// Closes the connections. Calls that wait fail with `.closed`.
  public func close() async {
    _ = try? await self.cluster.onLoop { [cluster] in
      cluster.close()
      return cluster.eventLoop.makeSucceededVoidFuture()
    }
  }

  /// How long a broker may take over one request.
  var timeoutMs: Int32 { Int32(clamping: self.cluster.configuration.requestTimeout.wholeMilliseconds) }

  // MARK: Topics

  /// Creates topics, or only checks whether that would succeed. One result per topic, in order.
  public func createTopics(
    _ topics: [NewTopic], validateOnly: Bool = false
  ) async throws(KafkaError) -> [Result<CreatedTopic, KafkaError>] {
    var request = CreateTopicsRequest(timeoutMs: self.timeoutMs, validateOnly: validateOnly)
    request.topics = topics.map { topic in
      CreateTopicsRequest.CreatableTopic(
        name: topic.name, numPartitions: topic.partitions ?? -1, replicationFactor: topic.replicationFactor ?? -1,
        assignments: topic.assignments.sorted { $0.key < $1.key }.map { .init(partitionIndex: $0.key, brokerIds: $0.value) },
        configs: topic.configs.sorted { $0.key < $1.key }.map { .init(name: $0.key, value: $0.value) })
    }
    let answers = try await self.cluster.retrying("create topics") { () throws(KafkaError) in
      let response = try await self.cluster.send(request, to: .controller)
      if response.topics.contains(where: { $0.errorCode == .notController }) { throw KafkaError(.notController) }
      return response.topics
    }
    return topics.map { topic in
      guard let answer = answers.first(where: { $0.name == topic.name }) else { return .failure(Self.missing("topic \(topic.name)")) }
      if answer.errorCode != .none { return .failure(KafkaError(answer.errorCode, answer.errorMessage, about: "topic \(topic.name)")) }
      return .success(CreatedTopic(
        name: answer.name, id: answer.topicId == .zero ? nil : "\(answer.topicId)",
        partitions: answer.numPartitions, replicationFactor: answer.replicationFactor))
    }
  }

  /// Deletes topics and everything in them. One error, or nil, per topic, in order.
  public func deleteTopics(_ names: [String]) async throws(KafkaError) -> [KafkaError?] {
    var request = DeleteTopicsRequest(timeoutMs: self.timeoutMs)
    // The list of names serves versions up to 5, the list of states those after it.
    request.topicNames = names
    request.topics = names.map { DeleteTopicsRequest.DeleteTopicState(name: $0) }
    let answers = try await self.cluster.retrying("delete topics") { () throws(KafkaError) in
      let response = try await self.cluster.send(request, to: .controller)
      if response.responses.contains(where: { $0.errorCode == .notController }) { throw KafkaError(.notController) }
      return response.responses
    }
    return names.map { name in
      guard let answer = answers.first(where: { $0.name == name }) else { return Self.missing("topic \(name)") }
      return answer.errorCode == .none ? nil : KafkaError(answer.errorCode, answer.errorMessage, about: "topic \(name)")
    }
  }

  /// Describes topics by name, or every topic of the cluster. One result per name, in order; all topics come sorted by name.
  public func describeTopics(_ names: [String]? = nil) async throws(KafkaError) -> [Result<TopicDescription, KafkaError>] {
    try await self.refresh(names)
    let metadata = try await self.metadata()
    let wanted = names ?? metadata.topics.keys.sorted()
    return wanted.map { name in
      guard let topic = metadata.topics[name] else { return .failure(Self.missing("topic \(name)")) }
      if topic.errorCode != .none { return .failure(KafkaError(topic.errorCode, about: "topic \(name)")) }
      let partitions = topic.partitions.enumerated().compactMap { index, partition in
        partition.map { partition in
          PartitionDescription(
            partition: Int32(index), leader: partition.leader < 0 ? nil : partition.leader, leaderEpoch: partition.leaderEpoch,
            replicas: partition.replicas, inSyncReplicas: partition.inSyncReplicas, offlineReplicas: partition.offlineReplicas)
        }
      }
      return .success(TopicDescription(
        name: name, id: topic.id == .zero ? nil : "\(topic.id)", isInternal: topic.isInternal, partitions: partitions))
    }
  }

  /// Gives a topic more partitions. `count` is the number in all; it can only grow.
  public func createPartitions(_ topic: String, count: Int32, validateOnly: Bool = false) async throws(KafkaError) {
    let request = CreatePartitionsRequest(
      topics: [.init(name: topic, count: count, assignments: nil)], timeoutMs: self.timeoutMs, validateOnly: validateOnly)
    try await self.cluster.retrying("create partitions") { () throws(KafkaError) in
      let response = try await self.cluster.send(request, to: .controller)
      guard let answer = response.results.first else { throw Self.missing("topic \(topic)") }
      if answer.errorCode != .none { throw KafkaError(answer.errorCode, answer.errorMessage, about: "topic \(topic)") }
    }
  }

  // MARK: Configuration

  /// The configuration of a topic or a broker, by name. Without `names` all of it.
  public func describeConfigs(_ resource: ConfigResource, names: [String]? = nil) async throws(KafkaError) -> [ConfigEntry] {
    let request = DescribeConfigsRequest(
      resources: [.init(resourceType: resource.type, resourceName: resource.name, configurationKeys: names)])
    return try await self.cluster.retrying("describe configs") { () throws(KafkaError) in
      let response = try await self.cluster.send(request, to: self.target(for: resource))
      guard let answer = response.results.first else { throw Self.missing("configuration of \(resource.name)") }
      if answer.errorCode != .none { throw KafkaError(answer.errorCode, answer.errorMessage, about: resource.name) }
      return answer.configs.map(ConfigEntry.init).sorted { $0.name < $1.name }
    }
  }

  /// Changes some values of a configuration and leaves the others.
  public func alterConfigs(
    _ resource: ConfigResource, _ changes: [String: ConfigChange], validateOnly: Bool = false
  ) async throws(KafkaError) {
    let configs = changes.sorted { $0.key < $1.key }.map { name, change in
      let (operation, value): (Int8, String?) =
        switch change {
        case .set(let value): (0, value)
        case .delete: (1, nil)
        case .append(let value): (2, value)
        case .subtract(let value): (3, value)
        }
      return IncrementalAlterConfigsRequest.AlterableConfig(name: name, configOperation: operation, value: value)
    }
    let request = IncrementalAlterConfigsRequest(
      resources: [.init(resourceType: resource.type, resourceName: resource.name, configs: configs)], validateOnly: validateOnly)
    try await self.cluster.retrying("alter configs") { () throws(KafkaError) in
      let response = try await self.cluster.send(request, to: self.target(for: resource))
      guard let answer = response.responses.first else { throw Self.missing("configuration of \(resource.name)") }
      if answer.errorCode != .none { throw KafkaError(answer.errorCode, answer.errorMessage, about: resource.name) }
    }
  }

  /// A broker answers for itself; for topics any broker does, changes are forwarded to the controller.
  private func target(for resource: ConfigResource) -> ClusterClient.Target {
    if case .broker(let id) = resource { .node(id) } else { .any }
  }

  // MARK: Records and offsets

  /// Finds offsets. One result per partition.
  public func listOffsets(
    _ specs: [TopicPartition: OffsetSpec], readCommitted: Bool = false
  ) async throws(KafkaError) -> [TopicPartition: Result<ListedOffset, KafkaError>] {
    var results: [TopicPartition: Result<ListedOffset, KafkaError>] = [:]
    try await self.perLeader(Array(specs.keys), "list offsets") { node, partitions throws(KafkaError) in
      var request = ListOffsetsRequest(replicaId: -1, isolationLevel: readCommitted ? 1 : 0, timeoutMs: self.timeoutMs)
      request.topics = Self.grouped(partitions).map { topic, partitions in
        .init(name: topic, partitions: partitions.map { .init(partitionIndex: $0.partition, timestamp: specs[$0]!.wireValue) })
      }
      let response = try await self.cluster.send(request, to: .node(node))
      var failures: [TopicPartition: KafkaError] = [:]
      for topic in response.topics {
        for answer in topic.partitions {
          let partition = TopicPartition(topic: topic.name, partition: answer.partitionIndex)
          if answer.errorCode != .none {
            failures[partition] = KafkaError(answer.errorCode, about: "\(partition)")
          } else {
            results[partition] = .success(ListedOffset(offset: answer.offset, timestamp: answer.timestamp, leaderEpoch: answer.leaderEpoch))
          }
        }
      }
      return failures
    } failed: { results[$0] = .failure($1) }
    return results
  }

  /// Deletes every record before the given offset (-1: all there are). Answers with the new first offset of each partition.
  public func deleteRecords(
    before offsets: [TopicPartition: Int64]
  ) async throws(KafkaError) -> [TopicPartition: Result<Int64, KafkaError>] {
    var results: [TopicPartition: Result<Int64, KafkaError>] = [:]
    try await self.perLeader(Array(offsets.keys), "delete records") { node, partitions throws(KafkaError) in
      var request = DeleteRecordsRequest(timeoutMs: self.timeoutMs)
      request.topics = Self.grouped(partitions).map { topic, partitions in
        .init(name: topic, partitions: partitions.map { .init(partitionIndex: $0.partition, offset: offsets[$0]!) })
      }
      let response = try await self.cluster.send(request, to: .node(node))
      var failures: [TopicPartition: KafkaError] = [:]
      for topic in response.topics {
        for answer in topic.partitions {
          let partition = TopicPartition(topic: topic.name, partition: answer.partitionIndex)
          if answer.errorCode == .none {
            results[partition] = .success(answer.lowWatermark)
          } else {
            failures[partition] = KafkaError(answer.errorCode, about: "\(partition)")
          }
        }
      }
      return failures
    } failed: { results[$0] = .failure($1) }
    return results
  }

  // MARK: Log directories

  /// The log directories of the given brokers (nil: all), with the replicas of the given topics (nil: all) in them.
  public func describeLogDirectories(brokers: [Int32]? = nil, topics: [TopicPartition]? = nil) async throws(KafkaError) -> [LogDirectory] {
    let nodes: [Int32]
    if let brokers { nodes = brokers } else { nodes = try await self.describeCluster().brokers.map(\.id) }
    var request = DescribeLogDirsRequest()
    request.topics = topics.map { topics in
      Self.grouped(topics).map { .init(topic: $0.topic, partitions: $0.partitions.map(\.partition)) }
    }
    var directories: [LogDirectory] = []
    for node in nodes {
      if brokers != nil { try await self.refreshIfUnknown(node) }
      let response = try await self.cluster.retrying("describe log directories") { () throws(KafkaError) in
        try await self.cluster.send(request, to: .node(node))
      }
      if response.errorCode != .none { throw KafkaError(response.errorCode, about: "log directories of broker \(node)") }
      for result in response.results {
        if result.errorCode != .none { throw KafkaError(result.errorCode, about: "log directory \(result.logDir) of broker \(node)") }
        let replicas = result.topics.flatMap { topic in
          topic.partitions.filter { !$0.isFutureKey }.map {
            LogDirectory.Replica(
              partition: TopicPartition(topic: topic.name, partition: $0.partitionIndex), byteCount: $0.partitionSize,
              offsetLag: $0.offsetLag)
          }
        }
        directories.append(LogDirectory(
          broker: node, path: result.logDir, totalByteCount: result.totalBytes, usableByteCount: result.usableBytes,
          replicas: replicas.sorted { $0.partition < $1.partition }))
      }
    }
    return directories
  }
}

// MARK: - Finding the right broker

extension KafkaAdmin {
  static func missing(_ subject: String) -> KafkaError {
    KafkaError(.malformed, "the broker's answer says nothing about \(subject)")
  }

  static func grouped(_ partitions: [TopicPartition]) -> [(topic: String, partitions: [TopicPartition])] {
    Dictionary(grouping: partitions, by: \.topic).sorted { $0.key < $1.key }.map { ($0.key, $0.value.sorted()) }
  }

  func refresh(_ topics: [String]?) async throws(KafkaError) {
    try await self.cluster.retrying("ask for metadata") { () throws(KafkaError) in
      try await self.cluster.onLoop { [cluster] in
        if let topics { for topic in topics { cluster.forget(topic: topic) } }
        return cluster.refreshMetadata(topics: topics.map(Set.init))
      }
    }
  }

  func refreshIfUnknown(_ node: Int32) async throws(KafkaError) {
    if try await self.metadata().brokers[node] == nil { try await self.refresh([]) }
  }

  func metadata() async throws(KafkaError) -> ClusterMetadata {
    try await self.cluster.onLoop { [cluster] in cluster.eventLoop.makeSucceededFuture(cluster.metadata) }
  }

  /// Sends one request per leader, and again, with fresh metadata, for the partitions that failed for a passing reason.
  ///
  /// `send` reports the failures of single partitions; `failed` gets those that stand in the end.
  func perLeader(
    _ partitions: [TopicPartition], _ operation: String,
    send: (Int32, [TopicPartition]) async throws(KafkaError) -> [TopicPartition: KafkaError],
    failed: (TopicPartition, KafkaError) -> Void
  ) async throws(KafkaError) {
    var left = partitions
    var last: [TopicPartition: KafkaError] = [:]
    do throws(KafkaError) {
      try await self.cluster.retrying(operation) { () throws(KafkaError) in
        try await self.refresh(Array(Set(left.map(\.topic))))
        let metadata = try await self.metadata()
        var byLeader: [Int32: [TopicPartition]] = [:]
        last = [:]
        for partition in left {
          let topic = metadata.topics[partition.topic]
          if let known = metadata.partition(partition.partition, of: partition.topic), known.leader >= 0 {
            byLeader[known.leader, default: []].append(partition)
          } else if let topic, topic.errorCode != .none {
            last[partition] = KafkaError(topic.errorCode, about: "topic \(partition.topic)")
          } else if metadata.partition(partition.partition, of: partition.topic) == nil {
            // A partition that is not there will not come by waiting.
            last[partition] = KafkaError(.invalidArgument, "topic \(partition.topic) has no partition \(partition.partition)")
          } else {
            last[partition] = KafkaError(.leaderNotAvailable, about: "\(partition)")
          }
        }
        for (leader, partitions) in byLeader.sorted(by: { $0.key < $1.key }) {
          last.merge(try await send(leader, partitions)) { $1 }
        }
        for (partition, error) in last where !error.isRetriable || error.code == .unknownTopicOrPartition {
          failed(partition, error)
          last[partition] = nil
        }
        left = Array(last.keys)
        if let error = last.values.first { throw error }
      }
    } catch {
      if last.isEmpty { throw error }
      for (partition, error) in last { failed(partition, error) }
    }
  }
}

extension ConfigEntry {
  init(_ entry: DescribeConfigsResponse.DescribeConfigsResourceResult) {
    let source: Source =
      switch entry.configSource {
      case 1: .topic
      case 2: .broker
      case 3: .clusterDefault
      case 4: .staticFile
      case 5: .defaultValue
      default: .other
      }
    self.init(name: entry.name, value: entry.value, source: source, isReadOnly: entry.readOnly, isSensitive: entry.isSensitive)
  }
}
