import NIOCore
import Testing
import Wire

@Suite struct FramingTests {
  @Test("Frames come out whole, however the stream is cut")
  func splitsStreams() throws {
    let frames = [[], [1], [2, 3, 4], [UInt8](repeating: 5, count: 1_000)] as [[UInt8]]
    var stream: [UInt8] = []
    for frame in frames { stream += [0, 0, UInt8(frame.count >> 8), UInt8(frame.count & 0xFF)] + frame }
    for size in [1, 2, 3, 5, 64, 1_006, stream.count] {
      var splitter = FrameSplitter(frameByteCountMax: 1_000)
      var found: [[UInt8]] = []
      for start in stride(from: 0, to: stream.count, by: size) {
        splitter.append(ByteBuffer(bytes: stream[start..<min(start + size, stream.count)]))
        while let frame = try splitter.next() { found.append(Array(frame.readableBytesView)) }
      }
      #expect(found == frames, "pieces of \(size)")
      #expect(splitter.pendingByteCount == 0)
    }
  }

  @Test("A frame in one chunk is a view of it")
  func doesNotCopy() throws {
    let chunk = ByteBuffer(bytes: [0, 0, 0, 2, 8, 9, 0, 0, 0, 1, 7])
    let base = chunk.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
    var splitter = FrameSplitter(frameByteCountMax: 10)
    splitter.append(chunk)
    let first = try #require(try splitter.next())
    let second = try #require(try splitter.next())
    #expect(first.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) } == base + 4)
    #expect(second.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) } == base + 10)
    #expect(Array(second.readableBytesView) == [7])
  }

  @Test("Lengths below zero and above the limit")
  func refusesLengths() throws {
    func split(_ bytes: [UInt8]) throws(WireError) -> ByteBuffer? {
      var splitter = FrameSplitter(frameByteCountMax: 100)
      splitter.append(ByteBuffer(bytes: bytes))
      return try splitter.next()
    }
    #expect(throws: WireError.negativeFrameLength(-1)) { try split([0xFF, 0xFF, 0xFF, 0xFF]) }
    #expect(throws: WireError.negativeFrameLength(Int(Int32.min))) { try split([0x80, 0, 0, 0, 1, 2, 3]) }
    #expect(throws: WireError.frameTooLong(length: 101, max: 100)) { try split([0, 0, 0, 101]) }
    #expect(throws: WireError.frameTooLong(length: Int(Int32.max), max: 100)) { try split([0x7F, 0xFF, 0xFF, 0xFF]) }
    #expect(try split([0, 0, 0, 100]) == nil, "the limit itself is allowed")
  }

  @Test("What a client sends first: ApiVersions of a version that we do not know has a header that we do")
  func readsFutureApiVersions() throws {
    var writer = WireWriter()
    RequestHeader(.apiVersions, version: 99, correlationId: 5, clientId: "c").encode(into: &writer)
    writer.writeInteger(0x7F as UInt8)
    var reader = WireReader(writer.buffer)
    #expect(try RequestHeader(from: &reader) == RequestHeader(apiKey: 18, apiVersion: 99, correlationId: 5, clientId: "c"))
    #expect(reader.remaining == 1)
    #expect(throws: WireError.unsupportedVersion(message: "ApiVersionsRequest", version: 99)) {
      _ = try ApiVersionsRequest(from: &reader, version: 99)
    }
  }

  @Test("An API key that nobody assigned, and a header cut short anywhere")
  func refusesHeaders() {
    #expect(throws: WireError.unknownApiKey(4_242)) {
      var reader = WireReader(ByteBuffer(bytes: [0x10, 0x92, 0, 0, 0, 0, 0, 1, 0, 0]))
      _ = try RequestHeader(from: &reader)
    }
    var writer = WireWriter()
    RequestHeader(.fetch, version: 12, correlationId: 5, clientId: "client").encode(into: &writer)
    let bytes = Array(writer.buffer.readableBytesView)
    for count in 0..<bytes.count {
      #expect(throws: WireError.self) {
        var reader = WireReader(ByteBuffer(bytes: bytes[..<count]))
        _ = try RequestHeader(from: &reader)
      }
    }
  }

  @Test("A frame is appended to what the buffer already holds")
  func appendsFrames() throws {
    let request = MetadataRequest(topics: [.init(name: "t")])
    let alone = Frame.request(request, version: 4, correlationId: 1, clientId: nil).buffer
    let both = Frame.request(request, version: 4, correlationId: 1, clientId: nil, into: alone).buffer
    #expect(Array(both.readableBytesView) == Array(alone.readableBytesView) + Array(alone.readableBytesView))
  }
}
