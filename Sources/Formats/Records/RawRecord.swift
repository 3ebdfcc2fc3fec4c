internal import Base

/// Where the parts of one record lie in the uncompressed records of its batch (Kafka protocol guide, "Record").
///
/// ```
/// length varint | attributes i8 | timestampDelta varlong | offsetDelta varint | keyLength varint, key | valueLength varint, value
/// headerCount varint | { keyLength varint, key | valueLength varint, value }...
/// ```
/// Positions count from the start of the bytes that were parsed. A byte count of -1 is a null.
package struct RawRecord: Hashable, Sendable {
  package var timestampDelta: Int64
  package var offsetDelta: Int32
  package var keyStart: Int
  package var keyByteCount: Int
  package var valueStart: Int
  package var valueByteCount: Int
  package var headersStart: Int
  package var headerCount: Int
  /// The position behind the record.
  package var end: Int

  package var keyRange: Range<Int>? { self.keyByteCount < 0 ? nil : self.keyStart..<(self.keyStart + self.keyByteCount) }
  package var valueRange: Range<Int>? { self.valueByteCount < 0 ? nil : self.valueStart..<(self.valueStart + self.valueByteCount) }

  /// Parses the record at `position`, headers included, and nothing beyond it. Every length is held against what is left of what
  /// encloses it: the record against `bytes`, its parts against the record.
  package init(_ bytes: UnsafeRawBufferPointer, at position: Int) throws(RecordFault) {
    var cursor = position
    let byteCount = Int(try Self.signed32(bytes, at: &cursor))
    guard byteCount >= 0 else { throw .negativeLength }
    guard byteCount <= bytes.count - cursor else { throw .truncated }
    let end = cursor + byteCount
    // The rest sees only this record's bytes, so that nothing in it can reach into the next.
    let record = UnsafeRawBufferPointer(rebasing: bytes[..<end])
    guard byteCount > 0 else { throw .truncated }
    cursor += 1
    do { self.timestampDelta = try Varint.readSigned64(record, at: &cursor) } catch { throw RecordFault(error) }
    self.offsetDelta = try Self.signed32(record, at: &cursor)
    (self.keyStart, self.keyByteCount) = try Self.nullableField(record, at: &cursor)
    (self.valueStart, self.valueByteCount) = try Self.nullableField(record, at: &cursor)
    self.headerCount = Int(try Self.signed32(record, at: &cursor))
    self.headersStart = cursor
    if self.headerCount != 0 {
      // A header takes two bytes at least.
      guard self.headerCount > 0, self.headerCount <= (end - cursor) / 2 else { throw .headerCount(self.headerCount) }
      for _ in 0..<self.headerCount { _ = try RawHeader(record, at: &cursor) }
    }
    guard cursor == end else { throw .trailingBytes(end - cursor) }
    self.end = end
  }

  @inline(__always)
  fileprivate static func signed32(_ bytes: UnsafeRawBufferPointer, at cursor: inout Int) throws(RecordFault) -> Int32 {
    do { return try Varint.readSigned32(bytes, at: &cursor) } catch { throw RecordFault(error) }
  }

  /// A length and so many bytes; -1 is a null.
  @inline(__always)
  fileprivate static func nullableField(_ bytes: UnsafeRawBufferPointer, at cursor: inout Int) throws(RecordFault) -> (Int, Int) {
    let byteCount = Int(try Self.signed32(bytes, at: &cursor))
    let start = cursor
    guard byteCount >= 0 else {
      if byteCount == -1 { return (start, -1) }
      throw .negativeLength
    }
    guard byteCount <= bytes.count - cursor else { throw .truncated }
    cursor += byteCount
    return (start, byteCount)
  }
}

/// Where the parts of one record header lie; positions as in `RawRecord`.
package struct RawHeader: Hashable, Sendable {
  package var keyStart: Int
  package var keyByteCount: Int
  package var valueStart: Int
  package var valueByteCount: Int

  /// Parses the header at `cursor` and moves `cursor` behind it.
  package init(_ bytes: UnsafeRawBufferPointer, at cursor: inout Int) throws(RecordFault) {
    (self.keyStart, self.keyByteCount) = try RawRecord.nullableField(bytes, at: &cursor)
    guard self.keyByteCount >= 0 else { throw .nullHeaderKey }
    (self.valueStart, self.valueByteCount) = try RawRecord.nullableField(bytes, at: &cursor)
  }
}

/// What is wrong with the bytes of one record.
package enum RecordFault: Error, Hashable, Sendable, CustomStringConvertible {
  /// A field goes beyond what encloses it.
  case truncated
  /// A variable-length integer has more bytes or bits than its type.
  case overlongInteger
  /// A length below zero, other than the -1 of a null.
  case negativeLength
  /// Bytes of the record lie behind its last header.
  case trailingBytes(Int)
  /// A count of headers below zero, or more than the record has room for.
  case headerCount(Int)
  case nullHeaderKey

  init(_ error: VarintError) {
    switch error {
    case .truncated: self = .truncated
    case .overlong: self = .overlongInteger
    }
  }

  package var description: String {
    switch self {
    case .truncated: "a field goes beyond the end of its record or of the batch"
    case .overlongInteger: "a variable-length integer is longer than its type"
    case .negativeLength: "a length is negative"
    case .trailingBytes(let count): "\(count) bytes follow its last field"
    case .headerCount(let count): "it cannot have \(count) headers"
    case .nullHeaderKey: "a header has no key"
    }
  }
}
