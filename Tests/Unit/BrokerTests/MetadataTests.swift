import Broker
import Model
import Testing
import Wire

@Suite("Metadata and the cluster")
struct MetadataTests {
  private func ask(_ node: TestNode, _ names: [String]?, version: Int16 = 13, autoCreate: Bool = false) throws -> MetadataResponse {
    try node.ask(MetadataRequest(topics: names.map { $0.map { .init(name: $0) } }, allowAutoTopicCreation: autoCreate), version: version)
  }

  @Test("All topics, none, and those named, in every version", arguments: MetadataRequest.supportedVersions)
  func versions(version: Int16) throws {
    let node = try TestNode()
    let id = try node.createTopic("b", partitions: 2)
    try node.createTopic("a")
    let named = try self.ask(node, ["b"], version: version)
    let broker = try #require(named.brokers.first)
    #expect(broker.nodeId == 1 && broker.host == "127.0.0.1" && broker.port == 9092)
    let topic = try #require(named.topics.first)
    #expect(named.topics.count == 1 && topic.name == "b" && topic.errorCode == .none)
    #expect(topic.partitions.map(\.partitionIndex) == [0, 1])
    #expect(topic.partitions.allSatisfy { $0.leaderId == 1 && $0.replicaNodes == [1] && $0.isrNodes == [1] && $0.offlineReplicas == [] })
    if version >= 1 { #expect(named.controllerId == 1) }
    if version >= 2 { #expect(named.clusterId == node.broker.clusterID) }
    if version >= 10 { #expect(topic.topicId == id) }
    let all = try self.ask(node, version == 0 ? [] : nil, version: version)
    #expect(all.topics.map(\.name) == ["a", "b"])
    if version >= 1 { #expect(try self.ask(node, [], version: version).topics.isEmpty) }
  }

  @Test("By id, from v12 on")
  func byID() throws {
    let node = try TestNode()
    let id = try node.createTopic("t")
    let unknown = KafkaUUID(high: 1, low: 2)
    let response = try node.ask(MetadataRequest(topics: [.init(topicId: id, name: nil), .init(topicId: unknown, name: nil)]))
    #expect(response.topics.map(\.name) == ["t", nil])
    #expect(response.topics.map(\.errorCode) == [.none, .unknownTopicId])
    let client = node.connect()
    node.send(MetadataRequest(topics: [.init(topicId: id, name: nil)]), version: 10, from: client)
    #expect(client.sink.closeReason != nil)
  }

  @Test("Missing topics: made if they may be, else an error each")
  func missing() throws {
    let node = try TestNode(settings: ["num.partitions": "3"])
    let refused = try self.ask(node, ["new", "bad/name", "new"])
    #expect(refused.topics.map(\.errorCode) == [.unknownTopicOrPartition, .invalidTopicException])
    let created = try self.ask(node, ["new", "bad/name"], autoCreate: true)
    #expect(created.topics.map(\.errorCode) == [.none, .invalidTopicException])
    #expect(created.topics[0].partitions.count == 3)
    #expect(try node.produce("new", partition: 2, ["x"]).errorCode == .none)

    let strict = try TestNode(settings: ["auto.create.topics.enable": "false"])
    #expect(try self.ask(strict, ["new"], autoCreate: true).topics.map(\.errorCode) == [.unknownTopicOrPartition])
    #expect(try self.ask(strict, nil).topics.isEmpty)
  }

  @Test("Before v4 a client cannot say that nothing is to be created")
  func oldAutoCreation() throws {
    let node = try TestNode()
    #expect(try self.ask(node, ["new"], version: 3).topics.map(\.errorCode) == [.none])
  }

  @Test("A listener the broker is not reached by has no leader")
  func otherListener() throws {
    let node = try TestNode()
    try node.createTopic("t")
    let client = TestClient(connectionID: 50, listener: "OTHER")
    let response = try node.ask(MetadataRequest(topics: nil), from: client)
    #expect(response.brokers.isEmpty && response.controllerId == -1)
    #expect(response.topics[0].partitions[0].errorCode == .listenerNotFound)
    let old = try node.ask(MetadataRequest(topics: nil), version: 5, from: client)
    #expect(old.topics[0].partitions[0].errorCode == .leaderNotAvailable)
  }

  @Test("Authorized operations are told when asked for")
  func operations() throws {
    let node = try TestNode()
    try node.createTopic("t")
    let silent = try node.ask(MetadataRequest(topics: nil), version: 10)
    #expect(silent.topics[0].topicAuthorizedOperations == .min && silent.clusterAuthorizedOperations == .min)
    let told = try node.ask(
      MetadataRequest(topics: nil, includeClusterAuthorizedOperations: true, includeTopicAuthorizedOperations: true), version: 10)
    #expect(told.topics[0].topicAuthorizedOperations == 3_576 && told.clusterAuthorizedOperations == 8_096)
  }

  @Test("DescribeCluster", arguments: DescribeClusterRequest.supportedVersions)
  func cluster(version: Int16) throws {
    let node = try TestNode(settings: ["broker.rack": "r1"])
    let response = try node.ask(DescribeClusterRequest(includeClusterAuthorizedOperations: true), version: version)
    #expect(response.errorCode == .none && response.clusterId == node.broker.clusterID && response.controllerId == 1)
    #expect(response.brokers.map(\.rack) == ["r1"])
    #expect(response.clusterAuthorizedOperations == 8_096)
    if version >= 1 {
      #expect(try node.ask(DescribeClusterRequest(endpointType: 2), version: version).errorCode == .mismatchedEndpointType)
      #expect(try node.ask(DescribeClusterRequest(endpointType: 7), version: version).errorCode == .unsupportedEndpointType)
    }
  }

  @Test("DescribeTopicPartitions pages through all topics and through those named")
  func pages() throws {
    let node = try TestNode()
    for (name, count) in [("a", Int32(3)), ("b", 2), ("c", 4)] { try node.createTopic(name, partitions: count) }
    var seen: [String] = []
    var cursor: DescribeTopicPartitionsRequest.Cursor?
    for _ in 0..<10 {
      let response = try node.ask(DescribeTopicPartitionsRequest(responsePartitionLimit: 2, cursor: cursor))
      #expect(response.topics.reduce(0) { $0 + $1.partitions.count } <= 2)
      for topic in response.topics { seen += topic.partitions.map { "\(topic.name ?? "")\($0.partitionIndex)" } }
      guard let next = response.nextCursor else { break }
      cursor = .init(topicName: next.topicName, partitionIndex: next.partitionIndex)
    }
    #expect(seen == ["a0", "a1", "a2", "b0", "b1", "c0", "c1", "c2", "c3"])
    let named = try node.ask(DescribeTopicPartitionsRequest(topics: [.init(name: "c"), .init(name: "no"), .init(name: "a")]))
    #expect(named.topics.map(\.name) == ["a", "c", "no"])
    #expect(named.topics.map(\.errorCode) == [.none, .none, .unknownTopicOrPartition])
    #expect(named.topics[0].topicAuthorizedOperations == 3_576)
    let client = node.connect()
    node.send(DescribeTopicPartitionsRequest(cursor: .init(topicName: "a", partitionIndex: -1)), from: client)
    #expect(client.sink.closeReason != nil)
  }
}
