import Base
import Election
import Model
import Raft
import Testing

@Suite("Snapshots")
struct SnapshotTests {
  static let id = LogEnd(term: Term(1), index: LogIndex(3))
  static let info = SnapshotInfo(id: id, byteCount: 100)

  /// A leader that has committed its three entries and taken a snapshot of them.
  static func leader(dropsPrefix: Bool = true) -> Replica {
    var replica = LeaderTests.leader()
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 3))))
    replica.take(.snapshotTaken(Self.info))
    if dropsPrefix { replica.take(.prefixExpendable(to: Self.id)) }
    return replica
  }

  @Test("Only what is committed makes a snapshot, of the right term, and newer than the last")
  func taken() {
    var replica = LeaderTests.leader()
    replica.take(.snapshotTaken(Self.info))
    #expect(replica.traces == [.snapshotRefused(Self.id, .notCommitted)])
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 3))))
    let wrong = LogEnd(term: Term(2), index: LogIndex(3))
    replica.take(.snapshotTaken(SnapshotInfo(id: wrong, byteCount: 1)))
    #expect(replica.traces == [.snapshotRefused(wrong, .unknown)])
    #expect(replica.take(.snapshotTaken(Self.info)) == [])
    replica.take(.snapshotTaken(Self.info))
    #expect(replica.traces == [.snapshotRefused(Self.id, .notNewer)])
    #expect(replica.take(.prefixExpendable(to: wrong)) == [.trace(.snapshotRefused(wrong, .unknown))])
    #expect(replica.take(.prefixExpendable(to: Self.id)) == [.dropPrefix(to: Self.id)])
    #expect(replica.machine.log.startIndex == LogIndex(3))
  }

  @Test("A replica behind the log's start, or with nothing at all, is sent to the snapshot")
  func tooFarBehind() {
    var replica = Self.leader()
    for position in [(0, 0), (1, 2)] as [(Int32, Int64)] {
      #expect(LeaderTests.content(replica.ask(.fetch(Replica.fetch(3, 1, position)))) == .snapshot(Self.id))
    }
    replica.take(.propose(PayloadID(1), count: 1, term: Term(1)))
    #expect(LeaderTests.content(replica.ask(.fetch(Replica.fetch(3, 1, (1, 3)))))
      == .entries(EntryRange(start: LogIndex(3), end: LogIndex(4), bytesMax: 1000)))
  }

  static func request(_ position: Int64, term: Int32 = 1, snapshot: LogEnd = SnapshotTests.id) -> RaftRequest {
    .fetchSnapshot(
      FetchSnapshotRequest(
        clusterID: "c", replica: Replica.key(3), term: Term(term), snapshot: snapshot, position: position, bytesMax: 60))
  }

  @Test("Chunks are served from within a snapshot that is there, by the leader")
  func served() {
    var replica = Self.leader()
    #expect(replica.ask(Self.request(60))?.body == .fetchSnapshot(ChunkRange(snapshot: Self.info, position: 60, bytesMax: 60)))
    #expect(replica.ask(Self.request(100))?.status.error == .positionOutOfRange)
    #expect(replica.ask(Self.request(-1))?.status.error == .positionOutOfRange)
    #expect(replica.ask(Self.request(0, snapshot: LogEnd(term: Term(1), index: LogIndex(2))))?.status.error == .snapshotNotFound)
    #expect(replica.ask(Self.request(0, term: 2))?.status.error == .unknownLeaderEpoch)
    var follower = Replica(2)
    follower.follow(1, term: 1)
    #expect(follower.ask(Self.request(0))?.status.error == .notLeaderOrFollower)
  }

  @Test("A snapshot older than the log's start is served no more, a newer one is offered at once")
  func newerSnapshot() {
    var replica = Self.leader()
    replica.take(.propose(PayloadID(1), count: 2, term: Term(1)))
    replica.sync()
    replica.ask(.fetch(Replica.fetch(2, 1, (1, 5))))
    let newer = LogEnd(term: Term(1), index: LogIndex(5))
    replica.take(.snapshotTaken(SnapshotInfo(id: newer, byteCount: 7)))
    #expect(replica.ask(Self.request(0))?.status.error == ErrorCode.none, "both are there until the log begins at the newer one")
    #expect(LeaderTests.content(replica.ask(.fetch(Replica.fetch(3, 1, (0, 0))))) == .snapshot(newer))
    replica.take(.prefixExpendable(to: newer))
    #expect(replica.ask(Self.request(0))?.status.error == .snapshotNotFound)
  }

  /// Sent to the snapshot by its leader, node 2 in term 3.
  static func downloading() -> Replica {
    var replica = FollowerTests.follower()
    FollowerTests.reply(&replica, .snapshot(LogEnd(term: Term(2), index: LogIndex(50))))
    replica.sync()
    return replica
  }
  static let remote = SnapshotInfo(id: LogEnd(term: Term(2), index: LogIndex(50)), byteCount: 100)

  static func deliver(_ replica: inout Replica, _ position: Int64, _ count: Int64, of info: SnapshotInfo = SnapshotTests.remote) {
    let status = QuorumStatus(term: Term(3), leader: NodeID(2), leaderAddress: Replica.address(2))
    replica.reply(
      from: 2, .fetchSnapshot, status,
      .fetchSnapshot(SnapshotChunk(snapshot: info, position: position, byteCount: count, payload: PayloadID(1))))
  }

  @Test("A download goes chunk by chunk, then takes the log's place, and only then does the follower fetch again")
  func download() throws {
    var replica = Self.downloading()
    Self.deliver(&replica, 0, 60)
    #expect(replica.effects.contains { if case .writeSnapshot(let chunk) = $0 { chunk.position == 0 } else { false } })
    Self.deliver(&replica, 60, 40)
    let token = try #require(
      replica.effects.compactMap { if case .installSnapshot(Self.remote, let token) = $0 { token } else { nil } }.first)
    replica.pass(.milliseconds(100))
    #expect(replica.calls.isEmpty)
    let summary = SnapshotSummary(info: Self.remote, voters: Replica.voters([1, 2, 3, 4]), version: .dynamicVoters)
    replica.take(.snapshotInstalled(token, summary))
    #expect(replica.effects.contains(.loadSnapshot(Self.remote.id)))
    #expect(replica.effects.watermarks == [LogIndex(50)])
    #expect(replica.machine.log.voters == Replica.voters([1, 2, 3, 4]))
    #expect(FollowerTests.position(replica) == Self.remote.id)
    // The term of the snapshot goes on behind it.
    FollowerTests.reply(&replica, .entries(Replica.run(50, 52, term: 2)))
    #expect(replica.machine.log.end(of: Term(2)) == LogEnd(term: Term(2), index: LogIndex(52)))
  }

  @Test("A chunk of another snapshot, size or place ends the download", arguments: [0, 1, 2, 3, 4])
  func wrongChunk(_ which: Int) {
    var replica = Self.downloading()
    Self.deliver(&replica, 0, 60)
    let other = SnapshotInfo(id: LogEnd(term: Term(2), index: LogIndex(51)), byteCount: 100)
    let grown = SnapshotInfo(id: Self.remote.id, byteCount: 200)
    switch which {
    case 0: Self.deliver(&replica, 60, 40, of: other)
    case 1: Self.deliver(&replica, 60, 40, of: grown)
    case 2: Self.deliver(&replica, 50, 40)
    case 3: Self.deliver(&replica, 60, 41)
    default: Self.deliver(&replica, 60, 0)
    }
    #expect(replica.traces.contains(.snapshotDownloadAbandoned(Self.remote.id, .malformed)))
    #expect(replica.effects.contains(.discardSnapshot(Self.remote.id)))
    replica.pass(.milliseconds(20))
    #expect(replica.hasCall(.fetch, to: 2))
  }

  @Test("When the leader has the snapshot no more, the next fetch asks which one to take")
  func goneSnapshot() {
    var replica = Self.downloading()
    replica.reply(
      from: 2, .fetchSnapshot,
      QuorumStatus(error: .snapshotNotFound, term: Term(3), leader: NodeID(2), leaderAddress: Replica.address(2)))
    #expect(replica.effects.contains(.discardSnapshot(Self.remote.id)))
    replica.pass(.milliseconds(20))
    #expect(replica.hasCall(.fetch, to: 2))
  }

  @Test("While a snapshot takes the log's place the replica does not stand, and a stale completion is ignored")
  func installing() throws {
    var replica = Self.downloading()
    Self.deliver(&replica, 0, 100)
    let token = try #require(
      replica.effects.compactMap { if case .installSnapshot(_, let token) = $0 { token } else { nil } }.first)
    for _ in 0..<40 { replica.passToDeadline() }
    #expect(replica.machine.role == .unattached)
    #expect(replica.take(.snapshotUnusable(token.next)) == [.trace(.stalePersistToken)])
    replica.take(.snapshotUnusable(token))
    #expect(replica.traces.contains(.snapshotDownloadAbandoned(Self.remote.id, .unusable)))
    while replica.machine.role == .unattached { replica.passToDeadline() }
    #expect(replica.machine.role == .preCandidate)
  }

  @Test("After a start the high watermark is where the latest snapshot ends, and the application begins there")
  func start() {
    var log = Replica.log([(1, 5)])
    log.add(SnapshotInfo(id: LogEnd(term: Term(1), index: LogIndex(4)), byteCount: 10))
    var replica = Replica(1, state: HardState(term: Term(1)), log: log)
    #expect(replica.machine.highWatermark == LogIndex(4))
    replica.take(.timerFired)
    #expect(replica.effects.first == .loadSnapshot(LogEnd(term: Term(1), index: LogIndex(4))))
    #expect(replica.effects.watermarks == [LogIndex(4)])
    #expect(replica.take(.prefixExpendable(to: LogEnd(term: Term(1), index: LogIndex(4)))).count == 1)
  }
}
