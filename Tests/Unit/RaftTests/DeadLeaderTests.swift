import Base
import Election
import Model
import Raft
import Testing

/// What the network tells of a dead leader is a hint that spares the wait for its silence, and harms no leader that lives.
@Suite("A leader whose process is dead")
struct DeadLeaderTests {
  /// Node 1 of three follows node 3 in term 2 and has heard it.
  private func follower(_ configure: (inout RaftConfig) -> Void = { _ in }) -> Replica {
    var replica = Replica(1, log: Replica.log([(1, 3)]), configure: configure)
    replica.take(.timerFired)
    replica.follow(3, term: 2)
    replica.pass(.milliseconds(1))
    let (status, body) = Replica.fetched(3, 2, watermark: 3, .nothing)
    replica.reply(from: 3, .fetch, status, body)
    return replica
  }

  private func fail(_ replica: inout Replica, _ failure: CallFailure) throws {
    let place = try #require(replica.calls.lastIndex { $0.request.kind == .fetch && $0.destination.node == NodeID(3) })
    replica.take(.callFailed(replica.calls.remove(at: place).id, failure))
  }

  @Test("A connection that broke is made anew at once, and once only until the leader is heard again")
  func brokenConnection() throws {
    var replica = self.follower()
    try self.fail(&replica, .broken)
    #expect(replica.hasCall(.fetch, to: 3), "it does not ask at once")
    #expect(replica.machine.knownLeader == NodeID(3))
    try self.fail(&replica, .broken)
    #expect(!replica.hasCall(.fetch, to: 3), "a peer that takes connections and closes them keeps it busy")
    replica.pass(.milliseconds(20))
    let (status, body) = Replica.fetched(3, 2, watermark: 3, .nothing)
    replica.reply(from: 3, .fetch, status, body)
    try self.fail(&replica, .broken)
    #expect(replica.hasCall(.fetch, to: 3))
  }

  @Test("Where the leader's address refuses, a voter stands within the retry backoff and a quarter, by a pre-vote")
  func refusedConnection() throws {
    var replica = self.follower()
    let began = replica.now
    try self.fail(&replica, .refused)
    #expect(replica.machine.knownLeader == nil)
    #expect(replica.machine.role == .follower)
    while replica.machine.role == .follower { replica.passToDeadline() }
    #expect(replica.machine.role == .preCandidate)
    #expect(replica.now - began >= .milliseconds(5) && replica.now - began <= .milliseconds(25))
    #expect(replica.traces.contains(.preVoteBegan(Term(2), .leaderGone(NodeID(3)))))
    #expect(replica.machine.term == Term(2))
  }

  @Test("Whoever hears the leader refuses the pre-vote, and whoever lost it grants it")
  func stickiness() throws {
    var hears = self.follower(), lost = self.follower()
    try self.fail(&lost, .refused)
    let vote = RaftRequest.vote(Replica.vote(2, 2, log: (1, 3), isPreVote: true))
    #expect(hears.ask(vote)?.body == .vote(isGranted: false))
    #expect(lost.ask(vote)?.body == .vote(isGranted: true))
    // It lets the other go first.
    let asked = lost.now
    while lost.machine.role == .follower { lost.passToDeadline() }
    #expect(lost.now - asked >= .milliseconds(100))
  }

  @Test("A leader that is heard again is followed on")
  func isBack() throws {
    var replica = self.follower()
    try self.fail(&replica, .refused)
    replica.follow(3, term: 2)
    #expect(replica.machine.knownLeader == NodeID(3))
    replica.pass(.milliseconds(30))
    #expect(replica.machine.role == .follower)
    #expect(replica.ask(.vote(Replica.vote(2, 2, log: (1, 3), isPreVote: true)))?.body == .vote(isGranted: false))
  }

  @Test("A round that a living voter refuses does not wait for the dead one; one that nobody refuses does")
  func lostRound() throws {
    var replica = self.follower()
    try self.fail(&replica, .refused)
    while replica.machine.role == .follower { replica.passToDeadline() }
    let place = try #require(replica.calls.firstIndex { $0.request.kind == .preVote && $0.destination.node == NodeID(3) })
    replica.take(.callFailed(replica.calls.remove(at: place).id, .refused))
    #expect(replica.machine.role == .preCandidate)
    replica.reply(from: 2, .preVote, QuorumStatus(term: Term(2)), .vote(isGranted: false))
    #expect(replica.machine.role == .unattached)
    #expect(replica.traces.contains(.electionLost(Term(2), isPreVote: true, .refused)))
  }

  @Test("An observer looks for the next leader at once")
  func observer() throws {
    var replica = Replica(9) { $0.isController = false }
    replica.take(.timerFired)
    replica.follow(3, term: 2)
    replica.pass(.milliseconds(1))
    try self.fail(&replica, .refused)
    #expect(replica.machine.role == .unattached)
    #expect(replica.calls.contains { $0.request.kind == .fetch && $0.destination.node != NodeID(3) })
  }

  @Test("A voter that is alone leads as soon as its vote is on disk: no time passes")
  func alone() {
    for state in [HardState(), HardState(term: Term(3), leader: NodeID(1)), HardState(term: Term(3), votedFor: Replica.key(1))] {
      for version in [KRaftVersion.staticVoters, .dynamicVoters] {
        var replica = Replica(1, voters: [1], version: version, state: state)
        replica.take(.timerFired)
        replica.sync()
        #expect(replica.machine.role == .leader)
        #expect(replica.now == .origin)
        replica.sync()
        #expect(replica.machine.hasCaughtUp)
      }
    }
  }
}
