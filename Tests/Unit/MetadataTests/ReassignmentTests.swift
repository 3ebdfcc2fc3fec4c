import Base
import Model
import Testing

@testable import Metadata

@Suite struct ReassignmentTests {
  private func cluster(_ count: Int32 = 5) throws -> MachineHarness {
    var harness = MachineHarness()
    for id in 1...count { try harness.addBroker(id) }
    return harness
  }
  /// The code for moving `t-0` to `replicas`; nil: cancel.
  private func move(
    _ harness: inout MachineHarness, _ replicas: [NodeID]?, _ topic: String = "t", _ partition: Int32 = 0, otherFactor: Bool = true
  ) throws -> ErrorCode {
    let request = AlterPartitionReassignments([.init(topic, PartitionID(partition), replicas)], allowsOtherFactor: otherFactor)
    return try harness.run(request)[0].error?.code ?? .none
  }

  /// There is nothing to copy and nothing to wait for: it is told as done, not as begun.
  @Test func anotherOrder() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2, 3])
    #expect(try self.move(&harness, nodes(3, 1, 2)) == .none)
    let partition = try #require(harness.image.partition(id))
    #expect(partition.assignedReplicas == nodes(3, 1, 2) && !partition.isReassigning)
    #expect(partition.leader == NodeID(1) && partition.reason == .reassignmentCompleted)
    #expect(harness.machine.index.reassigning == [])
  }

  @Test func fromBeginningToEnd() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2, 3])
    #expect(try self.move(&harness, nodes(4, 2, 5)) == .none)
    var partition = try #require(harness.image.partition(id))
    #expect(partition.assignedReplicas == nodes(4, 2, 5, 1, 3))
    #expect(partition.addingReplicas == nodes(4, 5) && partition.removingReplicas == nodes(1, 3))
    #expect(partition.leader == NodeID(1) && partition.leaderEpoch == LeaderEpoch(0) && partition.reason == .reassignmentStarted)
    #expect(partition.directories == [4, 2, 5, 1, 3].map { MachineHarness.directory($0) })
    #expect(harness.machine.index.reassigning == [id])
    #expect(
      ListPartitionReassignments(nil).answer(from: harness.machine)
        == [
          .init(
            topic: "t", partition: PartitionID(0), replicas: nodes(4, 2, 5, 1, 3), addingReplicas: nodes(4, 5),
            removingReplicas: nodes(1, 3))
        ])
    #expect(try harness.alter(id, [1, 2, 3, 4]) == .none)
    #expect(harness.machine.index.reassigning == [id])
    #expect(try harness.alter(id, [1, 2, 3, 4, 5]) == .newLeaderElected)
    partition = try #require(harness.image.partition(id))
    #expect(partition.assignedReplicas == nodes(4, 2, 5) && partition.leader == NodeID(4))
    #expect(harness.machine.index.reassigning == [] && harness.machine.index.assignedCount(NodeID(1)) == 0)
    #expect(ListPartitionReassignments(nil).answer(from: harness.machine).isEmpty)
  }

  @Test func anotherOrderIsDoneAtOnce() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2, 3])
    #expect(try self.move(&harness, nodes(3, 1, 2)) == .none)
    let partition = try #require(harness.image.partition(id))
    #expect(partition.assignedReplicas == nodes(3, 1, 2) && !partition.isReassigning && partition.leader == NodeID(1))
    #expect(partition.directories == [3, 1, 2].map { MachineHarness.directory($0) })
    #expect(try self.move(&harness, nodes(3, 1, 2)) == .none)
    #expect(harness.image.partition(id)?.partitionEpoch == PartitionEpoch(1))
  }

  @Test func fewerReplicasAreThereAtOnce() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2, 3])
    #expect(try self.move(&harness, nodes(2)) == .none)
    let partition = try #require(harness.image.partition(id))
    #expect(partition.assignedReplicas == nodes(2) && partition.inSyncReplicas == nodes(2) && partition.leader == NodeID(2))
    #expect(partition.reason == .reassignmentCompleted && partition.leaderEpoch == LeaderEpoch(1))
  }

  @Test func refusals() throws {
    var harness = try self.cluster()
    _ = try harness.createTopic("t", [1, 2, 3])
    let before = harness.image
    #expect(try self.move(&harness, nodes(1), "no") == .unknownTopicOrPartition)
    #expect(try self.move(&harness, nodes(1), "t", 9) == .unknownTopicOrPartition)
    #expect(try self.move(&harness, nil) == .noReassignmentInProgress)
    #expect(try self.move(&harness, []) == .invalidReplicaAssignment)
    #expect(try self.move(&harness, nodes(1, 1)) == .invalidReplicaAssignment)
    #expect(try self.move(&harness, nodes(1, 9)) == .invalidReplicaAssignment)
    #expect(try self.move(&harness, nodes(1, 2), otherFactor: false) == .invalidReplicationFactor)
    #expect(harness.image == before)
    #expect(try self.move(&harness, nodes(1, 2, 4), otherFactor: false) == .none)
    // The factor is that of the move under way.
    #expect(try self.move(&harness, nodes(1, 2, 4, 3), otherFactor: false) == .invalidReplicationFactor)
    #expect(try self.move(&harness, nodes(1, 2, 5), otherFactor: false) == .none)
    let twice = try harness.run(AlterPartitionReassignments([.init("t", PartitionID(0), nodes(1)), .init("t", PartitionID(0), nodes(2))]))
    #expect(twice.map { $0.error?.code } == [nil, .invalidRequest])
  }

  @Test func takenBack() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2])
    #expect(try self.move(&harness, nodes(3, 4)) == .none)
    #expect(try harness.alter(id, [1, 2, 3]) == .none)
    #expect(try self.move(&harness, nil) == .none)
    let partition = try #require(harness.image.partition(id))
    #expect(partition.assignedReplicas == nodes(1, 2) && partition.inSyncReplicas == nodes(1, 2) && !partition.isReassigning)
    #expect(partition.reason == .reassignmentCancelled)
    // 3 still fetches as a replica: it must be refused.
    #expect(partition.leader == NodeID(1) && partition.leaderEpoch == LeaderEpoch(1))
  }

  /// Only the new replicas are in sync: going back would lose records.
  @Test func whatCannotBeTakenBack() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2])
    #expect(try self.move(&harness, nodes(3, 4)) == .none)
    #expect(try harness.alter(id, [1, 3]) == .none)
    try harness.fence(1)
    #expect(harness.image.partition(id)?.inSyncReplicas == nodes(3))
    #expect(try self.move(&harness, nil) == .invalidReplicaAssignment)
    try harness.run(IncrementalAlterConfigs([.init(.topic("t"), [.init("unclean.leader.election.enable", .set, "true")])]))
    #expect(try self.move(&harness, nil) == .none)
    let partition = try #require(harness.image.partition(id))
    #expect(partition.assignedReplicas == nodes(1, 2) && partition.inSyncReplicas == [] && !partition.hasLeader)
    #expect(harness.machine.uncleanQuestions(countMax: 9).map(\.replicas) == [nodes(2)])
  }

  @Test func aMoveThatIsChangedGoesOn() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2])
    #expect(try self.move(&harness, nodes(3, 4)) == .none)
    #expect(try self.move(&harness, nodes(4, 5)) == .none)
    let partition = try #require(harness.image.partition(id))
    #expect(partition.assignedReplicas == nodes(4, 5, 1, 2, 3))
    // 4 was being added and still is.
    #expect(partition.addingReplicas == nodes(5, 4) && partition.removingReplicas == nodes(1, 2, 3))
    #expect(try harness.alter(id, [1, 2, 4, 5]) == .newLeaderElected)
    #expect(harness.image.partition(id)?.assignedReplicas == nodes(4, 5))
  }

  // MARK: Targets that are gone

  @Test func aTargetThatIsUnregisteredIsNotWaitedFor() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2])
    #expect(try self.move(&harness, nodes(3, 4)) == .none)
    try harness.fence(4)
    #expect(harness.image.partition(id)?.isReassigning == true)
    try harness.run(UnregisterBroker(nodeID: NodeID(4)))
    let partition = try #require(harness.image.partition(id))
    #expect(partition.assignedReplicas == nodes(1, 2) && !partition.isReassigning && partition.leader == NodeID(1))
  }

  @Test func whereGoingBackWouldLoseRecordsItGoesOn() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1])
    #expect(try self.move(&harness, nodes(2, 3)) == .none)
    #expect(try harness.alter(id, [1, 2]) == .none)
    try harness.fence(1)
    try harness.fence(3)
    try harness.run(UnregisterBroker(nodeID: NodeID(3)))
    let partition = try #require(harness.image.partition(id))
    // Without 3 the move is complete.
    #expect(partition.assignedReplicas == nodes(2) && partition.leader == NodeID(2) && !partition.isReassigning)
  }

  @Test func whoWasToGoAndIsGoneIsNotKept() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2])
    #expect(try self.move(&harness, nodes(1, 3)) == .none)
    try harness.fence(2)
    try harness.run(UnregisterBroker(nodeID: NodeID(2)))
    let partition = try #require(harness.image.partition(id))
    #expect(partition.assignedReplicas == nodes(1, 3) && partition.addingReplicas == nodes(3) && partition.removingReplicas == [])
    #expect(try harness.alter(id, [1, 3]) == .none)
    #expect(harness.image.partition(id)?.isReassigning == false)
  }

  @Test func somebodyStaysInAnyCase() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1])
    #expect(try self.move(&harness, nodes(2)) == .none)
    try harness.fence(1)
    try harness.fence(2)
    try harness.run(UnregisterBroker(nodeID: NodeID(1)))
    try harness.run(UnregisterBroker(nodeID: NodeID(2)))
    let partition = try #require(harness.image.partition(id))
    #expect(partition.assignedReplicas == nodes(2) && !partition.isReassigning)
  }

  @Test func aTargetThatDoesNotComeBackIsGivenUp() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2])
    #expect(try self.move(&harness, nodes(3, 4)) == .none)
    try harness.run(GiveUpReassignmentTargets(nodes(4)))
    // It is there.
    #expect(harness.image.partition(id)?.isReassigning == true)
    try harness.fence(4)
    var settings = ControllerUpkeep.Settings()
    settings.balanceInterval = nil
    var upkeep = ControllerUpkeep(settings)
    upkeep.activate(now: .origin)
    _ = upkeep.due(on: harness.machine, now: .origin + .seconds(60))
    #expect(upkeep.due(on: harness.machine, now: .origin + .seconds(659)).isEmpty)
    guard case .giveUpTargets(let request) = upkeep.due(on: harness.machine, now: .origin + .seconds(719)).first else {
      throw ApiError(.none, "nothing is given up")
    }
    #expect(request.brokers == nodes(4))
    try harness.run(request)
    #expect(harness.image.partition(id)?.assignedReplicas == nodes(1, 2))
    #expect(harness.image.partition(id)?.reason == .reassignmentCancelled)
  }

  @Test func lists() throws {
    var harness = try self.cluster()
    _ = try harness.createTopic("b", [1])
    _ = try harness.createTopic("a", [1])
    #expect(try self.move(&harness, nodes(2), "a") == .none)
    #expect(try self.move(&harness, nodes(2), "b") == .none)
    #expect(ListPartitionReassignments(nil).answer(from: harness.machine).map(\.topic) == ["a", "b"])
    let some = ListPartitionReassignments([
      .init("no", [PartitionID(0)]), .init("b", [PartitionID(7), PartitionID(0)]),
    ])
    #expect(some.answer(from: harness.machine).map(\.topic) == ["b"])
    #expect(ListPartitionReassignments([]).answer(from: harness.machine).isEmpty)
  }
}
