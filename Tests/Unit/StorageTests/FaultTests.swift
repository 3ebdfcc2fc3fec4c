import Base
import Environment
import LogCore
import Model
import NIOCore
import Records
import Storage
import Testing
import VirtualWorld

/// One partition's log on a faulty disk, with the few steps that every test begins with.
struct FaultyLog {
  let disk: FaultyDisk
  let partition = TopicPartition("t", PartitionID(0))
  let config: LogConfig
  var store: LogDirectory<FaultyDisk>
  var log: PartitionLog<FaultyDisk>
  var report = RecoveryReport(topicPartition: TopicPartition("t", PartitionID(0)), wasClean: true, recoveryPoint: .zero)

  static func directory(_ disk: FaultyDisk) throws -> LogDirectory<FaultyDisk> {
    var generator = SeededGenerator(seed: 1)
    return try LogDirectory.open(disk: disk, path: "/data", nodeID: NodeID(1), clusterID: nil, newClusterID: "c", generator: &generator)
  }

  init(_ config: LogConfig = LogConfig(), seed: UInt64 = 1) throws {
    self.disk = FaultyDisk(seed: seed)
    self.config = config
    self.store = try Self.directory(self.disk)
    self.log = try PartitionLog.create(in: self.store, topicPartition: self.partition, topicID: nil, config: config, now: Timestamp(0))
  }

  /// After `killProcess`, `losePower` or a clean close.
  mutating func reopen() throws {
    self.store = try Self.directory(self.disk)
    (self.log, self.report) = try PartitionLog.open(in: self.store, topicPartition: self.partition, config: self.config, now: Timestamp(0))
  }

  mutating func closeCleanly() throws {
    try self.log.closeCleanly()
    try self.store.closeCleanly()
  }

  func path(_ name: String) -> String { "/data/t-0/" + name }
  static let segment = "00000000000000000000.log"
  static let index = "00000000000000000000.index"
}

@Suite struct FaultTests {
  private func batch(_ index: Int = 0, byteCount: Int = 100) -> ByteBuffer {
    makeBatch(values: [[UInt8](repeating: UInt8(truncatingIfNeeded: index), count: byteCount)], baseTimestamp: 1_000 + Int64(index))
  }

  @Test func aFullDiskRefusesTheBatchAndKeepsTheLog() throws {
    var faulty = try FaultyLog()
    for index in 0..<10 { try faulty.log.append(self.batch(index)) }
    let before = try faulty.log.readAll()
    let size = faulty.disk.contents(of: faulty.path(FaultyLog.segment))!.count
    faulty.disk.setCapacity(faulty.disk.usedByteCount + 50)
    let error = #expect(throws: StorageError.self) { try faulty.log.append(self.batch(10)) }
    #expect(error?.errorCode == .kafkaStorageError && "\(error!)".contains("no space left"))
    #expect(faulty.log.state == .online && faulty.log.logEndOffset == Offset(10))
    #expect(faulty.disk.contents(of: faulty.path(FaultyLog.segment))!.count == size)
    #expect(try faulty.log.readAll() == before)
    // With room again it goes on where it was.
    faulty.disk.setCapacity(.max)
    #expect(try faulty.log.append(self.batch(10)).baseOffset == Offset(10))
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(faulty.log.logEndOffset == Offset(11) && faulty.report.removedByteCount == 0)
  }

  @Test func aTornWriteThatCannotBeUndoneTakesTheLogOffline() throws {
    var faulty = try FaultyLog()
    for index in 0..<3 { try faulty.log.append(self.batch(index)) }
    try faulty.log.flush()
    try faulty.log.append(self.batch(3))
    let durable = try faulty.log.readAll(upTo: Offset(3))
    faulty.disk.inject(DiskFault(.write, .io, pathSuffix: ".log"))
    faulty.disk.inject(DiskFault(.truncate, .io, pathSuffix: ".log"))
    #expect(throws: StorageError.self) { try faulty.log.append(self.batch(4)) }
    guard case .offline = faulty.log.state else { Issue.record("the log is \(faulty.log.state)"); return }
    #expect(throws: StorageError.self) { try faulty.log.append(self.batch(4)) }
    #expect(try faulty.log.readAll(upTo: Offset(3)) == durable)
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(faulty.log.logEndOffset == Offset(4))
  }

  @Test func aFailedSyncIsNeverTriedAgain() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch(0))
    try faulty.log.flush()
    try faulty.log.append(self.batch(1))
    let ticket = try #require(try faulty.log.beginFlush())
    faulty.disk.inject(DiskFault(.sync, .io, pathSuffix: ".log"))
    #expect(throws: DiskError.self) { try ticket.run() }
    faulty.log.takeOffline("sync failed")
    #expect(faulty.log.flushedOffset == Offset(1))
    #expect(faulty.log.completeFlush(ticket) == Offset(1))
    #expect(throws: StorageError.self) { _ = try faulty.log.beginFlush() }
    // What was durable before is served, the rest is not.
    #expect(headers(in: try faulty.log.read(from: .zero, maxBytes: 1 << 20, upTo: Offset(2), minOneBatch: true).bytes()).count == 1)
    #expect(throws: StorageError.self) { _ = try faulty.log.read(from: Offset(1), maxBytes: 1, upTo: Offset(2), minOneBatch: true) }
    // An orderly end of the process leaves no clean mark.
    try faulty.store.closeCleanly()
    // The page cache took the lost pages for clean: after a loss of power the batch is gone, and the log whole.
    faulty.disk.losePower()
    try faulty.reopen()
    #expect(faulty.log.logEndOffset == Offset(1))
  }

  @Test func aReadOnlyDirectoryIsToldAtTheStart() throws {
    let disk = FaultyDisk(seed: 1)
    disk.setReadOnly(true)
    let error = #expect(throws: StorageError.self) { _ = try FaultyLog.directory(disk) }
    #expect("\(error!)".contains("read-only"))
  }

  @Test(arguments: [0, 1, 60, 61, 100, 200, 500]) func zerosBehindTheLastBatchAreCutOff(zeros: Int) throws {
    var faulty = try FaultyLog()
    for index in 0..<3 { try faulty.log.append(self.batch(index)) }
    let whole = try faulty.log.readAll()
    let file = try faulty.disk.open(faulty.path(FaultyLog.segment), .readWrite)
    try file.truncate(to: Int64(whole.count + zeros))
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(try faulty.log.readAll() == whole)
    #expect(faulty.report.removedByteCount == Int64(zeros))
    #expect(faulty.disk.contents(of: faulty.path(FaultyLog.segment))!.count == whole.count)
  }

  @Test func aFlippedBitBehindTheRecoveryPointCutsTheLogThereAndSaysSo() throws {
    var faulty = try FaultyLog()
    for index in 0..<5 { try faulty.log.append(self.batch(index)) }
    let size = try faulty.log.readAll(upTo: Offset(1)).count
    faulty.disk.corrupt(faulty.path(FaultyLog.segment), at: 3 * size + 80)
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(faulty.log.logEndOffset == Offset(3))
    #expect(
      faulty.report.notices.contains {
        if case .tailTruncated(_, Int64(3 * size), Int64(2 * size), .wrongChecksum) = $0 { true } else { false }
      })
  }

  @Test func recoveryReadsFromTheRecoveryPointOnly() throws {
    var faulty = try FaultyLog(LogConfig(indexIntervalBytes: 300))
    for index in 0..<200 { try faulty.log.append(self.batch(index)) }
    try faulty.log.flush()
    try faulty.log.checkpoint()
    try faulty.store.writeCheckpoints()
    for index in 200..<210 { try faulty.log.append(self.batch(index)) }
    let all = try faulty.log.readAll()
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(faulty.report.recoveryPoint == Offset(200))
    // The ten batches behind the point, and those since the index entry before it.
    #expect(faulty.report.scannedByteCount <= Int64(all.count / 210 * 14))
    #expect(try faulty.log.readAll() == all)
  }

  @Test(arguments: ["shortened", "garbage", "missing", "wrong position"]) func aBadIndexIsMadeAnew(kind: String) throws {
    var faulty = try FaultyLog(LogConfig(indexIntervalBytes: 300))
    for index in 0..<50 { try faulty.log.append(self.batch(index)) }
    let all = try faulty.log.readAll()
    try faulty.closeCleanly()
    let path = faulty.path(FaultyLog.index)
    let good = faulty.disk.contents(of: path)!
    #expect(good.count > 80)
    switch kind {
    case "shortened": try faulty.disk.open(path, .readWrite).truncate(to: Int64(good.count - 3))
    case "garbage": for position in good.indices { faulty.disk.corrupt(path, at: position, flipping: 0x5A) }
    case "missing": try faulty.disk.removeFile(path)
    default: faulty.disk.corrupt(path, at: good.count - 1, flipping: 7)
    }
    try faulty.reopen()
    #expect(faulty.report.notices.contains { if case .indexRebuilt = $0 { true } else { false } })
    #expect(try faulty.log.readAll(maxBytes: 300) == all)
    for offset in 0..<50 {
      let slice = try faulty.log.read(from: Offset(Int64(offset)), maxBytes: 1, upTo: Offset(50), minOneBatch: true)
      #expect(headers(in: try slice.bytes()).map { $0.baseOffset } == [Offset(Int64(offset))])
    }
    try faulty.closeCleanly()
    #expect(faulty.disk.contents(of: path) == good)
  }

  @Test func aBadIndexOfAnOldSegmentIsMadeAnewWhenItIsRead() throws {
    var faulty = try FaultyLog(LogConfig(indexIntervalBytes: 300))
    for index in 0..<50 { try faulty.log.append(self.batch(index)) }
    try faulty.log.roll(now: Timestamp(0))
    try faulty.log.append(self.batch(50))
    let all = try faulty.log.readAll()
    try faulty.closeCleanly()
    faulty.disk.corrupt(faulty.path(FaultyLog.index), at: 39, flipping: 0xFF)
    try faulty.reopen()
    #expect(faulty.report.wasClean && faulty.report.notices.isEmpty)
    #expect(try faulty.log.readAll(maxBytes: 250) == all)
    for offset in 0..<50 { _ = try faulty.log.read(from: Offset(Int64(offset)), maxBytes: 1, upTo: Offset(50), minOneBatch: true) }
    #expect(faulty.log.takeNotices().contains { if case .indexRebuilt = $0 { true } else { false } })
  }

  @Test func aBadSnapshotIsMadeAnewFromTheLog() throws {
    var faulty = try FaultyLog()
    let first = makeBatch(values: [[1], [2]], producerID: 9, producerEpoch: 0, baseSequence: 0)
    try faulty.log.append(first)
    try faulty.closeCleanly()
    faulty.disk.corrupt(faulty.path("00000000000000000002.snapshot"), at: 12)
    try faulty.reopen()
    let result = try faulty.log.append(first)
    #expect(result.isDuplicate && result.baseOffset == .zero && result.lastOffset == Offset(1))
    #expect(faulty.log.takeNotices().contains { if case .snapshotDiscarded = $0 { true } else { false } })
  }

  @Test func anUnknownFileIsReportedAndLeftAlone() throws {
    var faulty = try FaultyLog()
    _ = try faulty.disk.open(faulty.path("notes.txt"), .create)
    try faulty.disk.createDirectory("/data/photos")
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(faulty.report.notices.contains { if case .strangeEntry("/data/t-0/notes.txt", _) = $0 { true } else { false } })
    let listing = try faulty.store.list()
    #expect(listing.partitions == [faulty.partition] && listing.notices.count == 1)
  }
}
