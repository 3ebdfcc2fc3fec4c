import Compression
import Environment
import Foundation
import LogCore
import Model
import NIOCore
import PosixDisk
import Records
import Storage
import Testing
import VirtualWorld

@Suite struct PartitionLogTests {
  private func batch(_ index: Int = 0) -> ByteBuffer {
    makeBatch(values: [Array("value \(index)".utf8)], baseTimestamp: 1_000 + Int64(index))
  }

  @Test func readsRefuseWhatIsOutOfRange() throws {
    var faulty = try FaultyLog()
    for index in 0..<3 { try faulty.log.append(self.batch(index)) }
    try faulty.log.advanceLogStart(to: Offset(1))
    for offset in [-1, 0, 4, Int64.max] {
      #expect(throws: StorageError.offsetOutOfRange(requested: Offset(offset), logStartOffset: Offset(1), logEndOffset: Offset(3))) {
        _ = try faulty.log.read(from: Offset(offset), maxBytes: 100, upTo: Offset(3), minOneBatch: true)
      }
    }
    #expect(try faulty.log.read(from: Offset(3), maxBytes: 100, upTo: Offset(3), minOneBatch: true).isEmpty)
    #expect(throws: StorageError.self) { try faulty.log.advanceLogStart(to: Offset(4)) }
  }

  @Test func nothingAboveTheEndGivenIsRead() throws {
    var faulty = try FaultyLog()
    for index in 0..<3 { try faulty.log.append(makeBatch(values: [[1], [2], [UInt8(index)]])) }
    // A high watermark in the middle of a batch hides all of it.
    for (end, count) in [(Int64(0), 0), (2, 0), (3, 1), (5, 1), (6, 2), (9, 3), (100, 3)] {
      let slice = try faulty.log.read(from: .zero, maxBytes: 1 << 20, upTo: Offset(end), minOneBatch: true)
      #expect(headers(in: try slice.bytes()).count == count, "up to \(end)")
    }
  }

  @Test func badBatchesAreRefusedAndLeaveNothing() throws {
    var faulty = try FaultyLog(LogConfig(segmentBytes: 500))
    try faulty.log.append(self.batch())
    let size = faulty.disk.contents(of: faulty.path(FaultyLog.segment))!.count
    var wrong = header(of: self.batch())
    wrong.batchLength += 1
    #expect(throws: StorageError.self) {
      _ = try faulty.log.append(wrong, batch: self.batch(), leaderEpoch: LeaderEpoch(0), now: Timestamp(0))
    }
    let large = makeBatch(values: [[UInt8](repeating: 0, count: 600)])
    #expect(throws: StorageError.batchTooLarge(byteCount: large.readableBytes, limit: 500)) { try faulty.log.append(large) }
    var damaged = makeBatch(values: [[1]], baseOffset: 1)
    damaged.setInteger(UInt8(9), at: damaged.writerIndex - 1)
    #expect(throws: StorageError.self) { _ = try faulty.log.appendAsFollower(damaged, now: Timestamp(0)) }
    #expect(throws: StorageError.unexpectedOffset(.zero, expected: Offset(1))) {
      _ = try faulty.log.appendAsFollower(makeBatch(values: [[1]], baseOffset: 0), now: Timestamp(0))
    }
    #expect(faulty.disk.contents(of: faulty.path(FaultyLog.segment))!.count == size && faulty.log.logEndOffset == Offset(1))
    // A fetch cuts its last batch short: the whole ones are taken.
    var fetched = makeBatch(values: [[1], [2]], baseOffset: 1)
    var partial = makeBatch(values: [[3]], baseOffset: 3)
    fetched.writeImmutableBuffer(partial.readSlice(length: partial.readableBytes - 1)!)
    #expect(try faulty.log.appendAsFollower(fetched, now: Timestamp(0))?.lastOffset == Offset(2))
  }

  @Test func producersAreFencedAndCheckedByKafkasRules() throws {
    var faulty = try FaultyLog()
    func send(_ sequence: Int32, epoch: Int16 = 0) -> ByteBuffer {
      makeBatch(values: [[1]], producerID: 5, producerEpoch: epoch, baseSequence: sequence)
    }
    try faulty.log.append(send(0))
    try faulty.log.append(send(1))
    #expect(try faulty.log.append(send(0)).isDuplicate)
    let gap = #expect(throws: StorageError.self) { try faulty.log.append(send(3)) }
    #expect(gap?.errorCode == .outOfOrderSequenceNumber)
    try faulty.log.append(send(0, epoch: 1))
    let fenced = #expect(throws: StorageError.self) { try faulty.log.append(send(2)) }
    #expect(fenced?.errorCode == .invalidProducerEpoch)
    #expect(faulty.log.logEndOffset == Offset(3))
    try faulty.closeCleanly()
    try faulty.reopen()
    #expect(try faulty.log.append(send(0, epoch: 1)).isDuplicate)
    #expect(try faulty.log.append(send(1, epoch: 1)).baseOffset == Offset(3))
  }

  @Test func removedSegmentsAreRenamedAndThenRemovedButReadersGoOn() throws {
    var faulty = try FaultyLog(LogConfig(retentionBytes: 1))
    for index in 0..<3 {
      try faulty.log.append(self.batch(index))
      try faulty.log.roll(now: Timestamp(0))
    }
    let slice = try faulty.log.read(from: .zero, maxBytes: 1000, upTo: Offset(3), minOneBatch: true)
    let removal = try #require(try faulty.log.removeOld(below: Offset(3)))
    #expect(removal.segments.map { $0.baseOffset } == [.zero, Offset(1)])
    #expect(removal.segments.allSatisfy { $0.reason == .byteCount } && removal.delay == .seconds(60))
    #expect(faulty.log.logStartOffset == Offset(2))
    try removal.mark()
    #expect(try faulty.disk.kind(of: faulty.path("00000000000000000001.log.deleted")) == .file)
    #expect(try faulty.disk.kind(of: faulty.path("00000000000000000001.log")) == nil)
    #expect(headers(in: try slice.bytes()).map { $0.baseOffset } == [.zero])
    try removal.remove()
    #expect(try faulty.disk.list("/data/t-0").allSatisfy { !$0.name.hasSuffix(".deleted") })
  }

  @Test func aDeletedPartitionMakesRoomAtOnce() throws {
    var faulty = try FaultyLog()
    for index in 0..<3 { try faulty.log.append(self.batch(index)) }
    try faulty.log.flush()
    try faulty.log.checkpoint()
    try faulty.store.writeCheckpoints()
    let removal = try faulty.log.delete(id: KafkaUUID(high: 1, low: 2))
    try removal.mark()
    #expect(throws: StorageError.notFound(path: "/data/t-0")) { try faulty.log.append(self.batch()) }
    var next = try PartitionLog.create(
      in: faulty.store, topicPartition: faulty.partition, topicID: nil, config: LogConfig(), now: Timestamp(0))
    #expect(try next.append(self.batch()).baseOffset == .zero)
    #expect(try faulty.store.list().deleted == [removal.path])
    try removal.run()
    #expect(try faulty.store.list().deleted == [])
    // The recovery point of the old one does not vouch for the new one.
    faulty.disk.killProcess()
    try faulty.reopen()
    #expect(faulty.report.recoveryPoint == .zero && faulty.report.scannedByteCount > 0 && faulty.log.logEndOffset == Offset(1))
  }

  @Test func flushesBeginWhereTheLastOneEnded() throws {
    var faulty = try FaultyLog()
    try faulty.log.append(self.batch())
    let first = try #require(try faulty.log.beginFlush())
    try faulty.log.append(self.batch())
    try first.run()
    #expect(faulty.log.completeFlush(first) == Offset(1))
    #expect(faulty.log.hasUnflushed)
    let second = try #require(try faulty.log.beginFlush())
    try second.run()
    #expect(faulty.log.completeFlush(second) == Offset(2))
    #expect(try faulty.log.beginFlush() == nil && !faulty.log.hasUnflushed)
  }

  @Test func openFilesAreBoundedAndIdleLogsHoldNone() throws {
    let directory = TemporaryDirectory()
    var store = try directory.open(openFilesMax: 16)
    let config = LogConfig(holdsUnsyncedFiles: false)
    var logs: [PartitionLog<PosixDisk>] = []
    for index in 0..<100 {
      logs.append(
        try PartitionLog.create(
          in: store, topicPartition: TopicPartition("t", PartitionID(Int32(index))), topicID: nil, config: config, now: Timestamp(0)))
    }
    for round in 0..<3 { for index in logs.indices { try logs[index].append(self.batch(round)) } }
    #expect(store.files.openCount <= 16)
    for index in logs.indices { #expect(headers(in: try logs[index].readAll()).count == 3) }
    #expect(store.files.openCount <= 16)
    for index in logs.indices { try logs[index].closeCleanly() }
    try store.closeCleanly()
    store = try directory.open(openFilesMax: 16)
    let loader = PartitionLoader(store: store, partitions: try store.list().partitions, now: Timestamp(0)) { _ in config }
    #expect(loader.work())
    #expect(loader.outcomes().count == 100)
    for outcome in loader.outcomes() { #expect(try outcome.result.get().log.logEndOffset == Offset(3)) }
    #expect(store.files.openCount == 0)
  }

  #if os(Linux)
    @Test func newPartitionsHoldNoFilesOpenBeyondTheLimit() throws {
      let directory = TemporaryDirectory()
      let store = try directory.open(openFilesMax: 16)
      var logs: [PartitionLog<PosixDisk>] = []
      for index in 0..<100 {
        let partition = TopicPartition("t", PartitionID(Int32(index)))
        logs.append(
          try PartitionLog.create(in: store, topicPartition: partition, topicID: .metadataTopic, config: LogConfig(), now: Timestamp(0)))
      }
      // Other tests run beside this one, so only the files in this directory are counted.
      let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").filter { name in
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(name)"))?.hasPrefix(directory.path) ?? false
      }
      #expect(open.count <= 17)
      for index in logs.indices { try logs[index].flush() }
      #expect(logs.allSatisfy { !$0.hasUnflushed })
    }
  #endif

  @Test func reservedBlocksAreGivenBackAtARoll() throws {
    let directory = TemporaryDirectory()
    let store = try directory.open()
    var log = try PartitionLog.create(
      in: store, topicPartition: TopicPartition("t", PartitionID(0)), topicID: nil, config: LogConfig(), now: Timestamp(0))
    let batch = makeBatch(values: [[UInt8](repeating: 1, count: 1 << 20)])
    for _ in 0..<6 { try log.append(batch) }
    let path = directory.path + "/t-0/00000000000000000000.log"
    var status = stat()
    stat(path, &status)
    #expect(Int(status.st_size) == 6 * batch.readableBytes)
    try log.roll(now: Timestamp(0))
    stat(path, &status)
    #expect(Int(status.st_blocks) * 512 <= 6 * batch.readableBytes + 65_536)
    try log.closeCleanly()
  }
}
