import Model
package import NIOCore

/// Requests as they go over the wire (a 4-byte length, the header, the body), and the way back.
package enum RequestFrame {
  /// The pieces of one request, in order. `records` go where the encoding left `RecordData.external` out.
  package static func encode<Request: ApiRequest>(
    _ request: Request, version: Int16, correlationID: Int32, clientID: String, records: [ByteBuffer]
  ) -> [ByteBuffer] {
    var writer = Frame.request(request, version: version, correlationId: correlationID, clientId: clientID)
    precondition(writer.splices.count == records.count, "a request of \(writer.splices.count) record sets was given \(records.count)")
    var pieces: [ByteBuffer] = []
    pieces.reserveCapacity(2 * records.count + 1)
    for (splice, body) in zip(writer.splices, records) {
      precondition(
        splice.byteCount == body.readableBytes, "a record set of \(body.readableBytes) bytes was announced with \(splice.byteCount)")
      if let head = writer.buffer.readSlice(length: splice.position - writer.buffer.readerIndex), head.readableBytes > 0 {
        pieces.append(head)
      }
      pieces.append(body)
    }
    if writer.buffer.readableBytes > 0 { pieces.append(writer.buffer) }
    return pieces
  }

  /// The answer to a `Request` of `version`; `body` begins with the correlation id.
  package static func decodeAnswer<Request: ApiRequest>(
    to request: Request.Type, version: Int16, from body: ByteBuffer
  ) throws(WireError) -> Request.Response {
    var reader = WireReader(body)
    _ = try ResponseHeader(from: &reader, apiKey: Request.apiKey, version: version)
    return try Request.Response(from: &reader, version: version)
  }

  /// The answer to ApiVersions: its header never has tagged fields, and a refusal of `version` comes in the form of version 0 (KIP-511).
  package static func decodeApiVersions(_ body: ByteBuffer, asked version: Int16) throws(WireError) -> ApiVersionsResponse {
    var reader = WireReader(body)
    _ = try ResponseHeader(from: &reader, apiKey: .apiVersions, version: version)
    var lookahead = reader
    let code = try lookahead.readErrorCode("ApiVersionsResponse.errorCode")
    guard code == .unsupportedVersion else { return try ApiVersionsResponse(from: &reader, version: version) }
    // Some write the rest in the form that was asked for. Without it there is still the code, and older versions to try.
    do { return try ApiVersionsResponse(from: &reader, version: 0) } catch { return ApiVersionsResponse(errorCode: code) }
  }
}
