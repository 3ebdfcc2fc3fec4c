internal import Base
package import Compression
package import Model
package import NIOCore

/// Builds one record batch after another, writing each record straight into the batch's buffer.
///
/// A value with one owner. `finish` empties it, with the same attributes, for the next batch.
package struct RecordBatchBuilder: Sendable {
  /// What the batch's header says besides what follows from its records.
  package struct Attributes: Hashable, Sendable {
    package var codec: CompressionCodec
    /// Nil for the codec's default.
    package var level: Int?
    package var baseOffset: Offset
    package var leaderEpoch: LeaderEpoch
    package var producerID: ProducerID
    package var producerEpoch: ProducerEpoch
    package var baseSequence: Int32
    package var isTransactional: Bool
    package var isControl: Bool
    /// Set for a batch whose records all carry the time of appending.
    package var logAppendTime: Timestamp?

    package init(
      codec: CompressionCodec = .none, level: Int? = nil, baseOffset: Offset = .zero, leaderEpoch: LeaderEpoch = .unknown,
      producerID: ProducerID = .none, producerEpoch: ProducerEpoch = .none, baseSequence: Int32 = -1,
      isTransactional: Bool = false, isControl: Bool = false, logAppendTime: Timestamp? = nil
    ) {
      self.codec = codec
      self.level = level
      self.baseOffset = baseOffset
      self.leaderEpoch = leaderEpoch
      self.producerID = producerID
      self.producerEpoch = producerEpoch
      self.baseSequence = baseSequence
      self.isTransactional = isTransactional
      self.isControl = isControl
      self.logAppendTime = logAppendTime
    }
  }

  package var attributes: Attributes
  /// The records in the batch so far.
  package private(set) var recordCount = 0
  private var buffer: ByteBuffer
  private var baseTimestamp = Timestamp.none
  private var maxTimestamp = Timestamp.none
  private var lastOffsetDelta: Int32 = -1
  private let capacity: Int

  /// - Parameter capacity: the bytes to make room for at once; a batch may grow beyond it.
  package init(_ attributes: Attributes = Attributes(), capacity: Int = 16_384) {
    self.attributes = attributes
    self.capacity = max(BatchHeader.byteCount, capacity)
    self.buffer = ByteBuffer()
  }

  package var isEmpty: Bool { self.recordCount == 0 }
  /// What the batch has so far, header included, before compression.
  package var uncompressedByteCount: Int { max(BatchHeader.byteCount, self.buffer.writerIndex) }

  /// How many bytes a record with these parts adds at most, before compression.
  package static func maximumByteCount(keyByteCount: Int, valueByteCount: Int, headers: [RecordHeader] = []) -> Int {
    // Length, attributes, timestamp delta, offset delta, key length, value length, header count, each at its longest.
    var byteCount = 5 + 1 + 10 + 5 + 5 + 5 + 5 + keyByteCount + valueByteCount
    for header in headers { byteCount += 10 + header.key.utf8.count + (header.value?.readableBytes ?? 0) }
    return byteCount
  }

  /// Adds a record behind the others.
  ///
  /// - Parameter offsetDelta: its offset less the batch's base offset, larger than the one before it; nil for the next. Compaction
  ///   keeps the gaps it makes.
  // Two literal nils mean the other one.
  @_disfavoredOverload
  package mutating func append(
    timestamp: Timestamp, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, headers: [RecordHeader] = [],
    offsetDelta: Int32? = nil
  ) throws(RecordError) {
    let delta = Int64(offsetDelta ?? 0) + (offsetDelta == nil ? Int64(self.lastOffsetDelta) + 1 : 0)
    guard delta > self.lastOffsetDelta, let offsetDelta = Int32(exactly: delta) else {
      throw .offsetDelta(index: self.recordCount, delta: Int32(clamping: delta))
    }
    let baseTimestamp = self.isEmpty ? timestamp : self.baseTimestamp
    let (timestampDelta, overflow) = timestamp.rawValue.subtractingReportingOverflow(baseTimestamp.rawValue)
    guard !overflow else { throw .timestampDelta(index: self.recordCount, delta: timestamp.rawValue) }

    let body = Self.bodyByteCount(
      timestampDelta: timestampDelta, offsetDelta: offsetDelta, keyByteCount: key?.count, valueByteCount: value?.count, headers: headers)
    let total = Varint.byteCount(signed: Int64(body)) + body
    guard self.uncompressedByteCount + total <= Int(Int32.max) else { throw .batchTooLarge(self.uncompressedByteCount + total) }
    if self.buffer.writerIndex == 0 { self.reserveHeader(andBytes: total) }
    self.buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: total) { room in
      var position = 0
      Varint.write(signed: Int64(body), to: room, at: &position)
      room[position] = 0
      position += 1
      Varint.write(signed: timestampDelta, to: room, at: &position)
      Varint.write(signed: Int64(offsetDelta), to: room, at: &position)
      Self.write(key, to: room, at: &position)
      Self.write(value, to: room, at: &position)
      Varint.write(signed: Int64(headers.count), to: room, at: &position)
      for header in headers {
        var name = header.key
        name.withUTF8 { Self.write(UnsafeRawBufferPointer($0), to: room, at: &position) }
        if let value = header.value {
          value.withUnsafeReadableBytes { Self.write($0, to: room, at: &position) }
        } else {
          Self.write(nil, to: room, at: &position)
        }
      }
      invariant(position == total, "a record's size was computed as \(total) and written as \(position)")
      return total
    }
    self.baseTimestamp = baseTimestamp
    self.maxTimestamp = self.isEmpty ? timestamp : max(self.maxTimestamp, timestamp)
    self.lastOffsetDelta = offsetDelta
    self.recordCount += 1
  }

  /// Adds a record behind the others.
  package mutating func append(
    timestamp: Timestamp, key: ByteBuffer?, value: ByteBuffer?, headers: [RecordHeader] = [], offsetDelta: Int32? = nil
  ) throws(RecordError) {
    // Empty buffers have no address to speak of, but are not nulls.
    try (key ?? ByteBuffer()).withUnsafeReadableBytes { (keyBytes) throws(RecordError) in
      try (value ?? ByteBuffer()).withUnsafeReadableBytes { (valueBytes) throws(RecordError) in
        try self.append(
          timestamp: timestamp, key: key == nil ? nil : keyBytes, value: value == nil ? nil : valueBytes, headers: headers,
          offsetDelta: offsetDelta)
      }
    }
  }

  /// The batch with everything appended since the last call. Without a record there is none.
  ///
  /// - Parameter lastOffsetDelta: of a batch whose last records, or all, were compacted away; nil for the last record's.
  package mutating func finish(using compressor: Compressor, lastOffsetDelta: Int32? = nil) throws(RecordError) -> ByteBuffer {
    guard lastOffsetDelta ?? self.lastOffsetDelta >= max(0, self.lastOffsetDelta) else {
      throw .invalidOffsets(
        baseOffset: self.attributes.baseOffset, lastOffsetDelta: lastOffsetDelta ?? -1, recordCount: Int32(self.recordCount))
    }
    if self.buffer.writerIndex == 0 { self.reserveHeader(andBytes: 0) }
    defer { self.clear() }
    var batch: ByteBuffer
    if self.attributes.codec == .none || self.isEmpty {
      batch = self.buffer
      // The batch now owns the storage alone, so that writing its header copies nothing.
      self.buffer = ByteBuffer()
    } else {
      batch = ByteBuffer()
      batch.reserveCapacity(BatchHeader.byteCount + self.buffer.readableBytes / 2)
      batch.writeRepeatingByte(0, count: BatchHeader.byteCount)
      do {
        try self.buffer.withUnsafeReadableBytes { (bytes) throws(CompressionError) in
          try compressor.compress(
            UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.byteCount...]), codec: self.attributes.codec,
            level: self.attributes.level, into: &batch)
        }
      } catch { throw .compression(error) }
    }
    guard let batchLength = Int32(exactly: batch.readableBytes - BatchHeader.logOverhead) else {
      throw .batchTooLarge(batch.readableBytes)
    }
    var header = self.header(batchLength: batchLength, lastOffsetDelta: lastOffsetDelta ?? self.lastOffsetDelta)
    batch.withUnsafeMutableReadableBytes { bytes in
      header.crc = header.checksum(body: UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.byteCount...]))
      header.write(to: bytes)
    }
    return batch
  }

  // MARK: Parts

  private func header(batchLength: Int32, lastOffsetDelta: Int32) -> BatchHeader {
    var flags = BatchAttributes(rawValue: 0)
    flags.codecNumber = self.isEmpty ? 0 : self.attributes.codec.rawValue
    flags.isTransactional = self.attributes.isTransactional
    flags.isControl = self.attributes.isControl
    flags.isLogAppendTime = self.attributes.logAppendTime != nil
    return BatchHeader(
      baseOffset: self.attributes.baseOffset, batchLength: batchLength, partitionLeaderEpoch: self.attributes.leaderEpoch, magic: 2,
      crc: 0, attributes: flags, lastOffsetDelta: lastOffsetDelta, baseTimestamp: self.baseTimestamp,
      maxTimestamp: self.attributes.logAppendTime ?? self.maxTimestamp, producerID: self.attributes.producerID,
      producerEpoch: self.attributes.producerEpoch, baseSequence: self.attributes.baseSequence, recordCount: Int32(self.recordCount))
  }

  private mutating func reserveHeader(andBytes byteCount: Int) {
    self.buffer.reserveCapacity(max(self.capacity, BatchHeader.byteCount + byteCount))
    self.buffer.writeRepeatingByte(0, count: BatchHeader.byteCount)
  }

  private mutating func clear() {
    // Keeps the room for the records of the next batch, unless the finished batch left with it.
    self.buffer.clear()
    self.recordCount = 0
    self.baseTimestamp = .none
    self.maxTimestamp = .none
    self.lastOffsetDelta = -1
  }

  private static func bodyByteCount(
    timestampDelta: Int64, offsetDelta: Int32, keyByteCount: Int?, valueByteCount: Int?, headers: [RecordHeader]
  ) -> Int {
    func field(_ byteCount: Int?) -> Int { Varint.byteCount(signed: Int64(byteCount ?? -1)) + (byteCount ?? 0) }
    var byteCount = 1 + Varint.byteCount(signed: timestampDelta) + Varint.byteCount(signed: Int64(offsetDelta))
    byteCount += field(keyByteCount) + field(valueByteCount) + Varint.byteCount(signed: Int64(headers.count))
    for header in headers { byteCount += field(header.key.utf8.count) + field(header.value?.readableBytes) }
    return byteCount
  }

  private static func write(_ bytes: UnsafeRawBufferPointer?, to room: UnsafeMutableRawBufferPointer, at position: inout Int) {
    guard let bytes else { return Varint.write(signed: -1, to: room, at: &position) }
    Varint.write(signed: Int64(bytes.count), to: room, at: &position)
    UnsafeMutableRawBufferPointer(rebasing: room[position...]).copyMemory(from: bytes)
    position += bytes.count
  }
}
