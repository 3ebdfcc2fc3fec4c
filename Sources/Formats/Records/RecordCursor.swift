internal import Base

/// Reads the fields of records one after another, never beyond `end`.
///
/// A record's cost is the broker's cost per produced record, so that the encodings of one and two bytes, nearly all there are, are
/// read in line and without a loop; the rest goes through `Varint`.
struct RecordCursor {
  private(set) var position: UnsafeRawPointer
  let end: UnsafeRawPointer

  /// - Parameter bytes: must not be empty.
  @inline(__always)
  init(_ bytes: UnsafeRawBufferPointer, at position: Int) {
    let start = bytes.baseAddress.unsafelyUnwrapped
    self.position = start + position
    self.end = start + bytes.count
  }

  @inline(__always)
  private init(position: UnsafeRawPointer, end: UnsafeRawPointer) { (self.position, self.end) = (position, end) }

  @inline(__always)
  var remaining: Int { self.end - self.position }

  @inline(__always)
  mutating func skip(_ byteCount: Int) throws(RecordFault) {
    guard byteCount <= self.remaining else { throw .truncated }
    self.position += byteCount
  }

  /// A cursor over the next `byteCount` bytes, which this one leaves behind.
  @inline(__always)
  mutating func enter(_ byteCount: Int) throws(RecordFault) -> RecordCursor {
    let inner = self.position
    try self.skip(byteCount)
    return RecordCursor(position: inner, end: self.position)
  }

  /// A zigzag-coded value of 32 bits.
  @inline(__always)
  mutating func signed32() throws(RecordFault) -> Int {
    if let raw = self.shortVarint() { return (raw >> 1) ^ -(raw & 1) }
    return try self.longSigned32()
  }

  /// A zigzag-coded value of 64 bits.
  @inline(__always)
  mutating func signed64() throws(RecordFault) -> Int64 {
    if let raw = self.shortVarint() { return Int64((raw >> 1) ^ -(raw & 1)) }
    return try self.longSigned64()
  }

  /// A length and where so many bytes begin, which are passed over; -1 is a null.
  @inline(__always)
  mutating func nullableField() throws(RecordFault) -> (start: UnsafeRawPointer, byteCount: Int) {
    let byteCount = try self.signed32()
    let start = self.position
    if byteCount < 0 {
      guard byteCount == -1 else { throw .negativeLength }
    } else {
      try self.skip(byteCount)
    }
    return (start, byteCount)
  }

  /// A value of one or two bytes, not zigzag-decoded; nil, and nothing read, if it is longer or cut off.
  @inline(__always)
  private mutating func shortVarint() -> Int? {
    guard self.position < self.end else { return nil }
    let first = Int(self.position.load(as: UInt8.self))
    if first < 0x80 {
      self.position += 1
      return first
    }
    guard self.remaining > 1 else { return nil }
    let second = Int(self.position.load(fromByteOffset: 1, as: UInt8.self))
    guard second < 0x80 else { return nil }
    self.position += 2
    return first & 0x7F | second << 7
  }

  @inline(never)
  private mutating func longSigned32() throws(RecordFault) -> Int {
    var count = 0
    let rest = UnsafeRawBufferPointer(start: self.position, count: self.remaining)
    do {
      let value = try Varint.readSigned32(rest, at: &count)
      self.position += count
      return Int(value)
    } catch { throw RecordFault(error) }
  }

  @inline(never)
  private mutating func longSigned64() throws(RecordFault) -> Int64 {
    var count = 0
    let rest = UnsafeRawBufferPointer(start: self.position, count: self.remaining)
    do {
      let value = try Varint.readSigned64(rest, at: &count)
      self.position += count
      return value
    } catch { throw RecordFault(error) }
  }
}
