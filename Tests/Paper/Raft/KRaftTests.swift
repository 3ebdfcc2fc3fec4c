import Base
import Model
import Raft
import Testing

/// Kafka's proposals: KIP-595 (the protocol), KIP-853 (voters), KIP-996 (pre-vote), KIP-1166 (the high watermark in fetches).
@Suite("KRaft, claim by claim")
struct KRaftTests {
  @Test("KIP-595: the leader begins its epoch with a LeaderChangeMessage that names the voters and who granted")
  func leaderChange() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    guard case .leaderChange(let named, let voters, let granted)? = quorum.logs[leader]?.first?.control else {
      Issue.record("the log begins with \(String(describing: quorum.logs[leader]?.first))")
      return
    }
    #expect(named == NodeID(leader))
    #expect(voters == [1, 2, 3].map { PaperQuorum.key($0) })
    #expect(granted.count >= 2 && granted.contains(PaperQuorum.key(leader)))
  }

  @Test("KIP-595: observers replicate, find the leader by themselves, and have no say")
  func observers() {
    let quorum = PaperQuorum(voters: [1, 2, 3], others: [7, 8])
    let leader = quorum.elect()
    quorum.propose("a", to: leader)
    quorum.run(for: .seconds(2))
    #expect(quorum.appliedCommands(7) == ["a"] && quorum.appliedCommands(8) == ["a"])
    quorum.cutOff = [1, 2, 3]
    quorum.run(for: .seconds(60))
    #expect(quorum.machine(7).role == .unattached && quorum.machine(8).role == .unattached)
    quorum.cutOff = []
    quorum.run(for: .seconds(10))
    #expect(quorum.machine(7).role == .follower)
  }

  @Test("KIP-595: observers do not help to commit")
  func observersDoNotCommit() {
    let quorum = PaperQuorum(voters: [1, 2, 3], others: [7, 8])
    let leader = quorum.elect()
    quorum.run(for: .seconds(1))
    quorum.cutOff = Set([1, 2, 3]).subtracting([leader])
    quorum.propose("a", to: leader)
    quorum.run(for: .seconds(1))
    #expect(quorum.commands(7) == ["a"])
    #expect(quorum.appliedCommands(leader).isEmpty && quorum.appliedCommands(7).isEmpty)
  }

  @Test("KIP-595: a leader that a majority does not fetch from resigns, so that clients look for another")
  func checkQuorum() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    quorum.cutOff = [leader]
    quorum.run(for: .milliseconds(3100))
    #expect(quorum.machine(leader).role != .leader)
    #expect(quorum.traces.contains { $0.node == leader && $0.trace == .resigned(quorum.machine(leader).term, .quorumLost) })
  }

  @Test("KIP-595: voters that do not know the leader are told by BeginQuorumEpoch, before they would stand")
  func beginQuorum() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    let others = quorum.ids.filter { $0 != leader }
    #expect(others.allSatisfy { quorum.machine($0).knownLeader == NodeID(leader) })
    #expect(quorum.ids.allSatisfy { quorum.machine($0).term == Term(1) })
  }

  @Test("KIP-1166: followers learn of a commit at once, not with the next entry or after the wait of a fetch")
  func highWatermark() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    quorum.propose("a", to: leader)
    quorum.settle()
    for id in quorum.ids { #expect(quorum.appliedCommands(id) == ["a"]) }
  }

  @Test("KIP-853: a voter is a node with a directory: an empty disk in its place is another replica and gets no vote requests answered")
  func directories() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    var vote = VoteRequest(
      clusterID: "c", voter: ReplicaKey(NodeID(1), KafkaUUID(high: 9, low: 9)), term: Term(50), candidate: PaperQuorum.key(2),
      logEnd: .zero, isPreVote: false)
    quorum.ask(1, .vote(vote))
    #expect(quorum.toolAnswers.map(\.status.error) == [.invalidVoterKey])
    #expect(quorum.machine(1).term == .zero)
    vote.voter = PaperQuorum.key(1)
    quorum.ask(1, .vote(vote))
    #expect(quorum.machine(1).term == Term(50))
  }

  @Test("KIP-853: the latest voters in the log count though they are not committed")
  func uncommittedVoters() {
    let quorum = PaperQuorum(voters: [1, 2], others: [3])
    let leader = quorum.elect()
    quorum.run(for: .seconds(3))
    quorum.cutOff = [1, 2].filter { $0 != leader }.reduce(into: []) { $0.insert($1) }
    quorum.ask(leader, .addVoter(AddVoterRequest(clusterID: "c", voter: PaperQuorum.key(3), endpoints: PaperQuorum.endpoints(3))))
    quorum.settle()
    // Two of {1, 2, 3} are a majority, which two of {1, 2} could not be: the entry commits itself by the set it brings.
    #expect(quorum.machine(leader).log.voters.voters.count == 3)
    #expect(quorum.toolAnswers.map(\.status.error) == [.none])
  }

  @Test("KIP-853: a configured controller joins by itself and then counts")
  func automaticJoin() {
    let quorum = PaperQuorum(voters: [1], others: [2, 3]) { $0.joinsAutomatically = true }
    let leader = quorum.elect()
    quorum.run(for: .seconds(20))
    #expect(quorum.machine(leader).log.voters.voters.count == 3)
  }

  @Test("KIP-996: a replica that nobody hears keeps its term, however long it is alone")
  func preVote() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    let away = quorum.ids.first { $0 != leader } ?? 0
    quorum.cutOff = [away]
    quorum.run(for: .seconds(120))
    #expect(quorum.machine(away).term == Term(1))
    #expect(quorum.traces.contains { if case .preVoteBegan = $0.trace { $0.node == away } else { false } })
  }

  @Test("KIP-996: while a majority hears the leader, one that does not cannot depose it")
  func stickiness() {
    let quorum = PaperQuorum(voters: [1, 2, 3])
    let leader = quorum.elect()
    let other = quorum.ids.first { $0 != leader } ?? 0
    let candidate = quorum.ids.last { $0 != leader } ?? 0
    let machine = quorum.machine(candidate)
    let vote = VoteRequest(
      clusterID: "c", voter: nil, term: machine.term, candidate: PaperQuorum.key(candidate), logEnd: machine.log.end, isPreVote: true)
    quorum.ask(other, .vote(vote))
    quorum.ask(leader, .vote(vote))
    let refusals = quorum.traces.compactMap { event -> VoteRefusal? in
      if case .voteRefused(_, _, true, let why) = event.trace { why } else { nil }
    }
    #expect(refusals.suffix(2) == [.leaderIsHeard(NodeID(leader)), .isLeading])
  }
}
