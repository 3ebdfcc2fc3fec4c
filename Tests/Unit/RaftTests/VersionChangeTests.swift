import Base
import Election
import Model
import Raft
import Testing

@Suite("kraft.version raised while the quorum runs")
struct VersionChangeTests {
  private static let versions = SupportedVersions(.staticVoters, .dynamicVoters)

  /// A leader of a static quorum whose term is established; both others have fetched.
  private func leader(fetched: [Int32] = [2, 3]) -> Replica {
    var replica = Replica(1, version: .staticVoters)
    replica.win()
    for id in fetched { replica.ask(.fetch(Replica.fetch(id, 1, (1, 1)))) }
    return replica
  }

  private func raise(_ replica: inout Replica, to version: KRaftVersion = .dynamicVoters) -> RequestID {
    let id = RequestID(1000)
    replica.take(.raiseVersion(id, version))
    return id
  }

  private func tell(_ replica: inout Replica, _ id: Int32, _ versions: SupportedVersions = Self.versions) {
    replica.reply(from: id, .versions, QuorumStatus(term: .zero), .versions(versions))
  }

  @Test("Every voter is asked, then the version and the voters with their directories go into the log together")
  func raised() {
    var replica = self.leader()
    let before = replica.machine.log.endIndex
    let id = self.raise(&replica)
    self.tell(&replica, 3)
    #expect(replica.machine.log.endIndex == before, "not before all have answered")
    self.tell(&replica, 2)
    #expect(replica.effects.appends.map(\.content) == [
      .controls([.kraftVersion(.dynamicVoters), .voters(Replica.voters([1, 2, 3]))], term: Term(1))
    ])
    #expect(replica.machine.log.version == .dynamicVoters && replica.machine.log.voters == Replica.voters([1, 2, 3]))
    replica.sync()
    #expect(replica.answer(to: id) == nil, "not before it is committed")
    replica.take(.request(RequestID(7), .fetch(Replica.fetch(2, 1, (1, before.rawValue + 2)))))
    #expect(replica.machine.highWatermark == before + 2)
    #expect(replica.answer(to: id)?.status.error == ErrorCode.none)
    // From here on voters change.
    replica.ask(.fetch(Replica.fetch(3, 1, (1, before.rawValue + 2))))
    _ = replica.begin(.removeVoter(RemoveVoterRequest(clusterID: "c", voter: Replica.key(3))))
    #expect(replica.machine.log.voters == Replica.voters([1, 2]))
    // And raising it once more changes nothing.
    #expect(replica.machine.log.version == .dynamicVoters)
  }

  @Test("Alone there is nobody to ask")
  func alone() {
    var replica = Replica(1, voters: [1], version: .staticVoters)
    while replica.machine.role != .leader {
      replica.passToDeadline()
      replica.sync()
    }
    replica.sync()
    let id = self.raise(&replica)
    replica.sync()
    #expect(replica.answer(to: id)?.status.error == ErrorCode.none)
    #expect(replica.machine.log.voters == Replica.voters([1]))
    let again = RequestID(1001)
    replica.take(.raiseVersion(again, .dynamicVoters))
    #expect(replica.answer(to: again)?.status.error == ErrorCode.none)
    let lower = RequestID(1002)
    replica.take(.raiseVersion(lower, .staticVoters))
    #expect(replica.answer(to: lower)?.status.error == .invalidUpdateVersion)
  }

  @Test("A voter that cannot, does not answer, or has not been heard of leaves it as it is")
  func refused() {
    var incapable = self.leader()
    let first = self.raise(&incapable)
    self.tell(&incapable, 2, SupportedVersions(.staticVoters, .staticVoters))
    #expect(incapable.answer(to: first)?.status.error == .invalidUpdateVersion)
    self.tell(&incapable, 3)
    #expect(incapable.machine.log.version == .staticVoters)

    var silent = self.leader()
    let second = self.raise(&silent)
    silent.fail(.versions, to: 3)
    #expect(silent.answer(to: second)?.status.error == .requestTimedOut)
    self.tell(&silent, 2)
    #expect(silent.machine.log.version == .staticVoters)

    var unheard = self.leader(fetched: [2])
    let third = self.raise(&unheard)
    #expect(unheard.answer(to: third)?.status.error == .invalidUpdateVersion)
    #expect(unheard.traces.contains(.requestRefused(.raiseVersion, .invalidUpdateVersion, .voterIsUnknown)))

    var unknown = self.leader()
    let fourth = RequestID(1004)
    unknown.take(.raiseVersion(fourth, KRaftVersion(rawValue: 2)))
    #expect(unknown.answer(to: fourth)?.status.error == .invalidUpdateVersion)
  }

  @Test("Only a leader raises it, one change at a time, and not before its term is established")
  func order() {
    var follower = Replica(1, version: .staticVoters)
    follower.follow(2, term: 1)
    let first = self.raise(&follower)
    #expect(follower.answer(to: first)?.status.error == .notLeaderOrFollower)

    var early = Replica(1, version: .staticVoters)
    early.win()
    let second = self.raise(&early)
    #expect(early.answer(to: second)?.status.error == .requestTimedOut)

    var busy = self.leader()
    _ = self.raise(&busy)
    let third = RequestID(1003)
    busy.take(.raiseVersion(third, .dynamicVoters))
    #expect(busy.answer(to: third)?.status.error == .requestTimedOut)
  }

  @Test("A follower takes both from the log, and gives them up with the entries if they were not committed")
  func follower() {
    var replica = Replica(3, version: .staticVoters)
    replica.follow(1, term: 1)
    let controls = [
      PlacedControl(index: LogIndex(1), entry: .kraftVersion(.dynamicVoters)),
      PlacedControl(index: LogIndex(2), entry: .voters(Replica.voters([1, 2, 3]))),
    ]
    let (status, body) = Replica.fetched(1, 1, .entries(Replica.run(0, 3, term: 1, controls: controls)))
    replica.reply(from: 1, .fetch, status, body)
    replica.sync()
    #expect(replica.machine.log.version == .dynamicVoters && replica.machine.log.voters == Replica.voters([1, 2, 3]))
    // Another leader has none of it.
    replica.ask(.beginQuorum(Replica.begin(2, 2)))
    let (other, cut) = Replica.fetched(2, 2, .diverging(LogEnd(term: Term(1), index: LogIndex(1))))
    replica.reply(from: 2, .fetch, other, cut)
    #expect(replica.machine.log.version == .staticVoters)
    #expect(replica.machine.log.voters == Replica.voters([1, 2, 3], .staticVoters))
  }
}
