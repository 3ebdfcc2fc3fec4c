package import Model

/// An entry of a sparse index file: fixed size, ascending, relative to the segment's base offset.
package protocol IndexEntry: Hashable, Sendable {
  static var byteCount: Int { get }
  /// Appends the entry as it stands in the file.
  func encode(baseOffset: Offset, into bytes: inout [UInt8])
  /// Reads the entry that starts at `position`, which the caller has checked to be complete.
  init(decoding bytes: [UInt8], at position: Int, baseOffset: Offset)
  /// Whether the entry may follow `previous` in a file.
  func follows(_ previous: Self) -> Bool
}

/// An entry of `<base offset>.index`: the batch that ends with `offset` starts at `position` (i32 offset, i32 position).
package struct OffsetIndexEntry: IndexEntry {
  package var offset: Offset
  package var position: Int64

  package static let byteCount = 8

  package init(offset: Offset, position: Int64) { (self.offset, self.position) = (offset, position) }

  package func encode(baseOffset: Offset, into bytes: inout [UInt8]) {
    bytes.append(bigEndian: Int32(truncatingIfNeeded: self.offset - baseOffset))
    bytes.append(bigEndian: Int32(truncatingIfNeeded: self.position))
  }
  package init(decoding bytes: [UInt8], at position: Int, baseOffset: Offset) {
    self.offset = baseOffset + Int64(bytes.bigEndian(at: position, as: Int32.self))
    self.position = Int64(bytes.bigEndian(at: position + 4, as: Int32.self))
  }
  package func follows(_ previous: OffsetIndexEntry) -> Bool {
    self.offset > previous.offset && self.position > previous.position
  }
}

/// An entry of `<base offset>.timeindex`: no record up to the moment of the entry is younger than `timestamp`, and the
/// batch that carries it ends with `offset` (i64 timestamp, i32 offset).
package struct TimeIndexEntry: IndexEntry {
  package var timestamp: Timestamp
  package var offset: Offset

  package static let byteCount = 12

  package init(timestamp: Timestamp, offset: Offset) { (self.timestamp, self.offset) = (timestamp, offset) }

  package func encode(baseOffset: Offset, into bytes: inout [UInt8]) {
    bytes.append(bigEndian: self.timestamp.rawValue)
    bytes.append(bigEndian: Int32(truncatingIfNeeded: self.offset - baseOffset))
  }
  package init(decoding bytes: [UInt8], at position: Int, baseOffset: Offset) {
    self.timestamp = Timestamp(bytes.bigEndian(at: position, as: Int64.self))
    self.offset = baseOffset + Int64(bytes.bigEndian(at: position + 8, as: Int32.self))
  }
  package func follows(_ previous: TimeIndexEntry) -> Bool {
    self.timestamp > previous.timestamp && self.offset >= previous.offset
  }
}

/// Decides which batches of a segment get index entries, as Kafka does: one after every `index.interval.bytes` of log.
package struct IndexPacing: Hashable, Sendable {
  /// Bytes appended since the last entry.
  package var bytesSinceEntry: Int64 = 0
  /// The youngest timestamp of the segment so far, and the last offset of the first batch that carries it.
  package var maxTimestamp: Timestamp = .none
  package var offsetOfMaxTimestamp: Offset = .unknown

  package init() {}

  /// Takes note of a batch. True if it gets an entry in the offset index, and the time index an entry of
  /// `maxTimestamp` and `offsetOfMaxTimestamp` as they are after the call (if that is news to it).
  package mutating func note(byteCount: Int, lastOffset: Offset, maxTimestamp: Timestamp, interval: Int) -> Bool {
    if maxTimestamp > self.maxTimestamp { (self.maxTimestamp, self.offsetOfMaxTimestamp) = (maxTimestamp, lastOffset) }
    let due = self.bytesSinceEntry > Int64(interval)
    if due { self.bytesSinceEntry = 0 }
    self.bytesSinceEntry += Int64(byteCount)
    return due
  }
}
