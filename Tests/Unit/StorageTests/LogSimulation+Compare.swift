import Base
import Compression
import LogCore
import Model
import Records
import Storage
import VirtualWorld

extension LogSimulation {
  /// Asks the log everything that it answers, and the model too.
  mutating func compare(_ log: inout PartitionLog<FaultyDisk>) throws {
    guard log.logStartOffset.rawValue == self.logStartOffset else {
      throw Failure(description: "the log starts at \(log.logStartOffset), not \(self.logStartOffset)")
    }
    guard log.recoveryPoint <= log.flushedOffset, log.flushedOffset <= log.logEndOffset, log.logStartOffset <= log.logEndOffset else {
      throw Failure(description: "recovery point \(log.recoveryPoint), flushed \(log.flushedOffset), end \(log.logEndOffset)")
    }
    let visible = self.batches.filter { $0.header.lastOffset.rawValue >= self.logStartOffset }
    let maxBytes = Int.random(in: 1...3_000, using: &self.generator)
    let all = try log.readAll(maxBytes: maxBytes)
    guard all == visible.flatMap({ $0.bytes }) else { throw Failure(description: "reading all in pieces of \(maxBytes) bytes is wrong") }
    try self.compareRead(&log, visible)
    try self.compareTimestamps(&log, visible)
    self.epochFloor = max(self.epochFloor, self.logStartOffset)
    for batch in visible where batch.header.baseOffset.rawValue >= self.epochFloor {
      guard log.leaderEpochs.epoch(at: batch.header.baseOffset) == batch.header.partitionLeaderEpoch else {
        throw Failure(
          description:
            "offset \(batch.header.baseOffset): epoch \(batch.header.partitionLeaderEpoch) expected in \(log.leaderEpochs.entries)")
      }
    }
  }

  private mutating func compareRead(_ log: inout PartitionLog<FaultyDisk>, _ visible: [StoredBatch]) throws {
    guard log.logStartOffset < log.logEndOffset else { return }
    let from = Offset(Int64.random(in: log.logStartOffset.rawValue..<log.logEndOffset.rawValue, using: &self.generator))
    let end = Offset(Int64.random(in: from.rawValue...log.logEndOffset.rawValue, using: &self.generator))
    let maxBytes = Int.random(in: 1...1_500, using: &self.generator)
    let minOneBatch = Bool.random(using: &self.generator)
    let slice = try log.read(from: from, maxBytes: maxBytes, upTo: end, minOneBatch: minOneBatch)
    let found = headers(in: try slice.bytes())
    let readable = visible.filter { $0.header.lastOffset >= from && $0.header.lastOffset < end }
    guard Array(readable.prefix(found.count).map { $0.header }) == found else {
      throw Failure(description: "reading from \(from) up to \(end), \(maxBytes) bytes: found offsets \(found.map { $0.baseOffset })")
    }
    if let last = found.last, slice.nextOffset < last.nextOffset {
      throw Failure(description: "next offset \(slice.nextOffset) after \(last.lastOffset)")
    }
    if found.isEmpty, let first = readable.first, minOneBatch || first.bytes.count <= maxBytes {
      throw Failure(description: "nothing read from \(from) up to \(end), \(maxBytes) bytes, though a batch is there")
    }
    if slice.byteCount > maxBytes, found.count > 1 || !minOneBatch {
      throw Failure(description: "\(slice.byteCount) bytes read, \(maxBytes) asked for")
    }
  }

  private mutating func compareTimestamps(_ log: inout PartitionLog<FaultyDisk>, _ visible: [StoredBatch]) throws {
    let records = visible.flatMap { batch in
      batch.timestamps.enumerated().map { (offset: batch.header.baseOffset + Int64($0.offset), timestamp: $0.element) }
    }.filter { $0.offset.rawValue >= self.logStartOffset }
    let target = Int64.random(in: 0...self.clock + 500, using: &self.generator)
    let expected = records.first { $0.timestamp >= target }
    let found = try log.offset(forTimestamp: Timestamp(target), upTo: log.logEndOffset, using: self.decompressor)
    guard found?.offset == expected?.offset, found?.timestamp.rawValue == expected?.timestamp else {
      throw Failure(description: "time \(target): \(String(describing: found)), expected \(String(describing: expected))")
    }
    let youngest = records.map { $0.timestamp }.max()
    let first = records.first { $0.timestamp == youngest }
    let foundYoungest = try log.offsetOfMaxTimestamp(upTo: log.logEndOffset, using: self.decompressor)
    guard foundYoungest?.timestamp.rawValue == youngest, foundYoungest?.offset == first?.offset else {
      throw Failure(description: "youngest: \(String(describing: foundYoungest)), expected \(String(describing: first))")
    }
  }
}
