import Base
import Election
import Model
import Raft
import Testing

@Suite("Changes of the voters")
struct VoterChangeTests {
  static let versions = SupportedVersions(.staticVoters, .dynamicVoters)

  /// A leader whose term is established, with node 4 caught up as an observer.
  static func leader() -> Replica {
    var replica = LeaderTests.leader()
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 3))))
    replica.ask(.fetch(Replica.fetch(4, 1, (1, 3))))
    return replica
  }

  static func add(_ id: Int32, answersWhenCommitted: Bool = true) -> RaftRequest {
    .addVoter(
      AddVoterRequest(
        clusterID: "c", voter: Replica.key(id), endpoints: Replica.endpoints(id), answersWhenCommitted: answersWhenCommitted))
  }
  static func remove(_ id: Int32) -> RaftRequest { .removeVoter(RemoveVoterRequest(clusterID: "c", voter: Replica.key(id))) }

  static func tellVersions(_ replica: inout Replica, _ versions: SupportedVersions = VoterChangeTests.versions) {
    replica.reply(from: 4, .versions, QuorumStatus(term: .zero), .versions(versions))
  }

  @Test("A new voter counts as soon as it is in the log, and the answer waits until that is committed")
  func add() {
    var replica = Self.leader()
    let request = replica.begin(Self.add(4))
    Self.tellVersions(&replica)
    #expect(replica.machine.log.voters == Replica.voters([1, 2, 3, 4]))
    replica.sync()
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 4))))
    #expect(replica.machine.highWatermark == LogIndex(3), "two of four are no majority")
    _ = replica.begin(.fetch(Replica.fetch(4, 1, (1, 4))))
    #expect(replica.machine.highWatermark == LogIndex(4))
    #expect(replica.answer(to: request)?.status.error == ErrorCode.none)
  }

  @Test("Who asks not to wait is answered as soon as the change is in the log")
  func addWithoutWaiting() {
    var replica = Self.leader()
    let request = replica.begin(Self.add(4, answersWhenCommitted: false))
    #expect(replica.answer(to: request) == nil)
    Self.tellVersions(&replica)
    #expect(replica.answer(to: request)?.status.error == ErrorCode.none)
  }

  @Test("One change at a time, counted by the log and not by who still waits for it")
  func oneAtATime() {
    var replica = Self.leader()
    replica.ask(Self.remove(3))
    #expect(replica.ask(Self.add(4))?.status.error == .requestTimedOut)
    #expect(replica.traces.contains(.requestRefused(.addVoter, .requestTimedOut, .anotherChangeIsPending)))
    // The one who asked gives up, the entry stays.
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 3), watermark: 3)))
    replica.pass(.milliseconds(2000))
    #expect(replica.traces.contains(.requestRefused(.removeVoter, .requestTimedOut, .notCommittedInTime)))
    #expect(replica.ask(Self.add(4))?.status.error == .requestTimedOut)
    #expect(replica.traces.contains(.requestRefused(.addVoter, .requestTimedOut, .votersAreUncommitted)))
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 4))))
    #expect(replica.ask(Self.add(4)) == nil)
    #expect(replica.hasCall(.versions, to: 4))
  }

  @Test("No change before an entry of the leader's term is committed")
  func establishedTerm() {
    var replica = LeaderTests.leader()
    #expect(replica.ask(Self.remove(3))?.status.error == .requestTimedOut)
    #expect(replica.traces.contains(.requestRefused(.removeVoter, .requestTimedOut, .termIsNotEstablished)))
  }

  @Test("A new voter has to be known, able, near the end of the log, and reachable")
  func unfit() {
    var replica = Self.leader()
    #expect(replica.ask(Self.add(2))?.status.error == .duplicateVoter)
    let incapable = replica.begin(Self.add(4))
    Self.tellVersions(&replica, SupportedVersions(.staticVoters, .staticVoters))
    #expect(replica.answer(to: incapable)?.status.error == .invalidRequest)
    let unreachable = replica.begin(Self.add(4))
    replica.fail(.versions, to: 4)
    #expect(replica.answer(to: unreachable)?.status.error == .requestTimedOut)
    replica.pass(.milliseconds(1900))
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 3), watermark: 3)))
    replica.pass(.milliseconds(200))
    let behind = replica.begin(Self.add(4))
    Self.tellVersions(&replica)
    #expect(replica.answer(to: behind)?.status.error == .requestTimedOut)
    #expect(replica.traces.contains(.requestRefused(.addVoter, .requestTimedOut, .notCaughtUp)))
    #expect(replica.machine.log.voters == Replica.voters([1, 2, 3]))
  }

  @Test("A new voter that fetches and lacks entries has to wait until it has them")
  func laggingBehind() {
    var replica = LeaderTests.leader()
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 3))))
    replica.ask(.fetch(Replica.fetch(4, 1, (1, 1))))
    let early = replica.begin(Self.add(4))
    Self.tellVersions(&replica)
    #expect(replica.answer(to: early)?.status.error == .requestTimedOut)
    #expect(replica.traces.contains(.requestRefused(.addVoter, .requestTimedOut, .notCaughtUp)))
    // A leader that gets entries all the time is never reached: to have what it had at the fetch before is enough.
    replica.take(.propose(PayloadID(1), count: 1, term: Term(1)))
    replica.ask(.fetch(Replica.fetch(4, 1, (1, 3))))
    _ = replica.begin(Self.add(4))
    Self.tellVersions(&replica)
    #expect(replica.machine.log.voters == Replica.voters([1, 2, 3, 4]))
  }

  @Test("Requests that name no replica, no reachable endpoint or another cluster are refused")
  func malformed() {
    var replica = Self.leader()
    let bare = ReplicaKey(NodeID(4))
    let noDirectory = AddVoterRequest(clusterID: "c", voter: bare, endpoints: Replica.endpoints(4))
    #expect(replica.ask(.addVoter(noDirectory))?.status.error == .invalidRequest)
    let noEndpoint = AddVoterRequest(clusterID: "c", voter: Replica.key(4), endpoints: [])
    #expect(replica.ask(.addVoter(noEndpoint))?.status.error == .invalidRequest)
    let foreign = RemoveVoterRequest(clusterID: "d", voter: Replica.key(2))
    #expect(replica.ask(.removeVoter(foreign))?.status.error == .inconsistentClusterId)
    let otherDisk = RemoveVoterRequest(clusterID: "c", voter: ReplicaKey(NodeID(2), KafkaUUID(high: 4, low: 4)))
    #expect(replica.ask(.removeVoter(otherDisk))?.status.error == .voterNotFound)
    var fixed = Replica(1, version: .staticVoters)
    fixed.win()
    fixed.ask(.fetch(Replica.fetch(2, 1, (1, 1))))
    #expect(fixed.ask(Self.remove(2))?.status.error == .unsupportedVersion)
    var follower = Replica(1)
    follower.follow(2, term: 1)
    #expect(follower.ask(Self.remove(3))?.status.error == .notLeaderOrFollower)
  }

  @Test("Whoever waits for a change when its leader steps down is told; what is in the log stays there")
  func steppedDown() {
    var replica = Self.leader()
    let request = replica.begin(Self.remove(3))
    replica.sync()
    replica.ask(.vote(Replica.vote(2, 2, log: (1, 4))))
    #expect(replica.machine.role == .unattached)
    #expect(replica.answer(to: request)?.status.error == .notLeaderOrFollower)
    #expect(replica.machine.log.voters == Replica.voters([1, 2]))
  }

  @Test("A change that is asked for while versions are being asked, and answers that come too late, change nothing")
  func lateVersions() {
    var replica = Self.leader()
    let request = replica.begin(Self.add(4))
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 3), watermark: 3)))
    replica.pass(.milliseconds(2000))
    #expect(replica.answer(to: request)?.status.error == .requestTimedOut)
    Self.tellVersions(&replica)
    #expect(replica.machine.log.voters == Replica.voters([1, 2, 3]))
    #expect(replica.traces.contains(.answerIgnored(nil, .unexpected)))
  }

  @Test("The last voter stays")
  func lastVoter() {
    var replica = Replica(1, voters: [1])
    replica.take(.timerFired)
    replica.sync()
    replica.sync()
    #expect(replica.machine.role == .leader)
    #expect(replica.ask(Self.remove(1))?.status.error == .voterNotFound)
  }

  @Test("A leader that is removed leads until that is committed by the others, then resigns and hands over")
  func removesItself() {
    var replica = Self.leader()
    let request = replica.begin(Self.remove(1))
    replica.sync()
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 4))))
    #expect(replica.machine.role == .leader, "its own disk is not one of the two that have it")
    _ = replica.begin(.fetch(Replica.fetch(3, 1, (1, 4))))
    #expect(replica.answer(to: request)?.status.error == ErrorCode.none)
    #expect(replica.machine.role == .resigned)
    #expect(replica.traces.contains(.resigned(Term(1), .removed)))
    #expect(replica.hasCall(.endQuorum, to: 2) && replica.hasCall(.endQuorum, to: 3))
    while replica.machine.role == .resigned { replica.passToDeadline() }
    #expect(replica.machine.role == .unattached)
  }

  @Test("A voter's new endpoints go into the log, the same again do not")
  func update() {
    var replica = Self.leader()
    var voter = Voter(key: Replica.key(2), endpoints: Replica.endpoints(2), versions: Self.versions)
    let same = UpdateVoterRequest(clusterID: "c", term: Term(1), voter: voter)
    #expect(replica.ask(.updateVoter(same))?.status.error == ErrorCode.none)
    #expect(replica.machine.log.endIndex == LogIndex(3))
    voter.endpoints.append(Endpoint(listener: "OTHER", address: Address(host: "other", port: 1)))
    let moved = replica.begin(.updateVoter(UpdateVoterRequest(clusterID: "c", term: Term(1), voter: voter)))
    #expect(replica.machine.log.voters[NodeID(2)] == voter)
    replica.sync()
    _ = replica.begin(.fetch(Replica.fetch(2, 1, (1, 4))))
    #expect(replica.answer(to: moved)?.status.error == ErrorCode.none)
    #expect(replica.ask(.updateVoter(UpdateVoterRequest(clusterID: "c", term: .zero, voter: voter)))?.status.error == .fencedLeaderEpoch)
    voter.key.directory = KafkaUUID(high: 5, low: 5)
    let stranger = UpdateVoterRequest(clusterID: "c", term: Term(1), voter: voter)
    #expect(replica.ask(.updateVoter(stranger))?.status.error == .voterNotFound)
  }

  @Test("A leader whose own endpoints changed says so itself once its term is established")
  func ownUpdate() {
    var replica = Replica(1) { $0.endpoints.append(Endpoint(listener: "OTHER", address: Address(host: "other", port: 1))) }
    replica.win()
    #expect(replica.machine.log.endIndex == LogIndex(3))
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 3))))
    #expect(replica.machine.log.endIndex == LogIndex(4))
    #expect(replica.machine.log.voters[NodeID(1)] == replica.machine.config.voter)
  }
}

@Suite("Changes that a replica asks for itself")
struct JoiningTests {
  static func follower(_ id: Int32, voters: [Int32] = [1, 2, 3], configure: (inout RaftConfig) -> Void) -> Replica {
    var replica = Replica(id, voters: voters, configure: configure)
    replica.follow(2, term: 1)
    replica.pass(.milliseconds(1))
    let (status, body) = Replica.fetched(2, 1, .nothing)
    replica.reply(from: 2, .fetch, status, body)
    return replica
  }

  @Test("A controller that is no voter asks to become one, every fetch timeout, if it is to")
  func joins() {
    var replica = Self.follower(4) { $0.joinsAutomatically = true }
    #expect(!replica.calls.contains { $0.request.kind == .addVoter })
    replica.pass(.milliseconds(1999))
    let wanted = AddVoterRequest(clusterID: "c", voter: Replica.key(4), endpoints: Replica.endpoints(4), answersWhenCommitted: false)
    #expect(replica.calls.last?.request == .addVoter(wanted))
    replica.reply(from: 2, .addVoter, QuorumStatus(error: .requestTimedOut, term: .zero))
    #expect(replica.traces == [.answerIgnored(.addVoter, .error(.requestTimedOut))])

    var silent = Self.follower(4) { _ in }
    silent.pass(.milliseconds(1999))
    #expect(!silent.calls.contains { $0.request.kind == .addVoter })
    var broker = Self.follower(4) { ($0.joinsAutomatically, $0.isController) = (true, false) }
    broker.pass(.milliseconds(1999))
    #expect(!broker.calls.contains { $0.request.kind == .addVoter })
  }

  @Test("A node with a new disk asks for the removal of what it was")
  func newDisk() {
    let former = Replica.key(3)
    var replica = Self.follower(3) { ($0.joinsAutomatically, $0.local.directory) = (true, KafkaUUID(high: 7, low: 7)) }
    replica.pass(.milliseconds(1999))
    #expect(replica.calls.last?.request == .removeVoter(RemoveVoterRequest(clusterID: "c", voter: former)))
  }

  @Test("A voter that is reached elsewhere now tells the leader")
  func moved() {
    var replica = Self.follower(3) { $0.endpoints.append(Endpoint(listener: "OTHER", address: Address(host: "other", port: 1))) }
    replica.pass(.milliseconds(1999))
    let update = UpdateVoterRequest(clusterID: "c", term: Term(1), voter: replica.machine.config.voter)
    #expect(replica.calls.last?.request == .updateVoter(update))
  }

  @Test("A shut-down leader hands over to the most caught up, and is done when another leads")
  func shutDown() {
    var replica = VoterChangeTests.leader()
    replica.ask(.fetch(Replica.fetch(3, 1, (1, 3))))
    replica.take(.propose(PayloadID(1), count: 1, term: Term(1)))
    replica.sync()
    replica.ask(.fetch(Replica.fetch(3, 1, (1, 4))))
    replica.take(.shutDown)
    #expect(replica.machine.role == .resigned)
    let ends = replica.calls.compactMap { if case .endQuorum(let end) = $0.request { end.successors } else { nil } }
    #expect(ends == [[Replica.key(3), Replica.key(2)], [Replica.key(3), Replica.key(2)]])
    #expect(!replica.effects.contains(.shutDownCompleted))
    replica.ask(.vote(Replica.vote(3, 2, log: (1, 4))))
    #expect(replica.effects.contains(.shutDownCompleted))
    for _ in 0..<20 { replica.passToDeadline() }
    #expect(replica.machine.role == .unattached, "who shuts down does not stand")
  }

  @Test("Whoever does not lead is done at once, and says so once")
  func shutDownFollower() {
    var replica = Replica(1)
    replica.follow(2, term: 1)
    #expect(replica.take(.shutDown).contains(.shutDownCompleted))
    #expect(!replica.take(.shutDown).contains(.shutDownCompleted))
    var alone = Replica(1, voters: [1])
    alone.take(.timerFired)
    alone.sync()
    alone.sync()
    #expect(alone.machine.role == .leader)
    #expect(alone.take(.shutDown).contains(.shutDownCompleted), "there is nobody to hand over to")
  }
}

@Suite("Linearizable reads")
struct ReadTests {
  static func confirmed(_ replica: Replica) -> [ReadID] {
    replica.effects.compactMap { if case .confirmRead(let id, _) = $0 { id } else { nil } }
  }
  static func confirm(_ replica: inout Replica, from node: Int32) {
    replica.reply(from: node, .beginQuorum, QuorumStatus(term: Term(1), leader: NodeID(1)))
  }

  /// A leader whose term is established and whose announcements are all answered.
  static func leader() -> Replica {
    var replica = LeaderTests.leader()
    for node in [2, 3] as [Int32] {
      Self.confirm(&replica, from: node)
      replica.ask(.fetch(Replica.fetch(node, 1, (1, 3))))
    }
    return replica
  }

  @Test("A read waits for a round of the leader's own that a majority answers")
  func round() {
    var replica = Self.leader()
    replica.take(.read(ReadID(1)))
    #expect(Self.confirmed(replica).isEmpty)
    #expect(replica.hasCall(.beginQuorum, to: 2) && replica.hasCall(.beginQuorum, to: 3))
    Self.confirm(&replica, from: 3)
    #expect(replica.effects.contains(.confirmRead(ReadID(1), index: LogIndex(3))))
  }

  @Test("A fetch confirms nothing: it may have been sent before the read")
  func fetchesDoNotConfirm() {
    var replica = Self.leader()
    replica.take(.read(ReadID(1)))
    for node in [2, 3] as [Int32] {
      replica.ask(.fetch(Replica.fetch(node, 1, (1, 3), watermark: 3)))
      #expect(Self.confirmed(replica).isEmpty)
    }
  }

  @Test("A read that comes during a round waits for the next one")
  func nextRound() {
    var replica = Self.leader()
    replica.take(.read(ReadID(1)))
    replica.take(.read(ReadID(2)))
    Self.confirm(&replica, from: 2)
    #expect(Self.confirmed(replica) == [ReadID(1)])
    // The answer of the first round that is still out does not count for the second.
    Self.confirm(&replica, from: 3)
    #expect(Self.confirmed(replica).isEmpty)
    Self.confirm(&replica, from: 2)
    #expect(Self.confirmed(replica) == [ReadID(2)])
  }

  @Test("Before its term is established a leader cannot know what is committed")
  func newLeader() {
    var replica = LeaderTests.leader()
    replica.take(.read(ReadID(1)))
    Self.confirm(&replica, from: 2)
    Self.confirm(&replica, from: 3)
    #expect(Self.confirmed(replica).isEmpty)
    if replica.hasCall(.beginQuorum, to: 2) { Self.confirm(&replica, from: 2) }
    if replica.hasCall(.beginQuorum, to: 3) { Self.confirm(&replica, from: 3) }
    #expect(Self.confirmed(replica).isEmpty)
    _ = replica.begin(.fetch(Replica.fetch(2, 1, (1, 3))))
    #expect(Self.confirmed(replica) == [ReadID(1)])
  }

  @Test("A leader alone needs no round; others refuse reads; a read does not wait for ever")
  func edges() {
    var alone = Replica(1, voters: [1])
    alone.take(.timerFired)
    alone.sync()
    alone.sync()
    #expect(alone.take(.read(ReadID(1))).contains(.confirmRead(ReadID(1), index: LogIndex(3))))
    var follower = Replica(1)
    follower.follow(2, term: 1)
    #expect(follower.take(.read(ReadID(2))) == [.refuseRead(ReadID(2), .notLeaderOrFollower)])
    var leader = Self.leader()
    leader.take(.read(ReadID(3)))
    leader.pass(.milliseconds(2000))
    #expect(leader.effects.contains(.refuseRead(ReadID(3), .requestTimedOut)))
    var full = LeaderTests.leader { $0.waitingReadsMax = 1 }
    full.take(.read(ReadID(4)))
    #expect(full.take(.read(ReadID(5))).contains(.refuseRead(ReadID(5), .throttlingQuotaExceeded)))
  }
}
