import Base
import Environment
import Model
import NIOCore
import Wire

/// A part of a file that goes into an answer as it is.
struct FileSlice<File: DiskFile>: Sendable {
  var file: File
  var position: Int64
  var byteCount: Int
}

/// One request on its way to an answer.
struct Exchange<File: DiskFile>: Sendable {
  var header: RequestHeader
  var client: ClientContext
  var reply: Reply<File>
  /// The request in bytes, without its length prefix.
  var byteCount: Int

  var version: Int16 { self.header.apiVersion }
  var clientID: String? { self.header.clientId }

  /// Answers with `response` in the request's version.
  func respond<Response: WireMessage>(_ response: Response) { self.respond(response, version: self.version) }

  func respond<Response: WireMessage>(_ response: Response, version: Int16) {
    var writer = self.beginFrame(Response.self, version: version, capacity: 256)
    response.encode(into: &writer, version: version)
    self.finish(&writer)
    self.reply.send(OutgoingFrame(writer.buffer))
  }

  /// Answers with `response`, whose external records are `slices`, in the order in which the response mentions them.
  /// - Parameter recordByteCount: the size of the records that are in memory, to reserve room for them at once.
  func respond<Response: WireMessage>(_ response: Response, slices: [FileSlice<File>], recordByteCount: Int) {
    var writer = self.beginFrame(Response.self, version: self.version, capacity: 256 + recordByteCount)
    response.encode(into: &writer, version: self.version)
    self.finish(&writer)
    if slices.isEmpty { return self.reply.send(OutgoingFrame(writer.buffer)) }
    invariant(writer.splices.count == slices.count, "\(slices.count) slices for \(writer.splices.count) places in the answer")
    var pieces: [OutgoingFrame<File>.Piece] = []
    pieces.reserveCapacity(slices.count * 2 + 1)
    var written = 0
    for (splice, slice) in zip(writer.splices, slices) {
      if splice.position > written, let part = writer.buffer.getSlice(at: written, length: splice.position - written) {
        pieces.append(.bytes(part))
        written = splice.position
      }
      pieces.append(.file(slice.file, position: slice.position, byteCount: slice.byteCount))
    }
    if writer.buffer.writerIndex > written, let part = writer.buffer.getSlice(at: written, length: writer.buffer.writerIndex - written) {
      pieces.append(.bytes(part))
    }
    self.reply.send(OutgoingFrame(pieces))
  }

  /// Answers with what `encode` writes, behind a header of version 0.
  func respond(encode: (inout WireWriter) -> Void) {
    var writer = WireWriter(ByteBufferAllocator().buffer(capacity: 256))
    writer.writeInteger(Int32(0))
    writer.writeInteger(self.header.correlationId)
    encode(&writer)
    self.finish(&writer)
    self.reply.send(OutgoingFrame(writer.buffer))
  }

  /// No answer is due.
  func skip() { self.reply.skip() }

  /// Ends the connection once everything before has been answered.
  func close(reason: String) { self.reply.sink.close(reason: reason) }

  private func beginFrame<Response: WireMessage>(_: Response.Type, version: Int16, capacity: Int) -> WireWriter {
    var writer = WireWriter(ByteBufferAllocator().buffer(capacity: capacity))
    // The length prefix, known at the end.
    writer.writeInteger(Int32(0))
    ResponseHeader(correlationId: self.header.correlationId).encode(into: &writer, apiKey: Response.apiKey, version: version)
    return writer
  }

  private func finish(_ writer: inout WireWriter) {
    writer.buffer.setInteger(Int32(writer.byteCount - 4), at: 0)
  }
}
