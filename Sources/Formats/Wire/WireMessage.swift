package import Model
package import NIOCore

/// A structure of the protocol: a whole message, or one nested in it. Generated from the files in `Schemas`.
///
/// `init(from:version:)` reads exactly the fields of `version`; the others get Kafka's defaults. `encode` writes exactly the fields of
/// `version` and omits the rest, whatever it holds: Kafka's generated code throws if such a field is not ignorable, ours leaves the choice
/// of a version that can carry the values to the caller. A version must be one that the message has.
package protocol WireStruct: Hashable, Sendable {
  init()
  init(from reader: inout WireReader, version: Int16) throws(WireError)
  func encode(into writer: inout WireWriter, version: Int16)
}

/// A whole request, response or stored record.
package protocol VersionedMessage: WireStruct {
  /// Every version that the schema describes.
  static var supportedVersions: ClosedRange<Int16> { get }
  /// Whether `version` has compact lengths and tagged fields (KIP-482).
  static func isFlexible(_ version: Int16) -> Bool
}

/// A request or a response.
package protocol WireMessage: VersionedMessage {
  static var apiKey: ApiKey { get }
}

/// A request, which knows its answer.
package protocol ApiRequest: WireMessage {
  associatedtype Response: WireMessage

  /// The response that refuses all of the request: the error is where a client of `version` looks for it, at the top or, where the
  /// response of that version has no place for it there, with each thing that was asked for.
  /// - Parameter message: what a person should know, for versions that carry it.
  func refusal(_ errorCode: ErrorCode, message: String?, version: Int16) -> Response
}

/// A record of the metadata log.
package protocol MetadataRecordValue: VersionedMessage {
  /// The record's type in the frame (Kafka's `apiKey` of a metadata record).
  static var apiKey: Int16 { get }
}

extension VersionedMessage {
  /// Decodes a whole message: bytes beyond its end are an error.
  package init(decoding buffer: ByteBuffer, version: Int16) throws(WireError) {
    var reader = WireReader(buffer)
    self = try Self(from: &reader, version: version)
    try reader.finish("end of message")
  }

  /// The message alone, without header and length.
  package func encoded(version: Int16) -> WireWriter {
    var writer = WireWriter()
    self.encode(into: &writer, version: version)
    return writer
  }

  /// Decodes a message that two bytes with its version precede, as in Kafka's coordinator logs and producer snapshots.
  package init(decodingVersionPrefixed buffer: ByteBuffer) throws(WireError) {
    var reader = WireReader(buffer)
    let version = try reader.readInteger("version", as: Int16.self)
    self = try Self(from: &reader, version: version)
    try reader.finish("end of message")
  }

  /// The message with two bytes for its version in front.
  package func encodedVersionPrefixed(version: Int16) -> WireWriter {
    var writer = WireWriter()
    writer.writeInteger(version)
    self.encode(into: &writer, version: version)
    return writer
  }
}
