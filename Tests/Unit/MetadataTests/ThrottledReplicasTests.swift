import Model
import Testing

@testable import Metadata

@Suite("Throttled replicas and rates (KIP-73)")
struct ThrottledReplicasTests {
  @Test func lists() throws {
    let some = try #require(ThrottledReplicas("0:1, 12:3,0:2,0:1"))
    #expect(some.contains(PartitionID(0), on: NodeID(1)) && some.contains(PartitionID(0), on: NodeID(2)))
    #expect(some.contains(PartitionID(12), on: NodeID(3)))
    #expect(!some.contains(PartitionID(1), on: NodeID(2)) && !some.contains(PartitionID(12), on: NodeID(0)))
    #expect(ThrottledReplicas("") == ThrottledReplicas.none && ThrottledReplicas(" , ") == ThrottledReplicas.none)
    #expect(ThrottledReplicas(" * ") == .all)
    #expect(ThrottledReplicas.all.contains(PartitionID(7), on: NodeID(7)))
  }

  @Test(arguments: ["1", "1:", ":1", "1:2:3", "-1:2", "+1:2", "*,1:2", "1:*", "1:2147483648", "a:b", "1;2"])
  func refused(_ text: String) throws {
    #expect(ThrottledReplicas(text) == nil)
    var harness = MachineHarness()
    try harness.addBroker(1)
    _ = try harness.create(.init("t"))
    let results = try harness.run(
      IncrementalAlterConfigs([.init(.topic("t"), [.init("leader.replication.throttled.replicas", .set, text)])]))
    #expect(results[0].error?.code == .invalidConfig)
    #expect(results[0].error?.message?.contains("literal '*' or a list of replicas") == true)
    #expect(harness.image.configs(of: .topic("t")).isEmpty)
  }

  @Test func rates() throws {
    var harness = MachineHarness()
    try harness.addBroker(1)
    let name = "leader.replication.throttled.rate"
    func alter(_ resource: ConfigResource, _ value: String?) throws -> ErrorCode? {
      try harness.run(IncrementalAlterConfigs([.init(resource, [.init(name, value == nil ? .delete : .set, value)])]))[0].error?.code
    }
    func rate() -> Int64? {
      let (defaults, own) = (harness.image.configs(of: .defaultBroker), harness.image.configs(of: .broker(NodeID(1))))
      return BrokerConfigLayers(staticConfig: StaticConfig(), dynamicDefault: defaults, dynamicBroker: own).throttledRate(name)
    }
    #expect(rate() == nil)
    #expect(try alter(.defaultBroker, "1000") == nil && rate() == 1000)
    #expect(try alter(.broker(NodeID(1)), "7") == nil && rate() == 7)
    #expect(try alter(.broker(NodeID(1)), "-1") == .invalidRequest && rate() == 7)
    #expect(try alter(.broker(NodeID(1)), "fast") == .invalidRequest && rate() == 7)
    #expect(try alter(.broker(NodeID(1)), nil) == nil && rate() == 1000)
    #expect(try alter(.defaultBroker, "\(Int64.max)") == nil && rate() == nil)
  }

  /// As in Kafka: whoever writes it into a file has no limit.
  @Test func aRateInTheFileHasNoEffect() throws {
    var config = StaticConfig()
    try config.set("leader.replication.throttled.rate", "5")
    #expect(BrokerConfigLayers(staticConfig: config).throttledRate("leader.replication.throttled.rate") == nil)
  }
}
