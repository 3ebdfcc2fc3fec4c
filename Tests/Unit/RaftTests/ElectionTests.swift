import Base
import Election
import Model
import Raft
import Testing

@Suite("Elections")
struct ElectionTests {
  @Test("A voter without a leader asks for pre-votes first, in its own term and without a write")
  func preVoteFirst() {
    var replica = Replica(1)
    while replica.machine.role == .unattached { replica.passToDeadline() }
    #expect(replica.machine.role == .preCandidate)
    #expect(replica.traces.contains(.preVoteBegan(.zero, .noLeader)))
    #expect(replica.effects.persists.isEmpty)
    #expect(replica.hasCall(.preVote, to: 2) && replica.hasCall(.preVote, to: 3))
  }

  @Test("A candidacy is on disk before it leaves, and before its own vote counts")
  func candidacyIsDurable() throws {
    var replica = Replica(1)
    while replica.machine.role != .preCandidate { replica.passToDeadline() }
    replica.reply(from: 2, .preVote, QuorumStatus(term: .zero), .vote(isGranted: true))
    #expect(replica.machine.role == .candidate)
    let persist = try #require(replica.effects.persists.last)
    #expect(persist.state == HardState(term: Term(1), votedFor: Replica.key(1)))
    let votes = replica.calls.filter { $0.request.kind == .vote }
    #expect(votes.count == 2 && votes.allSatisfy { $0.after == persist.token })
    replica.reply(from: 2, .vote, QuorumStatus(term: Term(1)), .vote(isGranted: true))
    #expect(replica.machine.role == .candidate, "one vote of another and none of its own is no majority of three")
    replica.take(.statePersisted(persist.token))
    #expect(replica.machine.role == .leader)
  }

  @Test("The leader's first entry is the leader change, with the voters where only the bootstrap snapshot had them")
  func leaderChange() throws {
    var replica = Replica(1)
    replica.win()
    let keys = [1, 2, 3].map { Replica.key($0) }
    let append = try #require(replica.effects.appends.first)
    #expect(
      append.content
        == .controls(
          [
            .leaderChange(leader: NodeID(1), voters: keys, grantedBy: [Replica.key(1), Replica.key(2)]),
            .kraftVersion(.dynamicVoters), .voters(Replica.voters([1, 2, 3])),
          ], term: Term(1)))
    #expect(replica.machine.hardState == HardState(term: Term(1), votedFor: Replica.key(1), leader: NodeID(1)))

    var fixed = Replica(1, version: .staticVoters)
    fixed.win()
    #expect(fixed.effects.appends.first?.end == LogIndex(1))
  }

  @Test("A round that a majority refuses is lost: the voter pauses at random and stands again")
  func lostRound() {
    var replica = Replica(1)
    while replica.machine.role != .preCandidate { replica.passToDeadline() }
    for other in [2, 3] as [Int32] { replica.reply(from: other, .preVote, QuorumStatus(term: .zero), .vote(isGranted: false)) }
    #expect(replica.traces.contains(.electionLost(.zero, isPreVote: true, .refused)))
    #expect(replica.machine.role == .unattached)
    while replica.machine.role == .unattached { replica.passToDeadline() }
    #expect(replica.traces.contains(.preVoteBegan(.zero, .roundLost)))
  }

  @Test("A round that nobody answers ends after the election timeout, and never by a candidacy")
  func timeout() {
    var replica = Replica(1)
    while replica.machine.role != .preCandidate { replica.passToDeadline() }
    let began = replica.now
    while replica.machine.role == .preCandidate { replica.passToDeadline() }
    #expect(replica.now >= began + .milliseconds(1000) && replica.now <= began + .milliseconds(2000))
    #expect(replica.traces.contains(.electionLost(.zero, isPreVote: true, .timedOut)))
    #expect(replica.machine.term == .zero)
  }

  @Test("A voter that is alone needs nobody")
  func alone() {
    var replica = Replica(1, voters: [1])
    replica.take(.timerFired)
    #expect(replica.machine.role == .candidate)
    replica.sync()
    #expect(replica.machine.role == .leader)
    replica.sync()
    #expect(replica.machine.highWatermark == replica.machine.log.endIndex)
  }

  @Test("A leader that starts again resigns from its term and never leads it again")
  func restartedLeader() {
    var replica = Replica(1, state: HardState(term: Term(5), votedFor: Replica.key(1), leader: NodeID(1)))
    replica.take(.timerFired)
    #expect(replica.machine.role == .resigned)
    #expect(replica.hasCall(.endQuorum, to: 2) && replica.hasCall(.endQuorum, to: 3))
    while replica.machine.role == .resigned { replica.passToDeadline() }
    replica.win()
    #expect(replica.machine.role == .leader)
    #expect(replica.machine.term == Term(6))
  }

  @Test("A candidate that starts again does not go on: it stands in the next term")
  func restartedCandidate() {
    var replica = Replica(1, state: HardState(term: Term(5), votedFor: Replica.key(1)))
    #expect(replica.machine.role == .unattached)
    replica.win()
    #expect(replica.machine.term == Term(6))
  }

  @Test("A log that is newer than the state brings its term along, and the state is written first")
  func logAhead() {
    var replica = Replica(1, state: HardState(term: Term(1)), log: Replica.log([(1, 2), (4, 1)]))
    replica.take(.timerFired)
    #expect(replica.effects.persists.map(\.state) == [HardState(term: Term(4))])
  }

  @Test("A higher term in any answer ends a leader's term, and all who waited are told")
  func higherTerm() {
    var replica = Replica(1)
    replica.win()
    let waiting = replica.begin(.fetch(Replica.fetch(3, 1, (1, 3))))
    #expect(replica.answer(to: waiting) == nil)
    replica.take(.read(ReadID(5)))
    replica.reply(from: 2, .beginQuorum, QuorumStatus(error: .fencedLeaderEpoch, term: Term(3)))
    #expect(replica.machine.role == .unattached)
    #expect(replica.machine.hardState == HardState(term: Term(3)))
    #expect(replica.effects.contains(.stepDown(Term(1))))
    #expect(replica.answer(to: waiting)?.status.error == .notLeaderOrFollower)
    #expect(replica.effects.contains(.refuseRead(ReadID(5), .notLeaderOrFollower)))
    #expect(replica.traces.contains(.resigned(Term(3), .higherTerm)))
  }

  @Test("An answer that names another leader of a term whose leader is known is not believed")
  func conflictingLeader() {
    var replica = Replica(1)
    replica.follow(2, term: 1)
    replica.pass(.milliseconds(1))
    let before = replica.machine.hardState
    let status = QuorumStatus(term: Term(1), leader: NodeID(3), leaderAddress: Replica.address(3))
    replica.reply(from: 2, .fetch, status)
    #expect(replica.traces == [.answerIgnored(.fetch, .conflictingLeader)])
    #expect(replica.machine.hardState == before)
    #expect(replica.ask(.beginQuorum(Replica.begin(3, 1)))?.status.error == .invalidRequest)
    #expect(replica.machine.hardState == before)
  }

  @Test("An answer that names this very replica as the leader of a term it does not lead is not believed")
  func forgedLeader() {
    var replica = Replica(1)
    replica.follow(2, term: 1)
    replica.pass(.milliseconds(1))
    let before = replica.machine.hardState
    for term in [1, 5] as [Int32] {
      replica.reply(from: 2, .fetch, QuorumStatus(term: Term(term), leader: NodeID(1), leaderAddress: Replica.address(1)))
      #expect(replica.traces == [.answerIgnored(.fetch, .conflictingLeader)])
      #expect(replica.machine.hardState == before && replica.machine.role == .follower)
      replica.pass(.milliseconds(20))
    }
  }

  @Test("With voters from the configuration a stranger is no leader, whoever says so; and no term is the last one")
  func strangeLeader() {
    var replica = Replica(1, version: .staticVoters)
    replica.follow(2, term: 1)
    replica.pass(.milliseconds(1))
    let before = replica.machine.hardState
    for status in [
      QuorumStatus(term: Term(5), leader: NodeID(9), leaderAddress: Replica.address(9)),
      QuorumStatus(error: .fencedLeaderEpoch, term: .max),
    ] {
      replica.reply(from: 2, .fetch, status)
      #expect(replica.traces == [.answerIgnored(.fetch, .malformed)])
      #expect(replica.machine.hardState == before && replica.machine.role == .follower)
      replica.pass(.milliseconds(20))
    }
    #expect(replica.ask(.beginQuorum(Replica.begin(9, 5)))?.status.error == .inconsistentVoterSet)
  }

  @Test("A higher term without a leader, or with one that cannot be reached, is learnt all the same")
  func higherTermAlone() {
    for status in [QuorumStatus(error: .fencedLeaderEpoch, term: Term(5)), QuorumStatus(term: Term(5), leader: NodeID(9))] {
      var replica = Replica(1)
      replica.follow(2, term: 1)
      replica.pass(.milliseconds(1))
      replica.reply(from: 2, .fetch, status)
      #expect(replica.machine.role == .unattached)
      #expect(replica.machine.hardState == HardState(term: Term(5)))
    }
  }

  @Test("Replicas that do not hear a leader do not send others to it")
  func rumours() {
    var replica = Replica(1, state: HardState(term: Term(1), leader: NodeID(2)))
    #expect(replica.machine.role == .follower)
    #expect(replica.ask(.vote(Replica.vote(3, 1, isPreVote: true)))?.status.leader == nil)
    replica.follow(2, term: 1)
    #expect(replica.ask(.vote(Replica.vote(3, 1, isPreVote: true)))?.status.leader == NodeID(2))
  }

  @Test("A replica that was removed stands if those who need its vote lack what it has, without counting its own vote")
  func removedButNeeded() {
    var log = Replica.log([(1, 3)], voters: [1, 2])
    let removal = PlacedControl(index: LogIndex(3), entry: .voters(Replica.voters([2])))
    log.append(Replica.run(3, 4, term: 1, controls: [removal]))
    log.persist(upTo: log.endIndex)
    var replica = Replica(1, state: HardState(term: Term(1)), log: log)
    for _ in 0..<20 { replica.passToDeadline() }
    #expect(replica.machine.role == .unattached)
    var vote = Replica.vote(2, 1, log: (1, 3), isPreVote: true)
    vote.voter = Replica.key(1)
    #expect(replica.ask(.vote(vote))?.body == .vote(isGranted: false))
    while replica.machine.role != .preCandidate { replica.passToDeadline() }
    #expect(replica.hasCall(.preVote, to: 2))
    replica.reply(from: 2, .preVote, QuorumStatus(term: Term(1)), .vote(isGranted: true))
    replica.sync()
    #expect(replica.machine.role == .candidate, "its own vote is none")
    replica.reply(from: 2, .vote, QuorumStatus(term: Term(2)), .vote(isGranted: true))
    #expect(replica.machine.role == .leader)
  }

  @Test("So does one that others count as a voter and its own log does not, if it has what they lack")
  func addedElsewhere() {
    var replica = Replica(4, state: HardState(term: Term(3)), log: Replica.log([(1, 3), (3, 1)]))
    for _ in 0..<20 { replica.passToDeadline() }
    #expect(replica.machine.role == .unattached)
    var vote = Replica.vote(1, 3, log: (2, 9), isPreVote: true)
    vote.voter = Replica.key(4)
    #expect(replica.ask(.vote(vote))?.body == .vote(isGranted: false))
    while replica.machine.role == .unattached { replica.passToDeadline() }
    for other in [1, 2] as [Int32] { replica.reply(from: other, .preVote, QuorumStatus(term: Term(3)), .vote(isGranted: true)) }
    replica.sync()
    #expect(replica.machine.role == .candidate)
  }

  @Test("The same seed and inputs give the same effects; another seed another patience")
  func deterministic() {
    func deadline(_ seed: UInt64) -> Instant? {
      let log = LogSummary(voters: Replica.voters([1, 2, 3]), version: .dynamicVoters)
      var replica = Replica(RaftMachine(config: Replica.config(1), hardState: HardState(), log: log, seed: seed, now: .origin))
      while replica.machine.role == .unattached { replica.passToDeadline() }
      return replica.now
    }
    #expect(deadline(1) == deadline(1))
    #expect(Set([1, 2, 3].map { deadline($0) }).count == 3)
  }

  @Test("A clock that goes back is taken for one that stands still")
  func clockGoesBack() {
    var replica = Replica(1)
    replica.follow(2, term: 1)
    replica.pass(.milliseconds(500))
    let deadline = replica.machine.nextDeadline
    replica.now = .origin
    replica.take(.timerFired)
    #expect(replica.machine.nextDeadline == deadline)
    #expect(replica.machine.role == .follower)
  }
}
