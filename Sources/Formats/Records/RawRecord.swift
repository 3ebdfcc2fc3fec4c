internal import Base

/// Where the parts of one record lie in the uncompressed records of its batch (Kafka protocol guide, "Record").
///
/// ```
/// length varint | attributes i8 | timestampDelta varlong | offsetDelta varint | keyLength varint, key | valueLength varint, value
/// headerCount varint | { keyLength varint, key | valueLength varint, value }...
/// ```
/// Positions count from the start of the bytes that were parsed.
package struct RawRecord: Hashable, Sendable {
  package let timestampDelta: Int64
  package let offsetDelta: Int32
  // A batch has less than 2 GiB, so that 32 bits hold every position in it.
  private let keyStart: Int32
  private let keySize: Int32
  private let valueStart: Int32
  private let valueSize: Int32
  private let headersPosition: Int32
  private let headers: Int32
  private let endPosition: Int32

  package var keyRange: Range<Int>? { Self.range(self.keyStart, self.keySize) }
  package var valueRange: Range<Int>? { Self.range(self.valueStart, self.valueSize) }
  /// -1: no key.
  package var keyByteCount: Int { Int(self.keySize) }
  /// -1: no value; the record is a tombstone.
  package var valueByteCount: Int { Int(self.valueSize) }
  package var hasKey: Bool { self.keySize >= 0 }
  package var headerCount: Int { Int(self.headers) }
  package var headersStart: Int { Int(self.headersPosition) }
  /// The position behind the record.
  package var end: Int { Int(self.endPosition) }

  private static func range(_ start: Int32, _ byteCount: Int32) -> Range<Int>? {
    byteCount < 0 ? nil : Int(start)..<(Int(start) + Int(byteCount))
  }

  /// Parses the record at `position`, headers included, and nothing beyond it. Every length is held against what is left of what
  /// encloses it: the record against `bytes`, its parts against the record.
  package init(_ bytes: UnsafeRawBufferPointer, at position: Int) throws(RecordFault) {
    try self.init(parsing: bytes, at: position)
  }

  /// The same for callers that want it in line: only what they use of the result is computed.
  @inline(__always)
  init(parsing bytes: UnsafeRawBufferPointer, at position: Int) throws(RecordFault) {
    guard position < bytes.count, bytes.count <= Int(Int32.max) else { throw .truncated }
    let start = bytes.baseAddress.unsafelyUnwrapped
    var cursor = RecordCursor(bytes, at: position)
    let byteCount = try cursor.signed32()
    guard byteCount >= 0 else { throw .negativeLength }
    // The rest sees only this record's bytes, so that nothing in it can reach into the next.
    var record = try cursor.enter(byteCount)
    try record.skip(1)
    self.timestampDelta = try record.signed64()
    self.offsetDelta = Int32(truncatingIfNeeded: try record.signed32())
    let (key, keyByteCount) = try record.nullableField()
    let (value, valueByteCount) = try record.nullableField()
    let headerCount = try record.signed32()
    self.headersPosition = Int32(truncatingIfNeeded: record.position - start)
    if headerCount != 0 { try Self.checkHeaders(headerCount, &record) }
    guard record.remaining == 0 else { throw .trailingBytes(record.remaining) }
    self.keyStart = Int32(truncatingIfNeeded: key - start)
    self.keySize = Int32(truncatingIfNeeded: keyByteCount)
    self.valueStart = Int32(truncatingIfNeeded: value - start)
    self.valueSize = Int32(truncatingIfNeeded: valueByteCount)
    self.headers = Int32(truncatingIfNeeded: headerCount)
    self.endPosition = Int32(truncatingIfNeeded: cursor.position - start)
  }

  private static func checkHeaders(_ count: Int, _ cursor: inout RecordCursor) throws(RecordFault) {
    // A header takes two bytes at least.
    guard count > 0, count <= cursor.remaining / 2 else { throw .headerCount(count) }
    for _ in 0..<count {
      let (_, byteCount) = try cursor.nullableField()
      guard byteCount >= 0 else { throw .nullHeaderKey }
      _ = try cursor.nullableField()
    }
  }
}

/// Where the parts of one record header lie; positions as in `RawRecord`.
package struct RawHeader: Hashable, Sendable {
  package let keyStart: Int
  package let keyByteCount: Int
  package let valueStart: Int
  /// -1: a null.
  package let valueByteCount: Int

  /// Parses the header at `position` and moves `position` behind it.
  package init(_ bytes: UnsafeRawBufferPointer, at position: inout Int) throws(RecordFault) {
    guard position < bytes.count else { throw .truncated }
    let start = bytes.baseAddress.unsafelyUnwrapped
    var cursor = RecordCursor(bytes, at: position)
    let (key, keyByteCount) = try cursor.nullableField()
    guard keyByteCount >= 0 else { throw .nullHeaderKey }
    let (value, valueByteCount) = try cursor.nullableField()
    (self.keyStart, self.keyByteCount) = (key - start, keyByteCount)
    (self.valueStart, self.valueByteCount) = (value - start, valueByteCount)
    position = cursor.position - start
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
