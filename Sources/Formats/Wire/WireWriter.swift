package import Model
package import NIOCore

/// Writes Kafka's primitive types, the counterpart of `WireReader`.
///
/// Writing never fails. Where a value has no encoding in the chosen version there is one rule each: null where the version has no null
/// is written as empty; a string of more than 32,767 bytes in a version that is not flexible is cut after the last whole character.
package struct WireWriter: Sendable {
  /// Bytes that belong into the message at `position` of `buffer` and are not in it: whoever sends the message puts them there.
  package struct Splice: Hashable, Sendable {
    /// Counted from the first byte of the buffer. Several splices may share one position; then their order counts.
    package var position: Int
    package var byteCount: Int
    package init(position: Int, byteCount: Int) { (self.position, self.byteCount) = (position, byteCount) }
  }

  package var buffer: ByteBuffer
  /// In the order of their positions.
  package var splices: [Splice] = []

  package init(_ buffer: ByteBuffer = ByteBuffer()) { self.buffer = buffer }

  /// The bytes of the message, those spliced in later included.
  package var byteCount: Int { self.splices.reduce(self.buffer.writerIndex) { $0 + $1.byteCount } }
}

// MARK: - Numbers

extension WireWriter {
  package mutating func writeInteger(_ value: some FixedWidthInteger) { self.buffer.writeInteger(value) }
  package mutating func writeDouble(_ value: Double) { self.buffer.writeInteger(value.bitPattern) }
  package mutating func writeBool(_ value: Bool) { self.buffer.writeInteger(value ? 1 : 0, as: UInt8.self) }
  package mutating func writeErrorCode(_ value: ErrorCode) { self.buffer.writeInteger(value.rawValue) }
  package mutating func writeUUID(_ value: KafkaUUID) { self.buffer.writeMultipleIntegers(value.high, value.low) }

  package mutating func writeUnsignedVarint(_ value: UInt32) { self.writeVarint(bits: UInt64(value)) }
  package mutating func writeVarint(_ value: Int32) { self.writeVarint(bits: UInt64(UInt32(bitPattern: (value << 1) ^ (value >> 31)))) }
  package mutating func writeVarlong(_ value: Int64) { self.writeVarint(bits: UInt64(bitPattern: (value << 1) ^ (value >> 63))) }

  private mutating func writeVarint(bits: UInt64) {
    var rest = bits
    while rest > 0x7F {
      self.buffer.writeInteger(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    self.buffer.writeInteger(UInt8(truncatingIfNeeded: rest))
  }

  /// How many bytes `writeUnsignedVarint` takes.
  package static func unsignedVarintByteCount(_ value: UInt32) -> Int { max(1, (32 - value.leadingZeroBitCount + 6) / 7) }
}

// MARK: - Strings and bytes

extension WireWriter {
  package mutating func writeString(_ value: String, flexible: Bool) {
    let length = value.utf8.count
    if flexible {
      self.writeUnsignedVarint(UInt32(length + 1))
      self.buffer.writeString(value)
    } else if length <= Int(Int16.max) {
      self.buffer.writeInteger(Int16(length))
      self.buffer.writeString(value)
    } else {
      self.writeCut(value)
    }
  }

  /// The longest run of whole characters of `value` that a 16-bit length can announce.
  private mutating func writeCut(_ value: String) {
    var end = value.utf8.index(value.utf8.startIndex, offsetBy: Int(Int16.max))
    while end.samePosition(in: value.unicodeScalars) == nil { value.utf8.formIndex(before: &end) }
    self.writeString(String(value[..<end]), flexible: false)
  }

  package mutating func writeNullableString(_ value: String?, flexible: Bool, nullable: Bool = true) {
    if let value {
      self.writeString(value, flexible: flexible)
    } else if flexible {
      self.writeUnsignedVarint(nullable ? 0 : 1)
    } else {
      self.buffer.writeInteger(nullable ? -1 : 0, as: Int16.self)
    }
  }

  package mutating func writeBytes(_ value: ByteBuffer, flexible: Bool) {
    self.writeCount(value.readableBytes, flexible: flexible)
    self.buffer.writeImmutableBuffer(value)
  }

  package mutating func writeNullableBytes(_ value: ByteBuffer?, flexible: Bool, nullable: Bool = true) {
    if let value { self.writeBytes(value, flexible: flexible) } else { self.writeNull(flexible: flexible, nullable: nullable) }
  }

  /// `.bytes` are copied into the buffer; of `.external` only the length is written and a splice remembers the place.
  package mutating func writeRecords(_ value: RecordData, flexible: Bool) {
    switch value {
    case .bytes(let bytes): self.writeBytes(bytes, flexible: flexible)
    case .external(let byteCount):
      self.writeCount(byteCount, flexible: flexible)
      if byteCount > 0 { self.splices.append(Splice(position: self.buffer.writerIndex, byteCount: byteCount)) }
    }
  }

  package mutating func writeNullableRecords(_ value: RecordData?, flexible: Bool, nullable: Bool = true) {
    if let value { self.writeRecords(value, flexible: flexible) } else { self.writeNull(flexible: flexible, nullable: nullable) }
  }

  /// The length of bytes or the count of an array: 32 bits, or compact.
  private mutating func writeCount(_ count: Int, flexible: Bool) {
    if flexible { self.writeUnsignedVarint(UInt32(count + 1)) } else { self.buffer.writeInteger(Int32(count)) }
  }

  /// Null, or empty where null is not allowed.
  private mutating func writeNull(flexible: Bool, nullable: Bool) {
    if flexible { self.writeUnsignedVarint(nullable ? 0 : 1) } else { self.buffer.writeInteger(nullable ? -1 : 0, as: Int32.self) }
  }
}

// MARK: - Arrays and structures

extension WireWriter {
  package mutating func writeArray(_ elements: [some WireStruct], version: Int16, flexible: Bool) {
    self.writeCount(elements.count, flexible: flexible)
    for element in elements { element.encode(into: &self, version: version) }
  }

  package mutating func writeNullableArray(_ elements: [some WireStruct]?, version: Int16, flexible: Bool, nullable: Bool = true) {
    if let elements {
      self.writeArray(elements, version: version, flexible: flexible)
    } else {
      self.writeNull(flexible: flexible, nullable: nullable)
    }
  }

  package mutating func writeIntegers(_ elements: [some FixedWidthInteger], flexible: Bool) {
    self.writeCount(elements.count, flexible: flexible)
    for element in elements { self.buffer.writeInteger(element) }
  }

  package mutating func writeNullableIntegers(_ elements: [some FixedWidthInteger]?, flexible: Bool, nullable: Bool = true) {
    if let elements { self.writeIntegers(elements, flexible: flexible) } else { self.writeNull(flexible: flexible, nullable: nullable) }
  }

  package mutating func writeStrings(_ elements: [String], flexible: Bool) {
    self.writeCount(elements.count, flexible: flexible)
    for element in elements { self.writeString(element, flexible: flexible) }
  }

  package mutating func writeNullableStrings(_ elements: [String]?, flexible: Bool, nullable: Bool = true) {
    if let elements { self.writeStrings(elements, flexible: flexible) } else { self.writeNull(flexible: flexible, nullable: nullable) }
  }

  package mutating func writeUUIDs(_ elements: [KafkaUUID], flexible: Bool) {
    self.writeCount(elements.count, flexible: flexible)
    for element in elements { self.writeUUID(element) }
  }

  package mutating func writeNullableUUIDs(_ elements: [KafkaUUID]?, flexible: Bool, nullable: Bool = true) {
    if let elements { self.writeUUIDs(elements, flexible: flexible) } else { self.writeNull(flexible: flexible, nullable: nullable) }
  }

  /// A byte of 1 and the structure, or a byte of -1.
  package mutating func writeNullableStruct(_ value: (some WireStruct)?, version: Int16) {
    guard let value else { return self.writeInteger(-1 as Int8) }
    self.writeInteger(1 as Int8)
    value.encode(into: &self, version: version)
  }
}

// MARK: - Tagged fields

extension WireWriter {
  /// Begins a tagged field (KIP-482) whose size is known only at its end, and returns the place to give to `endTaggedField`.
  package mutating func beginTaggedField(_ tag: UInt32) -> Int {
    self.writeUnsignedVarint(tag)
    self.buffer.writeInteger(0, as: UInt8.self)
    return self.buffer.writerIndex
  }

  /// Sets the size. One byte was left for it, as nearly every tagged field is shorter than 128 bytes; a longer one is moved.
  package mutating func endTaggedField(_ start: Int) {
    let size = self.buffer.writerIndex - start
    if size < 0x80 {
      self.buffer.setInteger(UInt8(size), at: start - 1)
      return
    }
    let extra = Self.unsignedVarintByteCount(UInt32(size)) - 1
    self.buffer.writeRepeatingByte(0, count: extra)
    // The pointer starts at the buffer's index 0, whatever its reader index.
    self.buffer.withVeryUnsafeMutableBytes { bytes in
      let payload = UnsafeRawBufferPointer(rebasing: bytes[start..<start + size])
      UnsafeMutableRawBufferPointer(rebasing: bytes[(start + extra)...]).copyMemory(from: payload)
    }
    self.buffer.moveWriterIndex(to: start - 1)
    self.writeUnsignedVarint(UInt32(size))
    self.buffer.moveWriterIndex(to: start + extra + size)
  }
}
