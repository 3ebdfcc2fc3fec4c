import Base
import Model
import Replication
import Testing

@Suite("A leader with followers: who is in sync")
struct InSyncReplicasTests {
  // MARK: - Leaving

  @Test("A follower that lags for replica.lag.time.max.ms is proposed to leave, and counts until the controller has agreed")
  func shrink() {
    var leader = LeaderHarness()
    _ = leader.fetch(2, 0)
    _ = leader.fetch(3, 0)
    _ = leader.does(.appended(endOffset: Offset(10)))
    #expect(leader.machine.nextDeadline == leader.now + .seconds(30) + .nanoseconds(1))
    leader.pass(.seconds(29))
    _ = leader.fetch(2, 10)
    #expect(proposed(leader.passWithTimer(.seconds(1))) == nil)
    #expect(proposed(leader.passWithTimer(.milliseconds(1))) == [1, 2])
    #expect(leader.events.contains { if case .proposed(_, .lagging([NodeID(3)])) = $0 { true } else { false } })
    #expect(leader.machine.highWatermark == .zero)
    #expect(leader.does(accepted(basis: 10, version: 11, inSync: [1, 2])) == [.highWatermarkAdvanced(to: Offset(10))])
    #expect(leader.machine.inSyncReplicas == [NodeID(1), NodeID(2)])
    #expect(leader.machine.partitionEpoch == PartitionEpoch(11))
  }

  @Test("The first write after a long silence evicts nobody, though nobody has fetched since")
  func silence() {
    var leader = LeaderHarness()
    _ = leader.fetch(2, 0)
    _ = leader.fetch(3, 0)
    #expect(leader.machine.nextDeadline == nil)
    leader.pass(.seconds(3600))
    _ = leader.does(.appended(endOffset: Offset(1)))
    #expect(leader.machine.nextDeadline == leader.now + .seconds(30) + .nanoseconds(1))
  }

  @Test("Who is taken out of the ISR and holds everything is proposed at once: it may have nothing more to ask for")
  func comesBackAtOnce() {
    var leader = LeaderHarness()
    _ = leader.does(.appended(endOffset: Offset(10)))
    _ = leader.fetch(2, 10)
    _ = leader.fetch(3, 10)
    #expect(proposed(leader.does(.registrationChanged(LeaderHarness.registration(version: 11, inSync: [1])))) == [1, 2, 3])
    // Nor does a proposal that the controller's own change made void stay the last.
    #expect(proposed(leader.does(.registrationChanged(LeaderHarness.registration(version: 12, inSync: [1, 2])))) == [1, 2, 3])
  }

  @Test("A new leader gives its followers the whole time from its election")
  func newLeader() {
    var leader = LeaderHarness(end: 10)
    let began = leader.now
    leader.pass(.seconds(20))
    _ = leader.does(.appended(endOffset: Offset(12)))
    #expect(leader.machine.nextDeadline == began + .seconds(30) + .nanoseconds(1))
  }

  @Test("Who holds at each fetch what the leader held at the one before is caught up, though never at the end (KIP-16)")
  func underLoad() {
    var leader = LeaderHarness(inSync: [1, 2])
    var end: Int64 = 0
    for _ in 0..<100 {
      let before = end
      end += 5
      _ = leader.does(.appended(endOffset: Offset(end)))
      #expect(proposed(leader.passWithTimer(.seconds(1))) == nil)
      _ = leader.fetch(2, before)
    }
  }

  @Test("A process that slept does not hold its own silence against its followers")
  func sleep() {
    var leader = LeaderHarness()
    _ = leader.does(.appended(endOffset: Offset(10)))
    leader.pass(.seconds(300))
    #expect(proposed(leader.does(.timerFired)) == nil)
    #expect(leader.events.contains { if case .slept = $0 { true } else { false } })
    #expect(proposed(leader.passWithTimer(.seconds(31))) == [1])
  }

  @Test("Whom the controller has put among the in-sync replicas gets the whole time from then")
  func putInSync() {
    var leader = LeaderHarness(inSync: [1])
    _ = leader.does(.appended(endOffset: Offset(10)))
    leader.pass(.seconds(60))
    _ = leader.does(.registrationChanged(LeaderHarness.registration(version: 11, inSync: [1, 2])))
    #expect(leader.machine.nextDeadline == leader.now + .seconds(30) + .nanoseconds(1))
  }

  // MARK: - Joining

  @Test("A follower joins when it has reached the high watermark and where the leader's epoch began")
  func expansion() {
    var leader = LeaderHarness(end: 10, watermark: 4, inSync: [1, 2])
    #expect(proposed(leader.fetch(3, 4)) == nil)
    #expect(proposed(leader.fetch(3, 9)) == nil)
    #expect(proposed(leader.fetch(3, 10)) == [1, 2, 3])
    #expect(leader.machine.inSyncReplicas == [NodeID(1), NodeID(2)])
  }

  @Test("A follower that is proposed counts at once, since the controller may have agreed already")
  func maximalInSync() {
    var leader = LeaderHarness(inSync: [1])
    _ = leader.fetch(2, 0)
    _ = leader.does(.appended(endOffset: Offset(10)))
    #expect(leader.machine.highWatermark == .zero)
    #expect(leader.fetch(2, 10) == [.highWatermarkAdvanced(to: Offset(10))])
    #expect(leader.does(refused(.ineligibleReplica), .appended(endOffset: Offset(11))) == [.highWatermarkAdvanced(to: Offset(11))])
  }

  @Test("Fenced and shutting-down brokers and other incarnations are not proposed; a new standing is news")
  func eligibility() {
    var leader = LeaderHarness(inSync: [1], standings: [LeaderHarness.standing(2, isFenced: true)])
    #expect(proposed(leader.fetch(2, 0)) == nil)
    #expect(proposed(leader.does(.standingChanged(LeaderHarness.standing(2, isShuttingDown: true)))) == nil)
    #expect(proposed(leader.does(.standingChanged(LeaderHarness.standing(2, epoch: 69)))) == nil)
    // Nothing is known of broker 3.
    #expect(proposed(leader.fetch(3, 0)) == nil)
    let effects = leader.does(.standingChanged(LeaderHarness.standing(2)))
    #expect(proposed(effects) == [1, 2])
    guard case .propose(let proposal) = effects.last else { return }
    #expect(proposal.inSyncReplicas == [InSyncReplica(NodeID(1), .unknown), InSyncReplica(NodeID(2), BrokerEpoch(70))])
    #expect(proposal.partitionEpoch == PartitionEpoch(10))
  }

  @Test("Who left for lagging comes back when it has kept up for a while, not when it touches the end")
  func probation() {
    var leader = LeaderHarness(inSync: [1, 2])
    _ = leader.does(.appended(endOffset: Offset(10)))
    #expect(proposed(leader.passWithTimer(.seconds(31))) == [1])
    _ = leader.does(accepted(basis: 10, version: 11, inSync: [1]))
    #expect(proposed(leader.fetch(2, 10)) == nil)
    #expect(proposed(leader.passWithTimer(.seconds(2))) == nil)
    #expect(proposed(leader.passWithTimer(.seconds(2))) == [1, 2])
  }

  @Test("Who left because its broker went comes back at once")
  func noProbation() {
    var leader = LeaderHarness(inSync: [1, 2])
    _ = leader.does(.registrationChanged(LeaderHarness.registration(version: 11, inSync: [1])))
    #expect(proposed(leader.fetch(2, 0)) == [1, 2])
  }

  // MARK: - Answers

  @Test("One proposal is in flight at a time; when it is answered the next may go")
  func oneAtATime() {
    var leader = LeaderHarness(inSync: [1])
    #expect(proposed(leader.fetch(2, 0)) == [1, 2])
    #expect(proposed(leader.fetch(3, 0)) == nil)
    #expect(proposed(leader.does(accepted(basis: 10, version: 11, inSync: [1, 2]))) == [1, 2, 3])
  }

  @Test("Answers to older proposals, from older versions and after the metadata log are ignored")
  func staleAnswers() {
    var leader = LeaderHarness(inSync: [1])
    #expect(leader.does(accepted(basis: 9, version: 10, inSync: [1, 2, 3])) == [])
    #expect(leader.events == [.staleAnswer(basis: PartitionEpoch(9))])
    _ = leader.fetch(2, 0)
    #expect(leader.does(accepted(basis: 9, version: 10, inSync: [1, 2, 3])) == [])
    #expect(leader.does(accepted(basis: 10, version: 9, inSync: [1, 2, 3])) == [])
    #expect(leader.does(accepted(basis: 10, version: 11, epoch: 4, inSync: [1, 2, 3])) == [])
    #expect(leader.machine.inSyncReplicas == [NodeID(1)])
    _ = leader.does(.registrationChanged(LeaderHarness.registration(version: 12, inSync: [1, 3])))
    #expect(leader.does(accepted(basis: 10, version: 11, inSync: [1, 2])) == [])
    #expect(leader.machine.inSyncReplicas == [NodeID(1), NodeID(3)])
    // And older metadata as well.
    _ = leader.does(.registrationChanged(LeaderHarness.registration(version: 11, inSync: [1, 2])))
    #expect(leader.machine.inSyncReplicas == [NodeID(1), NodeID(3)])
  }

  @Test("A proposal whose outcome is open goes on counting, and is sent again as it was")
  func uncertain() {
    var leader = LeaderHarness(inSync: [1])
    _ = leader.fetch(2, 0)
    #expect(leader.does(refused(.requestTimedOut), .appended(endOffset: Offset(5))) == [])
    #expect(proposed(leader.passWithTimer(.milliseconds(60))) == [1, 2])
    #expect(leader.events.contains { if case .proposed(_, .unanswered) = $0 { true } else { false } })
    // The first copy was applied, so the second comes too late: the metadata log will tell.
    #expect(leader.does(refused(.invalidUpdateVersion)) == [])
    #expect(leader.machine.nextDeadline == nil)
    #expect(leader.machine.highWatermark == .zero)
    _ = leader.does(.registrationChanged(LeaderHarness.registration(version: 11, inSync: [1, 2])))
    #expect(leader.fetch(2, 5) == [.highWatermarkAdvanced(to: Offset(5))])
  }

  @Test("A refusal of one copy of several does not end the others: the replica counts until they cannot be under way any more")
  func lateCopies() {
    var leader = LeaderHarness(inSync: [1])
    _ = leader.fetch(2, 0)
    _ = leader.does(.appended(endOffset: Offset(5)))
    #expect(leader.does(refused(.ineligibleReplica, sendCount: 2)) == [])
    #expect(leader.passWithTimer(.milliseconds(1900)) == [])
    #expect(leader.passWithTimer(.milliseconds(200)) == [.highWatermarkAdvanced(to: Offset(5))])
  }

  @Test("A refused replica is proposed again after a while, or when its standing changes")
  func refusal() {
    var leader = LeaderHarness(inSync: [1])
    _ = leader.fetch(2, 0)
    #expect(leader.does(refused(.ineligibleReplica)) == [])
    #expect(proposed(leader.fetch(2, 0)) == nil)
    #expect(proposed(leader.passWithTimer(.milliseconds(2001))) == [1, 2])
    _ = leader.does(refused(.ineligibleReplica))
    #expect(proposed(leader.does(.standingChanged(LeaderHarness.standing(2, rack: "r")))) == [1, 2])
  }

  @Test("A refused shrink is proposed again after a while, not at once")
  func refusedShrink() {
    var leader = LeaderHarness(inSync: [1, 2])
    _ = leader.does(.appended(endOffset: Offset(10)))
    #expect(proposed(leader.passWithTimer(.seconds(31))) == [1])
    _ = leader.does(refused(.operationNotAttempted))
    #expect(proposed(leader.does(.timerFired)) == nil)
    #expect(leader.machine.nextDeadline == leader.now + .milliseconds(50))
    #expect(proposed(leader.passWithTimer(.milliseconds(51))) == [1])
  }

  @Test("A deadline that has passed without effect is no deadline any more")
  func noBusyTimer() {
    var leader = LeaderHarness(durability: .flushed, inSync: [1, 2])
    _ = leader.does(.appended(endOffset: Offset(10)), .flushBegan, .flushed(upTo: Offset(10)))
    _ = leader.passWithTimer(.seconds(31))
    _ = leader.does(accepted(basis: 10, version: 11, inSync: [1]))
    // It keeps up and waits out its probation, then is silent while the log grows, and the timer is late.
    _ = leader.fetch(2, 10)
    _ = leader.does(.appended(endOffset: Offset(20)))
    _ = leader.fetch(2, 15)
    #expect(leader.machine.nextDeadline != nil)
    leader.pass(.seconds(60))
    #expect(proposed(leader.does(.timerFired)) == nil)
    #expect(leader.machine.nextDeadline == nil)
  }

  @Test("Nor is the end of a refusal, if the follower lags by then")
  func noBusyTimerAfterRefusal() {
    var leader = LeaderHarness(durability: .flushed, inSync: [1])
    _ = leader.fetch(2, 0)
    _ = leader.does(refused(.ineligibleReplica), .appended(endOffset: Offset(10)))
    #expect(leader.machine.nextDeadline == leader.now + .seconds(2))
    leader.pass(.seconds(60))
    #expect(proposed(leader.does(.timerFired)) == nil)
    #expect(leader.machine.nextDeadline == nil)
    #expect(proposed(leader.fetch(2, 10)) == [1, 2])
  }

  @Test("Refused and on probation, a follower joins when both are over")
  func refusedOnProbation() {
    var leader = LeaderHarness(inSync: [1, 2])
    _ = leader.does(.appended(endOffset: Offset(10)))
    _ = leader.passWithTimer(.seconds(31))
    _ = leader.does(accepted(basis: 10, version: 11, inSync: [1]))
    _ = leader.fetch(2, 10)
    #expect(proposed(leader.passWithTimer(.seconds(3))) == [1, 2])
    _ = leader.does(refused(.ineligibleReplica, basis: 11))
    #expect(leader.machine.nextDeadline == leader.now + .seconds(2))
    #expect(proposed(leader.passWithTimer(.seconds(2))) == [1, 2])
  }

  @Test("A reassignment brings new replicas and takes old ones away; what is known of those that stay is kept")
  func reassignment() {
    var leader = LeaderHarness()
    _ = leader.does(.appended(endOffset: Offset(10)))
    _ = leader.fetch(2, 10)
    _ = leader.fetch(3, 10, epoch: 4)
    #expect(leader.does(.followerAnswered(NodeID(3)), .awaitFollowerFetch(9, NodeID(3), from: Offset(10))) == [])
    #expect(
      leader.does(.registrationChanged(LeaderHarness.registration(version: 11, replicas: [1, 2, 4], inSync: [1, 2])))
        == [.wake(9), .highWatermarkAdvanced(to: Offset(10))])
    #expect(leader.machine.refusal(of: LeaderHarness.fetch(3, 10)) == .unknownLeaderEpoch)
    _ = leader.fetch(4, 10)
    #expect(proposed(leader.does(.standingChanged(LeaderHarness.standing(4)))) == [1, 2, 4])
  }
}
