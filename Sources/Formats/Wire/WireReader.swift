package import Model
package import NIOCore

/// Reads Kafka's primitive types from a buffer, strictly: every length is held against the bytes that are left before it is believed.
///
/// Integers are big-endian. `flexible` selects the encodings of KIP-482: lengths as unsigned varints of length + 1, 0 for null.
/// Nothing is copied but strings; `bytes` and `records` are views of the buffer's storage.
package struct WireReader: Sendable {
  /// The most array elements that one message may hold in all its arrays together. An element costs the reader up to a few hundred
  /// bytes of memory for a few bytes of input, so a limit in bytes alone would not bound memory.
  package static let elementCountMax = 4_194_304

  /// An array reserves room for so many elements at most; beyond that it grows with what really arrives.
  private static let reservedElementMax = 1024

  /// What is left to read: a tagged field narrows it to its own bytes.
  private var buffer: ByteBuffer
  /// The place in the buffer's storage that error positions are counted from.
  private let origin: Int
  private var elementCount = 0

  package init(_ buffer: ByteBuffer) {
    self.buffer = buffer
    self.origin = buffer.readerIndex
  }

  /// Bytes left.
  package var remaining: Int { self.buffer.readableBytes }

  /// The bytes left, unread.
  package var rest: ByteBuffer { self.buffer }

  /// Where the next byte lies, from the start of the buffer.
  package var position: Int { self.buffer.readerIndex - self.origin }

  /// Throws unless everything was read.
  package func finish(_ message: StaticString) throws(WireError) {
    if self.remaining > 0 { throw .trailingBytes(self.place(message), count: self.remaining) }
  }

  @inline(never)
  private func place(_ field: StaticString) -> WireError.Place { WireError.Place(field: "\(field)", position: self.position) }

  @inline(never)
  private func truncated(_ field: StaticString, needed: Int) -> WireError {
    .truncated(self.place(field), needed: needed, available: self.remaining)
  }
}

// MARK: - Numbers

extension WireReader {
  package mutating func readInteger<T: FixedWidthInteger>(_ field: StaticString, as type: T.Type = T.self) throws(WireError) -> T {
    guard let value = self.buffer.readInteger(as: T.self) else { throw self.truncated(field, needed: MemoryLayout<T>.size) }
    return value
  }

  package mutating func readDouble(_ field: StaticString) throws(WireError) -> Double {
    Double(bitPattern: try self.readInteger(field))
  }

  /// One byte; as in Kafka, anything but 0 is true.
  package mutating func readBool(_ field: StaticString) throws(WireError) -> Bool {
    try self.readInteger(field, as: UInt8.self) != 0
  }

  /// A number that this version does not know reads as `unknownServerError`.
  package mutating func readErrorCode(_ field: StaticString) throws(WireError) -> ErrorCode {
    ErrorCode(wire: try self.readInteger(field))
  }

  package mutating func readUUID(_ field: StaticString) throws(WireError) -> KafkaUUID {
    guard let (high, low) = self.buffer.readMultipleIntegers(as: (UInt64, UInt64).self) else {
      throw self.truncated(field, needed: 16)
    }
    return KafkaUUID(high: high, low: low)
  }

  /// Seven bits a byte, the least significant first, the top bit set on all but the last byte; at most five bytes.
  package mutating func readUnsignedVarint(_ field: StaticString) throws(WireError) -> UInt32 {
    let value = try self.readVarint(field, bits: 32)
    return UInt32(truncatingIfNeeded: value)
  }

  /// A zigzag-coded 32-bit integer (`varint` of the protocol guide).
  package mutating func readVarint(_ field: StaticString) throws(WireError) -> Int32 {
    let value = UInt32(truncatingIfNeeded: try self.readVarint(field, bits: 32))
    return Int32(bitPattern: value >> 1) ^ -Int32(bitPattern: value & 1)
  }

  /// A zigzag-coded 64-bit integer (`varlong` of the protocol guide); at most ten bytes.
  package mutating func readVarlong(_ field: StaticString) throws(WireError) -> Int64 {
    let value = try self.readVarint(field, bits: 64)
    return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }

  private mutating func readVarint(_ field: StaticString, bits: UInt64) throws(WireError) -> UInt64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      let byte = UInt64(try self.readInteger(field, as: UInt8.self))
      let digits = byte & 0x7F
      // The last byte carries only the bits that the type has left: 4 of 32, 1 of 64.
      guard shift < bits, bits - shift >= 7 || digits >> (bits - shift) == 0 else { throw .varintTooLong(self.place(field)) }
      value |= digits << shift
      if byte & 0x80 == 0 { return value }
      shift += 7
    }
  }
}

// MARK: - Strings and bytes

extension WireReader {
  package mutating func readString(_ field: StaticString, flexible: Bool) throws(WireError) -> String {
    guard let value = try self.readNullableString(field, flexible: flexible, nullable: false) else {
      throw .unexpectedNull(self.place(field))
    }
    return value
  }

  /// Nil only where `nullable`; a null elsewhere is an error. A length of 16 bits, or compact.
  package mutating func readNullableString(
    _ field: StaticString, flexible: Bool, nullable: Bool = true
  ) throws(WireError) -> String? {
    let length = flexible ? try self.readCompactLength(field) : Int(try self.readInteger(field, as: Int16.self))
    guard try self.checkLength(length, field, nullable: nullable) else { return nil }
    if length == 0 { return "" }
    let text = self.buffer.withUnsafeReadableBytes { String(validating: UnsafeRawBufferPointer(rebasing: $0[..<length]), as: UTF8.self) }
    guard let text else { throw .invalidUTF8(self.place(field)) }
    self.buffer.moveReaderIndex(forwardBy: length)
    return text
  }

  package mutating func readBytes(_ field: StaticString, flexible: Bool) throws(WireError) -> ByteBuffer {
    guard let value = try self.readNullableBytes(field, flexible: flexible, nullable: false) else {
      throw .unexpectedNull(self.place(field))
    }
    return value
  }

  /// A view of the bytes, not a copy; its readable bytes are the field, wherever its reader index stands. A length of 32 bits, or compact.
  package mutating func readNullableBytes(
    _ field: StaticString, flexible: Bool, nullable: Bool = true
  ) throws(WireError) -> ByteBuffer? {
    let length = flexible ? try self.readCompactLength(field) : Int(try self.readInteger(field, as: Int32.self))
    guard try self.checkLength(length, field, nullable: nullable) else { return nil }
    // `readSlice` copies what begins beyond 16 MiB of the storage; moving the indices of a second handle never does.
    var view = self.buffer
    view.moveWriterIndex(to: view.readerIndex + length)
    self.buffer.moveReaderIndex(forwardBy: length)
    return view
  }

  package mutating func readRecords(_ field: StaticString, flexible: Bool) throws(WireError) -> RecordData {
    .bytes(try self.readBytes(field, flexible: flexible))
  }

  package mutating func readNullableRecords(
    _ field: StaticString, flexible: Bool, nullable: Bool = true
  ) throws(WireError) -> RecordData? {
    try self.readNullableBytes(field, flexible: flexible, nullable: nullable).map { .bytes($0) }
  }

  /// The length that a compact encoding announces; -1 for null.
  private mutating func readCompactLength(_ field: StaticString) throws(WireError) -> Int { Int(try self.readUnsignedVarint(field)) - 1 }

  /// False for null. Throws if the length is not allowed or goes beyond what is left.
  private func checkLength(_ length: Int, _ field: StaticString, nullable: Bool) throws(WireError) -> Bool {
    if length < 0 {
      guard length == -1 else { throw .invalidLength(self.place(field), length: length) }
      guard nullable else { throw .unexpectedNull(self.place(field)) }
      return false
    }
    guard length <= self.remaining else { throw self.truncated(field, needed: length) }
    return true
  }
}

// MARK: - Arrays and structures

extension WireReader {
  /// The count of an array, nil for null. An element takes at least `elementBytes` bytes, so a count that cannot fit is refused at once.
  private mutating func readCount(
    _ field: StaticString, flexible: Bool, nullable: Bool, elementBytes: Int
  ) throws(WireError) -> Int? {
    let count = flexible ? try self.readCompactLength(field) : Int(try self.readInteger(field, as: Int32.self))
    if count < 0 {
      guard count == -1 else { throw .invalidLength(self.place(field), length: count) }
      guard nullable else { throw .unexpectedNull(self.place(field)) }
      return nil
    }
    guard count <= self.remaining / max(1, elementBytes) else {
      throw .countBeyondMessage(self.place(field), count: count, available: self.remaining)
    }
    self.elementCount += count
    guard self.elementCount <= Self.elementCountMax else { throw .tooManyElements(self.place(field), max: Self.elementCountMax) }
    return count
  }

  /// An array of structures, each at least `elementBytes` long.
  package mutating func readArray<Element: WireStruct>(
    _ field: StaticString, of type: Element.Type = Element.self, version: Int16, flexible: Bool, elementBytes: Int
  ) throws(WireError) -> [Element] {
    let elements = try self.readNullableArray(
      field, of: type, version: version, flexible: flexible, nullable: false, elementBytes: elementBytes)
    return elements ?? []
  }

  package mutating func readNullableArray<Element: WireStruct>(
    _ field: StaticString, of type: Element.Type = Element.self, version: Int16, flexible: Bool, nullable: Bool = true,
    elementBytes: Int
  ) throws(WireError) -> [Element]? {
    guard let count = try self.readCount(field, flexible: flexible, nullable: nullable, elementBytes: elementBytes) else { return nil }
    var elements: [Element] = []
    elements.reserveCapacity(min(count, Self.reservedElementMax))
    for _ in 0..<count { elements.append(try Element(from: &self, version: version)) }
    return elements
  }

  package mutating func readIntegers<Element: FixedWidthInteger>(_ field: StaticString, flexible: Bool) throws(WireError) -> [Element] {
    try self.readNullableIntegers(field, flexible: flexible, nullable: false) ?? []
  }

  package mutating func readNullableIntegers<Element: FixedWidthInteger>(
    _ field: StaticString, flexible: Bool, nullable: Bool = true
  ) throws(WireError) -> [Element]? {
    let size = MemoryLayout<Element>.size
    guard let count = try self.readCount(field, flexible: flexible, nullable: nullable, elementBytes: size) else { return nil }
    var elements: [Element] = []
    elements.reserveCapacity(min(count, Self.reservedElementMax))
    for _ in 0..<count { elements.append(try self.readInteger(field)) }
    return elements
  }

  package mutating func readStrings(_ field: StaticString, flexible: Bool) throws(WireError) -> [String] {
    try self.readNullableStrings(field, flexible: flexible, nullable: false) ?? []
  }

  package mutating func readNullableStrings(
    _ field: StaticString, flexible: Bool, nullable: Bool = true
  ) throws(WireError) -> [String]? {
    guard let count = try self.readCount(field, flexible: flexible, nullable: nullable, elementBytes: flexible ? 1 : 2) else {
      return nil
    }
    var elements: [String] = []
    elements.reserveCapacity(min(count, Self.reservedElementMax))
    for _ in 0..<count { elements.append(try self.readString(field, flexible: flexible)) }
    return elements
  }

  package mutating func readUUIDs(_ field: StaticString, flexible: Bool) throws(WireError) -> [KafkaUUID] {
    try self.readNullableUUIDs(field, flexible: flexible, nullable: false) ?? []
  }

  package mutating func readNullableUUIDs(
    _ field: StaticString, flexible: Bool, nullable: Bool = true
  ) throws(WireError) -> [KafkaUUID]? {
    guard let count = try self.readCount(field, flexible: flexible, nullable: nullable, elementBytes: 16) else { return nil }
    var elements: [KafkaUUID] = []
    elements.reserveCapacity(min(count, Self.reservedElementMax))
    for _ in 0..<count { elements.append(try self.readUUID(field)) }
    return elements
  }

  /// A structure that may be null: a byte of 1 and the structure, or a byte of -1.
  package mutating func readNullableStruct<Value: WireStruct>(
    _ field: StaticString, of type: Value.Type = Value.self, version: Int16
  ) throws(WireError) -> Value? {
    let presence = try self.readInteger(field, as: Int8.self)
    if presence == 1 { return try Value(from: &self, version: version) }
    guard presence == -1 else { throw .invalidPresence(self.place(field), byte: presence) }
    return nil
  }
}

// MARK: - Tagged fields

extension WireReader {
  /// Walks the tagged fields at the end of a structure (KIP-482). Each step narrows the reader to one field's bytes; whatever the
  /// caller leaves unread of a tag that it does not know is skipped.
  package struct TaggedFields: Sendable {
    fileprivate var left: UInt32
    fileprivate var previous: UInt32?
    /// Where the reader's own bytes end while it is narrowed.
    fileprivate var outerEnd: Int?
  }

  package mutating func beginTaggedFields(_ field: StaticString) throws(WireError) -> TaggedFields {
    let count = try self.readUnsignedVarint(field)
    // A tagged field takes two bytes at least: its tag and its size.
    guard Int(count) <= self.remaining / 2 else {
      throw .countBeyondMessage(self.place(field), count: Int(count), available: self.remaining)
    }
    return TaggedFields(left: count)
  }

  /// The next tag, or nil after the last.
  package mutating func nextTaggedField(_ fields: inout TaggedFields, _ field: StaticString) throws(WireError) -> UInt32? {
    if let end = fields.outerEnd {
      if self.remaining > 0 { throw .taggedFieldTooLong(self.place(field), tag: fields.previous ?? 0, left: self.remaining) }
      self.buffer.moveWriterIndex(to: end)
      fields.outerEnd = nil
    }
    guard fields.left > 0 else { return nil }
    fields.left -= 1
    let tag = try self.readUnsignedVarint(field)
    if let previous = fields.previous, tag <= previous {
      throw .taggedFieldsOutOfOrder(self.place(field), tag: tag, previous: previous)
    }
    fields.previous = tag
    let size = Int(try self.readUnsignedVarint(field))
    guard size <= self.remaining else { throw self.truncated(field, needed: size) }
    fields.outerEnd = self.buffer.writerIndex
    self.buffer.moveWriterIndex(to: self.buffer.readerIndex + size)
    return tag
  }

  /// Passes over the field that `nextTaggedField` narrowed the reader to.
  package mutating func skipTaggedField() { self.buffer.moveReaderIndex(to: self.buffer.writerIndex) }

  /// Passes over all tagged fields of a structure that has none of its own.
  package mutating func skipTaggedFields(_ field: StaticString) throws(WireError) {
    var fields = try self.beginTaggedFields(field)
    while try self.nextTaggedField(&fields, field) != nil { self.skipTaggedField() }
  }
}
