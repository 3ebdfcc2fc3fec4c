import Base
import Model
import Replication
import Testing

@Suite("A leader with followers: what is committed")
struct HighWatermarkTests {
  @Test("The watermark is the smallest offset that all in-sync replicas hold")
  func smallest() {
    var leader = LeaderHarness()
    #expect(leader.does(.appended(endOffset: Offset(10)), .awaitCommit(1, requiredOffset: Offset(10))) == [])
    #expect(leader.fetch(2, 10) == [])
    #expect(leader.fetch(3, 4) == [.highWatermarkAdvanced(to: Offset(4))])
    #expect(leader.fetch(3, 10) == [.highWatermarkAdvanced(to: Offset(10)), .acknowledge(1)])
  }

  @Test("With flush.policy=fsync the leader counts what it has flushed, and followers by the offset they ask for")
  func durable() {
    var leader = LeaderHarness(durability: .flushed)
    #expect(leader.does(.appended(endOffset: Offset(10))) == [.requestFlush])
    #expect(leader.fetch(2, 10) == [])
    #expect(leader.fetch(3, 10) == [])
    #expect(leader.does(.flushBegan, .flushed(upTo: Offset(7))) == [.highWatermarkAdvanced(to: Offset(7))])
    #expect(leader.does(.flushed(upTo: Offset(10))) == [.highWatermarkAdvanced(to: Offset(10))])
  }

  @Test("A replica that is not in sync holds nothing up")
  func outOfSync() {
    var leader = LeaderHarness(inSync: [1, 2])
    _ = leader.does(.appended(endOffset: Offset(10)))
    #expect(leader.fetch(2, 10) == [.highWatermarkAdvanced(to: Offset(10))])
  }

  @Test("Nothing is committed while fewer replicas are in sync than min.insync.replicas, whoever waits hears of it at once")
  func minInSync() {
    var leader = LeaderHarness(minInSync: 3)
    _ = leader.does(.appended(endOffset: Offset(10)), .awaitCommit(1, requiredOffset: Offset(10)))
    _ = leader.fetch(2, 10)
    #expect(leader.machine.refusalOfProduce(needsAll: true, now: leader.now, lease: .unlimited) == nil)
    #expect(
      leader.does(.registrationChanged(LeaderHarness.registration(version: 11, inSync: [1, 2]))) == [
        .fail(1, .notEnoughReplicasAfterAppend)
      ])
    #expect(leader.events.contains(.underMinInSync(count: 2, min: 3)))
    #expect(leader.machine.highWatermark == .zero)
    #expect(leader.machine.refusalOfProduce(needsAll: true, now: leader.now, lease: .unlimited) == .notEnoughReplicas)
    #expect(leader.machine.refusalOfProduce(needsAll: false, now: leader.now, lease: .unlimited) == nil)
    #expect(leader.does(.awaitCommit(2, requiredOffset: Offset(10))) == [.fail(2, .notEnoughReplicasAfterAppend)])
  }

  @Test("min.insync.replicas asks for no more replicas than there are")
  func effectiveMin() {
    let leader = LeaderHarness(minInSync: 5)
    #expect(leader.machine.minInSyncReplicas == 3)
    #expect(!leader.machine.isUnderMinInSync)
  }

  @Test("A new leader says nothing of the latest offset until it has committed what it found (KIP-207)")
  func catchingUp() {
    var leader = LeaderHarness(end: 10, watermark: 6)
    #expect(leader.events == [.tookLeadership(LeaderEpoch(5), logEndOffset: Offset(10), highWatermark: Offset(6))])
    #expect(leader.does(.began) == [])
    #expect(leader.events == [])
    #expect(leader.machine.refusalOfLatest(now: leader.now, lease: .unlimited) == .offsetNotAvailable)
    _ = leader.fetch(2, 10)
    _ = leader.fetch(3, 9)
    #expect(leader.machine.highWatermark == Offset(9))
    #expect(leader.machine.refusalOfLatest(now: leader.now, lease: .unlimited) == .offsetNotAvailable)
    _ = leader.fetch(3, 10)
    #expect(leader.machine.refusalOfLatest(now: leader.now, lease: .unlimited) == nil)
  }

  // MARK: - The lease

  @Test("A leader without a lease shows consumers nothing until it has caught up: an earlier one may have shown more")
  func leaseBeforeReading() {
    var leader = LeaderHarness(end: 10, watermark: 6)
    #expect(leader.machine.refusalOfFetch(now: leader.now, lease: .none) == .notLeaderOrFollower)
    #expect(leader.machine.refusalOfFetch(now: leader.now, lease: .unlimited) == nil, "it catches up as its followers ask")
    _ = leader.fetch(2, 10)
    _ = leader.fetch(3, 10)
    #expect(leader.machine.refusalOfFetch(now: leader.now, lease: .none) == nil, "what is committed may always be read")
  }

  @Test("A consumer is never told of an end before what it has read, though the leader may not know yet that it was committed")
  func whatWasReadIsCommitted() {
    var leader = LeaderHarness(end: 10, watermark: 6)
    func told(_ offset: Int64) -> Offset { leader.machine.highWatermark(forConsumerAt: Offset(offset)) }
    #expect(told(4) == Offset(6) && told(8) == Offset(8))
    #expect(told(12) == Offset(10), "what the log does not have was never committed here")
    _ = leader.fetch(2, 10)
    _ = leader.fetch(3, 10)
    _ = leader.does(.appended(endOffset: Offset(20)))
    #expect(leader.machine.highWatermark(forConsumerAt: Offset(15)) == Offset(10), "nobody was shown what this leader appended")
  }

  @Test("Without a live lease nothing is committed, acknowledged or said to be the latest; when it is renewed all goes on")
  func lease() {
    var leader = LeaderHarness(end: 5, watermark: 5)
    _ = leader.fetch(2, 5)
    _ = leader.fetch(3, 5)
    leader.lease = .none
    _ = leader.does(.appended(endOffset: Offset(10)), .awaitCommit(1, requiredOffset: Offset(10)))
    #expect(leader.fetch(2, 10) == [])
    #expect(leader.fetch(3, 10) == [.awaitLease])
    #expect(leader.events.contains(.leaseEnded(highWatermark: Offset(5))))
    #expect(leader.fetch(3, 10) == [])
    #expect(leader.machine.refusalOfProduce(needsAll: false, now: leader.now, lease: leader.lease) == .notLeaderOrFollower)
    #expect(leader.machine.refusalOfLatest(now: leader.now, lease: leader.lease) == .notLeaderOrFollower)
    // What was committed before is committed, yet a duplicate's acknowledgement is an acknowledgement.
    #expect(leader.does(.awaitCommit(2, requiredOffset: Offset(5))) == [.fail(2, .notLeaderOrFollower)])
    leader.lease = .unlimited
    #expect(leader.does(.leaseRenewed) == [.highWatermarkAdvanced(to: Offset(10)), .acknowledge(1)])
  }

  @Test("A deposed leader tells who waits, and names its successor")
  func deposed() {
    var leader = LeaderHarness()
    _ = leader.does(
      .appended(endOffset: Offset(3)), .awaitCommit(1, requiredOffset: Offset(3)), .awaitFetch(2, from: Offset(0)),
      .awaitLowWatermark(4, offset: Offset(1)))
    _ = leader.fetch(2, 3)
    #expect(leader.does(.followerAnswered(NodeID(2)), .awaitFollowerFetch(3, NodeID(2), from: Offset(3))) == [])
    let effects = leader.does(.registrationChanged(LeaderHarness.registration(leader: 2, epoch: 6, version: 11, inSync: [2, 3])))
    #expect(effects == [.fail(1, .notLeaderOrFollower), .fail(4, .notLeaderOrFollower), .wake(2), .wake(3)])
    #expect(leader.machine.successor == LeaderHint(node: NodeID(2), epoch: LeaderEpoch(6)))
    #expect(leader.fetch(3, 3) == [])
    #expect(leader.machine.highWatermark == .zero)
    #expect(leader.machine.nextDeadline == nil)
  }

  // MARK: - Fetches

  @Test("A follower's fetch wakes on an append, and on a new high watermark without one; each fetch once")
  func followerFetches() {
    var leader = LeaderHarness()
    // At first it is owed the high watermark.
    #expect(leader.fetch(2, 0) == [])
    #expect(leader.fetch(3, 0) == [])
    #expect(leader.does(.awaitFollowerFetch(1, NodeID(2), from: .zero)) == [.wake(1)])
    #expect(leader.does(.followerAnswered(NodeID(2)), .awaitFollowerFetch(2, NodeID(2), from: .zero)) == [])
    #expect(leader.does(.appended(endOffset: Offset(4))) == [.wake(2)])
    #expect(leader.fetch(2, 4) == [])
    #expect(!leader.machine.owesOffsets(to: NodeID(2)))
    #expect(leader.does(.awaitFollowerFetch(3, NodeID(2), from: Offset(4))) == [])
    #expect(leader.fetch(3, 4) == [.highWatermarkAdvanced(to: Offset(4)), .wake(3)])
    #expect(leader.machine.owesOffsets(to: NodeID(2)))
    #expect(leader.machine.waitingCount == 0)
    // A second fetch takes the first one's place; a cancelled one is forgotten.
    #expect(leader.does(.followerAnswered(NodeID(2)), .awaitFollowerFetch(4, NodeID(2), from: Offset(4))) == [])
    #expect(leader.does(.awaitFollowerFetch(5, NodeID(2), from: Offset(4))) == [.wake(4)])
    #expect(leader.does(.cancelFetch(5), .appended(endOffset: Offset(6))) == [])
  }

  @Test("Consumers of committed transactions wait for the last stable offset")
  func lastStable() {
    var leader = LeaderHarness(inSync: [1])
    _ = leader.does(.firstUnstableOffsetChanged(Offset(2)), .appended(endOffset: Offset(4)))
    #expect(leader.machine.lastStableOffset == Offset(2))
    #expect(leader.does(.awaitFetch(1, from: Offset(2), seesUncommitted: false), .awaitFetch(2, from: Offset(2))) == [.wake(2)])
    #expect(leader.does(.firstUnstableOffsetChanged(nil)) == [.wake(1)])
  }

  @Test("Fetches in another epoch, of another incarnation or from no replica are refused and count for nothing")
  func fencing() {
    var leader = LeaderHarness(end: 10, inSync: [1, 2])
    func refusal(_ fetch: FollowerFetch) -> ErrorCode? { leader.machine.refusal(of: fetch) }
    #expect(refusal(LeaderHarness.fetch(2, 10, epoch: 4)) == .fencedLeaderEpoch)
    #expect(refusal(LeaderHarness.fetch(2, 10, epoch: 6)) == .unknownLeaderEpoch)
    #expect(refusal(LeaderHarness.fetch(9, 10)) == .unknownLeaderEpoch)
    #expect(refusal(LeaderHarness.fetch(2, 10, incarnation: 69)) == .notLeaderOrFollower)
    #expect(refusal(LeaderHarness.fetch(2, 10)) == nil)
    #expect(leader.fetch(2, 10, epoch: 4) == [])
    #expect(leader.fetch(2, 10, incarnation: 69) == [])
    #expect(leader.fetch(9, 10) == [])
    // A newer incarnation than the metadata log knows counts, for its predecessor can no longer ask.
    #expect(leader.fetch(2, 8, incarnation: 71) == [.highWatermarkAdvanced(to: Offset(8))])
    #expect(refusal(LeaderHarness.fetch(2, 10)) == .notLeaderOrFollower)
  }

  @Test("What a follower said in an older leader epoch is forgotten")
  func newEpoch() {
    var leader = LeaderHarness(inSync: [1, 2])
    _ = leader.does(.appended(endOffset: Offset(10)))
    _ = leader.fetch(2, 8)
    _ = leader.does(.registrationChanged(LeaderHarness.registration(epoch: 7, version: 12, inSync: [1, 2])))
    #expect(leader.machine.epochStartOffset == Offset(10))
    _ = leader.does(.registrationChanged(LeaderHarness.registration(epoch: 7, version: 13, inSync: [1, 2])))
    #expect(leader.machine.highWatermark == Offset(8))
    #expect(leader.fetch(2, 10, epoch: 5) == [])
    #expect(leader.fetch(2, 10, epoch: 7) == [.highWatermarkAdvanced(to: Offset(10))])
  }

  // MARK: - Deletions and reading replicas

  @Test("A deletion is complete when every live replica has made it")
  func lowWatermark() {
    var leader = LeaderHarness(end: 10, watermark: 10)
    _ = leader.fetch(2, 10)
    _ = leader.fetch(3, 10)
    #expect(leader.does(.logStartAdvanced(to: Offset(5)), .awaitLowWatermark(1, offset: Offset(5))) == [])
    #expect(leader.fetch(2, 10, start: 5) == [])
    #expect(leader.machine.lowWatermark == .zero)
    #expect(leader.fetch(3, 10, start: 5) == [.acknowledge(1)])
    #expect(leader.does(.logStartAdvanced(to: Offset(7)), .awaitLowWatermark(2, offset: Offset(7))) == [])
    _ = leader.fetch(2, 10, start: 7)
    // Nobody waits for the dead, or for who is a replica no more.
    #expect(leader.does(.standingChanged(LeaderHarness.standing(3, isFenced: true))) == [.acknowledge(2)])
    _ = leader.does(.logStartAdvanced(to: Offset(9)), .awaitLowWatermark(3, offset: Offset(9)))
    #expect(
      leader.does(.registrationChanged(LeaderHarness.registration(version: 11, replicas: [1, 3], inSync: [1, 3]))) == [.acknowledge(3)])
  }

  @Test("A consumer is sent to a replica in its rack that is in sync, live, and holds the offset (KIP-392)")
  func preferredReplica() {
    var leader = LeaderHarness(
      end: 10, watermark: 10, standings: [LeaderHarness.standing(2, rack: "b"), LeaderHarness.standing(3, rack: "b")])
    func preferred(_ rack: String, _ offset: Int64 = 5, _ spread: UInt64 = 0) -> Int32? {
      leader.machine.preferredReadReplica(rack: rack, leaderRack: "a", fetchOffset: Offset(offset), spread: spread)?.rawValue
    }
    #expect(preferred("b") == nil)
    _ = leader.fetch(2, 10)
    _ = leader.fetch(3, 8, start: 3)
    #expect([preferred("a"), preferred("c"), preferred("")] == [nil, nil, nil])
    #expect([preferred("b", 5, 0), preferred("b", 5, 1), preferred("b", 5, 2)] == [2, 3, 2])
    #expect([preferred("b", 9, 0), preferred("b", 9, 1), preferred("b", 2, 1)] == [2, 2, 2])
    _ = leader.does(.standingChanged(LeaderHarness.standing(2, isFenced: true, rack: "b")))
    #expect([preferred("b", 5, 0), preferred("b", 9, 0)] == [3, nil])
    _ = leader.does(.registrationChanged(LeaderHarness.registration(version: 11, inSync: [1, 2])))
    #expect(preferred("b", 5, 0) == nil)
  }
}
