import Base
import Model
import NIOCore
import Wire

// Who leads and who holds partitions, and changes of it.
extension KafkaAdmin {
  /// Partitions to describe in one request. Brokers cut longer ones by themselves.
  private static let describedPartitionsMax: Int32 = 2000

  /// Describes topics with all that is known of who may lead them (KIP-966), in pages. One result per name, in order; all topics of the
  /// cluster come sorted by name. Where the cluster is too old, what `describeTopics` knows.
  public func describePartitions(_ names: [String]? = nil) async throws(KafkaError) -> [Result<TopicDescription, KafkaError>] {
    let pages: [DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic]
    do throws(KafkaError) {
      pages = try await self.partitionPages(names)
    } catch {
      if error.kind == .unsupportedVersion { return try await self.describeTopics(names) }
      throw error
    }
    // A topic with many partitions is spread over several pages.
    var topics: [String: Result<TopicDescription, KafkaError>] = [:]
    for page in pages {
      guard let name = page.name else { continue }
      if page.errorCode != .none {
        topics[name] = .failure(KafkaError(page.errorCode, about: "topic \(name)"))
        continue
      }
      var topic: TopicDescription
      if case .success(let known)? = topics[name] {
        topic = known
      } else {
        topic = TopicDescription(
          name: name, id: page.topicId == .zero ? nil : "\(page.topicId)", isInternal: page.isInternal, partitions: [])
      }
      topic.partitions += page.partitions.map { partition in
        PartitionDescription(
          partition: partition.partitionIndex, leader: partition.leaderId < 0 ? nil : partition.leaderId,
          leaderEpoch: partition.leaderEpoch, replicas: partition.replicaNodes, inSyncReplicas: partition.isrNodes,
          offlineReplicas: partition.offlineReplicas, eligibleLeaderReplicas: partition.eligibleLeaderReplicas ?? [],
          lastKnownEligibleLeaderReplicas: partition.lastKnownElr ?? [])
      }
      topics[name] = .success(topic)
    }
    return (names ?? topics.keys.sorted()).map { topics[$0] ?? .failure(Self.missing("topic \($0)")) }
  }

  private func partitionPages(
    _ names: [String]?
  ) async throws(KafkaError) -> [DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic] {
    // No names at all would mean every topic.
    if let names, names.isEmpty { return [] }
    var request = DescribeTopicPartitionsRequest(responsePartitionLimit: Self.describedPartitionsMax)
    request.topics = (names ?? []).map { .init(name: $0) }
    var pages: [DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic] = []
    while true {
      let asked = request
      let response = try await self.cluster.retrying("describe partitions") { () throws(KafkaError) in
        try await self.cluster.send(asked, to: .any)
      }
      pages += response.topics
      guard let cursor = response.nextCursor else { return pages }
      // A cursor that does not move would be asked for ever.
      if let last = request.cursor, last.topicName == cursor.topicName, last.partitionIndex == cursor.partitionIndex {
        throw KafkaError(.malformed, "the broker answers with the same page of partitions again and again")
      }
      request.cursor = .init(topicName: cursor.topicName, partitionIndex: cursor.partitionIndex)
    }
  }

  /// The given configurations of several topics, by topic. Topics that the cluster does not know are left out.
  public func topicConfigs(_ topics: [String], names: [String]) async throws(KafkaError) -> [String: [String: String]] {
    var configs: [String: [String: String]] = [:]
    var rest = topics[...]
    while !rest.isEmpty {
      let request = DescribeConfigsRequest(
        resources: rest.prefix(500).map { .init(resourceType: 2, resourceName: $0, configurationKeys: names) })
      rest = rest.dropFirst(500)
      let response = try await self.cluster.retrying("describe configs") { () throws(KafkaError) in
        try await self.cluster.send(request, to: .any)
      }
      for result in response.results {
        if result.errorCode == .unknownTopicOrPartition { continue }
        if result.errorCode != .none { throw KafkaError(result.errorCode, result.errorMessage, about: "topic \(result.resourceName)") }
        configs[result.resourceName] = Dictionary(
          result.configs.compactMap { config in config.value.map { (config.name, $0) } }, uniquingKeysWith: { $1 })
      }
    }
    return configs
  }

  // MARK: Elections

  /// Has leaders elected. The result has an error, or nil, for each partition; `ELECTION_NOT_NEEDED` where the one there is may stay.
  ///
  /// - Parameter partitions: nil: all of the cluster. Then those that need no election are left out.
  public func electLeaders(
    _ type: ElectionType, _ partitions: [TopicPartition]? = nil
  ) async throws(KafkaError) -> [TopicPartition: KafkaError?] {
    var request = ElectLeadersRequest(electionType: type == .preferred ? 0 : 1, topicPartitions: nil, timeoutMs: self.timeoutMs)
    request.topicPartitions = partitions.map { partitions in
      Self.grouped(partitions).map { .init(topic: $0.topic, partitions: $0.partitions.map(\.partition)) }
    }
    let asked = request
    let response = try await self.cluster.retrying("elect leaders") { () throws(KafkaError) in
      let (response, version) = try await self.cluster.sendTellingVersion(asked, to: .controller)
      if version == 0, type == .unclean {
        throw KafkaError(.unsupportedVersion, "the cluster is too old: it elects preferred leaders only")
      }
      if response.errorCode != .none { throw KafkaError(response.errorCode, about: "election of leaders") }
      return response
    }
    var results: [TopicPartition: KafkaError?] = [:]
    for topic in response.replicaElectionResults {
      for answer in topic.partitionResult {
        let partition = TopicPartition(topic: topic.topic, partition: answer.partitionId)
        let error = answer.errorCode == .none ? nil : KafkaError(answer.errorCode, answer.errorMessage, about: "\(partition)")
        results.updateValue(error, forKey: partition)
      }
    }
    return results
  }

  /// Where each partition's log ends at one replica, leader or not, asked once. Offsets beyond the high watermark count: this is what
  /// would be kept if the replica led.
  public func logEnds(
    of partitions: [TopicPartition], on node: Int32
  ) async throws(KafkaError) -> [TopicPartition: Result<ReplicaLogEnd, KafkaError>] {
    try await self.refreshIfUnknown(node)
    // -2 is who debugs: any replica answers, and tells all it has.
    var ends = ListOffsetsRequest(replicaId: -2, timeoutMs: self.timeoutMs)
    ends.topics = Self.grouped(partitions).map { topic, partitions in
      .init(name: topic, partitions: partitions.map { .init(partitionIndex: $0.partition, timestamp: OffsetSpec.latest.wireValue) })
    }
    var results: [TopicPartition: Result<ReplicaLogEnd, KafkaError>] = [:]
    for topic in try await self.cluster.send(ends, to: .node(node)).topics {
      for answer in topic.partitions {
        let partition = TopicPartition(topic: topic.name, partition: answer.partitionIndex)
        results[partition] =
          answer.errorCode == .none
          ? .success(ReplicaLogEnd(
            offset: answer.offset, leaderEpoch: answer.leaderEpoch < 0 ? nil : answer.leaderEpoch, highWatermark: nil))
          : .failure(KafkaError(answer.errorCode, about: "\(partition) on broker \(node)"))
      }
    }
    for (partition, watermark) in try await self.highWatermarks(of: results.compactMap { (try? $1.get()) == nil ? nil : $0 }, on: node) {
      guard case .success(var end)? = results[partition] else { continue }
      end.highWatermark = watermark
      results[partition] = .success(end)
    }
    return results
  }

  /// What one replica, leader or follower (KIP-392), knows to be committed. Those that it does not tell are left out.
  private func highWatermarks(of partitions: [TopicPartition], on node: Int32) async throws(KafkaError) -> [TopicPartition: Int64] {
    if partitions.isEmpty { return [:] }
    // A fetch has to begin at a place that the replica serves.
    var starts = ListOffsetsRequest(replicaId: -2, timeoutMs: self.timeoutMs)
    starts.topics = Self.grouped(partitions).map { topic, partitions in
      .init(name: topic, partitions: partitions.map { .init(partitionIndex: $0.partition, timestamp: OffsetSpec.earliest.wireValue) })
    }
    var fetch = FetchRequest(replicaId: -1, maxWaitMs: 0, minBytes: 0, maxBytes: 1)
    (fetch.sessionId, fetch.sessionEpoch) = (0, -1)
    fetch.topics = try await self.cluster.send(starts, to: .node(node)).topics.map { topic in
      .init(
        topic: topic.name,
        partitions: topic.partitions.filter { $0.errorCode == .none }.map {
          .init(partition: $0.partitionIndex, fetchOffset: $0.offset, partitionMaxBytes: 1)
        })
    }
    let asked = fetch
    // Up to version 12 topics go by their names.
    let response = try await self.cluster.onLoop { [cluster] in
      cluster.connection(to: .node(node)).flatMap { $0.send(asked, notAbove: 12) }
    }
    var watermarks: [TopicPartition: Int64] = [:]
    for topic in response.responses {
      for answer in topic.partitions where answer.errorCode == .none && answer.highWatermark >= 0 {
        watermarks[TopicPartition(topic: topic.topic, partition: answer.partitionIndex)] = answer.highWatermark
      }
    }
    return watermarks
  }

  // MARK: Reassignments

  /// Gives partitions to other brokers: the replicas each is to have, the preferred leader first. Nil cancels what is under way.
  /// An error, or nil, for each partition.
  public func alterReassignments(_ targets: [TopicPartition: [Int32]?]) async throws(KafkaError) -> [TopicPartition: KafkaError?] {
    var request = AlterPartitionReassignmentsRequest(timeoutMs: self.timeoutMs)
    request.topics = Self.grouped(Array(targets.keys)).map { topic, partitions in
      .init(name: topic, partitions: partitions.map { .init(partitionIndex: $0.partition, replicas: targets[$0] ?? nil) })
    }
    let asked = request
    let response = try await self.cluster.retrying("reassign partitions") { () throws(KafkaError) in
      let response = try await self.cluster.send(asked, to: .controller)
      if response.errorCode != .none { throw KafkaError(response.errorCode, response.errorMessage, about: "reassignment") }
      return response
    }
    var results: [TopicPartition: KafkaError?] = [:]
    for topic in response.responses {
      for answer in topic.partitions {
        let partition = TopicPartition(topic: topic.name, partition: answer.partitionIndex)
        let error = answer.errorCode == .none ? nil : KafkaError(answer.errorCode, answer.errorMessage, about: "\(partition)")
        results.updateValue(error, forKey: partition)
      }
    }
    return results
  }

  /// The reassignments that are under way, of the given partitions or of all.
  public func listReassignments(_ partitions: [TopicPartition]? = nil) async throws(KafkaError) -> [TopicPartition: Reassignment] {
    var request = ListPartitionReassignmentsRequest(timeoutMs: self.timeoutMs)
    request.topics = partitions.map { partitions in
      Self.grouped(partitions).map { .init(name: $0.topic, partitionIndexes: $0.partitions.map(\.partition)) }
    }
    let asked = request
    let response = try await self.cluster.retrying("list reassignments") { () throws(KafkaError) in
      let response = try await self.cluster.send(asked, to: .controller)
      if response.errorCode != .none { throw KafkaError(response.errorCode, response.errorMessage, about: "reassignments") }
      return response
    }
    var found: [TopicPartition: Reassignment] = [:]
    for topic in response.topics {
      for partition in topic.partitions {
        found[TopicPartition(topic: topic.name, partition: partition.partitionIndex)] = Reassignment(
          replicas: partition.replicas, adding: partition.addingReplicas, removing: partition.removingReplicas)
      }
    }
    return found
  }
}
