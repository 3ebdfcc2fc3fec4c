import Base
import Model
import Replication
import Testing

private typealias Machine = FollowerMachine<Int>

/// Node 2, which follows node 1 in epoch 5.
private struct FollowerHarness {
  var machine: Machine
  var now = Instant.origin + .seconds(100)
  var events: [ReplicationEvent] = []

  init(
    durability: FlushPolicy.Durability = .written, end: Int64 = 0, flushed: Int64? = nil, watermark: Int64 = 0, start: Int64 = 0,
    lastEpoch: Int32 = -1, allowsUnclean: Bool = false
  ) {
    let settings = FollowerSettings(flushPolicy: FlushPolicy(durability: durability), allowsUncleanTruncation: allowsUnclean)
    self.machine = Machine(
      node: NodeID(2), settings: settings,
      log: LogPositions(
        logStartOffset: Offset(start), logEndOffset: Offset(end), flushedOffset: Offset(flushed ?? end), highWatermark: Offset(watermark)),
      lastEpoch: LeaderEpoch(lastEpoch))
  }

  mutating func does(_ inputs: Machine.Input...) -> [Machine.Effect] {
    var effects: [Machine.Effect] = []
    for input in inputs { self.machine.handle(input, now: self.now, into: &effects) }
    self.events = effects.compactMap { if case .trace(let event) = $0 { event } else { nil } }
    return effects.filter { if case .trace = $0 { false } else { true } }
  }

  mutating func follow(_ leader: Int32 = 1, epoch: Int32 = 5, version: Int32 = 10, isRecovering: Bool = false) -> [Machine.Effect] {
    var registration = LeaderHarness.registration(leader: leader, epoch: epoch, version: version, inSync: [1])
    registration.isRecovering = isRecovering
    return self.does(.registrationChanged(registration))
  }

  /// The answer to the present position.
  func answer(
    _ offset: Int64, lastEpoch: Int32 = -1, error: ErrorCode = .none, watermark: Int64 = 0, start: Int64 = 0, count: Int64 = 0,
    epoch: Int32 = 5
  ) -> FetchAnswer {
    FetchAnswer(
      position: position(offset, lastEpoch: lastEpoch, epoch: epoch), error: error, highWatermark: Offset(watermark),
      logStartOffset: Offset(start),
      records: count == 0 ? nil : .init(baseOffset: Offset(offset), endOffset: Offset(offset + count)))
  }

  mutating func diverges(
    at offset: Int64, lastEpoch: Int32, leader: (epoch: Int32, end: Int64), own: (epoch: Int32, end: Int64)?
  ) -> [Machine.Effect] {
    var answer = self.answer(offset, lastEpoch: lastEpoch)
    answer.divergence = .init(
      leaderEnd: EpochEnd(epoch: LeaderEpoch(leader.epoch), endOffset: Offset(leader.end)),
      ownEnd: own.map { EpochEnd(epoch: LeaderEpoch($0.epoch), endOffset: Offset($0.end)) })
    return self.does(.answered(answer))
  }
}

private func position(_ offset: Int64, lastEpoch: Int32 = -1, epoch: Int32 = 5, start: Int64 = 0) -> FetchPosition {
  FetchPosition(
    currentLeaderEpoch: LeaderEpoch(epoch), fetchOffset: Offset(offset), lastFetchedEpoch: LeaderEpoch(lastEpoch),
    logStartOffset: Offset(start))
}

@Suite("A follower of a partition")
struct FollowerMachineTests {
  @Test("It asks from its end, appends what comes, and asks on")
  func fetches() {
    var follower = FollowerHarness()
    #expect(follower.follow() == [.fetch(position(0), notBefore: nil)])
    #expect(follower.does(.answered(follower.answer(0, watermark: 3, count: 5))) == [.append])
    #expect(
      follower.does(.appended(endOffset: Offset(5), lastEpoch: LeaderEpoch(5))) == [
        .highWatermarkAdvanced(to: Offset(3)), .fetch(position(5, lastEpoch: 5), notBefore: nil),
      ])
    // Only a newer high watermark came: it is taken, and the position is as it was.
    #expect(
      follower.does(.answered(follower.answer(5, lastEpoch: 5, watermark: 9))) == [
        .highWatermarkAdvanced(to: Offset(5)), .fetch(position(5, lastEpoch: 5), notBefore: nil),
      ])
  }

  @Test("With flush.policy=fsync it asks on only when all it has is on the disk, for the offset says so; its watermark waits as well")
  func fetchesDurably() {
    var follower = FollowerHarness(durability: .flushed)
    _ = follower.follow()
    #expect(follower.does(.answered(follower.answer(0, watermark: 5, count: 5))) == [.append])
    #expect(follower.does(.appended(endOffset: Offset(5), lastEpoch: LeaderEpoch(5))) == [.requestFlush])
    #expect(follower.does(.flushBegan, .flushed(upTo: Offset(3))) == [.highWatermarkAdvanced(to: Offset(3)), .requestFlush])
    #expect(
      follower.does(.flushBegan, .flushed(upTo: Offset(5))) == [
        .highWatermarkAdvanced(to: Offset(5)), .fetch(position(5, lastEpoch: 5), notBefore: nil),
      ])
    // Nothing new was flushed: nothing is asked again.
    #expect(follower.does(.flushed(upTo: Offset(5))) == [])
  }

  @Test("What a leader left unflushed is flushed before it is claimed to another")
  func flushesFirst() {
    var follower = FollowerHarness(durability: .flushed, end: 9, flushed: 4, lastEpoch: 3)
    #expect(follower.follow() == [.requestFlush])
    #expect(follower.does(.flushBegan, .flushed(upTo: Offset(9))) == [.fetch(position(9, lastEpoch: 3), notBefore: nil)])
  }

  @Test("Answers to requests of another epoch, or from before a truncation, change nothing, and it asks again")
  func staleAnswers() {
    var follower = FollowerHarness(end: 5, lastEpoch: 4)
    _ = follower.follow()
    let again: [FollowerMachine<Int>.Effect] = [.fetch(position(5, lastEpoch: 4), notBefore: nil)]
    #expect(follower.does(.answered(follower.answer(5, lastEpoch: 4, watermark: 5, count: 3, epoch: 4))) == again)
    #expect(follower.does(.answered(follower.answer(7, lastEpoch: 4, watermark: 5, count: 3))) == again)
    #expect(follower.does(.answered(follower.answer(5, lastEpoch: 3, watermark: 5, count: 3))) == again)
    #expect(follower.machine.log.highWatermark == .zero)
  }

  @Test("Records that do not follow on its end are refused as corrupt")
  func gap() {
    var follower = FollowerHarness(end: 5, lastEpoch: 5)
    _ = follower.follow()
    var answer = follower.answer(5, lastEpoch: 5, count: 3)
    answer.records!.baseOffset = Offset(4)
    #expect(follower.does(.answered(answer)) == [.fetch(position(5, lastEpoch: 5), notBefore: follower.now + .milliseconds(50))])
    #expect(follower.events == [.fetchFailed(.corruptMessage, retryAfter: .milliseconds(50))])
  }

  // MARK: - Truncation

  @Test("Where the epochs agree it cuts to the smaller end; where they do not, to where its own older epoch ends (KIP-279)")
  func truncates() {
    var follower = FollowerHarness(end: 20, watermark: 5, lastEpoch: 4)
    _ = follower.follow()
    #expect(follower.diverges(at: 20, lastEpoch: 4, leader: (4, 15), own: (4, 20)) == [.truncate(to: Offset(15))])
    let asks = follower.does(.truncated(endOffset: Offset(15), lastEpoch: LeaderEpoch(4)))
    #expect(asks == [.fetch(position(15, lastEpoch: 4), notBefore: nil)])
    // The leader knows no epoch 4 but 3, and we have 2 below it: what we have above belongs to epochs that the leader has not.
    #expect(follower.diverges(at: 15, lastEpoch: 4, leader: (3, 14), own: (2, 9)) == [.truncate(to: Offset(9))])
    _ = follower.does(.truncated(endOffset: Offset(9), lastEpoch: LeaderEpoch(2)))
    #expect(follower.diverges(at: 9, lastEpoch: 2, leader: (1, 6), own: nil) == [.truncate(to: Offset(6))])
    #expect(follower.machine.phase == .fetching)
  }

  @Test("It never cuts what is committed, unless somebody allowed it")
  func refusesToCut() {
    var follower = FollowerHarness(end: 20, watermark: 12, lastEpoch: 4)
    _ = follower.follow()
    #expect(follower.diverges(at: 20, lastEpoch: 4, leader: (4, 11), own: (4, 20)) == [.stopFetching])
    #expect(follower.machine.phase == .halted(truncationTo: Offset(11)))
    let end = EpochEnd(epoch: LeaderEpoch(4), endOffset: Offset(11))
    #expect(follower.events == [.refusedTruncation(to: Offset(11), highWatermark: Offset(12), .divergence(end))])
    #expect(follower.does(.answered(follower.answer(20, lastEpoch: 4, count: 2))) == [])
    #expect(follower.does(.uncleanTruncationAllowed) == [.truncate(to: Offset(11))])
    _ = follower.does(.truncated(endOffset: Offset(11), lastEpoch: LeaderEpoch(4)))
    #expect(follower.machine.log.highWatermark == Offset(11))

    var allowing = FollowerHarness(end: 20, watermark: 12, lastEpoch: 4)
    _ = allowing.follow()
    _ = allowing.diverges(at: 20, lastEpoch: 4, leader: (4, 11), own: (4, 20))
    let settings = FollowerSettings(flushPolicy: FlushPolicy(durability: .written), allowsUncleanTruncation: true)
    #expect(allowing.does(.settingsChanged(settings)) == [.truncate(to: Offset(11))])

    var another = FollowerHarness(end: 20, watermark: 12, lastEpoch: 4)
    _ = another.follow()
    _ = another.diverges(at: 20, lastEpoch: 4, leader: (4, 11), own: (4, 20))
    #expect(another.follow(3, epoch: 6, version: 11) == [.fetch(position(20, lastEpoch: 4, epoch: 6), notBefore: nil)])
  }

  @Test("An unclean election, or a topic that allows them, is such a decision", arguments: [true, false])
  func uncleanDecision(isRecovering: Bool) {
    var follower = FollowerHarness(end: 20, watermark: 12, lastEpoch: 4, allowsUnclean: !isRecovering)
    _ = follower.follow(isRecovering: isRecovering)
    #expect(follower.diverges(at: 20, lastEpoch: 4, leader: (4, 11), own: (4, 20)) == [.truncate(to: Offset(11))])
  }

  @Test("A flush that began before a truncation does not vouch for what came after")
  func flushAcrossTruncation() {
    var follower = FollowerHarness(durability: .flushed, end: 10, lastEpoch: 4)
    _ = follower.follow()
    _ = follower.diverges(at: 10, lastEpoch: 4, leader: (4, 6), own: (4, 10))
    _ = follower.does(.truncated(endOffset: Offset(6), lastEpoch: LeaderEpoch(4)))
    #expect(follower.machine.log.flushedOffset == Offset(6))
    #expect(follower.does(.answered(follower.answer(6, lastEpoch: 4, count: 2))) == [.append])
    #expect(
      follower.does(.appended(endOffset: Offset(8), lastEpoch: LeaderEpoch(5)), .flushBegan, .flushed(upTo: Offset(6))).contains(
        .requestFlush))
    #expect(follower.machine.durableEnd == Offset(6))
  }

  // MARK: - Out of range

  @Test("Behind the leader's start it begins anew there; within the leader's log it goes on; beyond the end it cuts")
  func outOfRange() {
    func after(_ start: Int64, _ end: Int64) -> [FollowerMachine<Int>.Effect] {
      var follower = FollowerHarness(end: 20, watermark: 5, lastEpoch: 4)
      _ = follower.follow()
      let asks = follower.does(.answered(follower.answer(20, lastEpoch: 4, error: .offsetOutOfRange)))
      #expect(asks == [.stopFetching, .askLeaderOffsets(LeaderEpoch(5), notBefore: nil)])
      return follower.does(
        .leaderOffsetsLearned(LeaderOffsets(leaderEpoch: LeaderEpoch(4), logStartOffset: Offset(90), logEndOffset: Offset(99))),
        .leaderOffsetsLearned(LeaderOffsets(leaderEpoch: LeaderEpoch(5), logStartOffset: Offset(start), logEndOffset: Offset(end))))
    }
    #expect(after(30, 40) == [.restart(at: Offset(30))])
    #expect(after(10, 40) == [.fetch(position(20, lastEpoch: 4), notBefore: nil)])
    #expect(after(10, 15) == [.truncate(to: Offset(15))])
    #expect(after(0, 3) == [.stopFetching])
  }

  @Test("Begun anew, it has no records and no epoch, and is committed to where it begins")
  func restart() {
    var follower = FollowerHarness(end: 20, watermark: 5, lastEpoch: 4)
    _ = follower.follow()
    _ = follower.does(.awaitFetch(1, from: Offset(7)))
    let effects = follower.does(.restarted(at: Offset(30)))
    #expect(effects == [.wake(1), .fetch(position(30, start: 30), notBefore: nil)])
    #expect(follower.machine.log.highWatermark == Offset(30))
  }

  @Test("If the leader cannot say where its log begins, it is asked again later")
  func offsetsFail() {
    var follower = FollowerHarness(end: 20, lastEpoch: 4)
    _ = follower.follow()
    _ = follower.does(.answered(follower.answer(20, lastEpoch: 4, error: .offsetOutOfRange)))
    let failed = LeaderOffsets(leaderEpoch: LeaderEpoch(5), error: .requestTimedOut, logStartOffset: .zero, logEndOffset: .zero)
    #expect(
      follower.does(.leaderOffsetsLearned(failed)) == [.askLeaderOffsets(LeaderEpoch(5), notBefore: follower.now + .milliseconds(50))])
  }

  @Test("It deletes what the leader has deleted, as far as that is committed here")
  func logStart() {
    var follower = FollowerHarness(end: 20, watermark: 8, lastEpoch: 5)
    _ = follower.follow()
    let effects = follower.does(.answered(follower.answer(20, lastEpoch: 5, watermark: 8, start: 12)))
    #expect(effects.first == .advanceLogStart(to: Offset(8)))
    #expect(follower.does(.logStartAdvanced(to: Offset(8))) == [.fetch(position(20, lastEpoch: 5, start: 8), notBefore: nil)])
  }

  // MARK: - Errors

  @Test("It waits longer after each error, up to a limit, and starts over after an answer without one")
  func backoff() {
    var follower = FollowerHarness()
    _ = follower.follow()
    for wait in [50, 100, 200, 400, 800, 1000, 1000] {
      let effects = follower.does(.answered(follower.answer(0, error: .notLeaderOrFollower)))
      #expect(effects == [.fetch(position(0), notBefore: follower.now + .milliseconds(wait))])
    }
    _ = follower.does(.answered(follower.answer(0)))
    #expect(
      follower.does(.answered(follower.answer(0, error: .unknownLeaderEpoch))) == [
        .fetch(position(0), notBefore: follower.now + .milliseconds(50))
      ])
    #expect(follower.does(.appendFailed(.kafkaStorageError)) == [.fetch(position(0), notBefore: follower.now + .milliseconds(100))])
  }

  @Test("Fenced, it waits for the metadata that explains it")
  func fenced() {
    var follower = FollowerHarness()
    _ = follower.follow()
    #expect(follower.does(.answered(follower.answer(0, error: .fencedLeaderEpoch))) == [.stopFetching])
    #expect(follower.follow(1, epoch: 5, version: 11) == [])
    #expect(follower.follow(1, epoch: 6, version: 12) == [.fetch(position(0, epoch: 6), notBefore: nil)])
  }

  @Test("Without a leader it stops; older metadata is ignored; a failed disk does not come back")
  func roles() {
    var follower = FollowerHarness()
    _ = follower.follow()
    #expect(follower.follow(-1, epoch: 6, version: 11) == [.stopFetching])
    #expect(follower.follow(1, epoch: 5, version: 10) == [])
    #expect(follower.machine.phase == .idle)
    _ = follower.follow(3, epoch: 7, version: 12)
    #expect(follower.machine.leader == NodeID(3))
    #expect(follower.does(.stopped(.kafkaStorageError)) == [.stopFetching])
    #expect(follower.follow(3, epoch: 8, version: 13) == [])
    #expect(follower.machine.refusal(ofConsumerAt: .zero, currentLeaderEpoch: .unknown) == .kafkaStorageError)
  }

  @Test("A leader takes over what the follower had, and a follower what the leader had")
  func changesRoles() {
    var follower = FollowerHarness(durability: .flushed, end: 9, flushed: 7, watermark: 6, lastEpoch: 5)
    _ = follower.follow()
    var leader = LeaderMachine<Int>(
      node: NodeID(2), registration: LeaderHarness.registration(leader: 2, epoch: 6, version: 11, inSync: [2, 3]),
      settings: LeaderSettings(flushPolicy: FlushPolicy(durability: .flushed)), log: follower.machine.log, now: follower.now)
    var effects: [LeaderMachine<Int>.Effect] = []
    leader.handle(.began, now: follower.now, lease: .unlimited, into: &effects)
    #expect(effects.contains(.requestFlush))
    #expect(leader.log == follower.machine.log)
    #expect(leader.isCatchingUp)
    let again = FollowerMachine<Int>(node: NodeID(2), settings: follower.machine.settings, log: leader.log, lastEpoch: LeaderEpoch(5))
    #expect(again.log == follower.machine.log)
  }

  // MARK: - Consumers

  @Test("Consumers read up to its watermark; beyond it, it does not know (KIP-392)")
  func consumers() {
    var follower = FollowerHarness(end: 20, watermark: 12, start: 4, lastEpoch: 5)
    _ = follower.follow()
    func refusal(_ offset: Int64, _ epoch: Int32 = -1) -> ErrorCode? {
      follower.machine.refusal(ofConsumerAt: Offset(offset), currentLeaderEpoch: LeaderEpoch(epoch))
    }
    #expect([refusal(4), refusal(12), refusal(12, 5)] == [nil, nil, nil])
    #expect(
      [refusal(13), refusal(20), refusal(21), refusal(3)] == [
        .offsetNotAvailable, .offsetNotAvailable, .offsetOutOfRange, .offsetOutOfRange,
      ])
    #expect([refusal(5, 4), refusal(5, 6)] == [.fencedLeaderEpoch, .unknownLeaderEpoch])
    #expect(
      follower.does(.awaitFetch(1, from: Offset(12)), .awaitFetch(2, from: Offset(14)), .awaitFetch(3, from: Offset(5))) == [.wake(3)])
    #expect(
      follower.does(.answered(follower.answer(20, lastEpoch: 5, watermark: 14))).prefix(2) == [
        .highWatermarkAdvanced(to: Offset(14)), .wake(1),
      ])
    #expect(follower.follow(3, epoch: 6, version: 11).first == .wake(2))
  }
}
