import Base
import Election
import Model
import Raft
import Testing

@Suite("A follower")
struct FollowerTests {
  /// Follows node 2 in term 3, with a fetch on its way.
  static func follower(_ runs: [(term: Int32, count: Int64)] = [], configure: (inout RaftConfig) -> Void = { _ in }) -> Replica {
    var replica = Replica(1, state: HardState(term: Term(2)), log: Replica.log(runs), configure: configure)
    replica.follow(2, term: 3)
    replica.pass(.milliseconds(1))
    return replica
  }

  static func reply(_ replica: inout Replica, watermark: Int64 = 0, _ content: FetchAnswer<EntryRun>.Content) {
    let (status, body) = Replica.fetched(2, 3, watermark: watermark, content)
    replica.reply(from: 2, .fetch, status, body)
  }

  static func position(_ replica: Replica) -> LogEnd? {
    for call in replica.calls { if case .fetch(let fetch) = call.request { return fetch.position } }
    return nil
  }

  @Test("Fetches one after the other, and none before what came is on disk")
  func durableFetches() {
    var replica = Self.follower()
    #expect(Self.position(replica) == .zero)
    Self.reply(&replica, watermark: 2, .entries(Replica.run(0, 4, term: 3)))
    #expect(replica.effects.appends.map(\.content) == [.fetched(PayloadID(9))])
    #expect(!replica.hasCall(.fetch, to: 2))
    #expect(replica.machine.highWatermark == .zero, "what the leader has committed is not on this disk yet")
    replica.sync()
    #expect(replica.machine.highWatermark == LogIndex(2))
    #expect(Self.position(replica) == LogEnd(term: Term(3), index: LogIndex(4)))
  }

  @Test("A new term begins without a vote, and within one term the vote stays when the leader becomes known")
  func votesAndLeaders() {
    var replica = Replica(1, state: HardState(term: Term(3), votedFor: Replica.key(3)))
    replica.follow(2, term: 3)
    #expect(replica.machine.hardState == HardState(term: Term(3), votedFor: Replica.key(3), leader: NodeID(2)))
    replica.follow(3, term: 4)
    #expect(replica.machine.hardState == HardState(term: Term(4), leader: NodeID(3)))
  }

  @Test("Cuts its log where the leader's parts from it, and goes on from there once the cut is on disk")
  func truncation() {
    var replica = Self.follower([(1, 3), (2, 4)])
    Self.reply(&replica, .diverging(LogEnd(term: Term(2), index: LogIndex(5))))
    #expect(replica.effects.contains { if case .truncate(LogIndex(5), _) = $0 { true } else { false } })
    #expect(replica.traces.contains(.truncated(to: LogIndex(5), toldBy: LogEnd(term: Term(2), index: LogIndex(5)))))
    #expect(!replica.hasCall(.fetch, to: 2))
    replica.sync()
    #expect(Self.position(replica) == LogEnd(term: Term(2), index: LogIndex(5)))
    Self.reply(&replica, .diverging(LogEnd(term: Term(1), index: LogIndex(9))))
    replica.sync()
    #expect(Self.position(replica) == LogEnd(term: Term(1), index: LogIndex(3)))
  }

  @Test("Never takes back what it knows to be committed")
  func committed() {
    var replica = Self.follower([(1, 3), (2, 4)])
    Self.reply(&replica, watermark: 6, .nothing)
    #expect(replica.machine.highWatermark == LogIndex(6))
    let log = replica.machine.log
    for content in [.diverging(LogEnd(term: Term(2), index: LogIndex(5))), .snapshot(LogEnd(term: Term(2), index: LogIndex(6)))]
      as [FetchAnswer<EntryRun>.Content]
    {
      Self.reply(&replica, content)
      #expect(replica.traces.contains(.answerIgnored(.fetch, .contradictsCommitted)))
      #expect(replica.machine.log == log)
      replica.pass(.milliseconds(20))
    }
  }

  static let malformed: [FetchAnswer<EntryRun>.Content] = [
    .entries(Replica.run(4, 5, term: 3)), .entries(Replica.run(2, 5, term: 3)), .entries(Replica.run(3, 3, term: 3)),
    .entries(Replica.run(3, 4, term: 4)), .entries(Replica.run(3, 4, term: 0)),
    .entries(EntryRun(start: LogIndex(3), end: LogIndex(5), terms: [], payload: PayloadID(1))),
    .entries(
      EntryRun(
        start: LogIndex(3), end: LogIndex(5),
        terms: [TermStart(term: Term(3), index: LogIndex(3)), TermStart(term: Term(1), index: LogIndex(4))], payload: PayloadID(1))),
    .entries(Replica.run(3, 4, term: 3, controls: [PlacedControl(index: LogIndex(4), entry: .kraftVersion(.dynamicVoters))])),
    .diverging(LogEnd(term: Term(4), index: LogIndex(2))), .diverging(LogEnd(term: Term(1), index: LogIndex(-1))),
    .diverging(LogEnd(term: Term(1), index: LogIndex(3))),
    .snapshot(LogEnd(term: Term(4), index: LogIndex(9))), .snapshot(LogEnd(term: .zero, index: LogIndex(9))),
  ]

  @Test("An answer that does not fit is not acted upon, and asked for again after the retry backoff", arguments: malformed)
  func nonsense(_ content: FetchAnswer<EntryRun>.Content) {
    var replica = Self.follower([(1, 3)])
    let (log, state) = (replica.machine.log, replica.machine.hardState)
    Self.reply(&replica, content)
    #expect(replica.effects == [.trace(.answerIgnored(.fetch, .malformed))])
    #expect(replica.machine.log == log && replica.machine.hardState == state)
    replica.pass(.milliseconds(20))
    #expect(Self.position(replica) == LogEnd(term: Term(1), index: LogIndex(3)))
  }

  @Test("Gives its leader up after the fetch timeout, and asks for pre-votes")
  func silence() {
    var replica = Self.follower()
    let heard = replica.now
    while replica.machine.role == .follower { replica.passToDeadline() }
    #expect(replica.traces.contains(.preVoteBegan(Term(3), .leaderSilent(NodeID(2)))))
    #expect(replica.now >= heard + .milliseconds(1999) && replica.now < heard + .milliseconds(2500))
  }

  @Test("Every answer of the leader proves that it lives; errors do not")
  func signsOfLife() {
    var replica = Self.follower([(1, 3)])
    replica.pass(.milliseconds(1500))
    Self.reply(&replica, .nothing)
    replica.pass(.milliseconds(1500))
    #expect(replica.machine.role == .follower)
    let error = QuorumStatus(error: .unknownServerError, term: Term(3), leader: NodeID(2))
    replica.reply(from: 2, .fetch, error)
    replica.pass(.milliseconds(1000))
    #expect(replica.machine.role == .preCandidate)
  }

  @Test("The first successor of a leader that resigns stands at once and without pre-votes; others wait, and give pre-votes")
  func successors() {
    let end = EndQuorumRequest(
      clusterID: "c", term: Term(3), leader: NodeID(2), successors: [Replica.key(1), Replica.key(3)], endpoints: Replica.endpoints(2))
    var first = Self.follower()
    first.ask(.endQuorum(end))
    #expect(first.machine.role == .candidate)
    #expect(first.machine.term == Term(4))

    var second = Replica(3, state: HardState(term: Term(2)))
    second.follow(2, term: 3)
    second.ask(.endQuorum(end))
    #expect(second.machine.role == .follower)
    #expect(second.ask(.vote(Replica.vote(1, 3, isPreVote: true)))?.body == .vote(isGranted: true))
    let told = second.now
    while second.machine.role == .follower { second.passToDeadline() }
    #expect(second.traces.contains(.preVoteBegan(Term(3), .leaderResigned(NodeID(2)))))
    #expect(second.now < told + .milliseconds(500))
  }

  @Test("A leader that says itself that it leads no more is given up at once")
  func formerLeader() {
    var replica = Self.follower()
    let told = replica.now
    replica.reply(from: 2, .fetch, QuorumStatus(error: .notLeaderOrFollower, term: Term(3)))
    while replica.machine.role == .follower { replica.passToDeadline() }
    #expect(replica.now < told + .milliseconds(1000))
  }

  @Test("The successor stands at once even if a refused fetch came before the leader's message")
  func refusedFirst() {
    var replica = Self.follower()
    replica.reply(from: 2, .fetch, QuorumStatus(error: .notLeaderOrFollower, term: Term(3)))
    #expect(replica.machine.role == .follower)
    replica.ask(
      .endQuorum(
        EndQuorumRequest(
          clusterID: "c", term: Term(3), leader: NodeID(2), successors: [Replica.key(1)], endpoints: Replica.endpoints(2))))
    #expect(replica.machine.role == .candidate)
  }

  @Test("An announcement of a leader that has resigned is an old one")
  func lateAnnouncement() {
    var replica = Self.follower()
    let end = EndQuorumRequest(clusterID: "c", term: Term(3), leader: NodeID(2), successors: [], endpoints: Replica.endpoints(2))
    replica.ask(.endQuorum(end))
    replica.ask(.beginQuorum(Replica.begin(2, 3)))
    #expect(replica.ask(.vote(Replica.vote(3, 3, isPreVote: true)))?.body == .vote(isGranted: true))
    while replica.machine.role == .follower { replica.passToDeadline() }
    for request in [.beginQuorum(Replica.begin(2, 3)), .endQuorum(end)] as [RaftRequest] {
      #expect(replica.ask(request)?.status.error == ErrorCode.none)
      #expect(replica.machine.role == .preCandidate, "its election goes on")
    }
  }

  @Test("Voters in the log are in force before they are committed, and no more when they are cut off")
  func votersInForce() {
    var replica = Self.follower([(1, 3)])
    let change = PlacedControl(index: LogIndex(3), entry: .voters(Replica.voters([1, 2, 3, 4])))
    Self.reply(&replica, .entries(Replica.run(3, 5, term: 3, controls: [change])))
    #expect(replica.machine.log.voters == Replica.voters([1, 2, 3, 4]))
    #expect(replica.machine.highWatermark == .zero)
    replica.sync()
    replica.follow(3, term: 4)
    replica.pass(.milliseconds(1))
    let (status, body) = Replica.fetched(3, 4, .diverging(LogEnd(term: Term(1), index: LogIndex(3))))
    replica.reply(from: 3, .fetch, status, body)
    #expect(replica.machine.log.voters == Replica.voters([1, 2, 3]))
  }

  @Test("An observer that loses its leader asks bootstrap servers and voters in turn, without a name, and never stands")
  func observer() {
    var replica = Replica(9, voters: []) {
      $0.isController = false
      $0.bootstrapServers = [Replica.address(9), Replica.address(5), Replica.address(6)]
    }
    replica.take(.timerFired)
    #expect(replica.calls.map(\.destination) == [Destination(node: nil, address: Replica.address(5))])
    if case .fetch(let fetch)? = replica.calls.first?.request { #expect(fetch.replica.node == .none) }
    replica.take(.callFailed(replica.calls.removeFirst().id))
    replica.pass(.milliseconds(20))
    #expect(replica.calls.map(\.destination) == [Destination(node: nil, address: Replica.address(6))])
    let status = QuorumStatus(error: .notLeaderOrFollower, term: Term(8), leader: NodeID(2), leaderAddress: Replica.address(2))
    replica.take(.answer(replica.calls.removeFirst().id, IncomingAnswer(status)))
    replica.sync()
    #expect(replica.machine.role == .follower)
    #expect(replica.hasCall(.fetch, to: 2))
    while replica.machine.role == .follower { replica.passToDeadline() }
    #expect(replica.machine.role == .unattached)
    for _ in 0..<50 { replica.passToDeadline() }
    #expect(replica.machine.role == .unattached)
  }

  static let announcements: [(RequestRefusal, ErrorCode, @Sendable (inout BeginQuorumRequest) -> Void)] = [
    (.otherCluster, .inconsistentClusterId, { $0.clusterID = "another" }),
    (.malformed, .invalidRequest, { $0.leader = NodeID(-1) }), (.malformed, .invalidRequest, { $0.term = .zero }),
    (.malformed, .invalidRequest, { $0.term = .max }), (.forged, .invalidRequest, { $0.leader = NodeID(1) }),
    (.otherVoter, .invalidVoterKey, { $0.voter = Replica.key(2) }), (.staleTerm, .fencedLeaderEpoch, { $0.term = Term(2) }),
    (.conflictingLeader, .invalidRequest, { $0.leader = NodeID(3) }),
    (.malformed, .invalidRequest, { ($0.leader, $0.term, $0.endpoints) = (NodeID(9), Term(9), []) }),
  ]

  @Test("Announcements that no leader makes are refused, and the state stays as it was", arguments: announcements.indices)
  func refusedAnnouncements(_ place: Int) {
    let (why, error, change) = Self.announcements[place]
    var replica = Self.follower()
    let before = replica.machine
    var begin = Replica.begin(2, 3)
    change(&begin)
    #expect(replica.ask(.beginQuorum(begin))?.status.error == error)
    #expect(replica.traces == [.requestRefused(.beginQuorum, error, why)])
    #expect(replica.machine == before)
  }
}
