import Model
import Testing

@testable import Metadata

@Suite struct ConfigRequestTests {
  private func harness() throws -> MachineHarness {
    var harness = MachineHarness()
    try harness.addBroker(1)
    _ = try harness.create(.init("t"))
    return harness
  }
  private typealias Change = IncrementalAlterConfigs.Change

  @discardableResult
  private func alter(_ harness: inout MachineHarness, _ resource: ConfigResource, _ changes: Change...) throws -> ErrorCode? {
    try harness.run(IncrementalAlterConfigs([.init(resource, changes)]))[0].error?.code
  }

  @Test func setAndDelete() throws {
    var harness = try self.harness()
    #expect(try self.alter(&harness, .topic("t"), Change("retention.ms", .set, "5"), Change("segment.ms", .set, "6")) == nil)
    #expect(harness.image.configs(of: .topic("t")) == ["retention.ms": "5", "segment.ms": "6"])
    #expect(harness.delta.changedConfigs == [.topic("t")])
    #expect(try self.alter(&harness, .topic("t"), Change("retention.ms", .delete, nil)) == nil)
    #expect(harness.image.configs(of: .topic("t")) == ["segment.ms": "6"])
    // What changes nothing writes nothing.
    let count = harness.log.count
    #expect(try self.alter(&harness, .topic("t"), Change("segment.ms", .set, "6"), Change("flush.ms", .delete, nil)) == nil)
    #expect(harness.log.count == count)
  }

  @Test func listsGrowAndShrink() throws {
    var harness = try self.harness()
    let topic = ConfigResource.topic("t")
    try self.alter(&harness, topic, Change("cleanup.policy", .append, "compact"))
    #expect(harness.image.configs(of: topic) == ["cleanup.policy": "delete,compact"])
    try self.alter(&harness, topic, Change("cleanup.policy", .append, "compact"))
    #expect(harness.image.configs(of: topic) == ["cleanup.policy": "delete,compact"])
    try self.alter(&harness, topic, Change("cleanup.policy", .subtract, "delete"))
    #expect(harness.image.configs(of: topic) == ["cleanup.policy": "compact"])
    #expect(try self.alter(&harness, topic, Change("cleanup.policy", .subtract, "compact")) == .invalidConfig)
    #expect(try self.alter(&harness, topic, Change("retention.ms", .append, "1")) == .invalidConfig)
    #expect(try self.alter(&harness, topic, Change("nonsense", .append, "1")) == .invalidConfig)
  }

  @Test func refusals() throws {
    var harness = try self.harness()
    let topic = ConfigResource.topic("t")
    #expect(try self.alter(&harness, topic, Change("retention.ms", .set, "x")) == .invalidConfig)
    #expect(try self.alter(&harness, topic, Change("retention.ms", .set, nil)) == .invalidRequest)
    #expect(try self.alter(&harness, topic, Change("retention.ms", .set, "1"), Change("retention.ms", .set, "2")) == .invalidRequest)
    let crossed = [Change("min.compaction.lag.ms", .set, "9"), Change("max.compaction.lag.ms", .set, "1")]
    #expect(try self.alter(&harness, topic, crossed[0], crossed[1]) == .invalidConfig)
    #expect(try self.alter(&harness, .topic("zz"), Change("retention.ms", .set, "1")) == .unknownTopicOrPartition)
    #expect(try self.alter(&harness, .topic(""), Change("retention.ms", .set, "1")) == .invalidRequest)
    #expect(try self.alter(&harness, ConfigResource(.group, "g"), Change("a", .set, "1")) == .invalidRequest)
    #expect(try self.alter(&harness, .broker(NodeID(9)), Change("message.max.bytes", .set, "1")) == .brokerIdNotRegistered)
    #expect(try self.alter(&harness, ConfigResource(.broker, "one"), Change("message.max.bytes", .set, "1")) == .invalidRequest)
    #expect(harness.image.configuredResources == [.defaultBroker])  // what every log begins with
  }

  @Test func resourcesAreIndependent() throws {
    var harness = try self.harness()
    let results = try harness.run(IncrementalAlterConfigs([
      .init(.topic("t"), [Change("retention.ms", .set, "5"), Change("segment.ms", .set, "x")]),
      .init(.broker(NodeID(1)), [Change("message.max.bytes", .set, "7")]), .init(.defaultBroker, [Change("log.retention.ms", .set, "8")]),
    ]))
    #expect(results.map(\.error?.code) == [.invalidConfig, nil, nil])
    // Of a resource all or nothing.
    #expect(harness.image.configs(of: .topic("t")).isEmpty)
    #expect(harness.image.configuredResources == [.defaultBroker, .broker(NodeID(1))])
    let defaults = harness.machine.topicDefaults()
    #expect(defaults.maxMessageBytes == 7)
    #expect(defaults.retention == .milliseconds(8))
  }

  @Test func brokerConfigs() throws {
    var harness = try self.harness()
    let broker = ConfigResource.broker(NodeID(1))
    #expect(try self.alter(&harness, broker, Change("num.partitions", .set, "3")) == .invalidRequest)
    #expect(try self.alter(&harness, broker, Change("zookeeper.connect", .set, "x")) == .invalidRequest)
    #expect(try self.alter(&harness, broker, Change("unheard.of", .set, "x")) == .invalidRequest)
    #expect(try self.alter(&harness, broker, Change("message.max.bytes", .set, "-1")) == .invalidRequest)
    // Of no effect in this version, and said so, rather than taken and forgotten.
    #expect(try self.alter(&harness, .defaultBroker, Change("log.preallocate", .set, "true")) == .invalidRequest)
    #expect(try self.alter(&harness, .defaultBroker, Change("log.roll.ms", .set, "0")) == .invalidRequest)
    #expect(try self.alter(&harness, .defaultBroker, Change("compression.type", .set, "zstd")) == nil)
    #expect(try self.alter(&harness, broker, Change("flush.policy", .set, "os")) == nil)
    #expect(harness.machine.topicDefaults().flushPolicy == .os)
  }

  @Test func aResourceTwice() throws {
    var harness = try self.harness()
    let results = try harness.run(IncrementalAlterConfigs([
      .init(.topic("t"), [Change("retention.ms", .set, "5")]), .init(.topic("t"), [Change("segment.ms", .set, "5")]),
    ]))
    #expect(results.map(\.error?.code) == [.invalidRequest, .invalidRequest])
  }

  @Test func legacyReplacesAll() throws {
    var harness = try self.harness()
    try self.alter(&harness, .topic("t"), Change("retention.ms", .set, "5"), Change("segment.ms", .set, "6"))
    let count = harness.log.count
    let configs: [CreateTopics.Topic.Config] = [.init(name: "segment.ms", value: "6"), .init(name: "flush.ms", value: "7")]
    let results = try harness.run(AlterConfigs([.init(.topic("t"), configs)]))
    #expect(results.map(\.error) == [nil])
    #expect(harness.image.configs(of: .topic("t")) == ["segment.ms": "6", "flush.ms": "7"])
    #expect(harness.log.count == count + 2)
    #expect(try harness.run(AlterConfigs([.init(.topic("t"), [.init(name: "flush.ms", value: nil)])]))[0].error?.code == .invalidRequest)
    #expect(try harness.run(AlterConfigs([.init(.topic("t"), [])], validateOnly: true))[0].error == nil)
    #expect(harness.image.configs(of: .topic("t")).count == 2)
    #expect(try harness.run(AlterConfigs([.init(.topic("t"), [])]))[0].error == nil)
    #expect(harness.image.configuredResources == [.defaultBroker])  // what every log begins with
  }

  @Test func tooManyChanges() throws {
    var harness = try self.harness()
    // 334 topics with 30 settings each.
    for start in stride(from: 0, to: 334, by: 100) {
      try harness.run(CreateTopics((start..<min(334, start + 100)).map { .init("x\($0)") }))
    }
    let changes = ConfigRegistry.topicConfigs.prefix(33).compactMap { definition in
      definition.status == .used ? definition.defaultValue.map { Change(definition.name, .set, $0) } : nil
    }
    let resources = (0..<334).map { IncrementalAlterConfigs.Resource(.topic("x\($0)"), changes) }
    #expect(changes.count * resources.count > 10_000)
    let error = try #require(throws: ApiError.self) { try harness.run(IncrementalAlterConfigs(resources)) }
    #expect(error.code == .policyViolation)
  }
}
