import Model
import NIOCore
import Testing
import Wire

/// Every primitive of the reader, and every error that it can give.
@Suite struct WireReaderTests {
  /// A reader whose bytes do not begin at index 0 of their storage, so that positions in errors are shown to be relative.
  private func reader(_ bytes: [UInt8]) -> WireReader {
    var buffer = ByteBuffer(bytes: [0xAA, 0xBB] + bytes)
    buffer.moveReaderIndex(forwardBy: 2)
    return WireReader(buffer)
  }

  private func place(_ position: Int) -> WireError.Place { WireError.Place(field: "f", position: position) }

  @Test func numbers() throws {
    var reader = self.reader([0x80, 0x12, 0x34, 0xFF, 0xFF, 0xFF, 0xFE, 1, 2, 3, 4, 5, 6, 7, 8, 0, 2, 0, 3, 0x03, 0xE7])
    #expect(try reader.readInteger("f", as: Int8.self) == -128)
    #expect(try reader.readInteger("f", as: UInt16.self) == 0x1234)
    #expect(try reader.readInteger("f", as: Int32.self) == -2)
    #expect(try reader.readInteger("f", as: Int64.self) == 0x0102_0304_0506_0708)
    #expect(try reader.readBool("f") == false)
    #expect(try reader.readBool("f") == true)
    #expect(try reader.readErrorCode("f") == .unknownTopicOrPartition)
    #expect(try reader.readErrorCode("f") == .unknownServerError, "999 is not assigned")
    try reader.finish("f")
  }

  @Test func doublesAndIdentifiers() throws {
    var reader = self.reader([0x40, 0x09, 0x21, 0xFB, 0x54, 0x44, 0x2D, 0x18] + Array(0..<16))
    #expect(try reader.readDouble("f") == .pi)
    #expect(try reader.readUUID("f") == KafkaUUID(high: 0x0001_0203_0405_0607, low: 0x0809_0A0B_0C0D_0E0F))
    #expect(reader.remaining == 0)
  }

  @Test("A number that is cut short says what it needs and what is there")
  func truncatedNumbers() {
    #expect(throws: WireError.truncated(self.place(0), needed: 4, available: 3)) {
      var reader = self.reader([1, 2, 3])
      _ = try reader.readInteger("f", as: Int32.self)
    }
    #expect(throws: WireError.truncated(self.place(1), needed: 1, available: 0)) {
      var reader = self.reader([1])
      _ = try reader.readBool("f")
      _ = try reader.readBool("f")
    }
    #expect(throws: WireError.truncated(self.place(0), needed: 16, available: 15)) {
      var reader = self.reader([UInt8](repeating: 0, count: 15))
      _ = try reader.readUUID("f")
    }
  }

  @Test("Variable-length integers of the protocol guide", arguments: [
    ([0x00], UInt32(0)), ([0x7F], 127), ([0x80, 0x01], 128), ([0xAC, 0x02], 300), ([0xFF, 0xFF, 0x03], 65_535),
    ([0xFF, 0xFF, 0xFF, 0xFF, 0x0F], UInt32.max), ([0x80, 0x00], 0),
  ] as [([UInt8], UInt32)])
  func unsignedVarints(bytes: [UInt8], value: UInt32) throws {
    var reader = self.reader(bytes)
    #expect(try reader.readUnsignedVarint("f") == value)
    #expect(reader.remaining == 0)
  }

  @Test func signedVarints() throws {
    var reader = self.reader([0x00, 0x01, 0x02, 0x03, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F])
    for value in [0, -1, 1, -2, Int32.max, Int32.min] as [Int32] { #expect(try reader.readVarint("f") == value) }
    let largest: [UInt8] = [UInt8](repeating: 0xFF, count: 9) + [0x01]
    var long = self.reader([0x01, 0x80, 0x01, 0xFE] + largest.dropFirst() + largest)
    for value in [-1, 64, Int64.max, Int64.min] { #expect(try long.readVarlong("f") == value) }
    #expect(long.remaining == 0)
  }

  @Test("A variable-length integer beyond its type is an error, not a wrapped number")
  func longVarints() {
    let wide: [([UInt8], Int)] = [
      ([0xFF, 0xFF, 0xFF, 0xFF, 0x1F], 5), ([0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 6), ([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], 5),
    ]
    for (bytes, position) in wide {
      #expect(throws: WireError.varintTooLong(self.place(position))) {
        var reader = self.reader(bytes)
        _ = try reader.readUnsignedVarint("f")
      }
    }
    for (last, position) in [(0x02, 10), (0x80, 11)] as [(UInt8, Int)] {
      #expect(throws: WireError.varintTooLong(self.place(position))) {
        var reader = self.reader([UInt8](repeating: 0x80, count: 9) + [last, 0x00])
        _ = try reader.readVarlong("f")
      }
    }
    #expect(throws: WireError.truncated(self.place(2), needed: 1, available: 0)) {
      var reader = self.reader([0x80, 0x80])
      _ = try reader.readUnsignedVarint("f")
    }
  }

  @Test func strings() throws {
    var reader = self.reader([0, 2, 0xC3, 0xA9, 0xFF, 0xFF, 3, 0x68, 0x69, 0, 1, 0, 0])
    #expect(try reader.readString("f", flexible: false) == "é")
    #expect(try reader.readNullableString("f", flexible: false) == nil)
    #expect(try reader.readString("f", flexible: true) == "hi")
    #expect(try reader.readNullableString("f", flexible: true) == nil)
    #expect(try reader.readString("f", flexible: true) == "")
    #expect(try reader.readString("f", flexible: false) == "")
    #expect(reader.remaining == 0)
  }

  @Test func badStrings() {
    #expect(throws: WireError.invalidUTF8(self.place(2))) {
      var reader = self.reader([0, 2, 0xC3, 0x28])
      _ = try reader.readString("f", flexible: false)
    }
    #expect(throws: WireError.invalidUTF8(self.place(1)), "a surrogate has no UTF-8") {
      var reader = self.reader([4, 0xED, 0xA0, 0x80])
      _ = try reader.readString("f", flexible: true)
    }
    #expect(throws: WireError.truncated(self.place(2), needed: 5, available: 2)) {
      var reader = self.reader([0, 5, 0x61, 0x61])
      _ = try reader.readString("f", flexible: false)
    }
    #expect(throws: WireError.invalidLength(self.place(2), length: -2)) {
      var reader = self.reader([0xFF, 0xFE])
      _ = try reader.readNullableString("f", flexible: false)
    }
    #expect(throws: WireError.unexpectedNull(self.place(2))) {
      var reader = self.reader([0xFF, 0xFF])
      _ = try reader.readString("f", flexible: false)
    }
    #expect(throws: WireError.unexpectedNull(self.place(1))) {
      var reader = self.reader([0])
      _ = try reader.readNullableString("f", flexible: true, nullable: false)
    }
    #expect(throws: WireError.truncated(self.place(5), needed: 0xFFFF_FFFE, available: 1)) {
      var reader = self.reader([0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0])
      _ = try reader.readString("f", flexible: true)
    }
  }

  @Test("Bytes and records are views of the frame, not copies")
  func bytesAreViews() throws {
    let payload = [UInt8](repeating: 7, count: 1_000)
    var frame = ByteBuffer(bytes: [0, 0, 3, 0xE8] + payload + [0xFF, 0xFF, 0xFF, 0xFF])
    let base = frame.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
    var reader = WireReader(frame)
    let records = try reader.readNullableRecords("f", flexible: false)
    guard case .bytes(let view) = records else { throw WireError.unexpectedNull(self.place(0)) }
    #expect(Array(view.readableBytesView) == payload)
    #expect(view.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) } == base + 4)
    #expect(records?.byteCount == 1_000)
    #expect(try reader.readNullableRecords("f", flexible: false) == nil)
    // Whoever writes into the frame afterwards does not change the view.
    frame.setInteger(UInt8(9), at: 4)
    #expect(view.getInteger(at: view.readerIndex, as: UInt8.self) == 7)
  }

  @Test("A view that begins beyond 16 MiB of a frame is not a copy either")
  func farBytesAreViews() throws {
    var frame = ByteBuffer(repeating: 1, count: 20 << 20)
    frame.writeBytes([0, 0, 0, 3, 5, 6, 7])
    let base = frame.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
    frame.moveReaderIndex(forwardBy: 20 << 20)
    var reader = WireReader(frame)
    let view = try reader.readBytes("f", flexible: false)
    #expect(Array(view.readableBytesView) == [5, 6, 7])
    #expect(view.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) } == base + 20 << 20 + 4)
  }

  @Test func badBytes() {
    #expect(throws: WireError.invalidLength(self.place(4), length: Int(Int32.min))) {
      var reader = self.reader([0x80, 0, 0, 0])
      _ = try reader.readNullableBytes("f", flexible: false)
    }
    #expect(throws: WireError.unexpectedNull(self.place(4))) {
      var reader = self.reader([0xFF, 0xFF, 0xFF, 0xFF])
      _ = try reader.readBytes("f", flexible: false)
    }
    #expect(throws: WireError.truncated(self.place(4), needed: Int(Int32.max), available: 1)) {
      var reader = self.reader([0x7F, 0xFF, 0xFF, 0xFF, 0])
      _ = try reader.readNullableRecords("f", flexible: false)
    }
  }

  @Test func arrays() throws {
    var reader = self.reader([0, 0, 0, 2, 0, 1, 0, 2, 0xFF, 0xFF, 0xFF, 0xFF, 3, 2, 0x61, 1, 0, 2] + Array(1...16))
    #expect(try reader.readIntegers("f", flexible: false) == [1, 2] as [Int16])
    #expect(try reader.readNullableIntegers("f", flexible: false) as [Int64]? == nil)
    #expect(try reader.readStrings("f", flexible: true) == ["a", ""])
    #expect(try reader.readNullableStrings("f", flexible: true) == nil)
    #expect(try reader.readUUIDs("f", flexible: true) == [KafkaUUID(high: 0x0102_0304_0506_0708, low: 0x090A_0B0C_0D0E_0F10)])
    #expect(reader.remaining == 0)
  }

  @Test("A count that cannot fit into what is left is refused before anything is allocated")
  func impossibleCounts() {
    #expect(throws: WireError.countBeyondMessage(self.place(4), count: Int(Int32.max), available: 8)) {
      var reader = self.reader([0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0])
      _ = try reader.readIntegers("f", flexible: false) as [Int32]
    }
    #expect(throws: WireError.countBeyondMessage(self.place(1), count: 2, available: 31)) {
      var reader = self.reader([3] + [UInt8](repeating: 0, count: 31))
      _ = try reader.readUUIDs("f", flexible: true)
    }
    #expect(throws: WireError.countBeyondMessage(self.place(4), count: 3, available: 5)) {
      var reader = self.reader([0, 0, 0, 3, 0, 0, 0, 0, 0])
      _ = try reader.readStrings("f", flexible: false)
    }
    #expect(throws: WireError.invalidLength(self.place(4), length: -5)) {
      var reader = self.reader([0xFF, 0xFF, 0xFF, 0xFB])
      _ = try reader.readNullableStrings("f", flexible: false)
    }
    #expect(throws: WireError.unexpectedNull(self.place(4))) {
      var reader = self.reader([0xFF, 0xFF, 0xFF, 0xFF])
      _ = try reader.readIntegers("f", flexible: false) as [Int32]
    }
    #expect(throws: WireError.countBeyondMessage(WireError.Place(field: "MetadataRequest.topics", position: 4), count: 4, available: 7)) {
      _ = try MetadataRequest(decoding: ByteBuffer(bytes: [0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]), version: 0)
    }
  }

  @Test("Many small elements are bounded by their number, not only by the bytes they came in")
  func manyElements() throws {
    var frame = ByteBuffer()
    let limit = WireReader.elementCountMax
    for _ in 0..<2 {
      frame.writeInteger(Int32(limit / 2))
      frame.writeRepeatingByte(0, count: limit / 2)
    }
    frame.writeInteger(Int32(1))
    frame.writeInteger(UInt8(0))
    var reader = WireReader(frame)
    for _ in 0..<2 {
      let elements: [Int8] = try reader.readIntegers("f", flexible: false)
      #expect(elements.count == limit / 2)
    }
    #expect(throws: WireError.tooManyElements(self.place(limit + 12), max: limit)) {
      _ = try reader.readIntegers("f", flexible: false) as [Int8]
    }
  }

  @Test func presence() throws {
    typealias Request = DescribeTopicPartitionsRequest
    let cursor = Request.Cursor(topicName: "t", partitionIndex: 9)
    var reader = self.reader([1, 2, 0x74, 0, 0, 0, 9, 0, 0xFF, 2])
    #expect(try reader.readNullableStruct("f", version: 0) == cursor)
    #expect(try reader.readNullableStruct("f", of: Request.Cursor.self, version: 0) == nil)
    #expect(throws: WireError.invalidPresence(self.place(10), byte: 2)) {
      _ = try reader.readNullableStruct("f", of: Request.Cursor.self, version: 0)
    }
  }

  @Test func taggedFields() throws {
    var reader = self.reader([3, 0, 1, 0x11, 5, 2, 0x22, 0x33, 0x80, 0x01, 0, 0x99])
    var tagged = try reader.beginTaggedFields("f")
    #expect(try reader.nextTaggedField(&tagged, "f") == 0)
    #expect(try reader.readInteger("f", as: UInt8.self) == 0x11)
    #expect(try reader.nextTaggedField(&tagged, "f") == 5)
    #expect(reader.remaining == 2, "the reader sees only the field's bytes")
    reader.skipTaggedField()
    #expect(try reader.nextTaggedField(&tagged, "f") == 128)
    #expect(reader.remaining == 0)
    #expect(try reader.nextTaggedField(&tagged, "f") == nil)
    #expect(reader.remaining == 1, "and the rest again afterwards")
  }

  @Test func badTaggedFields() {
    #expect(throws: WireError.taggedFieldsOutOfOrder(self.place(5), tag: 1, previous: 1)) {
      var reader = self.reader([2, 1, 1, 0, 1, 1, 0])
      try reader.skipTaggedFields("f")
    }
    #expect(throws: WireError.taggedFieldsOutOfOrder(self.place(4), tag: 2, previous: 3)) {
      var reader = self.reader([2, 3, 0, 2, 0])
      try reader.skipTaggedFields("f")
    }
    #expect(throws: WireError.truncated(self.place(3), needed: 9, available: 1)) {
      var reader = self.reader([1, 3, 9, 0])
      try reader.skipTaggedFields("f")
    }
    #expect(throws: WireError.countBeyondMessage(self.place(1), count: 4, available: 7)) {
      var reader = self.reader([4, 0, 0, 0, 0, 0, 0, 0])
      try reader.skipTaggedFields("f")
    }
    #expect(throws: WireError.taggedFieldTooLong(self.place(4), tag: 0, left: 1)) {
      var reader = self.reader([1, 0, 2, 7, 7])
      var tagged = try reader.beginTaggedFields("f")
      while try reader.nextTaggedField(&tagged, "f") != nil { _ = try reader.readBool("f") }
    }
    #expect(throws: WireError.truncated(self.place(3), needed: 4, available: 2), "a field cannot read beyond its own size") {
      var reader = self.reader([1, 0, 2, 7, 7, 7, 7, 7])
      var tagged = try reader.beginTaggedFields("f")
      while try reader.nextTaggedField(&tagged, "f") != nil { _ = try reader.readInteger("f", as: Int32.self) }
    }
  }

  @Test("The errors read as sentences", arguments: [
    (WireError.truncated(.init(field: "A.b", position: 3), needed: 4, available: 1), "A.b at byte 3: needs 4 bytes, 1 are left"),
    (.unsupportedVersion(message: "FetchRequest", version: 99), "FetchRequest has no version 99"),
    (.unknownApiKey(-3), "API key -3 is not known"),
  ])
  func descriptions(error: WireError, text: String) { #expect("\(error)" == text) }
}
