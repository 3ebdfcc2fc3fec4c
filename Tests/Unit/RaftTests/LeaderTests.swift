import Base
import Election
import Model
import Raft
import Testing

@Suite("A leader")
struct LeaderTests {
  /// Leader of term 1 with three entries of its own: the leader change, the version and the voters.
  static func leader(configure: (inout RaftConfig) -> Void = { _ in }) -> Replica {
    var replica = Replica(1, configure: configure)
    replica.win()
    return replica
  }

  static func content(_ answer: OutgoingAnswer?) -> FetchAnswer<EntryRange>.Content? {
    guard case .fetch(let fetch)? = answer?.body else { return nil }
    return fetch.content
  }

  @Test("Commits what a majority of the voters has on disk, by their fetches and its own syncs")
  func majority() {
    var replica = Replica(1)
    while replica.machine.role != .preCandidate { replica.passToDeadline() }
    replica.reply(from: 2, .preVote, QuorumStatus(term: .zero), .vote(isGranted: true))
    replica.sync()
    replica.reply(from: 2, .vote, QuorumStatus(term: Term(1)), .vote(isGranted: true))
    let writes = replica.effects.appends
    // It is in the leader's log, and with one follower that is one disk of three.
    _ = replica.begin(.fetch(Replica.fetch(2, 1, (0, 0))))
    _ = replica.begin(.fetch(Replica.fetch(2, 1, (1, 3))))
    #expect(replica.machine.highWatermark == .zero)
    replica.take(.logPersisted(writes[0].token))
    #expect(replica.effects.watermarks == [LogIndex(3)])
    // Two followers are a majority, whatever the leader's disk does.
    replica.take(.propose(PayloadID(1), count: 2, term: Term(1)))
    _ = replica.begin(.fetch(Replica.fetch(2, 1, (1, 5))))
    _ = replica.begin(.fetch(Replica.fetch(3, 1, (1, 5))))
    #expect(replica.effects.watermarks == [LogIndex(5)])
    #expect(replica.machine.log.durableEnd == LogIndex(3))
  }

  @Test("The completion of a write completes the older ones with it, and theirs come too late")
  func writesInOrder() {
    var replica = Self.leader()
    replica.take(.propose(PayloadID(1), count: 1, term: Term(1)))
    let older = replica.effects.appends[0].token
    replica.take(.propose(PayloadID(2), count: 1, term: Term(1)))
    let newer = replica.effects.appends[0].token
    replica.take(.logPersisted(newer))
    #expect(replica.machine.log.durableEnd == LogIndex(5))
    #expect(replica.take(.logPersisted(older)) == [.trace(.stalePersistToken)])
  }

  @Test("Entries of earlier terms are committed only together with one of its own")
  func ownTerm() {
    var replica = Replica(1, state: HardState(term: Term(2)), log: Replica.log([(1, 2), (2, 3)]))
    replica.win()
    #expect(replica.machine.log.endIndex == LogIndex(8))
    replica.ask(.fetch(Replica.fetch(2, 3, (2, 5))))
    #expect(replica.machine.highWatermark == .zero)
    replica.ask(.fetch(Replica.fetch(2, 3, (3, 6))))
    #expect(replica.machine.highWatermark == LogIndex(6))
  }

  @Test("Observers are served and not counted")
  func observers() throws {
    var replica = Self.leader()
    #expect(Self.content(replica.ask(.fetch(Replica.fetch(7, 1, (0, 0)))))
      == .entries(EntryRange(start: .zero, end: LogIndex(3), bytesMax: 1000)))
    replica.ask(.fetch(Replica.fetch(7, 1, (1, 3))))
    #expect(replica.machine.highWatermark == .zero)
    let quorum = try #require(replica.machine.describe(at: replica.now))
    #expect(quorum.observers.map(\.replica) == [Replica.key(7)])
    #expect(quorum.voters.map(\.endIndex) == [LogIndex(3), nil, nil])
  }

  @Test("A fetch waits until there are entries, a newer high watermark, or its time is over")
  func waiting() {
    var replica = Self.leader()
    let first = replica.begin(.fetch(Replica.fetch(2, 1, (1, 3), watermark: 3)))
    replica.take(.propose(PayloadID(1), count: 1, term: Term(1)))
    #expect(Self.content(replica.answer(to: first)) == .entries(EntryRange(start: LogIndex(3), end: LogIndex(4), bytesMax: 1000)))
    replica.sync()
    let second = replica.begin(.fetch(Replica.fetch(3, 1, (1, 4), watermark: 3)))
    #expect(Self.content(replica.answer(to: second)) == .nothing, "it does not know yet that its entries are committed")
    let third = replica.begin(.fetch(Replica.fetch(2, 1, (1, 4), watermark: 4)))
    #expect(replica.answer(to: third) == nil)
    replica.pass(.milliseconds(499))
    #expect(replica.answer(to: third) == nil)
    replica.pass(.milliseconds(1))
    #expect(Self.content(replica.answer(to: third)) == .nothing)
  }

  @Test("A replica's new fetch ends the one before")
  func oneFetchAtATime() {
    var replica = Self.leader()
    let first = replica.begin(.fetch(Replica.fetch(2, 1, (1, 3), watermark: 3)))
    let second = replica.begin(.fetch(Replica.fetch(2, 1, (1, 3), watermark: 3)))
    #expect(Self.content(replica.answer(to: first)) == .nothing)
    #expect(replica.answer(to: second) == nil)
  }

  @Test("A replica whose log parts from the leader's is told where the leader's term ends")
  func diverging() {
    var replica = Replica(1, state: HardState(term: Term(3)), log: Replica.log([(1, 2), (3, 3)]))
    replica.win()
    #expect(Self.content(replica.ask(.fetch(Replica.fetch(2, 4, (1, 4))))) == .diverging(LogEnd(term: Term(1), index: LogIndex(2))))
    #expect(Self.content(replica.ask(.fetch(Replica.fetch(2, 4, (2, 4))))) == .diverging(LogEnd(term: Term(1), index: LogIndex(2))))
    #expect(Self.content(replica.ask(.fetch(Replica.fetch(2, 4, (3, 6))))) == .diverging(LogEnd(term: Term(3), index: LogIndex(5))))
    #expect(replica.machine.describe(at: replica.now)?.voters[1].endIndex == nil, "none of that says what it has")
  }

  struct Refused: CustomTestStringConvertible {
    var why: RequestRefusal
    var error: ErrorCode
    var change: @Sendable (inout FetchRequest) -> Void
    var testDescription: String { "\(self.error): \(self.why)" }
  }

  static let refused: [Refused] = [
    Refused(why: .otherCluster, error: .inconsistentClusterId) { $0.clusterID = "another" },
    Refused(why: .malformed, error: .invalidRequest) { $0.position.index = LogIndex(-1) },
    Refused(why: .malformed, error: .invalidRequest) { $0.position.term = Term(2) },
    Refused(why: .malformed, error: .invalidRequest) { $0.waitMax = .milliseconds(-1) },
    Refused(why: .staleTerm, error: .fencedLeaderEpoch) { ($0.term, $0.position) = (.zero, .zero) },
    Refused(why: .unknownTerm, error: .unknownLeaderEpoch) { $0.term = Term(2) },
    Refused(why: .forged, error: .invalidRequest) { $0.replica = Replica.key(1) },
    Refused(why: .forged, error: .invalidRequest) { $0.position.index = LogIndex(4) },
  ]

  @Test("What no replica asks is refused with Kafka's code, and the state stays as it was", arguments: refused)
  func refusals(_ refused: Refused) {
    var replica = Self.leader()
    let before = replica.machine
    var fetch = Replica.fetch(2, 1, (1, 3))
    refused.change(&fetch)
    #expect(replica.ask(.fetch(fetch))?.status.error == refused.error)
    #expect(replica.traces == [.requestRefused(.fetch, refused.error, refused.why)])
    #expect(replica.machine == before)
  }

  @Test("Others than the leader refuse fetches and proposals and say whom they follow")
  func notLeading() {
    var replica = Replica(1)
    replica.follow(2, term: 1)
    let status = replica.ask(.fetch(Replica.fetch(3, 1, (0, 0))))?.status
    #expect(status == QuorumStatus(error: .notLeaderOrFollower, term: Term(1), leader: NodeID(2), leaderAddress: Replica.address(2)))
    #expect(replica.take(.propose(PayloadID(4), count: 1, term: Term(1))).contains(.refuseProposal(PayloadID(4), .notLeaderOrFollower)))
  }

  @Test("A proposal is taken in the term it was meant for, up to the limit of what may be uncommitted")
  func proposals() {
    var replica = Self.leader { $0.uncommittedEntriesMax = 5 }
    #expect(replica.take(.propose(PayloadID(1), count: 1, term: .zero)) == [.refuseProposal(PayloadID(1), .notLeaderOrFollower)])
    #expect(replica.take(.propose(PayloadID(2), count: 0, term: Term(1))) == [.refuseProposal(PayloadID(2), .invalidRequest)])
    #expect(replica.take(.propose(PayloadID(3), count: 3, term: Term(1))) == [.refuseProposal(PayloadID(3), .throttlingQuotaExceeded)])
    replica.take(.propose(PayloadID(4), count: 2, term: Term(1)))
    #expect(replica.effects.appends.map(\.content) == [.proposed(PayloadID(4), term: Term(1))])
    #expect(replica.effects.appends.map(\.start) == [LogIndex(3)])
  }

  @Test("Steps down when no majority has fetched for one and a half fetch timeouts")
  func checkQuorum() {
    var replica = Self.leader()
    let elected = replica.now
    replica.pass(.milliseconds(2000))
    replica.ask(.fetch(Replica.fetch(3, 1, (0, 0))))
    replica.pass(.milliseconds(2900))
    #expect(replica.machine.role == .leader)
    while replica.machine.role == .leader { replica.passToDeadline() }
    #expect(replica.now == elected + .milliseconds(5000))
    #expect(replica.traces.contains(.resigned(Term(1), .quorumLost)))
    #expect(replica.hasCall(.endQuorum, to: 2) && replica.hasCall(.endQuorum, to: 3))
  }

  @Test("Announces itself to each voter until that one fetches")
  func announcements() {
    var replica = Self.leader()
    #expect(replica.hasCall(.beginQuorum, to: 2) && replica.hasCall(.beginQuorum, to: 3))
    replica.fail(.beginQuorum, to: 2)
    replica.pass(.milliseconds(20))
    #expect(replica.hasCall(.beginQuorum, to: 2), "it is tried again after the retry backoff")
    replica.ask(.fetch(Replica.fetch(2, 1, (0, 0))))
    replica.fail(.beginQuorum, to: 2)
    replica.pass(.milliseconds(20))
    #expect(!replica.hasCall(.beginQuorum, to: 2))
    #expect(replica.hasCall(.beginQuorum, to: 3))
  }

  @Test("Forgets observers that fetch no more, and keeps track of no more than the limit")
  func observerLimit() {
    var replica = Self.leader { $0.observersMax = 2 }
    for id in [7, 8, 9] as [Int32] { replica.ask(.fetch(Replica.fetch(id, 1, (0, 0)))) }
    #expect(replica.machine.describe(at: replica.now)?.observers.map(\.replica.node) == [NodeID(7), NodeID(8)])
    for _ in 0..<301 {
      replica.now = replica.now + .seconds(1)
      replica.ask(.fetch(Replica.fetch(2, 1, (0, 0))))
    }
    replica.ask(.fetch(Replica.fetch(9, 1, (0, 0))))
    #expect(replica.machine.describe(at: replica.now)?.observers.map(\.replica.node) == [NodeID(9)])
  }

  @Test("A fetch without a replica's name is answered and changes nothing")
  func anonymous() {
    var replica = Self.leader()
    let before = replica.machine
    var fetch = Replica.fetch(2, 1, (0, 0))
    fetch.replica = ReplicaKey(.none)
    #expect(Self.content(replica.ask(.fetch(fetch))) == .entries(EntryRange(start: .zero, end: LogIndex(3), bytesMax: 1000)))
    #expect(replica.machine == before)
  }

  @Test("A replica that says it has less than before is believed, traced, and does not move the high watermark back")
  func progressBack() {
    var replica = Self.leader()
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 3))))
    #expect(replica.machine.highWatermark == LogIndex(3))
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 1))))
    #expect(replica.traces.contains(.progressWentBack(Replica.key(2), from: LogIndex(3), to: LogIndex(1))))
    #expect(replica.machine.highWatermark == LogIndex(3))
  }
}
