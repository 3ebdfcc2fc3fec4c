import Base
import Model
import Testing

@testable import Metadata

@Suite struct MetadataSnapshotTests {
  /// The image after some random life, and one from its middle.
  private static func images(_ seed: UInt64) throws -> (MetadataImage, MetadataImage) {
    let world = ControllerModelTests.live(seed: seed, mutant: nil)
    var image = MetadataImage(clusterID: MachineHarness.clusterID)
    var delta = MetadataDelta()
    let half = world.harness.log.count / 2
    for (index, change) in world.harness.log[..<half].enumerated() { try image.apply(change, at: Offset(Int64(index)), into: &delta) }
    return (image, world.image)
  }

  @Test(arguments: 0..<10 as Range<UInt64>) func rebuiltImagesAreEqual(_ seed: UInt64) throws {
    let (half, whole) = try Self.images(seed)
    for image in [half, whole] {
      let records = Array(MetadataSnapshot(image))
      let rebuilt = try MetadataImage(clusterID: image.clusterID, snapshot: records, offset: image.offset)
      #expect(rebuilt == image)
      #expect(Array(MetadataSnapshot(rebuilt)) == records)
      #expect(ReplicaIndex(rebuilt) == ReplicaIndex(image))
    }
  }

  /// Who loads a snapshot in place of the records between two images does what it would have done.
  @Test(arguments: 0..<10 as Range<UInt64>) func theDifferenceIsWhatTheRecordsSay(_ seed: UInt64) throws {
    let (half, whole) = try Self.images(seed)
    let difference = MetadataDelta(from: half, to: whole)
    #expect(Set(difference.createdTopics) == Set(whole.topicsByName.map(\.id)).subtracting(half.topicsByName.map(\.id)))
    #expect(Set(difference.removedTopics) == Set(half.topicsByName.filter { whole.topic($0.id) == nil }))
    let partitions = whole.topicsByName.flatMap { topic in
      topic.partitions.indices.map { TopicIDPartition(topic.id, PartitionID(Int32($0))) }
    }
    #expect(Set(difference.changedPartitions) == Set(partitions.filter { half.partition($0) != whole.partition($0) }))
    #expect(difference.transitions.map(\.partition) == Array(difference.changedPartitions))
    #expect(difference.transitions.allSatisfy { $0.before == half.partition($0.partition) && $0.after == whole.partition($0.partition) })
    for broker in whole.brokers { #expect(difference.changedBrokers.contains(broker.nodeID) == (half.broker(broker.nodeID) != broker)) }
    #expect(MetadataDelta(from: whole, to: whole).isEmpty)
    var everything = MetadataDelta(everythingIn: whole)
    everything.transitions = MetadataDelta(from: MetadataImage(clusterID: ""), to: whole).transitions
    #expect(MetadataDelta(from: MetadataImage(clusterID: ""), to: whole) == everything)
  }

  @Test func configsOfReplacedTopics() throws {
    var harness = MachineHarness()
    try harness.addBroker(1)
    _ = try harness.createTopic("same", [1], minInSync: 2)
    _ = try harness.createTopic("gone", [1])
    let old = harness.image
    for name in ["same", "gone"] { #expect(try harness.run(DeleteTopics([.init(name: name)]))[0].error == nil) }
    _ = try harness.createTopic("same", [1], minInSync: 2)
    let difference = MetadataDelta(from: old, to: harness.image)
    // The new topic's configs are new, though they are the same; those of the one that is gone went with it.
    #expect(difference.changedConfigs == [.topic("same")])
    #expect(difference.removedTopics.map(\.name) == ["gone", "same"] && difference.createdTopics.count == 1)
    #expect(!difference.featuresChanged && difference.changedBrokers.isEmpty)
  }

  @Test func theOrderIsFixed() throws {
    var harness = MachineHarness()
    try harness.addBroker(2)
    try harness.addBroker(1)
    #expect(try harness.create(.init("z", numPartitions: 2)) == .none)
    #expect(try harness.create(.init("a.b", configs: [.init(name: "retention.ms", value: "5")])) == .none)
    try harness.run(AllocateProducerIDs(nodeID: NodeID(1), epoch: try #require(harness.image.broker(NodeID(1))?.epoch)))
    let kinds = MetadataSnapshot(harness.image).map { change -> String in
      switch change {
      case .featureLevel(let name, _): name
      case .registerBroker(let broker): "broker \(broker.nodeID) fenced \(broker.isFenced)"
      case .topic(let name, _): name
      case .partition(let id, _): "partition \(id.partition)"
      case .config(let resource, let name, _): "\(resource) \(name)"
      case .producerIDs(let broker, let epoch, let next): "producers \(broker) \(epoch) \(next)"
      default: "unexpected \(change)"
      }
    }
    #expect(
      kinds == [
        "metadata.version", "eligible.leader.replicas.version", "broker 1 fenced false", "broker 2 fenced false", "a.b", "partition 0", "z",
        "partition 0", "partition 1", "topic a.b retention.ms", "broker <default> min.insync.replicas", "producers -1 -1 1000",
      ])
    #expect(Array(MetadataSnapshot(MetadataImage(clusterID: "c"))).isEmpty)
  }

  /// Colliding names can stand in a log that others wrote; their order must not depend on which came first.
  @Test func collidingNamesHaveAnOrder() throws {
    let names = ["a.b", "a_b"]
    let images = try [names, names.reversed()].map { names in
      var image = MetadataImage(clusterID: "c")
      var delta = MetadataDelta()
      for name in names {
        try image.apply(.topic(name: name, id: KafkaUUID(high: 1, low: name == "a.b" ? 1 : 2)), at: .zero, into: &delta)
      }
      return image
    }
    #expect(images[0] == images[1])
    let rebuilt = try MetadataImage(clusterID: "c", snapshot: MetadataSnapshot(images[1]), offset: .zero)
    #expect(rebuilt == images[0])
  }

  @Test func aBrokenSnapshotIsRefused() {
    let partition = PartitionImage(assignedReplicas: [], inSyncReplicas: [], leader: .none)
    let records: [MetadataChange] = [.partition(TopicIDPartition(.zero, PartitionID(0)), partition)]
    #expect(throws: ReplayError.unknownTopic(.zero)) { try MetadataImage(clusterID: "c", snapshot: records, offset: .zero) }
  }
}
