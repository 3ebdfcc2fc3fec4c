/// Variable-length integers as Kafka writes them: seven bits to a byte, least significant first, the high bit set on all but the
/// last; signed values zigzag-coded first (Kafka protocol guide, "Protocol Primitive Types": VARINT, VARLONG, UNSIGNED_VARINT).
///
/// Reading never goes past the bytes it is given. An encoding longer than the type can need, or with bits beyond its width, is
/// refused rather than cut, so that one value has no second meaning.
///
/// Public, because the compiler inlines nothing across modules that is not.
public enum Varint {
  /// The most bytes an encoded value of 32 bits takes.
  public static let maximumByteCount32 = 5
  /// The most bytes an encoded value of 64 bits takes.
  public static let maximumByteCount64 = 10

  // MARK: Reading

  /// Reads an unsigned value at `position` and moves `position` behind it; leaves `position` alone when it throws.
  @inlinable
  public static func readUnsigned32(_ bytes: UnsafeRawBufferPointer, at position: inout Int) throws(VarintError) -> UInt32 {
    let value = try Self.read(bytes, at: &position, maximumByteCount: Self.maximumByteCount32, bitWidth: 32)
    return UInt32(truncatingIfNeeded: value)
  }

  /// Reads an unsigned value at `position` and moves `position` behind it; leaves `position` alone when it throws.
  @inlinable
  public static func readUnsigned64(_ bytes: UnsafeRawBufferPointer, at position: inout Int) throws(VarintError) -> UInt64 {
    try Self.read(bytes, at: &position, maximumByteCount: Self.maximumByteCount64, bitWidth: 64)
  }

  /// Reads a zigzag-coded value at `position` and moves `position` behind it; leaves `position` alone when it throws.
  @inlinable
  public static func readSigned32(_ bytes: UnsafeRawBufferPointer, at position: inout Int) throws(VarintError) -> Int32 {
    let raw = try Self.readUnsigned32(bytes, at: &position)
    return Int32(bitPattern: raw >> 1) ^ -Int32(bitPattern: raw & 1)
  }

  /// Reads a zigzag-coded value at `position` and moves `position` behind it; leaves `position` alone when it throws.
  @inlinable
  public static func readSigned64(_ bytes: UnsafeRawBufferPointer, at position: inout Int) throws(VarintError) -> Int64 {
    let raw = try Self.readUnsigned64(bytes, at: &position)
    return Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
  }

  @inlinable
  public static func read(
    _ bytes: UnsafeRawBufferPointer, at position: inout Int, maximumByteCount: Int, bitWidth: UInt64
  ) throws(VarintError) -> UInt64 {
    var cursor = position
    guard cursor >= 0, cursor < bytes.count else { throw .truncated }
    let first = bytes[cursor]
    cursor += 1
    // Most lengths and deltas fit in one byte.
    if first < 0x80 {
      position = cursor
      return UInt64(first)
    }
    var value = UInt64(first & 0x7F)
    var shift: UInt64 = 7
    for _ in 1..<maximumByteCount {
      guard cursor < bytes.count else { throw .truncated }
      let byte = bytes[cursor]
      cursor += 1
      let bits = UInt64(byte & 0x7F)
      let room = bitWidth - shift
      if room < 7, bits >> room != 0 { throw .overlong }
      value |= bits << shift
      if byte < 0x80 {
        position = cursor
        return value
      }
      shift += 7
    }
    throw .overlong
  }

  // MARK: Writing

  /// How many bytes the unsigned value takes, 1 to 10.
  @inlinable
  public static func byteCount(unsigned value: UInt64) -> Int {
    (70 - (value | 1).leadingZeroBitCount) / 7
  }

  /// How many bytes the zigzag-coded value takes, 1 to 10. A 32-bit value takes the same bytes as the equal 64-bit one.
  @inlinable
  public static func byteCount(signed value: Int64) -> Int {
    Self.byteCount(unsigned: Self.zigzag(value))
  }

  /// Writes the unsigned value at `position` and moves `position` behind it. The caller provides the room (`byteCount(unsigned:)`).
  @inlinable
  public static func write(unsigned value: UInt64, to bytes: UnsafeMutableRawBufferPointer, at position: inout Int) {
    var rest = value
    while rest >= 0x80 {
      bytes[position] = UInt8(truncatingIfNeeded: rest) | 0x80
      position += 1
      rest >>= 7
    }
    bytes[position] = UInt8(truncatingIfNeeded: rest)
    position += 1
  }

  /// Writes the zigzag-coded value at `position` and moves `position` behind it. The caller provides the room.
  @inlinable
  public static func write(signed value: Int64, to bytes: UnsafeMutableRawBufferPointer, at position: inout Int) {
    Self.write(unsigned: Self.zigzag(value), to: bytes, at: &position)
  }

  /// Small magnitudes of either sign become small unsigned values: 0, -1, 1, -2 are 0, 1, 2, 3.
  @inlinable
  public static func zigzag(_ value: Int64) -> UInt64 {
    UInt64(bitPattern: (value << 1) ^ (value >> 63))
  }
}

/// Why a variable-length integer could not be read.
public enum VarintError: Error, Hashable, Sendable {
  /// The bytes ended before the value did.
  case truncated
  /// The encoding is longer, or holds more bits, than a value of the type can need.
  case overlong
}
