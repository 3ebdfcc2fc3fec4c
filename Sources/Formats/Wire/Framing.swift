package import NIOCore

/// Kafka's frames: a length of 32 bits, then so many bytes.
package enum Frame {
  /// The bytes of the length itself.
  package static let prefixByteCount = 4

  /// A whole frame with header and message. Where records are external, the length counts them and `splices` says where they belong.
  package static func response(
    _ message: some WireMessage, version: Int16, correlationId: Int32, into buffer: ByteBuffer = ByteBuffer()
  ) -> WireWriter {
    var writer = WireWriter(buffer)
    writer.writeInteger(0 as Int32)
    ResponseHeader(correlationId: correlationId).encode(into: &writer, apiKey: type(of: message).apiKey, version: version)
    message.encode(into: &writer, version: version)
    self.setLength(of: &writer, from: buffer.writerIndex)
    return writer
  }

  package static func request(
    _ message: some ApiRequest, version: Int16, correlationId: Int32, clientId: String?, into buffer: ByteBuffer = ByteBuffer()
  ) -> WireWriter {
    var writer = WireWriter(buffer)
    writer.writeInteger(0 as Int32)
    RequestHeader(type(of: message).apiKey, version: version, correlationId: correlationId, clientId: clientId).encode(into: &writer)
    message.encode(into: &writer, version: version)
    self.setLength(of: &writer, from: buffer.writerIndex)
    return writer
  }

  private static func setLength(of writer: inout WireWriter, from start: Int) {
    writer.buffer.setInteger(Int32(writer.byteCount - start - self.prefixByteCount), at: start)
  }
}
