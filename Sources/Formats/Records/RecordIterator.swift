internal import Base
package import Model
package import NIOCore

/// One record of a batch. Its key, value and headers are slices made when asked for, so that looking at offsets costs no slice.
package struct RecordView: Sendable {
  package let offset: Offset
  /// When the record was created, or appended where the batch says so. -1: none.
  package let timestamp: Timestamp
  package let raw: RawRecord
  /// The uncompressed records of the batch.
  private let bytes: ByteBuffer

  init(offset: Offset, timestamp: Timestamp, raw: RawRecord, bytes: ByteBuffer) {
    (self.offset, self.timestamp, self.raw, self.bytes) = (offset, timestamp, raw, bytes)
  }

  package var key: ByteBuffer? { self.raw.keyRange.map(self.slice) }
  /// Nil is a tombstone.
  package var value: ByteBuffer? { self.raw.valueRange.map(self.slice) }
  /// The headers in their order; names may repeat.
  package var headers: RecordHeaders { RecordHeaders(count: self.raw.headerCount, start: self.raw.headersStart, bytes: self.bytes) }

  private func slice(_ range: Range<Int>) -> ByteBuffer {
    self.bytes.getSlice(at: self.bytes.readerIndex + range.lowerBound, length: range.count)!
  }
}

/// The header of a record, as a producer gives it and a consumer gets it.
package struct RecordHeader: Hashable, Sendable {
  package var key: String
  package var value: ByteBuffer?
  package init(key: String, value: ByteBuffer?) { (self.key, self.value) = (key, value) }
}

/// The headers of one record, parsed as they are walked.
package struct RecordHeaders: Sequence, IteratorProtocol, Sendable {
  /// How many are left.
  package private(set) var count: Int
  private var position: Int
  private let bytes: ByteBuffer

  init(count: Int, start: Int, bytes: ByteBuffer) { (self.count, self.position, self.bytes) = (count, start, bytes) }

  package mutating func next() -> RecordHeader? {
    guard self.count > 0 else { return nil }
    self.count -= 1
    let raw = self.bytes.withUnsafeReadableBytes { bytes in
      do { return try RawHeader(bytes, at: &self.position) } catch {
        // The record was parsed with its headers before anyone could ask for them.
        fatalError("invariant broken: a header that was valid is not any more: \(error)")
      }
    }
    let base = self.bytes.readerIndex
    return RecordHeader(
      key: self.bytes.getString(at: base + raw.keyStart, length: raw.keyByteCount) ?? "",
      value: raw.valueByteCount < 0 ? nil : self.bytes.getSlice(at: base + raw.valueStart, length: raw.valueByteCount))
  }
}

/// Walks the records of one batch, checking each as it comes: they may be anyone's bytes behind a correct CRC.
package struct RecordIterator: Sendable {
  package let header: BatchHeader
  private let records: ByteBuffer
  private var position = 0
  private var index = 0
  private var lastOffsetDelta: Int32 = -1

  /// - Parameter records: the batch's records, uncompressed.
  package init(header: BatchHeader, records: ByteBuffer) {
    (self.header, self.records) = (header, records)
  }

  /// The next record; nil after the last. After an error every further call throws it again.
  package mutating func next() throws(RecordError) -> RecordView? {
    guard self.index < self.header.recordCount else {
      guard self.position == self.records.readableBytes else { throw .trailingBytes(self.records.readableBytes - self.position) }
      return nil
    }
    let raw: RawRecord
    do {
      raw = try self.records.withUnsafeReadableBytes { (bytes) throws(RecordFault) in try RawRecord(bytes, at: self.position) }
    } catch { throw .malformedRecord(index: self.index, error) }
    guard raw.offsetDelta > self.lastOffsetDelta, raw.offsetDelta <= self.header.lastOffsetDelta else {
      throw .offsetDelta(index: self.index, delta: raw.offsetDelta)
    }
    let timestamp = try self.header.timestamp(of: raw, index: self.index)
    self.position = raw.end
    self.index += 1
    self.lastOffsetDelta = raw.offsetDelta
    return RecordView(
      offset: Offset(self.header.baseOffset.rawValue &+ Int64(raw.offsetDelta)), timestamp: timestamp, raw: raw, bytes: self.records)
  }
}

extension BatchHeader {
  /// The timestamp of a record of this batch: its own, or the batch's time of appending.
  func timestamp(of record: RawRecord, index: Int) throws(RecordError) -> Timestamp {
    if self.attributes.isLogAppendTime { return self.maxTimestamp }
    let (timestamp, overflow) = self.baseTimestamp.rawValue.addingReportingOverflow(record.timestampDelta)
    guard !overflow else { throw .timestampDelta(index: index, delta: record.timestampDelta) }
    return Timestamp(timestamp)
  }
}
