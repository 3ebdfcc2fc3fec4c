import Model
import Testing

@testable import Metadata

@Suite struct TopicRequestTests {
  private func harness(brokers: Int32 = 1, _ settings: String = "") throws -> MachineHarness {
    var harness = MachineHarness(settings: settings)
    for id in 1...brokers { try harness.addBroker(id) }
    return harness
  }

  @Test func creation() throws {
    var harness = try self.harness()
    let results = try harness.run(CreateTopics([
      .init("b", numPartitions: 3, replicationFactor: 1, configs: [.init(name: "retention.ms", value: "5")]), .init("a"),
    ]))
    #expect(results.map(\.name) == ["b", "a"])
    let created = try results[0].outcome.get()
    #expect(created.numPartitions == 3)
    #expect(created.replicationFactor == 1)
    #expect(created.configs.first { $0.name == "retention.ms" }?.value == "5")
    let topic = try #require(harness.image.topic("b"))
    #expect(topic.id == created.topicID)
    #expect(harness.image.topic(created.topicID) == topic)
    #expect(topic.partitions.count == 3)
    #expect(topic.partitions[2].leader == NodeID(1))
    #expect(topic.partitions[2].leaderEpoch == LeaderEpoch(0))
    #expect(topic.partitions[2].directories == [MachineHarness.directory(1)])
    #expect(harness.image.configs(of: .topic("b")) == ["retention.ms": "5"])
    #expect(harness.image.topicsByName.map(\.name) == ["a", "b"])
    #expect(harness.image.partitionCount == 4)
    #expect(harness.delta.createdTopics.count == 2)
    #expect(harness.delta.changedPartitions.count == 4)
    #expect(harness.delta.changedConfigs == [.topic("b")])
    #expect(harness.image.topic(topic.id)?[PartitionID(3)] == nil)
    #expect(harness.image.topic(topic.id)?[PartitionID(-1)] == nil)
  }

  /// Kafka's order: the topic, its configs, its partitions.
  @Test func orderOfRecords() throws {
    var harness = try self.harness()
    let before = harness.log.count
    let configs: [CreateTopics.Topic.Config] = [.init(name: "segment.ms", value: "1"), .init(name: "flush.ms", value: "1")]
    _ = try harness.create(.init("t", numPartitions: 2, configs: configs))
    let kinds = harness.log[before...].map { change -> String in
      switch change {
      case .topic: "topic"
      case .config(_, let name, _): name
      case .partition(let partition, _): "partition \(partition.partition)"
      default: "other"
      }
    }
    #expect(kinds == ["topic", "flush.ms", "segment.ms", "partition 0", "partition 1"])
  }

  @Test func defaultsComeFromTheSettings() throws {
    var harness = try self.harness(brokers: 2, "num.partitions=5\ndefault.replication.factor=2")
    _ = try harness.create(.init("t"))
    #expect(harness.image.topic("t")?.partitions.count == 5)
    #expect(harness.image.topic("t")?.partitions[0].assignedReplicas.count == 2)
  }

  @Test func validateOnlyWritesNothing() throws {
    var harness = try self.harness()
    let before = harness.log.count
    #expect(try harness.create(.init("t"), validateOnly: true) == .none)
    #expect(try harness.create(.init("t.", numPartitions: 0), validateOnly: true) == .invalidPartitions)
    #expect(harness.log.count == before)
  }

  @Test(arguments: [
    ("", ErrorCode.invalidTopicException), (".", .invalidTopicException), ("..", .invalidTopicException), ("a b", .invalidTopicException),
    ("ä", .invalidTopicException), ("a/b", .invalidTopicException), (String(repeating: "x", count: 250), .invalidTopicException),
    (String(repeating: "x", count: 249), .none), ("...", .none), ("A-z_0.9", .none), ("__cluster_metadata", .invalidRequest),
    ("taken", .topicAlreadyExists), ("a.c", .invalidTopicException), ("a_c", .invalidTopicException), ("a-c", .none),
  ])
  func names(_ name: String, _ code: ErrorCode) throws {
    var harness = try self.harness()
    _ = try harness.create(.init("taken"))
    _ = try harness.create(.init(name == "a.c" ? "a_c" : "a.c"))
    #expect(try harness.create(.init(name)) == code)
  }

  @Test func collisionsEndWithTheTopic() throws {
    var harness = try self.harness()
    _ = try harness.create(.init("x.y"))
    #expect(harness.image.topicColliding(with: "x_y") == "x.y")
    try harness.run(DeleteTopics([.init(name: "x.y")]))
    #expect(try harness.create(.init("x_y")) == .none)
    // Two in one request collide as well.
    let results = try harness.run(CreateTopics([.init("p.q"), .init("p_q")]))
    #expect(results.map(\.code) == [.none, .invalidTopicException])
  }

  struct Refused: Sendable, CustomTestStringConvertible {
    var code: ErrorCode
    var topic: CreateTopics.Topic
    init(_ code: ErrorCode, _ topic: CreateTopics.Topic) { (self.code, self.topic) = (code, topic) }
    var testDescription: String { self.topic.name }
  }
  private static func assignment(_ partition: Int32, _ replicas: Int32...) -> CreateTopics.Topic.Assignment {
    .init(partition: PartitionID(partition), replicas: replicas.map { NodeID($0) })
  }

  @Test(arguments: [
    Refused(.invalidPartitions, .init("zero-partitions", numPartitions: 0)),
    Refused(.invalidPartitions, .init("minus-2", numPartitions: -2)),
    Refused(.invalidReplicationFactor, .init("zero-replicas", replicationFactor: 0)),
    Refused(.invalidReplicationFactor, .init("too-many-replicas", replicationFactor: 4)),
    Refused(.invalidRequest, .init("count-and-assignment", numPartitions: 1, assignments: [assignment(0, 1)])),
    Refused(.invalidRequest, .init("factor-and-assignment", replicationFactor: 1, assignments: [assignment(0, 1)])),
    Refused(.invalidReplicaAssignment, .init("empty", assignments: [assignment(0)])),
    Refused(.invalidReplicaAssignment, .init("unknown-broker", assignments: [assignment(0, 9)])),
    Refused(.invalidReplicaAssignment, .init("broker-twice", assignments: [assignment(0, 1, 1)])),
    Refused(.invalidReplicaAssignment, .init("partition-twice", assignments: [assignment(0, 1), assignment(0, 2)])),
    Refused(.invalidReplicaAssignment, .init("gap", assignments: [assignment(0, 1), assignment(2, 1)])),
    Refused(.invalidReplicaAssignment, .init("uneven", assignments: [assignment(0, 1), assignment(1, 1, 2)])),
    Refused(.invalidReplicaAssignment, .init("only-fenced", assignments: [assignment(0, 3)])),
    Refused(.invalidConfig, .init("unknown-config", configs: [.init(name: "retention", value: "1")])),
    Refused(.invalidConfig, .init("bad-config", configs: [.init(name: "retention.ms", value: "x")])),
    Refused(.invalidConfig, .init("null-config", configs: [.init(name: "retention.ms", value: nil)])),
  ])
  func refusedTopics(_ refused: Refused) throws {
    var harness = try self.harness(brokers: 2)
    try harness.run(MachineHarness.registration(3))
    let before = harness.log.count
    let results = try harness.run(CreateTopics([refused.topic, .init("good")]))
    #expect(results[0].code == refused.code)
    // The others in the request are not touched by it.
    #expect(results[1].code == .none)
    #expect(harness.log.count == before + 2)
    if case .failure(let error) = results[0].outcome { #expect(error.message?.isEmpty == false) }
  }

  @Test func aFencedReplicaIsNotInSync() throws {
    var harness = try self.harness(brokers: 2)
    try harness.run(MachineHarness.registration(3))
    _ = try harness.create(.init("t", assignments: [Self.assignment(0, 3, 2)]))
    let partition = try #require(harness.image.topic("t")?.partitions[0])
    #expect(partition.assignedReplicas == [NodeID(3), NodeID(2)])
    #expect(partition.inSyncReplicas == [NodeID(2)])
    #expect(partition.leader == NodeID(2))
  }

  @Test func withoutAnActiveBrokerNothingIsPlaced() throws {
    var harness = MachineHarness()
    #expect(try harness.create(.init("t")) == .invalidReplicationFactor)
    try harness.run(MachineHarness.registration(1))
    #expect(try harness.create(.init("t")) == .invalidReplicationFactor)
  }

  @Test func duplicateNames() throws {
    var harness = try self.harness()
    let results = try harness.run(CreateTopics([.init("a"), .init("b"), .init("a")]))
    #expect(results.map(\.name) == ["a", "b"])
    #expect(results.map(\.code) == [.invalidRequest, .none])
  }

  @Test func tooManyPartitions() throws {
    var harness = try self.harness()
    for topics in [[CreateTopics.Topic("a", numPartitions: .max)], [.init("a", numPartitions: 6000), .init("b", numPartitions: 6000)]] {
      let error = try #require(throws: ApiError.self) { try harness.run(CreateTopics(topics)) }
      #expect(error.code == .policyViolation)
    }
    // 9,999 partitions and their topic are 10,000 records, one more is too many.
    #expect(try harness.create(.init("fits", numPartitions: 9_999)) == .none)
    let error = try #require(throws: ApiError.self) { try harness.create(.init("does-not", numPartitions: 10_000)) }
    #expect(error.code == .policyViolation)
  }

  @Test func deletion() throws {
    var harness = try self.harness()
    _ = try harness.create(.init("a", numPartitions: 2, configs: [.init(name: "retention.ms", value: "1")]))
    _ = try harness.create(.init("b"))
    let a = try #require(harness.image.topic("a"))
    let results = try harness.run(DeleteTopics([.init(name: nil, id: a.id), .init(name: "b"), .init(name: "c")]))
    #expect(results.map(\.error?.code) == [nil, nil, .unknownTopicOrPartition])
    #expect(results[0].name == "a")
    #expect(harness.image.topicCount == 0)
    #expect(harness.image.partitionCount == 0)
    #expect(harness.image.configs(of: .topic("a")).isEmpty)
    #expect(harness.delta.removedTopics.map(\.name) == ["a", "b"])
    #expect(harness.delta.removedTopics[0].partitions.count == 2)
    // The name can be used again, under another id.
    _ = try harness.create(.init("a"))
    #expect(harness.image.topic("a")?.id != a.id)
  }

  @Test func refusedDeletions() throws {
    var harness = try self.harness()
    _ = try harness.create(.init("a"))
    let id = try #require(harness.image.topicID("a"))
    func codes(_ topics: [DeleteTopics.Topic]) throws -> [ErrorCode?] {
      try DeleteTopics(topics).decide(on: harness.machine, nextOffset: harness.nextOffset).response.map(\.error?.code)
    }
    #expect(try codes([.init(name: nil)]) == [.invalidRequest])
    #expect(try codes([.init(name: "a", id: id)]) == [.invalidRequest])
    #expect(try codes([.init(name: nil, id: KafkaUUID(high: 1, low: 1))]) == [.unknownTopicId])
    #expect(try codes([.init(name: "a"), .init(name: "a")]) == [.invalidRequest])
    #expect(try codes([.init(name: "zz"), .init(name: "zz")]) == [.invalidRequest])
    #expect(try codes([.init(name: "a"), .init(name: nil, id: id)]) == [.invalidRequest, .invalidRequest])
  }

  @Test func deletionSwitchedOff() throws {
    var harness = try self.harness(brokers: 1, "delete.topic.enable=false")
    let error = try #require(throws: ApiError.self) { try harness.run(DeleteTopics([.init(name: "a")])) }
    #expect(error.code == .topicDeletionDisabled)
  }

  @Test func morePartitions() throws {
    var harness = try self.harness(brokers: 2)
    _ = try harness.create(.init("a", numPartitions: 2, replicationFactor: 2))
    let results = try harness.run(CreatePartitions([.init("a", count: 4)]))
    #expect(results.map(\.error) == [nil])
    let topic = try #require(harness.image.topic("a"))
    #expect(topic.partitions.count == 4)
    #expect(topic.partitions[3].assignedReplicas.count == 2)
    #expect(Array(harness.delta.changedPartitions).map(\.partition) == [PartitionID(2), PartitionID(3)])
    try harness.run(CreatePartitions([.init("a", count: 5, assignments: [[NodeID(2), NodeID(1)]])]))
    #expect(harness.image.topic("a")?.partitions[4].leader == NodeID(2))
  }

  @Test func refusedPartitions() throws {
    var harness = try self.harness(brokers: 2)
    try harness.run(MachineHarness.registration(3))
    _ = try harness.create(.init("a", numPartitions: 2, replicationFactor: 2))
    let before = harness.log.count
    func code(_ topics: CreatePartitions.Topic...) throws -> ErrorCode? {
      try harness.run(CreatePartitions(topics))[0].error?.code
    }
    #expect(try code(.init("zz", count: 4)) == .unknownTopicOrPartition)
    #expect(try code(.init("a", count: 2)) == .invalidPartitions)
    #expect(try code(.init("a", count: 1)) == .invalidPartitions)
    #expect(try code(.init("a", count: -1)) == .invalidPartitions)
    #expect(try code(.init("a", count: 4, assignments: [[NodeID(1), NodeID(2)]])) == .invalidReplicaAssignment)
    #expect(try code(.init("a", count: 3, assignments: [[NodeID(1)]])) == .invalidReplicaAssignment)
    #expect(try code(.init("a", count: 3, assignments: [[NodeID(3), NodeID(9)]])) == .invalidReplicaAssignment)
    #expect(try code(.init("a", count: 3), .init("a", count: 4)) == .invalidRequest)
    #expect(try harness.run(CreatePartitions([.init("a", count: 3)], validateOnly: true)).map(\.error) == [nil])
    #expect(throws: ApiError.self) { try harness.run(CreatePartitions([.init("a", count: .max)])) }
    #expect(harness.log.count == before)
  }
}
