import Base
import Model
import Replication
import Testing

private typealias Machine = AlterPartitionMachine<String>

private func proposal(_ version: Int32) -> InSyncProposal {
  InSyncProposal(
    leaderEpoch: LeaderEpoch(5), partitionEpoch: PartitionEpoch(version), inSyncReplicas: [InSyncReplica(NodeID(1), BrokerEpoch(7))])
}

private struct Harness {
  var machine = Machine(brokerEpoch: BrokerEpoch(7))
  var now = Instant.origin + .seconds(10)
  var delivered: [String] = []
  var answers: [ProposalAnswer] = []

  mutating func does(_ inputs: Machine.Input...) -> AlterPartitionPlan<String>? {
    var effects: [Machine.Effect] = []
    for input in inputs { self.machine.handle(input, now: self.now, into: &effects) }
    self.machine.handle(.turnEnded, now: self.now, into: &effects)
    var sent: AlterPartitionPlan<String>?
    self.delivered = []
    self.answers = []
    for effect in effects {
      switch effect {
      case .send(let plan): sent = plan
      case .deliver(let key, let answer):
        self.delivered.append(key)
        self.answers.append(answer)
      }
    }
    return sent
  }
}

@Suite("Proposals on their way to the controller")
struct AlterPartitionTests {
  @Test("All that gathers goes in one request; one request is under way at a time")
  func batches() {
    var harness = Harness()
    let first = harness.does(.proposed("a", proposal(1)), .proposed("b", proposal(2)))
    #expect(first?.items.map(\.key) == ["a", "b"])
    #expect(first?.brokerEpoch == BrokerEpoch(7))
    #expect(harness.does(.proposed("c", proposal(3))) == nil)
    let next = harness.does(
      .answered(number: first!.number, error: .none, answers: [.init(key: "b", error: .ineligibleReplica), .init(key: "a")]))
    #expect(next?.items.map(\.key) == ["c"])
    #expect(harness.delivered == ["b", "a"])
    #expect(harness.answers.map(\.basis) == [PartitionEpoch(2), PartitionEpoch(1)])
    #expect(harness.answers.map(\.sendCount) == [1, 1])
  }

  @Test("A request that failed is sent again after a while with the same proposals, and says how often it was sent")
  func retries() {
    var harness = Harness()
    let first = harness.does(.proposed("a", proposal(1)))!
    #expect(harness.does(.failed(number: first.number)) == nil)
    #expect(harness.machine.nextDeadline == harness.now + .milliseconds(50))
    #expect(harness.does(.answered(number: first.number, error: .none, answers: [.init(key: "a")])) == nil)
    #expect(harness.delivered == [])
    harness.now = harness.now + .milliseconds(50)
    let second = harness.does(.timerFired)!
    #expect(harness.does(.answered(number: second.number, error: .notController, answers: [])) == nil)
    harness.now = harness.now + .milliseconds(100)
    let third = harness.does(.registered(BrokerEpoch(9)))!
    #expect(third.brokerEpoch == BrokerEpoch(9))
    #expect(harness.does(.answered(number: third.number, error: .none, answers: [.init(key: "a")])) == nil)
    #expect(harness.answers.map(\.sendCount) == [3])
    #expect(harness.machine.waitingCount == 0)
  }

  @Test("A newer proposal takes the older one's place, and is not answered by the older one's answer")
  func replaced() {
    var harness = Harness()
    let first = harness.does(.proposed("a", proposal(1)), .proposed("b", proposal(1)))!
    #expect(harness.does(.proposed("a", proposal(2)), .withdrawn("b")) == nil)
    let next = harness.does(.answered(number: first.number, error: .none, answers: [.init(key: "a"), .init(key: "b")]))
    #expect(harness.delivered == [])
    #expect(next?.items.map(\.proposal) == [proposal(2)])
  }

  @Test("What the controller left out is asked again, not at once")
  func leftOut() {
    var harness = Harness()
    let first = harness.does(.proposed("a", proposal(1)), .proposed("b", proposal(1)))!
    #expect(harness.does(.answered(number: first.number, error: .none, answers: [.init(key: "a")])) == nil)
    harness.now = harness.now + .milliseconds(50)
    #expect(harness.does(.timerFired)?.items.map(\.key) == ["b"])
  }
}
