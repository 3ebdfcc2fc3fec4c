import Base
import Model
import Testing

@testable import Metadata

@Suite struct FeatureTests {
  private typealias Update = UpdateFeatures.Update
  private let eligible = EligibleLeaderReplicasVersion.feature

  private func code(_ harness: MachineHarness, _ updates: [Update], kraft: Int16 = 0) throws -> ErrorCode {
    do {
      _ = try UpdateFeatures(updates, kraftVersion: kraft).decide(on: harness.machine, nextOffset: harness.nextOffset)
      return .none
    } catch { return error.code }
  }

  @Test func whatANewClusterHas() {
    let harness = MachineHarness()
    #expect(harness.image.metadataVersion == 29)
    #expect(harness.image.featureLevel(self.eligible) == 1 && harness.machine.keepsEligible)
    #expect(harness.image.configs(of: .defaultBroker)["min.insync.replicas"] == "1")
    let minimum = MetadataChange.config(.defaultBroker, name: "min.insync.replicas", value: "2")
    #expect(ControllerMachine.bootstrapRecords(minInSyncReplicas: "2").contains(minimum))
  }

  @Test func levelsGoUpAndDown() throws {
    var harness = MachineHarness()
    try harness.addBroker(1)
    #expect(try harness.run(UpdateFeatures([Update("metadata.version", 25, 2)])) == nil)
    #expect(harness.image.metadataVersion == 25)
    try harness.run(UpdateFeatures([Update("metadata.version", 29)]))
    #expect(harness.image.metadataVersion == 29)
    let count = harness.log.count
    try harness.run(UpdateFeatures([Update("metadata.version", 29)]))
    try harness.run(UpdateFeatures([Update("metadata.version", 24, 2)], validateOnly: true))
    #expect(harness.log.count == count)
  }

  @Test func refusals() throws {
    var harness = MachineHarness()
    #expect(try self.code(harness, [Update("metadata.version", 28)]) == .invalidUpdateVersion)
    #expect(try self.code(harness, [Update("metadata.version", 29, 2)]) == .none)
    #expect(try self.code(harness, [Update("metadata.version", 28, 0)]) == .invalidUpdateVersion)
    #expect(try self.code(harness, [Update("metadata.version", 28, 4)]) == .invalidUpdateVersion)
    #expect(try self.code(harness, [Update("metadata.version", 22, 3)]) == .invalidUpdateVersion)
    #expect(try self.code(harness, [Update("metadata.version", 30)]) == .invalidUpdateVersion)
    #expect(try self.code(harness, [Update("metadata.version", 0, 3)]) == .invalidUpdateVersion)
    #expect(try self.code(harness, [Update(self.eligible, -1, 2)]) == .invalidUpdateVersion)
    #expect(try self.code(harness, [Update("transaction.version", 1)]) == .invalidUpdateVersion)
    #expect(try self.code(harness, [Update("metadata.version", 25, 2), Update("metadata.version", 26)]) == .invalidUpdateVersion)
    // All or none.
    #expect(throws: ApiError.self) { try harness.run(UpdateFeatures([Update("metadata.version", 25, 2), Update("no", 1)])) }
    #expect(harness.image.metadataVersion == 29)
    try harness.run(UpdateFeatures([Update("metadata.version", 24, 2)]))
    #expect(try self.code(harness, [Update("metadata.version", 25, 2)]) == .invalidUpdateVersion)
    // A broker that cannot follow.
    var request = MachineHarness.registration(1)
    request.features = [.init(name: "metadata.version", versions: 23...24), EligibleLeaderReplicasVersion.supported]
    try harness.run(request)
    #expect(try self.code(harness, [Update("metadata.version", 25)]) == .invalidUpdateVersion)
    #expect(try self.code(harness, [Update("kraft.version", 1)]) == .invalidUpdateVersion)
  }

  @Test func theQuorumKeepsItsOwnVersion() throws {
    var harness = MachineHarness()
    try harness.addBroker(1)
    // The broker does not say that it can.
    #expect(try self.code(harness, [Update("kraft.version", 1)]) == .invalidUpdateVersion)
    var request = MachineHarness.registration(1)
    request.features.append(KRaftVersion.supported)
    try harness.run(request)
    let count = harness.log.count
    #expect(try harness.run(UpdateFeatures([Update("kraft.version", 1)], kraftVersion: 0)) == 1)
    #expect(throws: ApiError.self) { try harness.run(UpdateFeatures([Update("kraft.version", 1)], kraftVersions: 0...0)) }
    #expect(try harness.run(UpdateFeatures([Update("kraft.version", 1)], kraftVersion: 1)) == nil)
    #expect(try harness.run(UpdateFeatures([Update("kraft.version", 1)], validateOnly: true, kraftVersion: 0)) == nil)
    #expect(harness.log.count == count)
    #expect(try self.code(harness, [Update("kraft.version", 0, 2)], kraft: 1) == .invalidUpdateVersion)
    #expect(try self.code(harness, [Update("kraft.version", 2)]) == .invalidUpdateVersion)
  }

  @Test func withoutEligibleNobodyIsForgotten() throws {
    var harness = MachineHarness()
    for id in 1...3 as ClosedRange<Int32> { try harness.addBroker(id) }
    let a = try harness.createTopic("a", [1, 2], minInSync: 2), b = try harness.createTopic("b", [3])
    try harness.fence(1)
    #expect(harness.image.partition(a)?.eligibleLeaderReplicas == nodes(1))
    try harness.fence(3)
    #expect(harness.image.partition(b)?.inSyncReplicas == [])
    #expect(try self.code(harness, [Update(self.eligible, 0)]) == .invalidUpdateVersion)
    try harness.run(UpdateFeatures([Update(self.eligible, 0, 2)]))
    #expect(harness.image.featureLevel(self.eligible) == nil && !harness.machine.keepsEligible)
    #expect(harness.image.partition(a)?.eligibleLeaderReplicas == [] && harness.image.partition(a)?.inSyncReplicas == nodes(2))
    #expect(harness.image.partition(b)?.inSyncReplicas == nodes(3) && harness.image.partition(b)?.reason == .eligibleLeaderReplicasDisabled)
    try harness.unfence(3)
    #expect(harness.image.partition(b)?.leader == NodeID(3))
    // Now single brokers may have their own minimum; turning the feature on again takes it from them.
    let own = IncrementalAlterConfigs([.init(.broker(NodeID(1)), [.init("min.insync.replicas", .set, "2")])])
    #expect(try harness.run(own)[0].error == nil)
    try harness.run(IncrementalAlterConfigs([.init(.defaultBroker, [.init("min.insync.replicas", .delete, nil)])]))
    try harness.run(UpdateFeatures([Update(self.eligible, 1)]))
    #expect(harness.image.configs(of: .broker(NodeID(1))).isEmpty)
    #expect(harness.image.configs(of: .defaultBroker)["min.insync.replicas"] == "1")
    #expect(harness.machine.keepsEligible)
    #expect(try harness.run(own)[0].error?.code == .invalidConfig)
    let removal = IncrementalAlterConfigs([.init(.defaultBroker, [.init("min.insync.replicas", .delete, nil)])])
    #expect(try harness.run(removal)[0].error?.code == .invalidConfig)
    #expect(try harness.run(AlterConfigs([.init(.defaultBroker, [])]))[0].error?.code == .invalidConfig)
  }

  // MARK: min.insync.replicas

  /// `t` with three replicas and a minimum of 3, of which only 1 is in sync; 2 and 3 are eligible.
  private func small() throws -> (MachineHarness, TopicIDPartition) {
    var harness = MachineHarness()
    for id in 1...3 as ClosedRange<Int32> { try harness.addBroker(id) }
    let id = try harness.createTopic("t", [1, 2, 3], minInSync: 3)
    try harness.fence(3)
    #expect(harness.image.partition(id)?.eligibleLeaderReplicas == nodes(3))
    return (harness, id)
  }
  private func set(_ harness: inout MachineHarness, _ value: String?, on resource: ConfigResource = .topic("t")) throws -> ErrorCode {
    let change = IncrementalAlterConfigs.Change("min.insync.replicas", value == nil ? .delete : .set, value)
    return try harness.run(IncrementalAlterConfigs([.init(resource, [change])]))[0].error?.code ?? .none
  }

  @Test func whereFewerSufficeTheEligibleGo() throws {
    var (harness, id) = try self.small()
    let first = harness.log.count
    #expect(try self.set(&harness, "2") == .none)
    #expect(harness.image.partition(id)?.eligibleLeaderReplicas == [])
    #expect(harness.image.partition(id)?.reason == .minInSyncReplicasChanged)
    #expect(harness.image.partition(id)?.leaderEpoch == LeaderEpoch(0))
    // Nobody may commit by the new minimum while the old ELR counts.
    guard case .partitionChange = harness.log[first], case .config = harness.log.last else { throw ApiError(.none, "wrong order") }
  }

  @Test func whereTheyDoNotTheyStay() throws {
    var (harness, id) = try self.small()
    try harness.fence(2)
    #expect(harness.image.partition(id)?.inSyncReplicas == nodes(1))
    #expect(try self.set(&harness, "2") == .none)
    #expect(harness.image.partition(id)?.eligibleLeaderReplicas == nodes(3, 2))
    // Without its own value the topic has the cluster's, which is 1.
    #expect(try self.set(&harness, nil) == .none)
    #expect(harness.image.partition(id)?.eligibleLeaderReplicas == [])
  }

  @Test func theClusterCountsForWhoHasNoOwn() throws {
    var (harness, id) = try self.small()
    #expect(try self.set(&harness, "2", on: .defaultBroker) == .none)
    #expect(harness.image.partition(id)?.eligibleLeaderReplicas == nodes(3))
    var other = MachineHarness()
    for id in 1...2 as ClosedRange<Int32> { try other.addBroker(id) }
    #expect(try self.set(&other, "2", on: .defaultBroker) == .none)
    #expect(try other.create(.init("u", assignments: [.init(partition: PartitionID(0), replicas: nodes(1, 2))])) == .none)
    try other.fence(2)
    let partition = TopicIDPartition(try #require(other.image.topicID("u")), PartitionID(0))
    #expect(other.image.partition(partition)?.eligibleLeaderReplicas == nodes(2))
    let before = other.image
    let request = IncrementalAlterConfigs([.init(.defaultBroker, [.init("min.insync.replicas", .set, "1")])], validateOnly: true)
    try other.run(request)
    #expect(other.image == before)
    #expect(try self.set(&other, "1", on: .defaultBroker) == .none)
    #expect(other.image.partition(partition)?.eligibleLeaderReplicas == [])
  }

  /// Written by Kafka's controllers.
  @Test func aRecordThatClearsTheEligible() throws {
    var (harness, id) = try self.small()
    let other = try harness.createTopic("u", [1, 2], minInSync: 2)
    try harness.fence(2)
    harness.commit([.clearEligibleLeaderReplicas(topicName: "u")])
    #expect(harness.image.partition(other)?.eligibleLeaderReplicas == [])
    #expect(harness.image.partition(id)?.eligibleLeaderReplicas == nodes(3, 2))
    #expect(harness.delta.changedPartitions == [other])
    harness.commit([.clearEligibleLeaderReplicas(topicName: nil)])
    #expect(harness.image.partition(id)?.eligibleLeaderReplicas == [])
    #expect(harness.machine.index == ReplicaIndex(harness.image))
    var delta = MetadataDelta()
    #expect(throws: ReplayError.unknownTopicName("x")) {
      try harness.machine.replay(.clearEligibleLeaderReplicas(topicName: "x"), at: harness.nextOffset, into: &delta)
    }
  }
}
