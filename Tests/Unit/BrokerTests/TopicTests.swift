import Base
import Broker
import Environment
import Metadata
import Model
import NIOCore
import Testing
import VirtualWorld
import Wire

@Suite("Topics and configs")
struct TopicTests {
  @Test("Create, in every version", arguments: CreateTopicsRequest.supportedVersions)
  func create(version: Int16) throws {
    let node = try TestNode()
    let request = CreateTopicsRequest(
      topics: [
        .init(name: "t", numPartitions: 2, replicationFactor: 1, configs: [.init(name: "retention.ms", value: "1000")]),
        .init(name: "bad name", numPartitions: 1, replicationFactor: 1),
        .init(name: "wide", numPartitions: 1, replicationFactor: 3),
        .init(name: "odd", numPartitions: 1, replicationFactor: 1, configs: [.init(name: "no.such.config", value: "1")]),
      ], timeoutMs: 1_000)
    let response = try node.ask(request, version: version)
    #expect(response.topics.map(\.errorCode) == [.none, .invalidTopicException, .invalidReplicationFactor, .invalidConfig])
    if version >= 5 {
      #expect(response.topics[0].numPartitions == 2)
      #expect(response.topics[0].configs?.first { $0.name == "retention.ms" }?.value == "1000")
    }
    #expect(try node.produce("t", partition: 1, ["x"]).errorCode == .none)
    #expect(try node.ask(request, version: version).topics[0].errorCode == .topicAlreadyExists)
    var dry = request
    dry.topics = [.init(name: "dry", numPartitions: 1, replicationFactor: 1)]
    dry.validateOnly = true
    #expect(try node.ask(dry, version: version).topics[0].errorCode == .none)
    #expect(try node.ask(MetadataRequest(topics: nil)).topics.map(\.name) == ["t"])
  }

  @Test("Delete by name and id; the same name begins anew; the old files go after their delay")
  func delete() throws {
    let node = try TestNode()
    let id = try node.createTopic("t", configs: ["file.delete.delay.ms": "1000"])
    _ = try node.produce("t", ["old"])
    let unknown = KafkaUUID(high: 5, low: 5)
    let response = try node.ask(
      DeleteTopicsRequest(
        topics: [.init(name: nil, topicId: id), .init(name: "no"), .init(name: nil, topicId: unknown)], timeoutMs: 1_000))
    #expect(response.responses.map(\.errorCode) == [.none, .unknownTopicOrPartition, .unknownTopicId])
    #expect(
      try node.ask(produceRequest("t", try batch(["x"])), version: 12).responses[0].partitionResponses[0].errorCode
        == .unknownTopicOrPartition)
    #expect(try node.disk.list("/data").contains { $0.name.hasSuffix("-delete") })
    #expect(try node.createTopic("t") != id)
    _ = try node.produce("t", ["new"])
    #expect(try node.consume("t") == ["new"])
    node.environment.advance(by: .milliseconds(1_000))
    #expect(try !node.disk.list("/data").contains { $0.name.hasSuffix("-delete") })
    for version in DeleteTopicsRequest.supportedVersions where version < 6 {
      try node.createTopic("v\(version)")
      let old = try node.ask(DeleteTopicsRequest(topicNames: ["v\(version)"], timeoutMs: 1_000), version: version)
      #expect(old.responses.map(\.errorCode) == [.none])
    }
    let strict = try TestNode(settings: ["delete.topic.enable": "false"])
    try strict.createTopic("t")
    #expect(
      try strict.ask(DeleteTopicsRequest(topics: [.init(name: "t")], timeoutMs: 1)).responses[0].errorCode == .topicDeletionDisabled)
    #expect(try strict.ask(DeleteTopicsRequest(topicNames: ["t"], timeoutMs: 1), version: 2).responses[0].errorCode == .invalidRequest)
  }

  @Test("Partitions are added", arguments: CreatePartitionsRequest.supportedVersions)
  func partitions(version: Int16) throws {
    let node = try TestNode()
    try node.createTopic("t")
    _ = try node.produce("t", ["x"])
    func ask(_ name: String, _ count: Int32) throws -> ErrorCode? {
      try node.ask(
        CreatePartitionsRequest(topics: [.init(name: name, count: count, assignments: nil)], timeoutMs: 1_000), version: version
      ).results.first?.errorCode
    }
    #expect(try ask("t", 3) == ErrorCode.none)
    #expect(try ask("t", 2) == .invalidPartitions)
    #expect(try ask("no", 2) == .unknownTopicOrPartition)
    #expect(try node.produce("t", partition: 2, ["y"]).errorCode == .none)
    #expect(try node.consume("t") == ["x"])
  }

  @Test("Configs are altered, described, and take effect")
  func configs() throws {
    let node = try TestNode()
    try node.createTopic("t")
    func describe(_ name: String, keys: [String]?, type: Int8 = 2, version: Int16 = 4) throws
      -> DescribeConfigsResponse.DescribeConfigsResult
    {
      let request = DescribeConfigsRequest(
        resources: [.init(resourceType: type, resourceName: name, configurationKeys: keys)], includeSynonyms: true,
        includeDocumentation: true)
      return try #require(try node.ask(request, version: version).results.first)
    }
    for version in DescribeConfigsRequest.supportedVersions {
      let initial = try describe("t", keys: ["max.message.bytes"], version: version)
      #expect(initial.configs.map(\.value) == ["1048588"] && initial.configs[0].configSource == 5)
      #expect(initial.configs[0].synonyms.map(\.name) == ["message.max.bytes"])
    }
    for version in IncrementalAlterConfigsRequest.supportedVersions {
      let altered = try node.ask(
        IncrementalAlterConfigsRequest(
          resources: [
            .init(resourceType: 2, resourceName: "t", configs: [.init(name: "max.message.bytes", configOperation: 0, value: "100")]),
            .init(resourceType: 2, resourceName: "t2", configs: []),
            .init(resourceType: 77, resourceName: "x", configs: []),
            .init(resourceType: 4, resourceName: "zz", configs: []),
          ]), version: version)
      #expect(altered.responses.map(\.errorCode) == [.none, .unknownTopicOrPartition, .invalidRequest, .invalidRequest])
      #expect(altered.responses.map(\.resourceName) == ["t", "t2", "x", "zz"])
    }
    #expect(try describe("t", keys: ["max.message.bytes"]).configs.map(\.value) == ["100"])
    #expect(try node.produce("t", [String(repeating: "x", count: 200)]).errorCode == .messageTooLarge)
    #expect(node.events.contains { if case .topicConfigChanged("t") = $0 { true } else { false } })
    for version in AlterConfigsRequest.supportedVersions {
      let replaced = try node.ask(
        AlterConfigsRequest(resources: [.init(resourceType: 2, resourceName: "t", configs: [.init(name: "retention.ms", value: "77")])]),
        version: version)
      #expect(replaced.responses.map(\.errorCode) == [.none])
    }
    #expect(try describe("t", keys: nil).configs.filter { $0.configSource == 1 }.map(\.name) == ["retention.ms"])
    #expect(try node.produce("t", [String(repeating: "x", count: 200)]).errorCode == .none)
    // The default of all topics, set on the broker while it runs.
    _ = try node.ask(
      IncrementalAlterConfigsRequest(
        resources: [
          .init(resourceType: 4, resourceName: "", configs: [.init(name: "message.max.bytes", configOperation: 0, value: "150")])
        ]))
    #expect(try node.produce("t", [String(repeating: "x", count: 200)]).errorCode == .messageTooLarge)
    // The second is what every cluster's metadata begin with.
    #expect(try describe("", keys: nil, type: 4).configs.map(\.name) == ["message.max.bytes", "min.insync.replicas"])
    let broker = try describe("1", keys: ["message.max.bytes", "node.id"], type: 4)
    #expect(broker.configs.map(\.name) == ["message.max.bytes", "node.id"] && broker.configs.map(\.readOnly) == [false, true])
    #expect(broker.configs[0].documentation?.isEmpty == false)
    #expect(try describe("2", keys: nil, type: 4).errorCode == .invalidRequest)
    #expect(try describe("no", keys: nil).errorCode == .unknownTopicOrPartition)
    #expect(try describe("bad name", keys: nil).errorCode == .invalidTopicException)
    #expect(try describe("1", keys: nil, type: 77).errorCode == .invalidRequest)
  }

  @Test("ListConfigResources")
  func resources() throws {
    let node = try TestNode()
    try node.createTopic("t")
    let all = try node.ask(ListConfigResourcesRequest())
    #expect(all.configResources.map(\.resourceName) == ["t", "1", "1"] && all.configResources.map(\.resourceType) == [2, 4, 8])
    #expect(try node.ask(ListConfigResourcesRequest(resourceTypes: [2])).configResources.map(\.resourceName) == ["t"])
    #expect(try node.ask(ListConfigResourcesRequest(resourceTypes: [99])).errorCode == .unsupportedVersion)
    #expect(try node.ask(ListConfigResourcesRequest(), version: 0).configResources.isEmpty)
  }

  @Test("DescribeLogDirs", arguments: DescribeLogDirsRequest.supportedVersions)
  func logDirs(version: Int16) throws {
    let node = try TestNode()
    node.disk.setCapacity(1 << 30)
    try node.createTopic("a", partitions: 2)
    try node.createTopic("b")
    let records = try batch(["x"])
    _ = try node.ask(produceRequest("a", partition: 1, records), version: 12)
    let all = try #require(try node.ask(DescribeLogDirsRequest(topics: nil), version: version).results.first)
    #expect(all.logDir == "/data" && all.errorCode == .none)
    #expect(all.topics.map(\.name) == ["a", "b"])
    #expect(all.topics[0].partitions.map(\.partitionSize) == [0, Int64(records.readableBytes)])
    // Of the volume, not of this broker: what else is on it counts as well.
    if version >= 4 { #expect(all.totalBytes == 1 << 30 && all.usableBytes == 1 << 30 - Int64(node.disk.usedByteCount)) }
    let some = try #require(
      try node.ask(DescribeLogDirsRequest(topics: [.init(topic: "a", partitions: [1])]), version: version).results.first)
    #expect(some.topics.map(\.name) == ["a"] && some.topics[0].partitions.map(\.partitionIndex) == [1])
    #expect(try node.ask(DescribeLogDirsRequest(topics: []), version: version).results.first?.topics.isEmpty == true)
  }

  @Test("A controller that does not answer in time is not waited for")
  func controllerTimeout() throws {
    let node = try TestNode()
    node.environment.hold(.metadata)
    let pending = node.send(CreateTopicsRequest(topics: [.init(name: "t", numPartitions: 1, replicationFactor: 1)], timeoutMs: 300))
    node.environment.advance(by: .milliseconds(299))
    #expect(!pending.isAnswered)
    node.environment.advance(by: .milliseconds(1))
    #expect(try pending.response()?.topics.map(\.errorCode) == [.requestTimedOut])
    node.environment.release(.metadata)
    node.environment.settle()
    #expect(!pending.sink.answeredTwice)
    #expect(try node.produce("t", ["x"]).errorCode == .none, "it happened all the same")
  }
}
