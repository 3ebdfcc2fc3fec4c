import Base
import Environment
import LogCore
import Model
import NIOCore
import Storage
import Testing
import VirtualWorld

/// After a sync that failed, what was not on the disk is in pages that the system takes for clean: they can be read, a later sync passes
/// them over, and the power takes them. Each test fails such a sync, starts again, and takes the power away.
@Suite struct FailedSyncTests {
  private func batch(_ producer: Int64 = -1, sequence: Int32 = -1) -> ByteBuffer {
    makeBatch(
      values: (0..<3).map { [UInt8](repeating: UInt8($0), count: 50) }, producerID: producer, producerEpoch: producer < 0 ? -1 : 0,
      baseSequence: sequence)
  }

  /// As a broker does that is then stopped by its operator, or dies.
  private func failFlush(_ faulty: inout FaultyLog, orderly: Bool) throws {
    let ticket = try #require(try faulty.log.beginFlush())
    faulty.disk.inject(DiskFault(.sync, .io, pathSuffix: ".log"))
    #expect(throws: DiskError.self) { try ticket.run() }
    faulty.log.takeOffline("sync failed")
    if orderly { try faulty.store.closeCleanly() }
    faulty.disk.killProcess()
  }

  @Test(arguments: [true, false]) func whatARestartFindsAfterAFailedSyncIsDurable(orderly: Bool) throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch(1, sequence: 0))
    try faulty.log.flush()
    try faulty.log.append(self.batch(1, sequence: 3))
    try self.failFlush(&faulty, orderly: orderly)
    try faulty.reopen()
    // The retry is told that it is there, and nothing is left for a flush to do.
    #expect(try faulty.log.append(self.batch(1, sequence: 3)).isDuplicate)
    #expect(faulty.log.flushedOffset == Offset(6))
    let all = try faulty.log.readAll()
    faulty.disk.losePower(modes: [.all])
    try faulty.reopen()
    #expect(try faulty.log.readAll() == all)
    #expect(try faulty.log.append(self.batch(1, sequence: 3)).isDuplicate)
  }

  @Test func theTailIsRewrittenAndNothingBelowTheRecoveryPoint() throws {
    var faulty = try FaultyLog(LogConfig(indexIntervalBytes: 300))
    for _ in 0..<100 { try faulty.log.append(self.batch()) }
    try faulty.log.flush()
    try faulty.log.checkpoint()
    try faulty.store.writeCheckpoints()
    for _ in 0..<10 { try faulty.log.append(self.batch()) }
    let all = try faulty.log.readAll()
    faulty.disk.killProcess()
    let before = faulty.disk.bytesWritten
    try faulty.reopen()
    let tail = all.count / 11
    #expect((tail..<tail + 1000).contains(faulty.disk.bytesWritten - before), "\(faulty.disk.bytesWritten - before), of \(all.count)")
    // And none of it again once it is below the point.
    try faulty.log.checkpoint()
    try faulty.store.writeCheckpoints()
    faulty.disk.killProcess()
    let second = faulty.disk.bytesWritten
    try faulty.reopen()
    #expect(faulty.disk.bytesWritten - second < 500)
    #expect(try faulty.log.readAll() == all)
  }

  @Test func rolledSegmentsAfterAFailedSyncAreDurable() throws {
    var faulty = try FaultyLog()
    for index in 0..<4 {
      try faulty.log.append(self.batch(1, sequence: Int32(index) * 3))
      try faulty.log.roll(now: Timestamp(0))
    }
    // The names of the segments are lost too.
    faulty.disk.inject(DiskFault(.syncDirectory, .io, pathSuffix: "t-0"))
    let ticket = try #require(try faulty.log.beginFlush())
    #expect(throws: DiskError.self) { try ticket.run() }
    faulty.log.takeOffline("sync failed")
    faulty.disk.killProcess()
    try faulty.reopen()
    let all = try faulty.log.readAll()
    #expect(faulty.log.flushedOffset == Offset(12))
    faulty.disk.losePower(modes: [.all])
    try faulty.reopen()
    #expect(try faulty.log.readAll() == all)
  }

  @Test func aTopicIDWhoseSyncFailedIsDurableAfterARestart() throws {
    var faulty = try FaultyLog()
    let partition = TopicPartition("u", PartitionID(0))
    var log = try PartitionLog.create(
      in: faulty.store, topicPartition: partition, topicID: .metadataTopic, config: LogConfig(), now: Timestamp(0))
    try log.append(self.batch())
    let ticket = try #require(try log.beginFlush())
    faulty.disk.inject(DiskFault(.sync, .io, pathSuffix: "partition.metadata"))
    #expect(throws: DiskError.self) { try ticket.run() }
    log.takeOffline("sync failed")
    faulty.disk.killProcess()
    try faulty.reopen()
    faulty.disk.losePower(modes: [.all])
    try faulty.reopen()
    #expect(try faulty.store.topicID(of: partition) == .metadataTopic)
  }

  /// Before the first flush the file is whatever the loss of power made of it.
  @Test(arguments: [0, 5, 21, 42], [false, true]) func aTornTopicIDIsWrittenAnew(after count: Int, hasRecords: Bool) throws {
    var faulty = try FaultyLog()
    let partition = TopicPartition("u", PartitionID(0))
    var log = try PartitionLog.create(
      in: faulty.store, topicPartition: partition, topicID: .metadataTopic, config: LogConfig(), now: Timestamp(0))
    if hasRecords { try log.append(self.batch()) }
    let path = faulty.store.directory(of: partition) + "/partition.metadata"
    try faulty.disk.open(path, .readWrite).truncate(to: Int64(count))
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(try faulty.store.owner(of: partition) == .unfinished(hasRecords: hasRecords))
    #expect(try faulty.store.topicID(of: partition) == nil)
    var report = RecoveryReport(topicPartition: partition, wasClean: true, recoveryPoint: .zero)
    var opened = try PartitionLog.open(
      in: faulty.store, topicPartition: partition, topicID: .metadataTopic, config: LogConfig(), now: Timestamp(0), report: &report)
    #expect(try faulty.store.owner(of: partition) == .topic(.metadataTopic))
    try #require(try opened.beginFlush()).run()
    faulty.disk.losePower(modes: [.all])
    try faulty.reopen()
    #expect(try faulty.store.owner(of: partition) == .topic(.metadataTopic))
  }

  @Test(arguments: [0, 1]) func aNewDirectoryWhoseNameCouldNotBeSyncedIsMadeAnew(after count: Int) throws {
    let disk = FaultyDisk(seed: 1)
    disk.inject(DiskFault(.syncDirectory, .io, after: count))
    func open() throws -> LogDirectory<FaultyDisk> {
      var generator = SeededGenerator(seed: 1)
      return try LogDirectory.open(
        disk: disk, path: "/var/data", nodeID: NodeID(1), clusterID: nil, newClusterID: "c", generator: &generator)
    }
    #expect(throws: StorageError.self) { _ = try open() }
    disk.killProcess()
    let id = try open().metaProperties.directoryID
    disk.losePower(modes: [.all])
    #expect(try open().metaProperties.directoryID == id)
  }

  /// The name of one partition's directory, lost by the sync of another's.
  @Test func aFailedSyncOfTheSharedDirectoryIsMadeGoodByTheNext() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch())
    faulty.store.noteHighWatermark(Offset(0), of: faulty.partition)
    faulty.disk.inject(DiskFault(.syncDirectory, .io, pathSuffix: "/data"))
    #expect(throws: StorageError.self) { try faulty.store.writeCheckpoints() }
    try faulty.log.flush()
    #expect(faulty.log.flushedOffset == Offset(3))
    faulty.disk.losePower(modes: [.all])
    try faulty.reopen()
    #expect(faulty.log.logEndOffset == Offset(3))
  }

  @Test(arguments: [".index", ".timeindex", "t-0"]) func aCheckpointThatCannotSyncEndsTheLog(path: String) throws {
    var faulty = try FaultyLog(LogConfig(indexIntervalBytes: 0))
    for _ in 0..<5 { try faulty.log.append(self.batch()) }
    try faulty.log.flush()
    let ticket = try #require(try faulty.log.beginCheckpoint())
    faulty.disk.inject(DiskFault(path == "t-0" ? .syncDirectory : .sync, .io, pathSuffix: path))
    #expect(throws: DiskError.self) { try ticket.run() }
    faulty.log.completeCheckpoint(ticket, failed: true)
    #expect(faulty.log.hasFailedSync)
    // Another sync would return, and the recovery point stand for entries that are not there.
    #expect(throws: StorageError.self) { _ = try faulty.log.beginCheckpoint() }
    #expect(throws: StorageError.self) { try faulty.log.append(self.batch()) }
    #expect(throws: StorageError.self) { try faulty.log.closeCleanly() }
    faulty.log.takeOffline("its checkpoint failed")
    try faulty.store.closeCleanly()
    try faulty.reopen()
    #expect(!faulty.report.wasClean && faulty.log.logEndOffset == Offset(15))
  }

  @Test func aCheckpointForWantOfADescriptorIsTriedAgain() throws {
    var faulty = try FaultyLog(LogConfig(indexIntervalBytes: 0))
    try faulty.log.append(self.batch())
    try faulty.log.flush()
    let ticket = try #require(try faulty.log.beginCheckpoint())
    faulty.disk.inject(DiskFault(.syncDirectory, .tooManyOpenFiles))
    #expect(throws: DiskError.self) { try ticket.run() }
    faulty.log.completeCheckpoint(ticket, failed: true)
    try faulty.log.checkpoint()
    #expect(faulty.log.recoveryPoint == Offset(3))
  }

  /// What could not be rewritten when the directory was opened is when the log is.
  @Test(arguments: [DiskFault.Operation.open, .write]) func aRewriteThatFailsIsTriedAgainWithItsLog(operation: DiskFault.Operation) throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch())
    try self.failFlush(&faulty, orderly: false)
    faulty.disk.inject(DiskFault(operation, operation == .open ? .tooManyOpenFiles : .noSpace, pathSuffix: ".log"))
    try faulty.reopen()
    #expect(faulty.log.logEndOffset == Offset(3))
    faulty.disk.losePower(modes: [.all])
    try faulty.reopen()
    #expect(faulty.log.logEndOffset == Offset(3))
  }

  // MARK: The mark of a clean stop

  @Test func aDirectoryIsNotMarkedCleanWithALogThatWasNotChecked() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch())
    faulty.disk.killProcess()
    // Stopped while its logs are still to be loaded.
    try FaultyLog.directory(faulty.disk).closeCleanly()
    try faulty.reopen()
    #expect(!faulty.store.wasClosedCleanly)
    try faulty.closeCleanly()
    // A log that nobody opens stays as clean as it was.
    try FaultyLog.directory(faulty.disk).closeCleanly()
    try faulty.reopen()
    #expect(faulty.store.wasClosedCleanly)
  }

  @Test func aDirectoryIsNotMarkedCleanWithALogThatCouldNotBeOpened() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch())
    try faulty.closeCleanly()
    faulty.disk.inject(DiskFault(.open, .tooManyOpenFiles, pathSuffix: ".log"))
    #expect(throws: StorageError.self) { try faulty.reopen() }
    try faulty.store.closeCleanly()
    #expect(try !FaultyLog.directory(faulty.disk).wasClosedCleanly)
  }
}
