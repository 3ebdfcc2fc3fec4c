import NIOCore
import Testing
import Wire

@Suite struct FramingTests {
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
