import Model
import Testing

@testable import Metadata

@Suite struct BrokerRequestTests {
  @Test func theEpochIsTheOffsetOfTheRegistration() throws {
    var harness = MachineHarness()
    let epoch = try harness.run(MachineHarness.registration(1))
    #expect(epoch == BrokerEpoch(3))  // behind the records that every log begins with
    let broker = try #require(harness.image.broker(NodeID(1)))
    #expect(broker.epoch == epoch)
    #expect(broker.isFenced)
    #expect(!harness.image.isActive(NodeID(1)))
    #expect(harness.delta.changedBrokers == [NodeID(1)])
    try harness.run(UnfenceBroker(nodeID: NodeID(1), epoch: epoch))
    #expect(harness.image.isActive(NodeID(1)))
    let count = harness.log.count
    try harness.run(UnfenceBroker(nodeID: NodeID(1), epoch: epoch))
    #expect(harness.log.count == count)
  }

  @Test func theSameIncarnationKeepsItsEpoch() throws {
    var harness = MachineHarness()
    let epoch = try harness.addBroker(1)
    #expect(try harness.run(MachineHarness.registration(1)) == epoch)
    #expect(harness.image.isActive(NodeID(1)))
  }

  @Test func brokersAreListedById() throws {
    var harness = MachineHarness()
    for id in [3, 1, 2] as [Int32] { try harness.addBroker(id) }
    #expect(harness.image.brokers.map(\.nodeID) == [NodeID(1), NodeID(2), NodeID(3)])
  }

  @Test func refusals() throws {
    var harness = MachineHarness()
    try harness.addBroker(1)
    func code(_ change: (inout RegisterBroker) -> Void) -> ErrorCode? {
      var request = MachineHarness.registration(2)
      change(&request)
      do { _ = try request.decide(on: harness.machine, nextOffset: harness.nextOffset) } catch { return error.code }
      return nil
    }
    #expect(code { _ in } == nil)
    #expect(code { $0.clusterID = "other" } == .inconsistentClusterId)
    #expect(code { $0.nodeID = NodeID(-1) } == .invalidRegistration)
    #expect(code { $0.endpoints = [] } == .invalidRegistration)
    #expect(code { $0.logDirectories = [] } == .invalidRegistration)
    #expect(code { $0.logDirectories = [.zero] } == .invalidRegistration)
    #expect(code { $0.logDirectories += $0.logDirectories } == .invalidRegistration)
    #expect(code { $0.logDirectories = [MachineHarness.directory(1)] } == .invalidRegistration)
    #expect(code { $0.features = [] } == .unsupportedVersion)
    #expect(code { $0.features = [.init(name: "metadata.version", versions: 1...28)] } == .unsupportedVersion)
  }

  @Test func staleAndUnknownBrokers() throws {
    var harness = MachineHarness()
    let epoch = try harness.addBroker(1)
    #expect(throws: ApiError.self) { try harness.run(UnfenceBroker(nodeID: NodeID(2), epoch: epoch)) }
    let stale = try #require(throws: ApiError.self) { try harness.run(UnfenceBroker(nodeID: NodeID(1), epoch: BrokerEpoch(99))) }
    #expect(stale.code == .staleBrokerEpoch)
    let unknown = try #require(throws: ApiError.self) { try harness.run(AllocateProducerIDs(nodeID: NodeID(9), epoch: epoch)) }
    #expect(unknown.code == .staleBrokerEpoch)
  }

  @Test func anUncleanRestartBeginsNewLeaderEpochs() throws {
    var harness = MachineHarness()
    try harness.addBroker(1)
    _ = try harness.create(.init("a", numPartitions: 2))
    try harness.addBroker(1, incarnation: 2)
    let topic = try #require(harness.image.topic("a"))
    for partition in topic.partitions {
      #expect(partition.leader == NodeID(1))
      #expect(partition.leaderEpoch == LeaderEpoch(1))
      #expect(partition.partitionEpoch == PartitionEpoch(1))
      #expect(partition.inSyncReplicas == [NodeID(1)])
    }
  }

  @Test func aCleanRestartDoesNot() throws {
    var harness = MachineHarness()
    let epoch = try harness.addBroker(1)
    _ = try harness.create(.init("a"))
    let second = try harness.addBroker(1, incarnation: 2, previousEpoch: epoch)
    #expect(second > epoch)
    #expect(harness.image.topic("a")?.partitions[0].leaderEpoch == LeaderEpoch(0))
    // The epoch of a shutdown before the last one proves nothing.
    try harness.addBroker(1, incarnation: 3, previousEpoch: epoch)
    #expect(harness.image.topic("a")?.partitions[0].leaderEpoch == LeaderEpoch(1))
  }

  @Test func anotherReplicaInSyncTakesOver() throws {
    var harness = MachineHarness()
    try harness.addBroker(1)
    try harness.addBroker(2)
    _ = try harness.create(.init("a", assignments: [.init(partition: PartitionID(0), replicas: [NodeID(1), NodeID(2)])]))
    try harness.addBroker(1, incarnation: 2)
    let partition = try #require(harness.image.topic("a")?.partitions[0])
    #expect(partition.leader == NodeID(2))
    #expect(partition.inSyncReplicas == [NodeID(2)])
    #expect(partition.leaderEpoch == LeaderEpoch(1))
  }

  @Test func producerIDsComeInBlocks() throws {
    var harness = MachineHarness()
    let epoch = try harness.addBroker(1)
    let request = AllocateProducerIDs(nodeID: NodeID(1), epoch: epoch)
    #expect(try harness.run(request) == .init(first: ProducerID(0), count: 1000))
    #expect(try harness.run(request) == .init(first: ProducerID(1000), count: 1000))
    harness.commit([.producerIDs(broker: NodeID(1), epoch: epoch, next: ProducerID(.max - 5))])
    let error = try #require(throws: ApiError.self) { try harness.run(request) }
    #expect(error.code == .unknownServerError)
  }
}
