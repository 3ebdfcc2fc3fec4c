import Base
import Model
import Testing

@testable import Metadata

@Suite struct ElectionTests {
  private func cluster(_ count: Int32 = 3) throws -> MachineHarness {
    var harness = MachineHarness()
    for id in 1...count { try harness.addBroker(id) }
    return harness
  }

  private func outcome(
    _ harness: inout MachineHarness, _ type: Int8, _ topic: String = "t", _ partition: Int32 = 0
  ) throws -> ElectLeaders.PartitionResult.Outcome {
    try harness.run(ElectLeaders(electionType: type, [.init(topic, [PartitionID(partition)])]))[0].outcome
  }
  private func code(_ outcome: ElectLeaders.PartitionResult.Outcome) -> ErrorCode? {
    if case .refused(let error) = outcome { return error.code }
    return nil
  }

  @Test func preferred() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2])
    #expect(self.code(try self.outcome(&harness, 0)) == .electionNotNeeded)
    #expect(self.code(try self.outcome(&harness, 0, "no")) == .unknownTopicOrPartition)
    #expect(self.code(try self.outcome(&harness, 0, "t", 5)) == .unknownTopicOrPartition)
    let unknown = try #require(throws: ApiError.self) { try harness.run(ElectLeaders(electionType: 2, nil)) }
    #expect(unknown.code == .invalidRequest)
    try harness.fence(1)
    #expect(harness.image.partition(id)?.leader == NodeID(2))
    #expect(self.code(try self.outcome(&harness, 0)) == .preferredLeaderNotAvailable)
    try harness.unfence(1)
    // It is there, but not in sync.
    #expect(self.code(try self.outcome(&harness, 0)) == .preferredLeaderNotAvailable)
    #expect(try harness.alter(id, [2, 1]) == .none)
    #expect(harness.machine.index.imbalancedCount == 1)
    #expect(try self.outcome(&harness, 0) == .elected)
    #expect(harness.image.partition(id)?.leader == NodeID(1) && harness.image.partition(id)?.reason == .preferredElection)
    #expect(harness.machine.index.imbalancedCount == 0)
  }

  @Test func allPartitions() throws {
    var harness = try self.cluster()
    let a = try harness.createTopic("a", [1, 2])
    _ = try harness.createTopic("b", [2, 1])
    _ = try harness.createTopic("c", [1, 3])
    try harness.fence(1)
    try harness.unfence(1)
    #expect(try harness.alter(a, [2, 1]) == .none)
    let results = try harness.run(ElectLeaders(electionType: 0, nil))
    // b has its preferred leader and is left out.
    #expect(results.map(\.topic) == ["a", "c"])
    #expect(results[0].outcome == .elected && self.code(results[1].outcome) == .preferredLeaderNotAvailable)
  }

  @Test func aPartitionIsElectedOnce() throws {
    var harness = try self.cluster()
    let id = try harness.createTopic("t", [1, 2])
    try harness.fence(1)
    try harness.unfence(1)
    #expect(try harness.alter(id, [2, 1]) == .none)
    let results = try harness.run(ElectLeaders(electionType: 0, [.init("t", [PartitionID(0), PartitionID(0)])]))
    #expect(results[0].outcome == .elected && self.code(results[1].outcome) == .electionNotNeeded)
    #expect(harness.image.partition(id)?.leaderEpoch == LeaderEpoch(2))
  }

  // MARK: Unclean

  /// Leaderless, with an ISR and an ELR that nobody alive is in, and no last leader that could return.
  private func lost(unclean: Bool) throws -> (MachineHarness, TopicIDPartition) {
    var harness = try self.cluster(4)
    let id = try harness.createTopic("t", [1, 2, 3, 4], unclean: unclean)
    #expect(try harness.alter(id, [1]) == .none)
    try harness.fence(1)
    #expect(harness.image.partition(id)?.hasLeader == false)
    return (harness, id)
  }

  @Test func uncleanOnlyByTheLogs() throws {
    var (harness, id) = try self.lost(unclean: false)
    guard case .needsLogEnds(let question) = try self.outcome(&harness, 1) else { throw ApiError(.none, "decided blindly") }
    #expect(question.replicas == nodes(2, 3, 4) && question.partitionEpoch == harness.image.partition(id)?.partitionEpoch)
    #expect(harness.image.partition(id)?.hasLeader == false)
    let ends: [UncleanElections.LogEnd] = [
      .init(NodeID(2), leaderEpoch: LeaderEpoch(1), endOffset: Offset(90)),
      .init(NodeID(3), leaderEpoch: LeaderEpoch(2), endOffset: Offset(5)),
      .init(NodeID(4), leaderEpoch: LeaderEpoch(2), endOffset: Offset(7)),
    ]
    var request = ElectUncleanLeader(id, partitionEpoch: question.partitionEpoch, logEnds: ends)
    // The topic does not allow it, but an administrator may.
    let refusal = try #require(throws: ApiError.self) { try harness.run(request) }
    #expect(refusal.code == .eligibleLeadersNotAvailable)
    request.isForced = true
    #expect(try harness.run(request) == NodeID(4))
    let partition = try #require(harness.image.partition(id))
    #expect(partition.reason == .uncleanElection && partition.leaderRecoveryState == .recovering && partition.inSyncReplicas == nodes(4))
    #expect(self.code(try self.outcome(&harness, 1)) == .electionNotNeeded)
    let again = try #require(throws: ApiError.self) { try harness.run(request) }
    #expect(again.code == .electionNotNeeded)
  }

  @Test func whoPrefersWhatWhereLogsAreEqual() throws {
    var (harness, id) = try self.lost(unclean: true)
    let epoch = try #require(harness.image.partition(id)?.partitionEpoch)
    let ends = [4, 3].map { UncleanElections.LogEnd(NodeID($0), leaderEpoch: LeaderEpoch(1), endOffset: Offset(3)) }
    #expect(try harness.run(ElectUncleanLeader(id, partitionEpoch: epoch, logEnds: ends)) == NodeID(3))
  }

  @Test func answersThatCameTooLate() throws {
    var (harness, id) = try self.lost(unclean: true)
    let epoch = try #require(harness.image.partition(id)?.partitionEpoch)
    let end = UncleanElections.LogEnd(NodeID(2), leaderEpoch: LeaderEpoch(1), endOffset: Offset(3))
    func code(_ request: ElectUncleanLeader) throws -> ErrorCode {
      try #require(throws: ApiError.self) { try request.decide(on: harness.machine, nextOffset: harness.nextOffset) }.code
    }
    #expect(try code(.init(id, partitionEpoch: PartitionEpoch(epoch.rawValue - 1), logEnds: [end])) == .invalidUpdateVersion)
    #expect(try code(.init(id, partitionEpoch: epoch, logEnds: [])) == .eligibleLeadersNotAvailable)
    // Of somebody who is no replica, or fenced meanwhile.
    let stranger = UncleanElections.LogEnd(NodeID(9), leaderEpoch: LeaderEpoch(9), endOffset: Offset(9))
    #expect(try code(.init(id, partitionEpoch: epoch, logEnds: [stranger])) == .eligibleLeadersNotAvailable)
    try harness.fence(2)
    #expect(try code(.init(id, partitionEpoch: epoch, logEnds: [end])) == .eligibleLeadersNotAvailable)
    #expect(try code(.init(TopicIDPartition(.zero, PartitionID(0)), partitionEpoch: epoch, logEnds: [end])) == .unknownTopicOrPartition)
    // The eligible one is back: nothing need be lost.
    try harness.fence(3)
    let before = harness.machine
    try harness.unfence(1)
    #expect(harness.image.partition(id)?.leader == NodeID(1))
    #expect(before.image.partition(id)?.hasLeader == false)
  }

  @Test func nobodyToAsk() throws {
    var (harness, _) = try self.lost(unclean: true)
    for id in 2...4 as ClosedRange<Int32> { try harness.fence(id) }
    #expect(self.code(try self.outcome(&harness, 1)) == .eligibleLeadersNotAvailable)
    #expect(harness.machine.uncleanQuestions(countMax: 10).isEmpty)
  }

  /// A leader that shuts down commits alone until it has read that it leads no more: nobody takes its place before it has stopped.
  @Test func notWhileTheLastLeaderMayStillServe() throws {
    var harness = MachineHarness()
    harness.activate()
    for id in [1, 2] as [Int32] {
      let epoch = try harness.run(MachineHarness.registration(id))
      try harness.heartbeat(id, epoch)
    }
    let epoch = try #require(harness.image.broker(NodeID(1))?.epoch)
    let id = try harness.createTopic("t", [1, 2], unclean: true)
    #expect(try harness.alter(id, [1]) == .none)
    try harness.heartbeat(1, epoch, shutdown: true)
    let partition = try #require(harness.image.partition(id))
    #expect(!partition.hasLeader && partition.lastKnownEligibleLeaderReplicas == nodes(1))
    #expect(harness.machine.uncleanQuestions(countMax: 9).isEmpty)
    #expect(self.code(try self.outcome(&harness, 1)) == .eligibleLeadersNotAvailable)
    let end = UncleanElections.LogEnd(NodeID(2), leaderEpoch: LeaderEpoch(0), endOffset: Offset(5))
    let request = ElectUncleanLeader(id, partitionEpoch: partition.partitionEpoch, logEnds: [end], isForced: true)
    let refusal = try #require(throws: ApiError.self) { try harness.run(request) }
    #expect(refusal.code == .eligibleLeadersNotAvailable)
    // It is dead, or has read all and gone.
    _ = harness.session(.connectionLost(NodeID(1)))
    _ = harness.session(.probeFailed(NodeID(1), epoch, .refused))
    #expect(harness.machine.uncleanQuestions(countMax: 9).map(\.partition) == [id])
    #expect(try harness.run(request) == NodeID(2))
  }

  @Test func onlyWhereItIsAllowed() throws {
    var (harness, id) = try self.lost(unclean: false)
    #expect(harness.machine.uncleanQuestions(countMax: 10).isEmpty)
    try harness.run(IncrementalAlterConfigs([.init(.topic("t"), [.init("unclean.leader.election.enable", .set, "true")])]))
    #expect(harness.machine.uncleanQuestions(countMax: 10).map(\.partition) == [id])
    #expect(harness.machine.uncleanQuestions(countMax: 0).isEmpty)
  }

  // MARK: Asking

  private func question(_ harness: MachineHarness) -> UncleanElections.Question { harness.machine.uncleanQuestions(countMax: 1)[0] }

  @Test func allAreAskedAndHeard() throws {
    let (harness, id) = try self.lost(unclean: true)
    let question = self.question(harness)
    var elections = UncleanElections(answerTimeout: .milliseconds(500))
    var effects: [UncleanElections.Effect] = []
    elections.handle(.begin(question, isForced: false), now: .origin, into: &effects)
    #expect(effects == nodes(2, 3, 4).map { .ask($0, id, question.partitionEpoch) })
    #expect(elections.nextDeadline == .origin + .milliseconds(500) && elections.isAsking(about: id))
    effects = []
    elections.handle(.begin(question, isForced: false), now: .origin, into: &effects)
    let two = UncleanElections.LogEnd(NodeID(2), leaderEpoch: LeaderEpoch(1), endOffset: Offset(1))
    let four = UncleanElections.LogEnd(NodeID(4), leaderEpoch: LeaderEpoch(1), endOffset: Offset(2))
    elections.handle(.answered(id, question.partitionEpoch, two), now: .origin, into: &effects)
    // Not asked, answered before, or about an earlier state.
    for node in nodes(9, 2) {
      let end = UncleanElections.LogEnd(node, leaderEpoch: LeaderEpoch(9), endOffset: Offset(9))
      elections.handle(.answered(id, question.partitionEpoch, end), now: .origin, into: &effects)
    }
    elections.handle(.answered(id, PartitionEpoch(0), four), now: .origin, into: &effects)
    elections.handle(.failed(id, question.partitionEpoch, NodeID(3)), now: .origin, into: &effects)
    #expect(effects == [])
    elections.handle(.answered(id, question.partitionEpoch, four), now: .origin, into: &effects)
    #expect(effects == [.elect(ElectUncleanLeader(id, partitionEpoch: question.partitionEpoch, logEnds: [two, four]))])
    #expect(elections.nextDeadline == nil && !elections.isAsking(about: id))
  }

  @Test func timeIsUp() throws {
    let (harness, id) = try self.lost(unclean: true)
    let question = self.question(harness)
    var elections = UncleanElections(answerTimeout: .milliseconds(500))
    var effects: [UncleanElections.Effect] = []
    elections.handle(.begin(question, isForced: false), now: .origin, into: &effects)
    elections.handle(.begin(question, isForced: true), now: .origin, into: &effects)
    let two = UncleanElections.LogEnd(NodeID(2), leaderEpoch: LeaderEpoch(1), endOffset: Offset(1))
    elections.handle(.answered(id, question.partitionEpoch, two), now: .origin, into: &effects)
    effects = []
    elections.handle(.timeAdvanced, now: .origin + .milliseconds(499), into: &effects)
    #expect(effects == [])
    elections.handle(.timeAdvanced, now: .origin + .milliseconds(500), into: &effects)
    #expect(effects == [.elect(ElectUncleanLeader(id, partitionEpoch: question.partitionEpoch, logEnds: [two], isForced: true))])
    effects = []
    elections.handle(.begin(question, isForced: false), now: .origin + .seconds(1), into: &effects)
    effects = []
    elections.handle(.timeAdvanced, now: .origin + .seconds(2), into: &effects)
    #expect(effects == [.gaveUp(id)])
    elections.handle(.begin(question, isForced: false), now: .origin + .seconds(3), into: &effects)
    elections.handle(.deactivated, now: .origin + .seconds(3), into: &effects)
    #expect(elections.nextDeadline == nil)
  }

  // MARK: Balance

  /// Two brokers with sessions; `t` with its preferred leader 1 is led by 2.
  private func imbalanced() throws -> (MachineHarness, TopicIDPartition, BrokerEpoch) {
    var harness = MachineHarness()
    harness.activate()
    for id in [1, 2] as [Int32] {
      let epoch = try harness.run(MachineHarness.registration(id))
      try harness.heartbeat(id, epoch)
    }
    let id = try harness.createTopic("t", [1, 2])
    let epoch = try #require(harness.image.broker(NodeID(1))?.epoch)
    try harness.heartbeat(1, epoch, fence: true)
    #expect(harness.image.partition(id)?.leader == NodeID(2))
    return (harness, id, epoch)
  }

  @Test func thePreferredReturnsInSyncAndWarm() throws {
    var (harness, id, epoch) = try self.imbalanced()
    let balance = BalanceLeaders(warmUp: .seconds(2), warmUpMax: .seconds(8))
    #expect(try harness.run(balance) == .init(moved: 0, hasMore: false))
    try harness.heartbeat(1, epoch)
    _ = harness.session(.timeAdvanced, after: .seconds(3))
    // Warm by the clock, and not in sync.
    #expect(try harness.run(balance) == .init(moved: 0, hasMore: false))
    #expect(try harness.alter(id, [2, 1]) == .none)
    #expect(try harness.run(BalanceLeaders(warmUp: .seconds(5))) == .init(moved: 0, hasMore: false))
    #expect(try harness.run(BalanceLeaders(count: 0, warmUp: .seconds(2))) == .init(moved: 0, hasMore: true))
    #expect(try harness.run(balance) == .init(moved: 1, hasMore: false))
    #expect(harness.image.partition(id)?.leader == NodeID(1) && harness.image.partition(id)?.reason == .preferredElection)
  }

  /// A broker that still catches up elsewhere is busy enough, unless it takes for ever.
  @Test func whoCatchesUpIsNotWarm() throws {
    var (harness, id, epoch) = try self.imbalanced()
    _ = try harness.createTopic("other", [2, 1])
    try harness.heartbeat(1, epoch)
    #expect(try harness.alter(id, [2, 1]) == .none)
    let other = try #require(harness.image.topicID("other"))
    #expect(harness.image.partition(TopicIDPartition(other, PartitionID(0)))?.inSyncReplicas == nodes(2))
    _ = harness.session(.timeAdvanced, after: .seconds(3))
    let balance = BalanceLeaders(warmUp: .seconds(2), warmUpMax: .seconds(5))
    #expect(try harness.run(balance).moved == 0)
    _ = harness.session(.timeAdvanced, after: .seconds(2))
    #expect(try harness.run(balance).moved == 1)
  }

  @Test func upkeepHasItsTimes() throws {
    var (harness, id, epoch) = try self.imbalanced()
    try harness.heartbeat(1, epoch)
    #expect(try harness.alter(id, [2, 1]) == .none)
    var settings = ControllerUpkeep.Settings()
    settings.balanceInterval = .seconds(300)
    var upkeep = ControllerUpkeep(settings)
    #expect(upkeep.nextDeadline == nil)
    upkeep.activate(now: .origin)
    #expect(upkeep.nextDeadline == .origin)
    #expect(upkeep.due(on: harness.machine, now: .origin).isEmpty)
    #expect(upkeep.nextDeadline == .origin + .seconds(60))
    _ = upkeep.due(on: harness.machine, now: .origin + .seconds(299))
    guard case .balance(let request) = upkeep.due(on: harness.machine, now: .origin + .seconds(300)).first else {
      throw ApiError(.none, "no balance")
    }
    #expect(request.count == 1_000)
    upkeep.balanced(.init(moved: 1_000, hasMore: true), now: .origin + .seconds(300))
    #expect(upkeep.due(on: harness.machine, now: .origin + .milliseconds(300_999)).isEmpty)
    #expect(upkeep.due(on: harness.machine, now: .origin + .seconds(301)).count == 1)
    upkeep.deactivate()
    #expect(upkeep.nextDeadline == nil)
  }

  @Test func upkeepAsksWhereItIsAllowed() throws {
    let (harness, id) = try self.lost(unclean: true)
    var upkeep = ControllerUpkeep()
    upkeep.activate(now: .origin)
    guard case .ask(let questions) = upkeep.due(on: harness.machine, now: .origin).first else { throw ApiError(.none, "nothing asked") }
    #expect(questions.map(\.partition) == [id])
    #expect(upkeep.due(on: harness.machine, now: .origin + .seconds(1)).isEmpty)
    upkeep.leaderLost(now: .origin + .seconds(2))
    #expect(upkeep.due(on: harness.machine, now: .origin + .seconds(2)).count == 1)
  }
}
