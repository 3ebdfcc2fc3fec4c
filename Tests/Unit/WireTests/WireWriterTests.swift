import Base
import Model
import NIOCore
import Testing
import Wire

@Suite struct WireWriterTests {
  private func bytes(_ write: (inout WireWriter) -> Void) -> [UInt8] {
    var writer = WireWriter()
    write(&writer)
    return Array(writer.buffer.readableBytesView)
  }

  @Test func primitives() {
    #expect(self.bytes { $0.writeInteger(-2 as Int32) } == [0xFF, 0xFF, 0xFF, 0xFE])
    #expect(self.bytes { $0.writeBool(true) } == [1])
    #expect(self.bytes { $0.writeDouble(.pi) } == [0x40, 0x09, 0x21, 0xFB, 0x54, 0x44, 0x2D, 0x18])
    #expect(self.bytes { $0.writeErrorCode(.unknownServerError) } == [0xFF, 0xFF])
    #expect(self.bytes { $0.writeUUID(.metadataTopic) } == [UInt8](repeating: 0, count: 15) + [1])
    #expect(self.bytes { $0.writeString("é", flexible: false) } == [0, 2, 0xC3, 0xA9])
    #expect(self.bytes { $0.writeString("é", flexible: true) } == [3, 0xC3, 0xA9])
    #expect(self.bytes { $0.writeBytes(ByteBuffer(bytes: [9]), flexible: true) } == [2, 9])
    #expect(self.bytes { $0.writeStrings(["a", ""], flexible: false) } == [0, 0, 0, 2, 0, 1, 0x61, 0, 0])
    #expect(self.bytes { $0.writeIntegers([1, 2] as [Int16], flexible: true) } == [3, 0, 1, 0, 2])
  }

  @Test("Null, and what stands for it in versions without null")
  func nulls() {
    #expect(self.bytes { $0.writeNullableString(nil, flexible: false) } == [0xFF, 0xFF])
    #expect(self.bytes { $0.writeNullableString(nil, flexible: true) } == [0])
    #expect(self.bytes { $0.writeNullableString(nil, flexible: false, nullable: false) } == [0, 0])
    #expect(self.bytes { $0.writeNullableString(nil, flexible: true, nullable: false) } == [1])
    #expect(self.bytes { $0.writeNullableRecords(nil, flexible: false) } == [0xFF, 0xFF, 0xFF, 0xFF])
    #expect(self.bytes { $0.writeNullableBytes(nil, flexible: false, nullable: false) } == [0, 0, 0, 0])
    #expect(self.bytes { $0.writeNullableUUIDs(nil, flexible: true) } == [0])
    #expect(self.bytes { $0.writeNullableStrings(nil, flexible: true, nullable: false) } == [1])
    #expect(self.bytes { $0.writeNullableStruct(nil as DescribeTopicPartitionsRequest.Cursor?, version: 0) } == [0xFF])
  }

  @Test("Whatever is written as a varint is read back, in as few bytes as possible")
  func varints() throws {
    var generator = SeededGenerator(seed: 3)
    for width in 0..<64 {
      for _ in 0..<50 {
        let value = Int64(bitPattern: generator.next()) >> Int64(width)
        var writer = WireWriter()
        writer.writeVarlong(value)
        writer.writeVarint(Int32(truncatingIfNeeded: value))
        let unsigned = UInt32(truncatingIfNeeded: value)
        let start = writer.buffer.writerIndex
        writer.writeUnsignedVarint(unsigned)
        let size = WireWriter.unsignedVarintByteCount(unsigned)
        #expect(writer.buffer.writerIndex - start == size)
        #expect(size == 5 || UInt64(unsigned) < 1 << (7 * UInt64(size)))
        #expect(size == 1 || UInt64(unsigned) >= 1 << (7 * UInt64(size - 1)))
        var reader = WireReader(writer.buffer)
        #expect(try reader.readVarlong("f") == value)
        #expect(try reader.readVarint("f") == Int32(truncatingIfNeeded: value))
        #expect(try reader.readUnsignedVarint("f") == unsigned)
        #expect(reader.remaining == 0)
      }
    }
  }

  @Test("A string too long for 16 bits is cut between characters")
  func longStrings() throws {
    for (text, kept) in [(String(repeating: "a", count: 40_000), 32_767), (String(repeating: "é", count: 20_000), 32_766),
      ("ab" + String(repeating: "漢", count: 20_000), 32_765), ("a" + String(repeating: "😀", count: 9_000), 32_765)] {
      var writer = WireWriter()
      writer.writeString(text, flexible: false)
      var reader = WireReader(writer.buffer)
      let read = try reader.readString("f", flexible: false)
      #expect(read.utf8.count == kept)
      #expect(text.hasPrefix(read))
      #expect(reader.remaining == 0)
      var flexible = WireWriter()
      flexible.writeString(text, flexible: true)
      var flexibleReader = WireReader(flexible.buffer)
      #expect(try flexibleReader.readString("f", flexible: true) == text, "compact strings have no such limit")
    }
  }

  @Test("Tagged fields of every size of length", arguments: [0, 1, 127, 128, 16_383, 16_384, 2_097_152])
  func taggedFieldSizes(count: Int) throws {
    var writer = WireWriter()
    writer.writeInteger(0x0102 as UInt16)
    // Something was read from the buffer before: its reader index must not matter.
    writer.buffer.moveReaderIndex(forwardBy: 2)
    writer.writeUnsignedVarint(1)
    let start = writer.beginTaggedField(4)
    let payload = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
    writer.buffer.writeBytes(payload)
    writer.endTaggedField(start)
    writer.writeInteger(0x77 as UInt8)
    var reader = WireReader(writer.buffer)
    var tagged = try reader.beginTaggedFields("f")
    #expect(try reader.nextTaggedField(&tagged, "f") == 4)
    #expect(Array(reader.rest.readableBytesView) == payload)
    reader.skipTaggedField()
    #expect(try reader.nextTaggedField(&tagged, "f") == nil)
    #expect(try reader.readInteger("f", as: UInt8.self) == 0x77)
    #expect(reader.remaining == 0)
  }

  @Test("External records leave their length and their place; put there, the bytes are the same message")
  func splices() throws {
    let (first, second) = ([UInt8](repeating: 1, count: 300), [UInt8](repeating: 2, count: 5))
    func response(_ records: [RecordData?]) -> FetchResponse {
      let partitions = records.enumerated().map { FetchResponse.PartitionData(partitionIndex: Int32($0.offset), records: $0.element) }
      return FetchResponse(responses: [.init(topicId: .metadataTopic, partitions: partitions)])
    }
    for version in FetchResponse.supportedVersions {
      let inline = Frame.response(
        response([.bytes(ByteBuffer(bytes: first)), nil, .empty, .bytes(ByteBuffer(bytes: second))]), version: version, correlationId: 9)
      let external = Frame.response(
        response([.external(byteCount: 300), nil, .external(byteCount: 0), .external(byteCount: 5)]), version: version, correlationId: 9)
      #expect(inline.splices.isEmpty)
      #expect(external.splices.map(\.byteCount) == [300, 5], "no splice where nothing is to be put")
      #expect(external.byteCount == inline.byteCount)
      #expect(external.buffer.readableBytes == inline.byteCount - 305)
      var spliced = Array(external.buffer.readableBytesView)
      for (splice, bytes) in zip(external.splices, [first, second]).reversed() { spliced.insert(contentsOf: bytes, at: splice.position) }
      #expect(spliced == Array(inline.buffer.readableBytesView))
      #expect(inline.buffer.getInteger(at: 0, as: Int32.self) == Int32(inline.byteCount - 4))
    }
  }
}
