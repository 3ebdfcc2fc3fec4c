import Base
import Model
import Testing

@testable import Metadata

/// Random requests, valid and not, on a machine of up to five brokers; after each the image must make sense, and in the end the log
/// alone must give it again.
@Suite struct RandomRequestTests {
  @Test(arguments: 0..<30 as Range<UInt64>) func anySequence(_ seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let log = try Self.play(seed: seed, using: &generator).log
    // Another process, with another seed of its own, comes to the same image.
    var replayed = MachineHarness.machine(seed: seed &+ 1)
    var delta = MetadataDelta()
    for (index, change) in log.log.enumerated() { try replayed.replay(change, at: Offset(Int64(index)), into: &delta) }
    #expect(replayed.image == log.image)
    // And the same seed decides the same.
    var again = SeededGenerator(seed: seed)
    #expect(try Self.play(seed: seed, using: &again).log.log == log.log)
  }

  /// Tests nothing of its own: says that the walks reach what they are meant to reach.
  @Test func theWalksGoFar() throws {
    var topics = 0, removed = 0, refused = 0, brokers = 0
    for seed in 0..<30 as Range<UInt64> {
      var generator = SeededGenerator(seed: seed)
      let walk = try Self.play(seed: seed, using: &generator)
      topics += walk.log.image.topicCount
      brokers += walk.log.image.brokers.count
      removed += walk.removed
      refused += walk.refused
    }
    #expect(topics > 100 && removed > 50 && refused > 100 && brokers > 60)
  }

  private static func play(
    seed: UInt64, using generator: inout SeededGenerator
  ) throws -> (log: MachineHarness, removed: Int, refused: Int) {
    var harness = MachineHarness(seed: seed)
    var incarnations: UInt64 = 0
    var removed = 0, refused = 0
    for _ in 0..<120 {
      let before = harness.image
      harness.delta = MetadataDelta()
      do {
        refused += try self.step(&harness, &incarnations, using: &generator)
      } catch { refused += 1 }
      removed += harness.delta.removedTopics.count
      try self.check(harness.image, after: before, harness.delta)
    }
    return (harness, removed, refused)
  }

  /// One random request. Returns how many of its parts were refused.
  private static func step(
    _ harness: inout MachineHarness, _ incarnations: inout UInt64, using generator: inout SeededGenerator
  ) throws(ApiError) -> Int {
    let id = Int32.random(in: 1...5, using: &generator)
    let names = (0..<2).map { _ in ["a", "b.c", "b_c", "d", "e-f", "g", ".", "h/i"].randomElement(using: &generator)! }
    let validateOnly = Int.random(in: 0..<10, using: &generator) == 0
    switch Int.random(in: 0..<10, using: &generator) {
    case 0:
      incarnations += 1
      let epoch = Bool.random(using: &generator) ? harness.image.broker(NodeID(id))?.epoch ?? .unknown : .unknown
      let rack = ["x", "y", nil].randomElement(using: &generator)!
      try harness.run(MachineHarness.registration(id, incarnation: incarnations, rack: rack, previousEpoch: epoch))
      return 0
    case 1, 2:
      try harness.run(UnfenceBroker(nodeID: NodeID(id), epoch: harness.image.broker(NodeID(id))?.epoch ?? .unknown))
      return 0
    case 3, 4, 5:
      let topics = names.map { name -> CreateTopics.Topic in
        if Bool.random(using: &generator) {
          let replicas = (0..<Int.random(in: 1...3, using: &generator)).map { _ in NodeID(Int32.random(in: 1...5, using: &generator)) }
          return CreateTopics.Topic(name, assignments: [.init(partition: PartitionID(0), replicas: replicas)])
        }
        return CreateTopics.Topic(
          name, numPartitions: Int32.random(in: -1...6, using: &generator), replicationFactor: Int16.random(in: -1...4, using: &generator),
          configs: Bool.random(using: &generator) ? [.init(name: "retention.ms", value: "5")] : [])
      }
      return try harness.run(CreateTopics(topics, validateOnly: validateOnly)).count { $0.code != .none }
    case 6:
      let topics = names.map { name in
        DeleteTopics.Topic(name: Bool.random(using: &generator) ? name : nil, id: harness.image.topicID(name) ?? .zero)
      }
      return try harness.run(DeleteTopics(topics)).count { $0.error != nil }
    case 7:
      let topics = names.map { CreatePartitions.Topic($0, count: Int32.random(in: 0...9, using: &generator)) }
      return try harness.run(CreatePartitions(topics, validateOnly: validateOnly)).count { $0.error != nil }
    case 8:
      let value = ["1", "x", "-1"].randomElement(using: &generator)!
      let resources: [ConfigResource] = [.topic(names[0]), .defaultBroker, .broker(NodeID(id))]
      let request = IncrementalAlterConfigs(resources.map { resource in
        .init(resource, [.init(resource.kind == .topic ? "segment.ms" : "log.retention.ms", .set, value)])
      }, validateOnly: validateOnly)
      return try harness.run(request).count { $0.error != nil }
    default:
      try harness.run(AllocateProducerIDs(nodeID: NodeID(id), epoch: harness.image.broker(NodeID(id))?.epoch ?? .unknown))
      return 0
    }
  }

  private static func check(_ image: MetadataImage, after before: MetadataImage, _ delta: MetadataDelta) throws {
    let topics = image.topicsByName
    #expect(topics.count == image.topicCount)
    #expect(topics.reduce(0) { $0 + $1.partitions.count } == image.partitionCount)
    #expect(image.brokers.map(\.nodeID) == Set(image.brokers.map(\.nodeID)).sorted())
    #expect(image.nextProducerID >= before.nextProducerID)
    for topic in topics {
      #expect(image.topic(topic.name) == topic && image.topicID(topic.name) == topic.id)
      #expect(TopicName.problem(with: topic.name) == nil)
      #expect(!topic.partitions.isEmpty)
      #expect(delta.createdTopics.contains(topic.id) == (before.topic(topic.id) == nil))
      for (index, partition) in topic.partitions.enumerated() {
        let id = TopicIDPartition(topic.id, PartitionID(Int32(index)))
        self.check(partition, image)
        let old = before.partition(id)
        #expect(delta.changedPartitions.contains(id) == (old != partition))
        guard let old, old != partition else { continue }
        #expect(partition.partitionEpoch > old.partitionEpoch)
        #expect(partition.leaderEpoch >= old.leaderEpoch)
        if partition.leader != old.leader { #expect(partition.leaderEpoch > old.leaderEpoch) }
      }
    }
    #expect(Set(delta.removedTopics.map(\.id)) == Set(before.topicsByName.map(\.id)).subtracting(topics.map(\.id)))
    for resource in Set(image.configuredResources).union(before.configuredResources)
    where image.configs(of: resource) != before.configs(of: resource) {
      let isRemoved = resource.kind == .topic && delta.removedTopics.contains { $0.name == resource.name }
      #expect(isRemoved || delta.changedConfigs.contains(resource))
    }
    for broker in image.brokers where before.broker(broker.nodeID) != broker { #expect(delta.changedBrokers.contains(broker.nodeID)) }
  }

  private static func check(_ partition: PartitionImage, _ image: MetadataImage) {
    #expect(!partition.assignedReplicas.isEmpty)
    #expect(Set(partition.assignedReplicas).count == partition.assignedReplicas.count)
    #expect(Set(partition.inSyncReplicas).isSubset(of: partition.assignedReplicas))
    #expect(!partition.hasLeader || partition.inSyncReplicas.contains(partition.leader))
    #expect(!partition.inSyncReplicas.isEmpty || !partition.hasLeader)
    #expect(partition.directories.count == partition.assignedReplicas.count)
  }
}
