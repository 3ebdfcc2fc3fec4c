import Base
import Compression
import Environment
import LogCore
import Model
import NIOCore
import Records
import Storage
import VirtualWorld

/// Drives one partition's log through a life of appends, flushes, rolls, truncations, retention, restarts, kills and losses of
/// power, all drawn from a seed, next to a model that is an array of batches; and compares the two.
struct LogSimulation {
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }
  struct Options {
    var losesPower = true
    var killsProcess = true
    /// The power may go in the middle of any call that changes the disk.
    var failsInTheMiddle = true
    var truncates = true
    /// A sync, write or rename may fail, which ends the process: another finds what was written, whether it reached the disk or not.
    var failsCalls = false
    var lives = 4
    var operations = 40
  }
  struct StoredBatch {
    var header: BatchHeader
    var bytes: [UInt8]
    var timestamps: [Int64]
  }

  let seed: UInt64
  let options: Options
  let disk: FaultyDisk
  let partition = TopicPartition("t", PartitionID(0))
  var generator: SeededGenerator
  var config: LogConfig
  /// What the log holds, or may hold: in order.
  var batches: [StoredBatch] = []
  /// How many of them a completed flush covers.
  var durableCount = 0
  var logStartOffset: Int64 = 0
  /// The log start that is sure to be found again.
  var durableLogStart: Int64 = 0
  var exists = false
  var sequences: [Int64: Int32] = [:]
  var epoch: Int32 = 0
  var clock: Int64 = 1_000
  var wasClosedCleanly = false
  /// The process was killed, but the power stayed: everything that was written is there.
  var survivesWhole = false
  /// Below, the leader epochs may be forgotten.
  var epochFloor: Int64 = 0
  var producerBase: Int64 = 0
  /// What was done, in order: printed by whoever looks into a seed.
  var trace: [String] = []
  let decompressor = Decompressor()
  let compressor = Compressor()

  init(seed: UInt64, options: Options = Options()) {
    self.seed = seed
    self.options = options
    self.disk = FaultyDisk(seed: seed)
    var generator = SeededGenerator(seed: seed ^ 0x5EED)
    self.config = LogConfig(
      segmentBytes: Int.random(in: 400...4000, using: &generator),
      segmentAge: .milliseconds(Int.random(in: 500...20_000, using: &generator)),
      segmentIndexBytes: Int.random(in: 24...400, using: &generator), indexIntervalBytes: Int.random(in: 0...400, using: &generator),
      retentionBytes: Int64.random(in: 500...20_000, using: &generator), retentionAge: nil)
    self.generator = generator
  }

  mutating func run() throws {
    for _ in 0..<self.options.lives {
      do { try self.live() } catch let error as Failure {
        throw Failure(description: "seed \(self.seed): \(error.description)")
      }
    }
  }

  // MARK: A life

  private mutating func live() throws {
    let failsInTheMiddle = self.options.losesPower && self.options.failsInTheMiddle && self.chance(2)
    let failsCalls = self.options.failsCalls && self.chance(2)
    if failsCalls { self.failCall() }
    if failsInTheMiddle, self.chance(4) { self.disk.failPower(afterChanges: Int.random(in: 0...15, using: &self.generator)) }
    var isUp = true
    do {
      let store = try self.openDirectory()
      var log = try self.openLog(store)
      if failsInTheMiddle { self.disk.failPower(afterChanges: Int.random(in: 0...200, using: &self.generator)) }
      for _ in 0..<Int.random(in: 1...self.options.operations, using: &self.generator) { try self.step(&log, store) }
      if self.chance(3) {
        self.trace.append("close")
        try log.closeCleanly()
        // Before the mark is made: if the power goes meanwhile, it may be there or not.
        self.wasClosedCleanly = true
        try store.closeCleanly(brokerEpoch: BrokerEpoch(1))
        self.durableCount = self.batches.count
        self.durableLogStart = self.logStartOffset
      }
    } catch let error as StorageError {
      // Only the loss of power, or a call that fails, may throw here: everything else is a bug.
      guard failsInTheMiddle || failsCalls, error.isOfDisk else { throw Failure(description: "unexpected: \(error)") }
      isUp = false
    } catch let error as DiskError {
      guard failsInTheMiddle || failsCalls else { throw Failure(description: "unexpected: \(error)") }
      isUp = false
    }
    self.disk.makeWell()
    if !isUp, failsCalls, self.chance(2) {
      self.trace.append("a call failed: kill")
      self.disk.killProcess()
      // What was under way when it failed may be there or not. Whatever is there must be so for good.
      self.survivesWhole = false
      return
    }
    let kills = self.options.killsProcess && (!self.options.losesPower || self.chance(3))
    self.trace.append(isUp && kills ? "kill" : "power")
    if isUp, kills {
      self.disk.killProcess()
      self.survivesWhole = true
    } else {
      self.disk.losePower()
      self.survivesWhole = false
    }
  }

  private mutating func failCall() {
    let operation = [DiskFault.Operation.sync, .sync, .syncDirectory, .write, .rename].randomElement(using: &self.generator)!
    self.trace.append("a \(operation) is to fail")
    self.disk.inject(DiskFault(operation, .io, after: Int.random(in: 0...20, using: &self.generator)))
  }

  private mutating func openDirectory() throws -> LogDirectory<FaultyDisk> {
    let store = try LogDirectory.open(
      disk: self.disk, path: "/data", nodeID: NodeID(1), clusterID: nil, newClusterID: "c", openFilesMax: 8, generator: &self.generator)
    guard !store.wasClosedCleanly || self.wasClosedCleanly else { throw Failure(description: "a clean mark that nobody made") }
    return store
  }

  private mutating func openLog(_ store: LogDirectory<FaultyDisk>) throws -> PartitionLog<FaultyDisk> {
    self.wasClosedCleanly = false
    let directory = store.directory(of: self.partition)
    if try self.disk.kind(of: directory) == nil {
      self.survivesWhole = false
      guard self.durableCount == 0 else { throw Failure(description: "the directory is gone with \(self.durableCount) durable batches") }
      self.batches = []
      self.logStartOffset = 0
      self.durableLogStart = 0
      self.epochFloor = 0
      self.sequences = [:]
      return try PartitionLog.create(
        in: store, topicPartition: self.partition, topicID: .zero, config: self.config, now: Timestamp(self.clock))
    }
    var (log, report) = try PartitionLog.open(in: store, topicPartition: self.partition, config: self.config, now: Timestamp(self.clock))
    self.trace.append(
      "open: \(log.logStartOffset)..<\(log.logEndOffset), clean \(report.wasClean), from \(report.recoveryPoint), \(report.notices)"
    )
    try self.compareAfterRestart(&log)
    return log
  }

  /// What recovery found must be a prefix of what was appended, with everything that was durable in it.
  private mutating func compareAfterRestart(_ log: inout PartitionLog<FaultyDisk>) throws {
    // The start may be an older one, whose checkpoint was written; never one that was not reached.
    guard (self.durableLogStart...self.logStartOffset).contains(log.logStartOffset.rawValue) else {
      throw Failure(description: "log start \(log.logStartOffset), expected \(self.durableLogStart)...\(self.logStartOffset)")
    }
    let found = try log.readAll()
    var position = 0
    var count = self.batches.count
    let first = self.batches.firstIndex { $0.header.lastOffset >= log.logStartOffset } ?? self.batches.count
    for index in first..<self.batches.count {
      let bytes = self.batches[index].bytes
      if position == found.count {
        count = index
        break
      }
      guard position + bytes.count <= found.count, Array(found[position..<position + bytes.count]) == bytes else {
        throw Failure(description: "batch \(index) at offset \(self.batches[index].header.baseOffset) is not as it was appended")
      }
      position += bytes.count
    }
    guard position == found.count else { throw Failure(description: "\(found.count - position) bytes were invented") }
    if self.survivesWhole { self.durableCount = self.batches.count }
    self.survivesWhole = false
    guard count >= self.durableCount else {
      throw Failure(
        description: "\(self.durableCount - count) durable batches are lost (of \(self.durableCount)), the log ends at \(log.logEndOffset)")
    }
    self.batches.removeSubrange(count...)
    if let last = self.batches.last, last.header.lastOffset < log.logStartOffset {
      self.batches = []
      // The log may know the producers still, or not: others take their place.
      self.producerBase += 4
    }
    let end = self.batches.last?.header.nextOffset ?? log.logStartOffset
    guard log.logEndOffset == max(end, log.logStartOffset) else {
      throw Failure(description: "the log ends at \(log.logEndOffset), not \(end)")
    }
    self.logStartOffset = log.logStartOffset.rawValue
    self.durableLogStart = min(self.durableLogStart, self.logStartOffset)
    self.durableCount = self.batches.count
    // Sequences of batches that are lost are free again.
    self.sequences = [:]
    for batch in self.batches where batch.header.producerID.rawValue >= 0 {
      self.sequences[batch.header.producerID.rawValue] = batch.header.lastSequence
    }
    try self.compare(&log)
  }

  // MARK: A step

  private mutating func step(_ log: inout PartitionLog<FaultyDisk>, _ store: LogDirectory<FaultyDisk>) throws {
    self.clock += Int64.random(in: 0...300, using: &self.generator)
    switch Int.random(in: 0..<100, using: &self.generator) {
    case 0..<55: try self.append(&log)
    case 55..<68: try self.flush(&log)
    case 68..<73:
      if let ticket = try log.beginCheckpoint() {
        self.trace.append("checkpoint \(ticket.recoveryPoint)")
        if self.chance(3) { try self.append(&log) }
        try ticket.run()
        log.completeCheckpoint(ticket)
      }
    case 73..<77:
      self.trace.append("write checkpoints")
      try store.writeCheckpoints()
      self.durableLogStart = self.logStartOffset
    case 77..<80:
      self.trace.append("roll at \(log.logEndOffset)")
      try log.roll(now: Timestamp(self.clock))
    case 80..<84: if self.options.truncates { try self.truncate(&log) }
    case 84..<88: try self.removeOld(&log)
    case 88..<90: try self.repeatLast(&log)
    default: try self.compare(&log)
    }
  }

  private mutating func makeStoredBatch(_ log: PartitionLog<FaultyDisk>) -> (ByteBuffer, StoredBatch) {
    var attributes = RecordBatchBuilder.Attributes()
    if self.chance(4) { attributes.codec = [.gzip, .zstd, .lz4, .snappy].randomElement(using: &self.generator)! }
    if self.chance(2) {
      let id = self.producerBase + Int64.random(in: 0...3, using: &self.generator)
      attributes.producerID = ProducerID(id)
      attributes.producerEpoch = ProducerEpoch(0)
      attributes.baseSequence = self.sequences[id].map { $0 + 1 } ?? 0
    }
    var builder = RecordBatchBuilder(attributes)
    var timestamps: [Int64] = []
    for _ in 0..<Int.random(in: 1...4, using: &self.generator) {
      let value = [UInt8](
        repeating: UInt8.random(in: 0...255, using: &self.generator), count: Int.random(in: 0...120, using: &self.generator))
      timestamps.append(self.clock + Int64.random(in: -400...400, using: &self.generator))
      value.withUnsafeBytes { try! builder.append(timestamp: Timestamp(timestamps.last!), key: nil, value: $0) }
    }
    let batch = try! builder.finish(using: self.compressor)
    var header = header(of: batch)
    header.baseOffset = log.logEndOffset
    if self.chance(15) { self.epoch += 1 }
    header.partitionLeaderEpoch = LeaderEpoch(self.epoch)
    var bytes = header.withBytes { Array($0) }
    bytes += batch.readableBytesView.dropFirst(BatchHeader.byteCount)
    return (batch, StoredBatch(header: header, bytes: bytes, timestamps: timestamps))
  }

  private mutating func append(_ log: inout PartitionLog<FaultyDisk>) throws {
    let (batch, stored) = self.makeStoredBatch(log)
    guard stored.bytes.count <= self.config.segmentBytes else { return }
    // In the model before it is in the log: if the power goes now, it may be there or not.
    self.batches.append(stored)
    let (first, last) = (stored.header.baseOffset, stored.header.lastOffset)
    self.trace.append("append \(first)...\(last) producer \(stored.header.producerID) sequence \(stored.header.baseSequence)")
    let result: AppendResult
    if self.chance(5) {
      result = try log.appendAsFollower(ByteBuffer(bytes: stored.bytes), now: Timestamp(self.clock))!
    } else {
      result = try log.append(header(of: batch), batch: batch, leaderEpoch: LeaderEpoch(self.epoch), now: Timestamp(self.clock))
    }
    if stored.header.producerID.rawValue >= 0 { self.sequences[stored.header.producerID.rawValue] = stored.header.lastSequence }
    guard result.baseOffset == stored.header.baseOffset, result.lastOffset == stored.header.lastOffset, !result.isDuplicate else {
      throw Failure(description: "appended at \(result.baseOffset), expected \(stored.header.baseOffset)")
    }
  }

  private mutating func flush(_ log: inout PartitionLog<FaultyDisk>) throws {
    guard let ticket = try log.beginFlush(sealedOnly: self.chance(5)) else { return }
    self.trace.append("flush to \(ticket.endOffset)")
    let covered = self.batches.count { $0.header.lastOffset < ticket.endOffset }
    // Appends, rolls and cuts go on while the disk works.
    for _ in 0..<Int.random(in: 0...2, using: &self.generator) { try self.append(&log) }
    if self.chance(6), self.options.truncates { try self.truncate(&log) }
    try ticket.run()
    let flushed = log.completeFlush(ticket)
    self.trace.append("flushed to \(flushed)")
    if flushed >= ticket.endOffset { self.durableCount = max(self.durableCount, min(covered, self.batches.count)) }
  }

  private mutating func truncate(_ log: inout PartitionLog<FaultyDisk>) throws {
    guard let batch = self.batches.randomElement(using: &self.generator), batch.header.lastOffset.rawValue >= self.logStartOffset else {
      return
    }
    let target = batch.header.baseOffset + Int64.random(in: 0...Int64(batch.header.lastOffsetDelta), using: &self.generator)
    let kept = self.batches.firstIndex { $0.header.lastOffset >= target } ?? self.batches.count
    guard kept >= (self.batches.firstIndex { $0.header.lastOffset.rawValue >= self.logStartOffset } ?? 0) else { return }
    self.durableCount = min(self.durableCount, kept)
    self.durableLogStart = min(self.durableLogStart, batch.header.baseOffset.rawValue)
    self.trace.append("truncate to \(target)")
    try log.truncate(to: target, now: Timestamp(self.clock))
    self.batches.removeSubrange(kept...)
    self.logStartOffset = min(self.logStartOffset, log.logEndOffset.rawValue)
    self.durableLogStart = min(self.durableLogStart, self.logStartOffset)
    self.durableCount = min(self.durableCount, self.batches.count)
    self.sequences = [:]
    for batch in self.batches where batch.header.producerID.rawValue >= 0 {
      self.sequences[batch.header.producerID.rawValue] = batch.header.lastSequence
    }
    let end = self.batches.last?.header.nextOffset ?? log.logEndOffset
    guard log.logEndOffset == end else {
      throw Failure(description: "truncated to \(target), the log ends at \(log.logEndOffset), not \(end)")
    }
    try self.compare(&log)
  }

  private mutating func removeOld(_ log: inout PartitionLog<FaultyDisk>) throws {
    if self.chance(2) {
      let target = Int64.random(in: self.logStartOffset...log.logEndOffset.rawValue, using: &self.generator)
      self.logStartOffset = target
      self.trace.append("delete records below \(target)")
      self.epochFloor = max(self.epochFloor, target)
      try log.advanceLogStart(to: Offset(target))
    }
    let mark = self.chance(2) ? log.logEndOffset : log.flushedOffset
    guard let ticket = try log.beginRetention(highWatermark: mark, now: Timestamp(self.clock)) else { return }
    // Appends and cuts go on while the disk works.
    for _ in 0..<Int.random(in: 0...2, using: &self.generator) { try self.append(&log) }
    if self.chance(6), self.options.truncates { try self.truncate(&log) }
    let before = log.logStartOffset
    // What is about to be removed may come back or not if the power goes now.
    let removal: SegmentRemoval<FaultyDisk>?
    do { removal = try log.completeRetention(ticket, isCheckpointed: try ticket.run()) } catch {
      self.logStartOffset = log.logEndOffset.rawValue
      throw error
    }
    guard log.logStartOffset >= before else { throw Failure(description: "the log start went back") }
    self.logStartOffset = log.logStartOffset.rawValue
    self.epochFloor = max(self.epochFloor, self.logStartOffset)
    if let removal {
      self.trace.append("retention up to \(log.logStartOffset)")
      try removal.mark()
      if self.chance(2) { try removal.remove() }
    }
  }

  private mutating func repeatLast(_ log: inout PartitionLog<FaultyDisk>) throws {
    // Any of the last five of a producer: so many may be in flight, and the answers of all be lost.
    guard let newest = self.batches.last(where: { $0.header.producerID.rawValue >= 0 }) else { return }
    let window = self.batches.filter { $0.header.producerID == newest.header.producerID }.suffix(ProducerEntry.batchesKept)
    guard let last = window.randomElement(using: &self.generator), last.header.lastOffset.rawValue >= self.logStartOffset else { return }
    let batch = ByteBuffer(bytes: last.bytes)
    let before = log.logEndOffset
    let result = try log.append(last.header, batch: batch, leaderEpoch: LeaderEpoch(self.epoch), now: Timestamp(self.clock))
    guard result.isDuplicate, result.baseOffset == last.header.baseOffset, result.lastOffset == last.header.lastOffset,
      log.logEndOffset == before
    else {
      throw Failure(description: "a repeated batch of producer \(last.header.producerID) was appended at \(result.baseOffset) again")
    }
  }

  private mutating func chance(_ n: Int) -> Bool { Int.random(in: 0..<n, using: &self.generator) == 0 }
}

extension StorageError {
  /// The disk refused a call, of now or before.
  fileprivate var isOfDisk: Bool {
    switch self {
    case .disk, .offline: true
    default: false
    }
  }
}
