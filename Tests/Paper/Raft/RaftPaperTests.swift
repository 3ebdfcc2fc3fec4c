import Base
import Model
import Raft
import Testing

/// Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended version), and Ongaro's dissertation.
@Suite("Raft, claim by claim")
struct RaftPaperTests {
  @Test("5.2: a quorum elects one leader, which everyone follows")
  func election() {
    let quorum = PaperQuorum(voters: [1, 2, 3, 4, 5])
    let leader = quorum.elect()
    quorum.run(for: .seconds(1))
    #expect(quorum.leaders == [leader])
    for id in quorum.ids where id != leader {
      #expect(quorum.machine(id).role == .follower)
      #expect(quorum.machine(id).knownLeader == NodeID(leader))
      #expect(quorum.machine(id).term == quorum.machine(leader).term)
    }
  }

  @Test("5.2: without a majority nobody is elected")
  func minority() {
    let quorum = PaperQuorum(voters: [1, 2, 3, 4, 5])
    quorum.cutOff = [3, 4, 5]
    quorum.run(for: .seconds(60))
    #expect(quorum.ids.allSatisfy { quorum.machine($0).role != .leader })
  }

  @Test("5.2: when the leader is gone the others elect another, in a later term")
  func leaderFails() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let first = quorum.elect()
    quorum.cutOff = [first]
    let second = quorum.elect()
    #expect(second != first)
    #expect(quorum.machine(second).term > quorum.machine(first).term)
  }

  @Test("5.3: entries reach every log in the leader's order, and are applied once committed")
  func replication() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    for command in ["a", "b", "c"] { quorum.propose(command, to: leader) }
    quorum.run(for: .seconds(1))
    for id in quorum.ids { #expect(quorum.appliedCommands(id) == ["a", "b", "c"]) }
  }

  @Test("5.3: a leader makes the followers' logs its own, and never changes what it has itself")
  func conflictingEntries() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let first = quorum.elect()
    quorum.propose("kept", to: first)
    quorum.run(for: .seconds(1))
    quorum.cutOff = [first]
    quorum.propose("lost", to: first)
    let second = quorum.elect()
    quorum.propose("new", to: second)
    quorum.run(for: .seconds(1))
    #expect(quorum.commands(first) == ["kept", "lost"])
    quorum.cutOff = []
    quorum.run(for: .seconds(5))
    for id in quorum.ids { #expect(quorum.appliedCommands(id) == ["kept", "new"]) }
    #expect(quorum.logs[1] == quorum.logs[2] && quorum.logs[2] == quorum.logs[3])
    #expect(quorum.traces.contains { if case .truncated = $0.trace { $0.node == first } else { false } })
  }

  @Test("5.3: a follower that was away for long catches up")
  func slowFollower() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    let away = quorum.ids.first { $0 != leader } ?? 0
    quorum.cutOff = [away]
    for command in 0..<50 { quorum.propose("\(command)", to: leader) }
    quorum.run(for: .seconds(10))
    #expect(quorum.commands(away).isEmpty)
    quorum.cutOff = []
    quorum.run(for: .seconds(5))
    #expect(quorum.appliedCommands(away).count == 50)
  }

  @Test("5.4.1: who lacks a committed entry is not elected")
  func electionRestriction() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    let behind = quorum.ids.first { $0 != leader } ?? 0
    quorum.cutOff = [behind]
    quorum.propose("committed", to: leader)
    quorum.run(for: .milliseconds(100))
    quorum.cutOff = [leader]
    let next = quorum.elect()
    #expect(next != behind)
    #expect(quorum.appliedCommands(next) == ["committed"])
  }

  @Test("5.4.2: a new leader commits what earlier leaders left together with its own first entry, without waiting for a client")
  func earlierTerms() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let first = quorum.elect()
    quorum.propose("left", to: first)
    quorum.settle()
    quorum.cutOff = [first]
    let second = quorum.elect()
    #expect(quorum.appliedCommands(second) == ["left"])
    #expect(quorum.applied[second]?.last?.term == quorum.machine(second).term)
  }

  @Test("5.4.3 and 8: a deposed leader answers no reads, though it does not know yet that it is deposed")
  func staleReads() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let first = quorum.elect()
    quorum.cutOff = [first]
    let second = quorum.elect()
    quorum.take(first, .read(ReadID(1)))
    quorum.take(second, .read(ReadID(2)))
    quorum.run(for: .seconds(3))
    #expect(quorum.reads.map(\.id) == [ReadID(2)])
    #expect(quorum.machine(first).role != .leader, "and it steps down when it hears of no majority")
  }

  // MARK: The dissertation

  @Test("3.10: leadership goes over to the most caught up in one round, long before any timeout")
  func transfer() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let first = quorum.elect()
    quorum.take(first, .shutDown)
    quorum.settle()
    #expect(quorum.leaders.count == 1)
    #expect(quorum.leaders != [first])
  }

  @Test("4.1: voters are added one by one and count from their entry on; 4.2.1: only once they have caught up")
  func addition() {
    let quorum = PaperQuorum(voters: [1], others: [2, 3])
    let leader = quorum.elect()
    for id in [2, 3] as [Int32] {
      quorum.run(for: .seconds(3))
      quorum.ask(leader, .addVoter(AddVoterRequest(clusterID: "c", voter: PaperQuorum.key(id), endpoints: PaperQuorum.endpoints(id))))
      quorum.run(for: .seconds(1))
    }
    #expect(quorum.toolAnswers.map(\.status.error) == [.none, .none])
    for id in quorum.ids { #expect(quorum.machine(id).log.voters.voters.map(\.key.node) == [NodeID(1), NodeID(2), NodeID(3)]) }
    quorum.cutOff = [leader]
    #expect(quorum.elect() != leader)
  }

  @Test("4.2.2: a leader can remove itself: it leads until that is committed, and the others elect one of theirs")
  func removalOfTheLeader() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    quorum.ask(leader, .removeVoter(RemoveVoterRequest(clusterID: "c", voter: PaperQuorum.key(leader))))
    quorum.settle()
    #expect(quorum.toolAnswers.map(\.status.error) == [.none])
    let next = quorum.elect()
    #expect(next != leader)
    quorum.run(for: .seconds(5))
    #expect(quorum.machine(leader).role == .follower)
    #expect(!quorum.machine(leader).log.voters.contains(node: NodeID(leader)))
  }

  @Test("4.2.3: a removed or cut-off server does not disturb the others when it comes back")
  func disruption() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    let away = quorum.ids.first { $0 != leader } ?? 0
    quorum.cutOff = [away]
    quorum.run(for: .seconds(30))
    #expect(quorum.machine(away).role != .leader)
    let term = quorum.machine(leader).term
    quorum.cutOff = []
    quorum.run(for: .seconds(10))
    #expect(quorum.leaders == [leader])
    #expect(quorum.ids.allSatisfy { quorum.machine($0).term == term })
  }

  @Test("6.4: a leader answers a read after one round, and from an index that has all that was committed before")
  func readIndex() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    quorum.propose("a", to: leader)
    quorum.settle()
    let committed = quorum.machine(leader).highWatermark
    quorum.take(leader, .read(ReadID(1)))
    quorum.settle()
    #expect(quorum.reads.map(\.index) == [committed])
  }
}
