import Model
import Testing

@testable import Metadata

@Suite struct AlterPartitionTests {
  private struct Cluster {
    var harness = MachineHarness()
    var id: TopicIDPartition
    init(_ replicas: [Int32] = [1, 2, 3], minInSync: Int = 2) throws {
      for broker in 1...3 as ClosedRange<Int32> { try self.harness.addBroker(broker) }
      self.id = TopicIDPartition(.zero, PartitionID(0))
      self.id = try self.harness.createTopic("t", replicas, minInSync: minInSync)
    }
    var partition: PartitionImage { self.harness.image.partition(self.id)! }
    func epoch(_ id: Int32) -> BrokerEpoch { self.harness.image.broker(NodeID(id))!.epoch }

    /// A request that is right, but for what `edit` does to it.
    func code(from broker: Int32 = 1, _ edit: (inout AlterPartition.Partition) -> Void) throws -> ErrorCode {
      var wanted = AlterPartition.Partition(
        self.id, leaderEpoch: self.partition.leaderEpoch, partitionEpoch: self.partition.partitionEpoch,
        inSyncReplicas: [.init(NodeID(1), self.epoch(1)), .init(NodeID(2), self.epoch(2))])
      edit(&wanted)
      let request = AlterPartition(nodeID: NodeID(broker), epoch: self.epoch(broker), [wanted])
      let decision = try request.decide(on: self.harness.machine, nextOffset: self.harness.nextOffset)
      switch decision.response[0].outcome {
      case .success: return .none
      case .failure(let error):
        #expect(decision.records.isEmpty || error.code == .newLeaderElected)
        return error.code
      }
    }
  }

  @Test func shrinkAndExpand() throws {
    var cluster = try Cluster()
    #expect(try cluster.harness.alter(cluster.id, [1, 2]) == .none)
    #expect(cluster.partition.inSyncReplicas == nodes(1, 2) && cluster.partition.reason == .isrShrink)
    #expect(cluster.partition.leaderEpoch == LeaderEpoch(0) && cluster.partition.partitionEpoch == PartitionEpoch(1))
    #expect(try cluster.harness.alter(cluster.id, [1]) == .none)
    #expect(cluster.partition.eligibleLeaderReplicas == nodes(2))
    #expect(try cluster.harness.alter(cluster.id, [1, 2, 3]) == .none)
    #expect(cluster.partition.inSyncReplicas == nodes(1, 2, 3) && cluster.partition.reason == .isrExpand)
    #expect(cluster.partition.eligibleLeaderReplicas == [])
    // The same again changes nothing.
    let count = cluster.harness.log.count
    #expect(try cluster.harness.alter(cluster.id, [1, 2, 3]) == .none)
    #expect(cluster.harness.log.count == count)
  }

  @Test func theAnswerIsThePartitionAsItWillBe() throws {
    let cluster = try Cluster()
    let request = AlterPartition(
      nodeID: NodeID(1), epoch: cluster.epoch(1),
      [.init(cluster.id, leaderEpoch: LeaderEpoch(0), partitionEpoch: PartitionEpoch(0), inSyncReplicas: [.init(NodeID(1))])])
    var harness = cluster.harness
    let results = try harness.run(request)
    #expect(results == [.init(id: cluster.id, outcome: .success(harness.image.partition(cluster.id)!))])
  }

  @Test func refusals() throws {
    let cluster = try Cluster()
    #expect(try cluster.code { _ in } == .none)
    #expect(try cluster.code { $0.id = TopicIDPartition(KafkaUUID(high: 5, low: 5), PartitionID(0)) } == .unknownTopicId)
    #expect(try cluster.code { $0.id.partition = PartitionID(7) } == .unknownTopicOrPartition)
    #expect(try cluster.code { $0.id.partition = PartitionID(-1) } == .unknownTopicOrPartition)
    #expect(try cluster.code { $0.leaderEpoch = LeaderEpoch(1) } == .notController)
    #expect(try cluster.code { $0.partitionEpoch = PartitionEpoch(1) } == .notController)
    #expect(try cluster.code { $0.leaderEpoch = LeaderEpoch(-1) } == .fencedLeaderEpoch)
    #expect(try cluster.code { $0.partitionEpoch = PartitionEpoch(-1) } == .invalidUpdateVersion)
    #expect(try cluster.code(from: 2) { _ in } == .invalidRequest)
    #expect(try cluster.code { $0.inSyncReplicas = [] } == .invalidRequest)
    #expect(try cluster.code { $0.inSyncReplicas.append($0.inSyncReplicas[0]) } == .invalidRequest)
    #expect(try cluster.code { $0.inSyncReplicas.append(.init(NodeID(4))) } == .invalidRequest)
    #expect(try cluster.code { $0.inSyncReplicas.remove(at: 0) } == .invalidRequest)
    #expect(try cluster.code { $0.leaderRecoveryState = 2 } == .invalidRequest)
    #expect(try cluster.code { $0.leaderRecoveryState = 1 } == .invalidRequest)
    #expect(try cluster.code { ($0.leaderRecoveryState, $0.inSyncReplicas) = (1, [.init(NodeID(1))]) } == .invalidRequest)
  }

  /// Wrong in several ways: the first in Kafka's order counts.
  @Test func orderOfRefusals() throws {
    let cluster = try Cluster()
    #expect(try cluster.code(from: 2) { ($0.leaderEpoch, $0.partitionEpoch) = (LeaderEpoch(-1), PartitionEpoch(1)) } == .notController)
    #expect(try cluster.code(from: 2) { $0.leaderEpoch = LeaderEpoch(-1) } == .fencedLeaderEpoch)
    #expect(try cluster.code(from: 2) { $0.partitionEpoch = PartitionEpoch(-1) } == .invalidRequest)
    #expect(try cluster.code { ($0.partitionEpoch, $0.inSyncReplicas) = (PartitionEpoch(-1), []) } == .invalidUpdateVersion)
  }

  @Test func whoMayNotBeInSync() throws {
    var cluster = try Cluster()
    #expect(try cluster.code { $0.inSyncReplicas[1].epoch = BrokerEpoch(1) } == .ineligibleReplica)
    #expect(try cluster.code { $0.inSyncReplicas[1].epoch = .unknown } == .none)
    try cluster.harness.fence(2)
    #expect(try cluster.code { _ in } == .ineligibleReplica)
    try cluster.harness.unfence(2)
    #expect(try cluster.code { _ in } == .none)
    // A new incarnation of 2 that the leader does not know of yet.
    let known = cluster.epoch(2)
    try cluster.harness.addBroker(2, incarnation: 2)
    #expect(try cluster.code { $0.inSyncReplicas[1].epoch = known } == .ineligibleReplica)
    #expect(try cluster.code { _ in } == .none)
    var change = BrokerRegistrationChange(NodeID(2), epoch: cluster.epoch(2))
    change.beginsControlledShutdown = true
    cluster.harness.commit([.brokerRegistrationChange(change)])
    #expect(try cluster.code { _ in } == .ineligibleReplica)
  }

  @Test func aBrokerThatIsGoneIsNotInSync() throws {
    var cluster = try Cluster()
    try cluster.harness.fence(2)
    try cluster.harness.run(UnregisterBroker(nodeID: NodeID(2)))
    let partition = cluster.partition
    let results = try cluster.harness.run(
      AlterPartition(
        nodeID: NodeID(1), epoch: cluster.epoch(1),
        [
          .init(
            cluster.id, leaderEpoch: partition.leaderEpoch, partitionEpoch: partition.partitionEpoch,
            inSyncReplicas: [.init(NodeID(1)), .init(NodeID(2))])
        ]))
    guard case .failure(let error) = results[0].outcome else { throw ApiError(.none, "it was taken") }
    #expect(error.code == .ineligibleReplica)
  }

  @Test func aForgedBrokerEpoch() throws {
    let cluster = try Cluster()
    for (epoch, code) in [(BrokerEpoch(99), ErrorCode.staleBrokerEpoch), (.unknown, .staleBrokerEpoch)] {
      let error = try #require(throws: ApiError.self) {
        try AlterPartition(nodeID: NodeID(1), epoch: epoch, []).decide(on: cluster.harness.machine, nextOffset: cluster.harness.nextOffset)
      }
      #expect(error.code == code)
    }
    let unknown = try #require(throws: ApiError.self) {
      try AlterPartition(nodeID: NodeID(8), epoch: cluster.epoch(1), [])
        .decide(on: cluster.harness.machine, nextOffset: cluster.harness.nextOffset)
    }
    #expect(unknown.code == .staleBrokerEpoch)
  }

  @Test func aPartitionIsChangedOnce() throws {
    let cluster = try Cluster()
    let wanted = AlterPartition.Partition(
      cluster.id, leaderEpoch: LeaderEpoch(0), partitionEpoch: PartitionEpoch(0), inSyncReplicas: [.init(NodeID(1))])
    let decision = try AlterPartition(nodeID: NodeID(1), epoch: cluster.epoch(1), [wanted, wanted])
      .decide(on: cluster.harness.machine, nextOffset: cluster.harness.nextOffset)
    #expect(decision.records.count == 1)
    guard case .failure(let error) = decision.response[1].outcome else { throw ApiError(.none, "it was taken twice") }
    #expect(error.code == .invalidUpdateVersion)
  }

  @Test func recovery() throws {
    var cluster = try Cluster([1, 2])
    var change = PartitionChange()
    (change.leader, change.inSyncReplicas, change.leaderRecoveryState) = (NodeID(1), nodes(1), .recovering)
    cluster.harness.commit([.partitionChange(cluster.id, change)])
    #expect(try cluster.harness.alter(cluster.id, [1, 2], recovery: 1) == .invalidRequest)
    #expect(try cluster.harness.alter(cluster.id, [1], recovery: 1) == .none)
    #expect(cluster.partition.leaderRecoveryState == .recovering)
    #expect(try cluster.harness.alter(cluster.id, [1], recovery: 0) == .none)
    #expect(cluster.partition.leaderRecoveryState == .recovered && cluster.partition.reason == .leaderRecovered)
    #expect(cluster.partition.leaderEpoch == LeaderEpoch(1))
  }

  @Test func theEndOfAMoveBringsAnotherLeader() throws {
    var cluster = try Cluster([1, 2])
    #expect(try cluster.harness.alter(cluster.id, [1]) == .none)
    #expect(try cluster.harness.run(AlterPartitionReassignments([.init("t", PartitionID(0), nodes(2, 3))]))[0].error == nil)
    #expect(cluster.partition.assignedReplicas == nodes(2, 3, 1))
    #expect(try cluster.harness.alter(cluster.id, [1, 2, 3]) == .newLeaderElected)
    #expect(cluster.partition.leader == NodeID(2) && cluster.partition.assignedReplicas == nodes(2, 3))
    #expect(cluster.harness.delta.transitions.map(\.reason) == [.reassignmentCompleted])
  }
}
