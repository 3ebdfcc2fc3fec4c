import Base
import Model
import Testing

@testable import Metadata

@Suite struct BrokerLifecycleTests {
  /// Brokers 1, 2, ... unfenced, with sessions, and their epochs.
  private func cluster(_ count: Int32) throws -> (MachineHarness, [Int32: BrokerEpoch]) {
    var harness = MachineHarness()
    harness.activate()
    var epochs: [Int32: BrokerEpoch] = [:]
    for id in 1...count {
      let epoch = try harness.run(MachineHarness.registration(id))
      epochs[id] = epoch
      try harness.heartbeat(id, epoch)
    }
    return (harness, epochs)
  }

  // MARK: Registration

  @Test func aSecondProcessIsRefusedWhileTheFirstMayLive() throws {
    var (harness, epochs) = try self.cluster(1)
    let request = MachineHarness.registration(1, incarnation: 2)
    let error = try #require(throws: ApiError.self) { try harness.run(request) }
    #expect(error.code == .duplicateBrokerRegistration)
    #expect(harness.session(.duplicateRegistered(NodeID(1))).count == 1)
    // The first is dead: now the second is taken, even before the fencing.
    _ = harness.session(.probeFailed(NodeID(1), epochs[1]!, .refused))
    let second = try harness.run(request)
    #expect(second > epochs[1]!)
    #expect(harness.image.broker(NodeID(1))?.isFenced == true)
    #expect(throws: ApiError.self) { try harness.run(MachineHarness.registration(1, incarnation: 3)) }
    _ = harness.session(.timeAdvanced, after: .seconds(9))
    try harness.run(MachineHarness.registration(1, incarnation: 3))
  }

  @Test func aFeatureThatIsOffCannotBeNeeded() throws {
    var harness = MachineHarness()
    var request = MachineHarness.registration(1)
    request.features.append(.init(name: "other", versions: 1...2))
    let error = try #require(throws: ApiError.self) { try harness.run(request) }
    #expect(error.code == .unsupportedVersion)
    request.features[request.features.count - 1] = .init(name: "other", versions: 0...2)
    try harness.run(request)
  }

  @Test func anUncleanRestartLeavesTheEligible() throws {
    var (harness, epochs) = try self.cluster(3)
    let id = try harness.createTopic("t", [1, 2, 3], minInSync: 3)
    _ = harness.session(.timeAdvanced, after: .seconds(9))
    try harness.fence(2)
    try harness.fence(3)
    #expect(harness.image.partition(id)?.inSyncReplicas == nodes(1))
    #expect(harness.image.partition(id)?.eligibleLeaderReplicas == nodes(2, 3))
    // With the epoch of its last registration a broker has nothing to fear.
    try harness.run(MachineHarness.registration(2, incarnation: 2, previousEpoch: epochs[2]!))
    #expect(harness.image.partition(id)?.eligibleLeaderReplicas == nodes(2, 3))
    try harness.run(MachineHarness.registration(3, incarnation: 2, previousEpoch: epochs[2]!))
    let partition = try #require(harness.image.partition(id))
    #expect(partition.eligibleLeaderReplicas == nodes(2))
    #expect(partition.reason == .uncleanShutdown)
  }

  @Test func aRestartThatWasNotNoticedLeavesTheISR() throws {
    var (harness, epochs) = try self.cluster(2)
    let id = try harness.createTopic("t", [1, 2], minInSync: 2)
    _ = harness.session(.timeAdvanced, after: .seconds(9))
    try harness.run(MachineHarness.registration(1, incarnation: 2, previousEpoch: epochs[1]!))
    let partition = try #require(harness.image.partition(id))
    #expect(partition.leader == NodeID(2) && partition.inSyncReplicas == nodes(2) && partition.eligibleLeaderReplicas == nodes(1))
    #expect(partition.reason == .brokerRestarted)
    // The registration is the last record: a part of the rest never counts as the whole.
    guard case .registerBroker = harness.log.last else { throw ApiError(.none, "the registration is not last") }
  }

  // MARK: Heartbeats

  @Test func onlyWhoKnowsItselfIsUnfenced() throws {
    var harness = MachineHarness()
    harness.activate()
    let epoch = try harness.run(MachineHarness.registration(1))
    let registered = harness.image.offset
    var answer = try harness.heartbeat(1, epoch, offset: Offset(registered.rawValue - 1))
    #expect(answer == .init(isCaughtUp: false, isFenced: true, shouldShutDown: false))
    answer = try harness.heartbeat(1, epoch, offset: registered, fence: true)
    #expect(answer == .init(isCaughtUp: true, isFenced: true, shouldShutDown: false))
    answer = try harness.heartbeat(1, epoch, offset: registered)
    #expect(answer == .init(isCaughtUp: true, isFenced: false, shouldShutDown: false))
    #expect(harness.image.isActive(NodeID(1)))
    let count = harness.log.count
    #expect(try harness.heartbeat(1, epoch) == .init(isCaughtUp: true, isFenced: false, shouldShutDown: false))
    #expect(harness.log.count == count)
  }

  @Test func heartbeatsOfOthersAreRefused() throws {
    var (harness, epochs) = try self.cluster(1)
    let before = harness.machine.sessions
    let stale = try #require(throws: ApiError.self) { try harness.heartbeat(1, BrokerEpoch(0)) }
    #expect(stale.code == .staleBrokerEpoch)
    let unknown = try #require(throws: ApiError.self) { try harness.heartbeat(2, epochs[1]!) }
    #expect(unknown.code == .staleBrokerEpoch)
    #expect(harness.machine.sessions == before)
  }

  @Test func aBrokerMayFenceItself() throws {
    var (harness, epochs) = try self.cluster(2)
    let id = try harness.createTopic("t", [1, 2])
    #expect(try harness.heartbeat(1, epochs[1]!, fence: true) == .init(isCaughtUp: true, isFenced: true, shouldShutDown: false))
    #expect(harness.image.partition(id)?.leader == NodeID(2))
    #expect(harness.image.partition(id)?.reason == .brokerFenced)
    let answer = try harness.heartbeat(2, epochs[2]!, fence: true, shutdown: true)
    #expect(answer == .init(isCaughtUp: true, isFenced: true, shouldShutDown: true))
  }

  @Test func aShutdownInThreeSteps() throws {
    var (harness, epochs) = try self.cluster(3)
    let id = try harness.createTopic("t", [1, 2, 3])
    for broker in [2, 3] as [Int32] { try harness.heartbeat(broker, epochs[broker]!) }
    // First what it leads goes.
    #expect(try harness.heartbeat(1, epochs[1]!, shutdown: true) == .init(isCaughtUp: true, isFenced: false, shouldShutDown: false))
    let partition = try #require(harness.image.partition(id))
    #expect(partition.leader == NodeID(2) && partition.inSyncReplicas == nodes(2, 3) && partition.reason == .controlledShutdown)
    let needed = harness.image.offset
    #expect(harness.image.broker(NodeID(1))?.isInControlledShutdown == true)
    #expect(harness.machine.shutdownOffset(of: NodeID(1)) == needed)
    // What says that it is done comes last.
    guard case .brokerRegistrationChange = harness.log.last else { throw ApiError(.none, "the registration is not changed last") }
    // Then everybody must know of it.
    #expect(try !harness.heartbeat(1, epochs[1]!, shutdown: true).shouldShutDown)
    try harness.heartbeat(2, epochs[2]!, offset: needed)
    #expect(try !harness.heartbeat(1, epochs[1]!, shutdown: true).shouldShutDown)
    try harness.heartbeat(3, epochs[3]!, offset: needed)
    // Then it may go, and is fenced.
    #expect(try harness.heartbeat(1, epochs[1]!, shutdown: true) == .init(isCaughtUp: true, isFenced: true, shouldShutDown: true))
    #expect(harness.image.broker(NodeID(1))?.isFenced == true)
    let count = harness.log.count
    #expect(try harness.heartbeat(1, epochs[1]!, shutdown: true).shouldShutDown)
    #expect(harness.log.count == count)
  }

  @Test func whoLeadsNothingMayGoAtOnce() throws {
    var (harness, epochs) = try self.cluster(2)
    let id = try harness.createTopic("t", [1, 2])
    #expect(try harness.heartbeat(2, epochs[2]!, shutdown: true) == .init(isCaughtUp: true, isFenced: true, shouldShutDown: true))
    #expect(harness.image.partition(id)?.inSyncReplicas == nodes(1))
  }

  /// The only replica of a partition keeps its place while its broker restarts. If the broker goes again instead, it does not.
  @Test func aBrokerThatNeverCameBackLeadsNothing() throws {
    var (harness, epochs) = try self.cluster(2)
    let id = try harness.createTopic("t", [1])
    _ = harness.session(.timeAdvanced, after: .seconds(9))
    let second = try harness.run(MachineHarness.registration(1, incarnation: 2, previousEpoch: epochs[1]!))
    #expect(harness.image.partition(id)?.leader == NodeID(1) && harness.image.partition(id)?.leaderEpoch == LeaderEpoch(0))
    #expect(try harness.heartbeat(1, second, fence: true, shutdown: true).shouldShutDown)
    #expect(harness.image.partition(id)?.leader == NodeID.none && harness.image.partition(id)?.eligibleLeaderReplicas == nodes(1))
    #expect(harness.machine.index.ledCount(NodeID(1)) == 0)
  }

  /// A shutdown of which only the beginning was written is taken up again.
  @Test func aShutdownThatWasCutOffGoesOn() throws {
    var (harness, epochs) = try self.cluster(2)
    let id = try harness.createTopic("t", [1, 2])
    var change = BrokerRegistrationChange(NodeID(1), epoch: epochs[1]!)
    change.beginsControlledShutdown = true
    harness.commit([.brokerRegistrationChange(change)])
    #expect(try !harness.heartbeat(1, epochs[1]!, shutdown: true).shouldShutDown)
    #expect(harness.image.partition(id)?.leader == NodeID(2))
    try harness.heartbeat(2, epochs[2]!)
    #expect(try harness.heartbeat(1, epochs[1]!, shutdown: true).shouldShutDown)
  }

  @Test func aFailedDirectoryTakesItsReplicasOut() throws {
    var harness = MachineHarness()
    harness.activate()
    let first = MachineHarness.directory(1), second = KafkaUUID(high: 9, low: 9)
    var request = MachineHarness.registration(1)
    request.logDirectories = [first, second]
    let epoch = try harness.run(request)
    try harness.heartbeat(1, epoch)
    let other = try harness.run(MachineHarness.registration(2))
    try harness.heartbeat(2, other)
    let a = try harness.createTopic("a", [1, 2]), b = try harness.createTopic("b", [1, 2])
    for (id, directory) in [(a, first), (b, second)] {
      var change = PartitionChange()
      change.directories = [directory, MachineHarness.directory(2)]
      harness.commit([.partitionChange(id, change)])
    }
    try harness.heartbeat(1, epoch, offline: [second, KafkaUUID(high: 5, low: 5)])
    #expect(harness.image.partition(a)?.leader == NodeID(1))
    #expect(harness.image.partition(b)?.leader == NodeID(2))
    #expect(harness.image.partition(b)?.reason == .logDirectoryFailed)
    #expect(harness.image.broker(NodeID(1))?.logDirectories == [first])
    let count = harness.log.count
    try harness.heartbeat(1, epoch, offline: [second])
    #expect(harness.log.count == count)
    // What is on the failed disk cannot lead.
    #expect(try harness.alter(b, [2, 1]) == .none)
    _ = harness.session(.timeAdvanced, after: .seconds(9))
    try harness.fence(2)
    #expect(harness.image.partition(b)?.leader == NodeID.none)
    #expect(harness.image.partition(a)?.leader == NodeID(1))
  }

  /// Kafka's brokers end then and are found dead; one that says so is fenced before that.
  @Test func aBrokerWithoutADirectoryIsFenced() throws {
    var (harness, epochs) = try self.cluster(2)
    let id = try harness.createTopic("t", [1, 2])
    try harness.heartbeat(1, epochs[1]!, fence: true, offline: [MachineHarness.directory(1)])
    #expect(harness.image.partition(id)?.leader == NodeID(2))
    #expect(harness.image.partition(id)?.inSyncReplicas == [NodeID(2)])
    #expect(harness.image.partition(id)?.reason == .logDirectoryFailed)
    #expect(harness.image.broker(NodeID(1))?.isFenced == true)
    guard case .brokerRegistrationChange(let change)? = harness.log.last else { Issue.record("\(harness.log)"); return }
    #expect(change.cause == .directoriesFailed)
    // It does not come back by asking.
    #expect(try harness.heartbeat(1, epochs[1]!, offline: [MachineHarness.directory(1)]).isFenced)
    #expect(harness.image.broker(NodeID(1))?.isFenced == true)
  }

  @Test func aBrokerSaysWhereItKeepsWhat() throws {
    var (harness, epochs) = try self.cluster(2)
    let second = KafkaUUID(high: 9, low: 9)
    var change = BrokerRegistrationChange(NodeID(1), epoch: epochs[1]!)
    change.logDirectories = [MachineHarness.directory(1), second]
    harness.commit([.brokerRegistrationChange(change)])
    let id = try harness.createTopic("t", [1, 2]), other = try harness.createTopic("u", [2])
    #expect(harness.image.partition(id)?.directories == [.zero, MachineHarness.directory(2)])
    func assign(_ id: TopicIDPartition, _ directory: KafkaUUID) throws -> [ErrorCode] {
      try harness.run(
        AssignReplicasToDirectories(nodeID: NodeID(1), epoch: epochs[1]!, [.init(id, directory)])).map(\.error)
    }
    #expect(try assign(id, second) == [.none])
    #expect(harness.image.partition(id)?.directory(of: NodeID(1)) == second && harness.image.partition(id)?.reason == .directoryAssigned)
    #expect(harness.image.partition(id)?.leader == NodeID(1) && harness.image.partition(id)?.leaderEpoch == LeaderEpoch(0))
    #expect(try assign(other, second) == [.notLeaderOrFollower])
    #expect(try assign(TopicIDPartition(id.topicID, PartitionID(4)), second) == [.unknownTopicOrPartition])
    #expect(try assign(TopicIDPartition(.zero, PartitionID(0)), second) == [.unknownTopicId])
    let twice = try harness.run(
      AssignReplicasToDirectories(nodeID: NodeID(1), epoch: epochs[1]!, [.init(id, second), .init(id, MachineHarness.directory(1))]))
    #expect(twice.map(\.error) == [.none, .invalidRequest])
    let stale = try #require(throws: ApiError.self) {
      try harness.run(AssignReplicasToDirectories(nodeID: NodeID(1), epoch: BrokerEpoch(0), []))
    }
    #expect(stale.code == .staleBrokerEpoch)
    // One that failed meanwhile.
    #expect(try assign(id, KafkaUUID(high: 9, low: 10)) == [.none])
    #expect(harness.image.partition(id)?.leader == NodeID(2) && harness.image.partition(id)?.reason == .logDirectoryFailed)
  }

  // MARK: Fencing

  @Test func nobodyIsFencedWhileItMayLead() throws {
    var (harness, epochs) = try self.cluster(2)
    let id = try harness.createTopic("t", [1, 2])
    let request = FenceBroker(nodeID: NodeID(1), epoch: epochs[1]!)
    #expect(try harness.run(request) == false)
    #expect(harness.image.partition(id)?.leader == NodeID(1))
    _ = harness.session(.timeAdvanced, after: .milliseconds(8_999))
    #expect(try harness.run(request) == false)
    _ = harness.session(.timeAdvanced, after: .milliseconds(1))
    #expect(try harness.run(request) == true)
    let partition = try #require(harness.image.partition(id))
    #expect(partition.leader == NodeID(2) && partition.leaderEpoch == LeaderEpoch(1) && partition.partitionEpoch == PartitionEpoch(1))
    #expect(partition.inSyncReplicas == nodes(2) && partition.reason == .brokerFenced)
    // The fencing itself comes last.
    guard case .brokerRegistrationChange(let change) = harness.log.last else { throw ApiError(.none, "no registration change") }
    #expect(change.isFenced == true && change.cause == .sessionEnded)
    let count = harness.log.count
    #expect(try harness.run(request) == true)
    #expect(harness.log.count == count)
  }

  @Test func theDeadAreFencedAtOnce() throws {
    var (harness, epochs) = try self.cluster(2)
    _ = harness.session(.connectionLost(NodeID(1)))
    let effects = harness.session(.probeFailed(NodeID(1), epochs[1]!, .refused))
    #expect(effects == [.fence(NodeID(1), epochs[1]!, .processDead)])
    #expect(try harness.run(FenceBroker(nodeID: NodeID(1), epoch: epochs[1]!, cause: .processDead)) == true)
    guard case .brokerRegistrationChange(let change) = harness.log.last else { throw ApiError(.none, "no registration change") }
    #expect(change.cause == .processDead)
    #expect(harness.session(.timeAdvanced, after: .seconds(2)) == [])
  }

  @Test func anUnfencedBrokerLeadsWhatNobodyLed() throws {
    var (harness, epochs) = try self.cluster(2)
    let id = try harness.createTopic("t", [1])
    _ = harness.session(.timeAdvanced, after: .seconds(9))
    try harness.fence(1)
    #expect(harness.image.partition(id)?.leader == NodeID.none)
    #expect(harness.image.partition(id)?.eligibleLeaderReplicas == nodes(1))
    #expect(harness.machine.index.leaderless == [id])
    try harness.heartbeat(1, epochs[1]!)
    let partition = try #require(harness.image.partition(id))
    #expect(partition.leader == NodeID(1) && partition.inSyncReplicas == nodes(1) && partition.eligibleLeaderReplicas == [])
    #expect(partition.lastKnownEligibleLeaderReplicas == [] && partition.leaderRecoveryState == .recovered)
    #expect(partition.reason == .brokerUnfenced && partition.leaderEpoch == LeaderEpoch(2))
    #expect(harness.machine.index.leaderless == [])
  }

  // MARK: Unregistration

  @Test func unregistered() throws {
    var (harness, epochs) = try self.cluster(3)
    let id = try harness.createTopic("t", [1, 2, 3], minInSync: 3)
    let alive = try #require(throws: ApiError.self) { try harness.run(UnregisterBroker(nodeID: NodeID(3))) }
    #expect(alive.code == .invalidRequest)
    let unknown = try #require(throws: ApiError.self) { try harness.run(UnregisterBroker(nodeID: NodeID(9))) }
    #expect(unknown.code == .brokerIdNotRegistered)
    _ = harness.session(.timeAdvanced, after: .seconds(9))
    try harness.fence(3)
    try harness.run(UnregisterBroker(nodeID: NodeID(3)))
    #expect(harness.image.broker(NodeID(3)) == nil)
    #expect(harness.image.partition(id)?.eligibleLeaderReplicas == [])
    // One that died and was not fenced yet goes too.
    try harness.run(UnregisterBroker(nodeID: NodeID(1)))
    #expect(harness.image.partition(id)?.leader == NodeID(2))
    #expect(harness.image.partition(id)?.reason == .brokerUnregistered)
    #expect(throws: ApiError.self) { try harness.heartbeat(1, epochs[1]!) }
  }

  // MARK: Many partitions

  /// Twelve thousand partitions do not fit into one batch of the log.
  @Test func manyPartitionsAreChangedInSeveralBatches() throws {
    var (harness, _) = try self.cluster(3)
    for name in ["a", "b", "c"] { #expect(try harness.create(.init(name, numPartitions: 4_000, replicationFactor: 3)) == .none) }
    _ = harness.session(.timeAdvanced, after: .seconds(9))
    let epoch = try #require(harness.image.broker(NodeID(1))?.epoch)
    let decision = try FenceBroker(nodeID: NodeID(1), epoch: epoch).decide(on: harness.machine, nextOffset: harness.nextOffset)
    #expect(decision.records.count == 12_001)
    #expect(decision.batches.map(\.count) == [10_000, 2_001])
    // Whatever of it is written, the next controller can go on.
    harness.commit(decision.batches[0])
    #expect(harness.image.broker(NodeID(1))?.isFenced == false)
    #expect(harness.machine.index.inSyncCount(NodeID(1)) == 2_000)
    try harness.run(FenceBroker(nodeID: NodeID(1), epoch: epoch))
    #expect(harness.image.broker(NodeID(1))?.isFenced == true)
    #expect(harness.machine.index.inSyncCount(NodeID(1)) == 0)
    #expect(harness.machine.index.leaderless == [])
  }

  @Test func aBatchThatMustBeWholeIsWhole() {
    let records = [MetadataChange](repeating: .noOp, count: 10_000)
    #expect(Decision(records, ()).batches.map(\.count) == [10_000])
    #expect(Decision([], ()).batches.isEmpty)
    #expect(Decision(records + records + [.noOp], (), isDivisible: true).batches.map(\.count) == [10_000, 10_000, 1])
    #expect(Decision(records + [.noOp, .noOp], (), isDivisible: true, atomicTail: 5).batches.map(\.count) == [9_997, 5])
    #expect(Decision(records + [.noOp], (), isDivisible: true, atomicTail: 10_000).batches.map(\.count) == [1, 10_000])
  }

  /// Unfencing of which only the beginning was written.
  @Test func whatWasNotElectedIsElectedByTheNextController() throws {
    var (harness, epochs) = try self.cluster(1)
    let id = try harness.createTopic("t", [1])
    _ = harness.session(.timeAdvanced, after: .seconds(9))
    try harness.fence(1)
    var change = BrokerRegistrationChange(NodeID(1), epoch: epochs[1]!)
    change.isFenced = false
    harness.commit([.brokerRegistrationChange(change)])
    #expect(harness.image.partition(id)?.hasLeader == false)
    #expect(try harness.run(ElectOfflineLeaders()) == 1)
    #expect(harness.image.partition(id)?.leader == NodeID(1))
    #expect(harness.image.partition(id)?.reason == .election)
    #expect(try harness.run(ElectOfflineLeaders()) == 0)
  }
}
