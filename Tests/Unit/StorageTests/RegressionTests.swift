import Environment
import LogCore
import Model
import NIOCore
import Storage
import Testing
import VirtualWorld

/// What the simulation found, each as the shortest life that shows it. The number is the seed that failed first, with the
/// simulation as it was then.
@Suite struct RegressionTests {
  private func batch(_ producer: Int64 = -1, sequence: Int32 = -1, count: Int = 3, timestamp: Int64 = 1_000) -> ByteBuffer {
    makeBatch(
      values: (0..<count).map { [UInt8](repeating: UInt8($0), count: 50) }, baseTimestamp: timestamp, producerID: producer,
      producerEpoch: producer < 0 ? -1 : 0, baseSequence: sequence)
  }

  /// Seed 2: what outlived a kill was in the page cache only, but counted as flushed after the restart.
  @Test func whatARestartFindsIsDurable() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch())
    let all = try faulty.log.readAll()
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(faulty.log.flushedOffset == Offset(3))
    faulty.disk.losePower(modes: [.all])
    try faulty.reopen()
    #expect(try faulty.log.readAll() == all)
  }

  /// Seed 106: the segment that was removed and made anew under its old name came back with its old batches.
  @Test func whatWasTruncatedToNothingStaysAway() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch())
    try faulty.log.flush()
    try faulty.log.truncate(to: .zero, now: Timestamp(0))
    faulty.disk.losePower(modes: [.all])
    try faulty.reopen()
    #expect(faulty.log.logEndOffset == .zero)
  }

  /// Seed 369: a cut at a segment's first batch noted an end beyond the real one, so that recovery began too late.
  @Test func aTruncationIntoABatchTakesEverythingBackToItsStart() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch())
    try faulty.log.roll(now: Timestamp(0))
    try faulty.log.append(self.batch())
    try faulty.log.flush()
    try faulty.log.checkpoint()
    try faulty.store.writeCheckpoints()
    try faulty.log.advanceLogStart(to: Offset(5))
    try faulty.log.truncate(to: Offset(5), now: Timestamp(0))
    #expect(faulty.log.logEndOffset == Offset(3) && faulty.log.logStartOffset == Offset(3) && faulty.log.recoveryPoint == Offset(3))
    try faulty.log.append(self.batch(), leaderEpoch: 4)
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(faulty.report.recoveryPoint == Offset(3))
    #expect(faulty.log.leaderEpochs.epoch(at: Offset(3)) == LeaderEpoch(4))
  }

  /// Seed 134: a snapshot of batches that were cut off came back, and refused a producer its next sequence.
  @Test func aSnapshotOfWhatWasTruncatedStaysAway() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch(1, sequence: 0))
    try faulty.log.append(self.batch(1, sequence: 3))
    try faulty.log.flush()
    try faulty.log.checkpoint()
    #expect(faulty.disk.contents(of: faulty.path("00000000000000000006.snapshot")) != nil)
    try faulty.log.truncate(to: Offset(3), now: Timestamp(0))
    for _ in 0..<3 { try faulty.log.append(self.batch()) }
    try faulty.log.flush()
    faulty.disk.losePower(modes: [.all])
    try faulty.reopen()
    #expect(faulty.log.logEndOffset == Offset(12))
    #expect(try faulty.log.append(self.batch(1, sequence: 3)).baseOffset == Offset(12))
  }

  /// Found by reading after seed 1: a checkpoint that was begun before a truncation wrote its snapshot after it.
  @Test func aCheckpointFromBeforeATruncationWritesNothing() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch(1, sequence: 0))
    try faulty.log.append(self.batch(1, sequence: 3))
    try faulty.log.flush()
    let ticket = try #require(try faulty.log.beginCheckpoint())
    try faulty.log.truncate(to: Offset(3), now: Timestamp(0))
    try ticket.run()
    faulty.log.completeCheckpoint(ticket)
    #expect(faulty.disk.contents(of: faulty.path("00000000000000000006.snapshot")) == nil)
    #expect(faulty.log.recoveryPoint <= Offset(3))
  }

  /// Seed 1: retention removed segments whose producers only a snapshot in memory knew; an older one on disk was taken instead.
  @Test func producersOfRemovedSegmentsAreKnownAfterAKill() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch(1, sequence: 0))
    try faulty.log.flush()
    try faulty.log.checkpoint()
    try faulty.log.append(self.batch(1, sequence: 3))
    try faulty.log.roll(now: Timestamp(0))
    try faulty.log.append(self.batch())
    try faulty.log.advanceLogStart(to: Offset(6))
    let removal = try #require(try faulty.log.removeOld(below: faulty.log.logEndOffset))
    try removal.mark()
    try removal.remove()
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(faulty.log.logStartOffset == Offset(6))
    #expect(try faulty.log.append(self.batch(1, sequence: 6)).baseOffset == Offset(9))
  }

  /// Seed 5558: a checkpoint ticket that was dropped had its index files taken for synced.
  @Test func aDroppedCheckpointLeavesTheIndexesToTheNext() throws {
    var faulty = try FaultyLog(LogConfig(indexIntervalBytes: 0))
    for index in 0..<5 { try faulty.log.append(self.batch(timestamp: 9_000 - Int64(index) * 1_000)) }
    try faulty.log.roll(now: Timestamp(0))
    try faulty.log.flush()
    _ = try faulty.log.beginCheckpoint()
    try faulty.closeCleanly()
    let index = faulty.disk.contents(of: faulty.path(FaultyLog.index))
    faulty.disk.losePower(modes: [.all])
    #expect(index?.isEmpty == false)
    #expect(faulty.disk.contents(of: faulty.path(FaultyLog.index)) == index)
    try faulty.reopen()
    #expect(faulty.report.wasClean)
  }

  /// Synced batches were lost, and the point beyond the new end vouched for those that took their place.
  @Test func aRecoveryThatEndsBelowThePointTakesThePointBack() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch())
    let kept = faulty.disk.contents(of: faulty.path(FaultyLog.segment))!.count
    try faulty.log.append(self.batch())
    try faulty.log.flush()
    try faulty.log.checkpoint()
    try faulty.store.writeCheckpoints()
    let segment = try faulty.disk.open(faulty.path(FaultyLog.segment), .readWrite)
    try segment.truncate(to: Int64(kept))
    try segment.sync()
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(faulty.report.recoveryPoint == Offset(6) && faulty.log.logEndOffset == Offset(3) && faulty.log.recoveryPoint == Offset(3))
    // The next life ends before a checkpoint is due, and a batch that takes the place of the lost ones is torn.
    for _ in 0..<2 { try faulty.log.append(self.batch()) }
    faulty.disk.killProcess()
    faulty.disk.corrupt(faulty.path(FaultyLog.segment), at: kept + 70)
    try faulty.reopen()
    #expect(faulty.report.recoveryPoint == Offset(3))
    #expect(faulty.log.logEndOffset == Offset(3), "the torn batch was taken for a good one")
  }

  /// A producer has five batches in flight, whose answers were lost with the connection: each is sent again after the restart.
  @Test(arguments: ["clean", "unclean", "unclean, with a checkpoint"])
  func anyOfTheLastFiveBatchesIsKnownAfterARestart(stop: String) throws {
    var faulty = try FaultyLog()
    for index in 0..<7 { try faulty.log.append(self.batch(1, sequence: Int32(index) * 3)) }
    try faulty.log.append(self.batch(2, sequence: 0))
    if stop == "clean" { try faulty.closeCleanly() }
    if stop == "unclean, with a checkpoint" {
      try faulty.log.flush()
      try faulty.log.checkpoint()
      try faulty.store.writeCheckpoints()
    }
    if stop != "clean" { faulty.disk.killProcess() }
    try faulty.reopen()
    #expect(faulty.report.wasClean == (stop == "clean"))
    for index in 2..<7 {
      let result = try faulty.log.append(self.batch(1, sequence: Int32(index) * 3))
      #expect(result.isDuplicate && result.baseOffset == Offset(Int64(index) * 3) && result.lastOffset == Offset(Int64(index) * 3 + 2))
    }
    #expect(throws: StorageError.producer(.outOfOrderSequence(ProducerID(1), got: 3, lastSequence: 20))) {
      try faulty.log.append(self.batch(1, sequence: 3))
    }
    #expect(try faulty.log.append(self.batch(1, sequence: 21)).baseOffset == Offset(24))
  }

  /// What a deletion or retention syncs is synced between the steps that need the owner's lock.
  @Test func nothingIsSyncedWhileTheOwnerHoldsItsLock() throws {
    var faulty = try FaultyLog(LogConfig(retentionBytes: 1))
    for sequence in Int32(0)..<3 {
      try faulty.log.append(self.batch(1, sequence: sequence * 3))
      try faulty.log.roll(now: Timestamp(0))
    }
    try faulty.log.flush()
    faulty.disk.inject(DiskFault(.sync, .io))
    faulty.disk.inject(DiskFault(.syncDirectory, .io))
    let ticket = try #require(try faulty.log.beginRetention(highWatermark: Offset(9), now: Timestamp(0)))
    #expect(throws: DiskError.self) { _ = try ticket.run() }
    // The other fault is still there, and one more, so that what follows must not sync either.
    faulty.disk.inject(DiskFault(.sync, .io))
    let removal = try #require(try faulty.log.completeRetention(ticket, isCheckpointed: false))
    try removal.mark()
    let deletion = try faulty.log.delete(id: .zero)
    // The fault is still there.
    #expect(throws: DiskError.self) { try faulty.disk.open("/data/meta.properties", .readWrite).sync() }
    try deletion.mark()
  }

  /// Segments that were decided on are left alone if the log is cut meanwhile.
  @Test func aRetentionFromBeforeATruncationRemovesNothing() throws {
    var faulty = try FaultyLog(LogConfig(retentionBytes: 1))
    for _ in 0..<3 {
      try faulty.log.append(self.batch())
      try faulty.log.roll(now: Timestamp(0))
    }
    let ticket = try #require(try faulty.log.beginRetention(highWatermark: Offset(9), now: Timestamp(0)))
    try faulty.log.truncate(to: Offset(3), now: Timestamp(0))
    try faulty.log.roll(now: Timestamp(0))
    // Other batches take the place of those that were cut off, in segments of the same names, and nothing says that they may go.
    for _ in 0..<3 {
      try faulty.log.append(self.batch())
      try faulty.log.roll(now: Timestamp(0))
    }
    let isCheckpointed = try ticket.run()
    #expect(try faulty.log.completeRetention(ticket, isCheckpointed: isCheckpointed) == nil)
    #expect(faulty.log.logStartOffset == .zero && faulty.log.logEndOffset == Offset(12))
  }

  /// A checkpoint that was begun before a deletion writes nothing into the directory that takes the place of the old one.
  @Test func aCheckpointFromBeforeADeletionWritesNothing() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch(1, sequence: 0))
    try faulty.log.flush()
    let ticket = try #require(try faulty.log.beginCheckpoint())
    try faulty.log.delete(id: .zero).mark()
    var next = try PartitionLog.create(
      in: faulty.store, topicPartition: faulty.partition, topicID: nil, config: LogConfig(), now: Timestamp(0))
    try next.append(self.batch())
    try ticket.run()
    faulty.log.completeCheckpoint(ticket)
    try faulty.store.writeCheckpoints()
    #expect(faulty.disk.contents(of: faulty.path("00000000000000000003.snapshot")) == nil)
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(faulty.report.recoveryPoint == .zero && faulty.log.logEndOffset == Offset(3))
  }
}
