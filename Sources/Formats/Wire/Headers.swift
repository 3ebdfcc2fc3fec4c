/// What precedes every request: which API and version it is, and what to echo in the answer.
///
/// Version 2 of the header, used by flexible versions, ends with tagged fields; version 1 does not. The client id has a 16-bit length in
/// both (KIP-482), so that a broker can read the header of a version that it does not know.
package struct RequestHeader: Hashable, Sendable {
  /// The raw number, as a request may name an API that we do not know.
  package var apiKey: Int16
  package var apiVersion: Int16
  /// Chosen by the client, echoed in the answer.
  package var correlationId: Int32
  package var clientId: String?

  package init(apiKey: Int16, apiVersion: Int16, correlationId: Int32, clientId: String? = nil) {
    (self.apiKey, self.apiVersion, self.correlationId, self.clientId) = (apiKey, apiVersion, correlationId, clientId)
  }

  package init(_ apiKey: ApiKey, version: Int16, correlationId: Int32, clientId: String? = nil) {
    self.init(apiKey: apiKey.rawValue, apiVersion: version, correlationId: correlationId, clientId: clientId)
  }

  /// Leaves `reader` at the first byte of the request. An API key that Kafka does not assign is an error, as the header's own version
  /// depends on it.
  package init(from reader: inout WireReader) throws(WireError) {
    self.apiKey = try reader.readInteger("RequestHeader.apiKey")
    self.apiVersion = try reader.readInteger("RequestHeader.apiVersion")
    self.correlationId = try reader.readInteger("RequestHeader.correlationId")
    guard let key = ApiKey(rawValue: self.apiKey) else { throw .unknownApiKey(self.apiKey) }
    self.clientId = try reader.readNullableString("RequestHeader.clientId", flexible: false)
    if key.isFlexible(self.apiVersion) { try reader.skipTaggedFields("RequestHeader tagged fields") }
  }

  package func encode(into writer: inout WireWriter) {
    writer.writeInteger(self.apiKey)
    writer.writeInteger(self.apiVersion)
    writer.writeInteger(self.correlationId)
    writer.writeNullableString(self.clientId, flexible: false)
    if ApiKey(rawValue: self.apiKey)?.isFlexible(self.apiVersion) == true { writer.writeUnsignedVarint(0) }
  }
}

/// What precedes every response. Version 1, used by flexible versions, ends with tagged fields.
package struct ResponseHeader: Hashable, Sendable {
  package var correlationId: Int32

  package init(correlationId: Int32) { self.correlationId = correlationId }

  package init(from reader: inout WireReader, apiKey: ApiKey, version: Int16) throws(WireError) {
    self.correlationId = try reader.readInteger("ResponseHeader.correlationId")
    if Self.isFlexible(apiKey, version) { try reader.skipTaggedFields("ResponseHeader tagged fields") }
  }

  package func encode(into writer: inout WireWriter, apiKey: ApiKey, version: Int16) {
    writer.writeInteger(self.correlationId)
    if Self.isFlexible(apiKey, version) { writer.writeUnsignedVarint(0) }
  }

  /// A client that asks for the versions cannot know how the answer is encoded, so that answer always has header version 0 (KIP-511).
  private static func isFlexible(_ apiKey: ApiKey, _ version: Int16) -> Bool { apiKey != .apiVersions && apiKey.isFlexible(version) }
}
