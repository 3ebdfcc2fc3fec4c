import Model
import Testing

@testable import Metadata

@Suite struct MetadataImageTests {
  private let a = KafkaUUID(high: 1, low: 1)
  private let b = KafkaUUID(high: 1, low: 2)
  private func image(_ changes: [MetadataChange]) throws -> (MetadataImage, MetadataDelta) {
    var image = MetadataImage(clusterID: "c")
    var delta = MetadataDelta()
    for (index, change) in changes.enumerated() { try image.apply(change, at: Offset(Int64(index)), into: &delta) }
    return (image, delta)
  }
  private func partition(_ id: KafkaUUID, _ number: Int32) -> MetadataChange {
    .partition(
      TopicIDPartition(id, PartitionID(number)),
      PartitionImage(assignedReplicas: [NodeID(1)], inSyncReplicas: [NodeID(1)], leader: NodeID(1), directories: [.zero]))
  }

  @Test func aTopicThatCameAndWentLeavesNoTrace() throws {
    let (image, delta) = try self.image([
      .topic(name: "a", id: self.a), .config(.topic("a"), name: "x", value: "y"), self.partition(self.a, 0), .removeTopic(id: self.a),
    ])
    #expect(delta.isEmpty)
    #expect(image.configuredResources.isEmpty)
    #expect(image.offset == Offset(3))
    var empty = MetadataImage(clusterID: "c")
    empty.offset = Offset(3)
    #expect(image == empty)
  }

  @Test func theDeltaListsThingsOnce() throws {
    var change = PartitionChange()
    change.leader = NodeID.none
    let partition = TopicIDPartition(self.a, PartitionID(0))
    let (image, delta) = try self.image([
      .topic(name: "a", id: self.a), self.partition(self.a, 0), .partitionChange(partition, change), .partitionChange(partition, change),
    ])
    #expect(delta.changedPartitions == [partition])
    #expect(image.partition(partition)?.leader == NodeID.none)
    #expect(image.partition(partition)?.leaderEpoch == LeaderEpoch(2))
    #expect(image.partition(partition)?.partitionEpoch == PartitionEpoch(2))
  }

  /// A change that names no leader keeps the leader epoch.
  @Test func onlyALeaderBeginsALeaderEpoch() throws {
    var change = PartitionChange()
    change.inSyncReplicas = []
    let partition = TopicIDPartition(self.a, PartitionID(0))
    let (image, _) = try self.image([.topic(name: "a", id: self.a), self.partition(self.a, 0), .partitionChange(partition, change)])
    #expect(image.partition(partition)?.leaderEpoch == LeaderEpoch(0))
    #expect(image.partition(partition)?.partitionEpoch == PartitionEpoch(1))
    #expect(image.partition(partition)?.inSyncReplicas == [])
  }

  @Test func everythingInAnImage() throws {
    let changes: [MetadataChange] = [
      .topic(name: "b", id: self.b), self.partition(self.b, 0), .topic(name: "a", id: self.a), self.partition(self.a, 0),
      .config(.topic("a"), name: "x", value: "y"),
      .registerBroker(BrokerRegistration(nodeID: NodeID(1), incarnationID: self.a, epoch: BrokerEpoch(5), endpoints: [])),
    ]
    let delta = MetadataDelta(everythingIn: try self.image(changes).0)
    #expect(Array(delta.createdTopics) == [self.a, self.b])
    #expect(delta.changedPartitions.count == 2)
    #expect(delta.changedConfigs == [.topic("a")])
    #expect(delta.changedBrokers == [NodeID(1)])
  }

  @Test func anImageIsNotChangedByWhatComesAfter() throws {
    var (image, delta) = try self.image([.topic(name: "a", id: self.a), self.partition(self.a, 0)])
    let earlier = image
    try image.apply(self.partition(self.a, 1), at: Offset(2), into: &delta)
    try image.apply(.topic(name: "b", id: self.b), at: Offset(3), into: &delta)
    #expect(earlier.topic("a")?.partitions.count == 1)
    #expect(earlier.topic("b") == nil)
    #expect(image.topic("a")?.partitions.count == 2)
  }

  @Test func features() throws {
    let (image, delta) = try self.image([
      .featureLevel(name: "z", level: 2), .featureLevel(name: "metadata.version", level: 29), .featureLevel(name: "z", level: 0),
      .featureLevel(name: "a", level: 1),
    ])
    #expect(image.features.map(\.name) == ["a", "metadata.version"])
    #expect(image.metadataVersion == 29)
    #expect(delta.featuresChanged)
  }

  @Test func recordsThatDoNotFit() throws {
    let topic = MetadataChange.topic(name: "a", id: self.a)
    let broker = MetadataChange.registerBroker(
      BrokerRegistration(nodeID: NodeID(1), incarnationID: self.a, epoch: BrokerEpoch(5), endpoints: []))
    let missing = TopicIDPartition(self.a, PartitionID(0))
    let cases: [([MetadataChange], ReplayError)] = [
      ([topic, .topic(name: "a", id: self.b)], .topicExists(name: "a", id: self.b)),
      ([topic, .topic(name: "b", id: self.a)], .topicExists(name: "b", id: self.a)),
      ([.removeTopic(id: self.a)], .unknownTopic(self.a)), ([self.partition(self.a, 0)], .unknownTopic(self.a)),
      ([topic, self.partition(self.a, 1)], .partitionOutOfOrder(TopicIDPartition(self.a, PartitionID(1)), expected: 0)),
      ([topic, self.partition(self.a, -1)], .partitionOutOfOrder(TopicIDPartition(self.a, PartitionID(-1)), expected: 0)),
      ([topic, .partitionChange(missing, PartitionChange())], .unknownPartition(missing)),
      ([.unregisterBroker(NodeID(1), epoch: BrokerEpoch(5))], .unknownBroker(NodeID(1), BrokerEpoch(5))),
      ([broker, .fenceBroker(NodeID(1), epoch: BrokerEpoch(4))], .unknownBroker(NodeID(1), BrokerEpoch(4))),
      (
        [
          .producerIDs(broker: NodeID(1), epoch: BrokerEpoch(5), next: ProducerID(9)),
          .producerIDs(broker: NodeID(1), epoch: BrokerEpoch(5), next: ProducerID(8)),
        ], .producerIDsWentBack(ProducerID(8))
      ),
    ]
    for (changes, expected) in cases {
      let error = try #require(throws: ReplayError.self) { try self.image(changes) }
      #expect(error == expected)
      #expect(!error.description.isEmpty)
    }
    // The image is as it was before the record that did not fit.
    var (image, delta) = try self.image([topic, self.partition(self.a, 0)])
    let before = image
    #expect(throws: ReplayError.self) { try image.apply(self.partition(self.a, 5), at: Offset(9), into: &delta) }
    #expect(image == before)
  }

  @Test func brokersComeAndGo() throws {
    var registration = BrokerRegistration(nodeID: NodeID(1), incarnationID: self.a, epoch: BrokerEpoch(5), endpoints: [])
    var change = BrokerRegistrationChange(NodeID(1), epoch: BrokerEpoch(5))
    change.beginsControlledShutdown = true
    change.logDirectories = [self.b]
    let (image, _) = try self.image([
      .registerBroker(registration), .unfenceBroker(NodeID(1), epoch: BrokerEpoch(5)), .brokerRegistrationChange(change),
    ])
    registration.isFenced = false
    registration.isInControlledShutdown = true
    registration.logDirectories = [self.b]
    #expect(image.broker(NodeID(1)) == registration)
    #expect(!image.isActive(NodeID(1)))
    let (gone, _) = try self.image([.registerBroker(registration), .unregisterBroker(NodeID(1), epoch: BrokerEpoch(5))])
    #expect(gone.brokers.isEmpty)
  }
}
