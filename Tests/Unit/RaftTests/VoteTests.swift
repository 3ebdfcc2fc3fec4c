import Base
import Election
import Model
import Raft
import Testing

@Suite("Votes that are asked for")
struct VoteTests {
  @Test("A vote is on disk before the answer leaves, and the completion carries the token")
  func persistedFirst() throws {
    var replica = Replica(1)
    let request = replica.begin(.vote(Replica.vote(2, 1)))
    let persist = try #require(replica.effects.persists.last)
    #expect(persist.state == HardState(term: Term(1), votedFor: Replica.key(2)))
    let answer = OutgoingAnswer(QuorumStatus(term: Term(1)), .vote(isGranted: true))
    #expect(replica.effects.contains(.answer(request, answer, after: persist.token)))
    replica.take(.statePersisted(persist.token))
    #expect(replica.machine.term == Term(1))
  }

  @Test("While a state is being written, every message waits for it, and an older token does not end the wait")
  func laterMessagesWaitToo() throws {
    var replica = Replica(1)
    _ = replica.begin(.vote(Replica.vote(2, 1)))
    let first = try #require(replica.effects.persists.last?.token)
    let second = replica.begin(.vote(Replica.vote(3, 2)))
    let newer = try #require(replica.effects.persists.last?.token)
    #expect(replica.effects.contains { if case .answer(second, _, let after) = $0 { after == newer } else { false } })
    #expect(replica.take(.statePersisted(first)) == [.trace(.stalePersistToken)])
    let third = replica.begin(.vote(Replica.vote(2, 2)))
    #expect(replica.effects.contains { if case .answer(third, _, let after) = $0 { after == newer } else { false } })
    replica.take(.statePersisted(newer))
    let fourth = replica.begin(.vote(Replica.vote(2, 2)))
    #expect(replica.effects.contains { if case .answer(fourth, _, let after) = $0 { after == nil } else { false } })
  }

  @Test("One vote in a term: the same candidate gets it again, another one, or the same node with another disk, does not")
  func onceATerm() {
    var replica = Replica(1)
    #expect(replica.ask(.vote(Replica.vote(2, 1)))?.body == .vote(isGranted: true))
    #expect(replica.ask(.vote(Replica.vote(2, 1)))?.body == .vote(isGranted: true))
    #expect(replica.ask(.vote(Replica.vote(3, 1)))?.body == .vote(isGranted: false))
    #expect(replica.traces.contains(.voteRefused(to: Replica.key(3), Term(1), isPreVote: false, .votedForAnother(Replica.key(2)))))
    var otherDisk = Replica.vote(2, 1)
    otherDisk.candidate.directory = KafkaUUID(high: 9, low: 9)
    #expect(replica.ask(.vote(otherDisk))?.body == .vote(isGranted: false))
  }

  @Test("A vote outlives a restart")
  func restart() {
    var replica = Replica(1, state: HardState(term: Term(4), votedFor: Replica.key(2)))
    #expect(replica.ask(.vote(Replica.vote(3, 4)))?.body == .vote(isGranted: false))
    #expect(replica.ask(.vote(Replica.vote(2, 4)))?.body == .vote(isGranted: true))
  }

  @Test("A candidate whose log is behind gets no vote: the last term counts first, then the length")
  func upToDate() {
    var replica = Replica(1, state: HardState(term: Term(3)), log: Replica.log([(1, 5), (3, 2)]))
    #expect(replica.ask(.vote(Replica.vote(2, 4, log: (2, 100))))?.body == .vote(isGranted: false))
    #expect(replica.ask(.vote(Replica.vote(2, 4, log: (3, 6))))?.body == .vote(isGranted: false))
    let own = LogEnd(term: Term(3), index: LogIndex(7))
    #expect(replica.traces.contains(.voteRefused(to: Replica.key(2), Term(4), isPreVote: false, .logIsBehind(own: own))))
    #expect(replica.ask(.vote(Replica.vote(2, 4, log: (3, 7))))?.body == .vote(isGranted: true))
  }

  @Test("Once the leader of the term is known nobody else is elected in it")
  func leaderIsKnown() {
    var replica = Replica(1)
    replica.follow(2, term: 1)
    #expect(replica.ask(.vote(Replica.vote(3, 1)))?.body == .vote(isGranted: false))
    #expect(replica.traces.contains(.voteRefused(to: Replica.key(3), Term(1), isPreVote: false, .leaderIsKnown(NodeID(2)))))
  }

  @Test("A pre-vote changes nothing, and is given to any number of candidates")
  func preVote() {
    var replica = Replica(1)
    replica.take(.timerFired)
    let before = replica.machine.hardState
    #expect(replica.ask(.vote(Replica.vote(2, 0, isPreVote: true)))?.body == .vote(isGranted: true))
    #expect(replica.ask(.vote(Replica.vote(3, 0, isPreVote: true)))?.body == .vote(isGranted: true))
    #expect(replica.machine.hardState == before)
  }

  @Test("A follower gives no pre-vote against a leader that it hears, but does against one it only heard of")
  func stickiness() {
    var heard = Replica(1)
    heard.follow(2, term: 1)
    #expect(heard.ask(.vote(Replica.vote(3, 1, isPreVote: true)))?.body == .vote(isGranted: false))
    #expect(heard.traces.contains(.voteRefused(to: Replica.key(3), Term(1), isPreVote: true, .leaderIsHeard(NodeID(2)))))

    var restarted = Replica(1, state: HardState(term: Term(1), leader: NodeID(2)))
    #expect(restarted.machine.role == .follower)
    #expect(restarted.ask(.vote(Replica.vote(3, 1, isPreVote: true)))?.body == .vote(isGranted: true))
  }

  @Test("A leader gives no pre-vote")
  func leader() {
    var replica = Replica(1)
    replica.win()
    #expect(replica.ask(.vote(Replica.vote(3, 1, log: (1, 9), isPreVote: true)))?.body == .vote(isGranted: false))
    #expect(replica.traces.contains(.voteRefused(to: Replica.key(3), Term(1), isPreVote: true, .isLeading)))
  }

  /// A request, and the code and reason it is refused with.
  struct Refused: CustomTestStringConvertible {
    var why: RequestRefusal
    var error: ErrorCode
    var change: @Sendable (inout VoteRequest) -> Void
    var testDescription: String { "\(self.error): \(self.why)" }
  }

  static let refused: [Refused] = [
    Refused(why: .otherCluster, error: .inconsistentClusterId) { $0.clusterID = "another" },
    Refused(why: .malformed, error: .invalidRequest) { $0.term = Term(-1) },
    Refused(why: .malformed, error: .invalidRequest) { $0.term = .max },
    Refused(why: .malformed, error: .invalidRequest) { $0.logEnd.index = LogIndex(-1) },
    Refused(why: .malformed, error: .invalidRequest) { $0.logEnd.term = $0.term },
    Refused(why: .malformed, error: .invalidRequest) { $0.candidate.node = NodeID(-5) },
    Refused(why: .forged, error: .invalidRequest) { $0.candidate = Replica.key(1) },
    Refused(why: .otherVoter, error: .invalidVoterKey) { $0.voter = Replica.key(2) },
    Refused(why: .otherVoter, error: .invalidVoterKey) { $0.voter = ReplicaKey(NodeID(1), KafkaUUID(high: 3, low: 3)) },
    Refused(why: .staleTerm, error: .fencedLeaderEpoch) { $0.term = Term(2) },
  ]

  @Test("What no candidate sends is refused with Kafka's code, and the state stays as it was", arguments: refused)
  func refusals(_ refused: Refused) {
    var replica = Replica(1, state: HardState(term: Term(3)))
    replica.take(.timerFired)
    let before = replica.machine
    var vote = Replica.vote(2, 4)
    refused.change(&vote)
    let answer = replica.ask(.vote(vote))
    #expect(answer == OutgoingAnswer(QuorumStatus(error: refused.error, term: Term(3))))
    #expect(replica.traces == [.requestRefused(.vote, refused.error, refused.why)])
    #expect(replica.machine == before)
  }

  @Test("With voters from the configuration a stranger gets no vote, and a broker never gives one")
  func strangers() {
    var fixed = Replica(1, version: .staticVoters)
    #expect(fixed.ask(.vote(Replica.vote(7, 1)))?.status.error == .inconsistentVoterSet)
    #expect(fixed.ask(.vote(Replica.vote(2, 1)))?.body == .vote(isGranted: true))
    var broker = Replica(8) { $0.isController = false }
    #expect(broker.ask(.vote(Replica.vote(2, 1)))?.status.error == .invalidRequest)
    #expect(broker.machine.term == .zero)
  }

  @Test("A controller votes for a candidate that its log does not know as a voter yet")
  func newVoters() {
    var replica = Replica(1)
    #expect(replica.ask(.vote(Replica.vote(4, 1)))?.body == .vote(isGranted: true))
  }
}
