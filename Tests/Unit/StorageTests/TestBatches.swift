import Base
import Compression
import Environment
import LogCore
import Model
import NIOCore
import Records
import Storage

/// A batch of uncompressed records, as a producer sends it.
func makeBatch(
  values: [[UInt8]], timestamps: [Int64]? = nil, baseTimestamp: Int64 = 1_000, producerID: Int64 = -1, producerEpoch: Int16 = -1,
  baseSequence: Int32 = -1, baseOffset: Int64 = 0, leaderEpoch: Int32 = -1
) -> ByteBuffer {
  var builder = RecordBatchBuilder(
    .init(
      baseOffset: Offset(baseOffset), leaderEpoch: LeaderEpoch(leaderEpoch), producerID: ProducerID(producerID),
      producerEpoch: ProducerEpoch(producerEpoch), baseSequence: baseSequence))
  for (index, value) in values.enumerated() {
    value.withUnsafeBytes { bytes in
      try! builder.append(timestamp: Timestamp(timestamps?[index] ?? baseTimestamp + Int64(index)), key: nil, value: bytes)
    }
  }
  return try! builder.finish(using: Compressor())
}

func header(of batch: ByteBuffer) -> BatchHeader { batch.withUnsafeReadableBytes { BatchHeader(reading: $0)! } }

extension PartitionLog {
  @discardableResult
  mutating func append(_ batch: ByteBuffer, leaderEpoch: Int32 = 0, now: Int64 = 5_000) throws(StorageError) -> AppendResult {
    try self.append(header(of: batch), batch: batch, leaderEpoch: LeaderEpoch(leaderEpoch), now: Timestamp(now))
  }

  /// Everything from `offset` on as one array of bytes, read in pieces of `maxBytes`.
  mutating func readAll(from offset: Offset? = nil, maxBytes: Int = 1 << 20, upTo end: Offset? = nil) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var offset = offset ?? self.logStartOffset
    let end = end ?? self.logEndOffset
    while offset < end {
      let slice = try self.read(from: offset, maxBytes: maxBytes, upTo: end, minOneBatch: true)
      guard !slice.isEmpty else { break }
      bytes += try slice.bytes()
      offset = slice.nextOffset
    }
    return bytes
  }

  mutating func flush() throws {
    guard let ticket = try self.beginFlush() else { return }
    try ticket.run()
    self.completeFlush(ticket)
  }

  mutating func checkpoint() throws {
    guard let ticket = try self.beginCheckpoint() else { return }
    try ticket.run()
    self.completeCheckpoint(ticket)
  }

  /// One pass of retention, up to the files that are to be marked.
  mutating func removeOld(below highWatermark: Offset, now: Timestamp = Timestamp(0)) throws -> SegmentRemoval<Disk>? {
    guard let ticket = try self.beginRetention(highWatermark: highWatermark, now: now) else { return nil }
    return try self.completeRetention(ticket, isCheckpointed: try ticket.run())
  }
}

/// The headers of the batches in `bytes`, one after the other.
func headers(in bytes: [UInt8]) -> [BatchHeader] {
  var headers: [BatchHeader] = []
  var position = 0
  bytes.withUnsafeBytes { buffer in
    while let header = BatchHeader(reading: UnsafeRawBufferPointer(rebasing: buffer[position...])) {
      headers.append(header)
      position += header.totalByteCount
      if position > buffer.count { break }
    }
  }
  return headers
}
