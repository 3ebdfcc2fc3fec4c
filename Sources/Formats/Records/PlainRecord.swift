/// What a scan needs of a record that has no headers and whose integers take one or two bytes each: nearly all there are.
///
/// A record's cost is the broker's cost per produced record, and this takes a quarter of what `RawRecord` takes. It only ever accepts
/// what `RawRecord` accepts, with the same result; whatever else it meets it leaves to `RawRecord`, to read or to refuse.
struct PlainRecord: Hashable {
  let timestampDelta: Int
  let offsetDelta: Int
  let hasKey: Bool
  /// The position behind the record.
  let end: Int

  /// Length, attributes, timestamp and offset delta and the key's length, all at their longest: so much is read without asking.
  private static var headByteCountMax: Int { 9 }

  /// Nil for any record that is not plain, whole and right.
  @inline(__always)
  init?(_ bytes: UnsafeRawBufferPointer, at position: Int) {
    guard bytes.count - position >= Self.headByteCountMax else { return nil }
    let start = bytes.baseAddress.unsafelyUnwrapped
    var cursor = start + position
    let byteCount = Self.short(&cursor)
    guard byteCount >= 0, byteCount & 1 == 0 else { return nil }
    guard byteCount >> 1 <= start + bytes.count - cursor else { return nil }
    let end = cursor + byteCount >> 1
    cursor += 1
    let timestampDelta = Self.short(&cursor)
    let offsetDelta = Self.short(&cursor)
    let keyByteCount = Self.short(&cursor)
    guard timestampDelta | offsetDelta | keyByteCount >= 0 else { return nil }
    // Zigzag: 1 is -1, the null; other odd numbers are negative lengths.
    if keyByteCount & 1 == 0 { cursor += keyByteCount >> 1 } else if keyByteCount != 1 { return nil }
    // The value's length in one or two bytes, and at least the count of headers behind it.
    guard end - cursor >= 2 else { return nil }
    let valueByteCount = Self.short(&cursor)
    guard valueByteCount >= 0 else { return nil }
    if valueByteCount & 1 == 0 { cursor += valueByteCount >> 1 } else if valueByteCount != 1 { return nil }
    guard end - cursor == 1, cursor.load(as: UInt8.self) == 0 else { return nil }
    self.timestampDelta = (timestampDelta >> 1) ^ -(timestampDelta & 1)
    self.offsetDelta = (offsetDelta >> 1) ^ -(offsetDelta & 1)
    self.hasKey = keyByteCount != 1
    self.end = end - start
  }

  /// A value of one or two bytes, not zigzag-decoded; below zero if it is longer.
  @inline(__always)
  private static func short(_ cursor: inout UnsafeRawPointer) -> Int {
    let first = Int(cursor.load(as: UInt8.self))
    if first < 0x80 {
      cursor += 1
      return first
    }
    let second = Int(cursor.load(fromByteOffset: 1, as: UInt8.self))
    cursor += 2
    return second < 0x80 ? first & 0x7F | second << 7 : -1
  }
}
