package import NIOCore

/// Kafka's frames: a length of 32 bits, then so many bytes.
package enum Frame {
  /// The bytes of the length itself.
  package static let prefixByteCount = 4

  /// Holds a length prefix against the limit (`socket.request.max.bytes`, in bytes without the prefix).
  package static func checkedLength(_ prefix: Int32, max: Int) throws(WireError) -> Int {
    let length = Int(prefix)
    guard length >= 0 else { throw .negativeFrameLength(length) }
    guard length <= max else { throw .frameTooLong(length: length, max: max) }
    return length
  }

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

/// Cuts a stream of bytes into frames. A frame that lies whole in one chunk is a view of it; only one that spans chunks is copied together.
package struct FrameSplitter: Sendable {
  /// `socket.request.max.bytes`.
  private let frameByteCountMax: Int
  private var pending = ByteBuffer()

  package init(frameByteCountMax: Int) { self.frameByteCountMax = frameByteCountMax }

  /// Bytes received that no frame has used yet.
  package var pendingByteCount: Int { self.pending.readableBytes }

  package mutating func append(_ chunk: ByteBuffer) {
    if self.pending.readableBytes == 0 { self.pending = chunk } else { self.pending.writeImmutableBuffer(chunk) }
  }

  /// The next frame without its length, nil until it is complete. After an error the stream has no meaning any more.
  ///
  /// Memory grows with what arrived, not with what the length announces.
  package mutating func next() throws(WireError) -> ByteBuffer? {
    guard let prefix = self.pending.getInteger(at: self.pending.readerIndex, as: Int32.self) else { return nil }
    let length = try Frame.checkedLength(prefix, max: self.frameByteCountMax)
    guard self.pending.readableBytes - Frame.prefixByteCount >= length else { return nil }
    self.pending.moveReaderIndex(forwardBy: Frame.prefixByteCount)
    // Not `readSlice`: it copies what begins beyond 16 MiB of the storage.
    var frame = self.pending
    frame.moveWriterIndex(to: frame.readerIndex + length)
    self.pending.moveReaderIndex(forwardBy: length)
    return frame
  }
}
