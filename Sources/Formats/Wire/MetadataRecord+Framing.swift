package import NIOCore

/// Kafka's framing of a metadata record's value: frame version 1, record type and record version, each an unsigned varint, then the record.
extension MetadataRecord {
  private static let frameVersion: UInt32 = 1

  /// Decodes a whole record value. Bytes beyond its end are an error.
  package init(decoding value: ByteBuffer) throws(WireError) {
    var reader = WireReader(value)
    let frame = try reader.readUnsignedVarint("metadata record frame version")
    guard frame == Self.frameVersion else { throw .unknownRecordFrame(version: frame) }
    let type = try reader.readUnsignedVarint("metadata record type")
    let version = try reader.readUnsignedVarint("metadata record version")
    // A version beyond 16 bits is one that no schema has; the type is judged first.
    self = try MetadataRecord(type: type, from: &reader, version: Int16(clamping: version))
    try reader.finish("end of metadata record")
  }

  /// The record's value as the log stores it, in `version` (the newest unless given).
  package func encoded(version: Int16? = nil) -> ByteBuffer {
    let value = self.value
    let version = version ?? Swift.type(of: value).supportedVersions.upperBound
    var writer = WireWriter()
    writer.writeUnsignedVarint(Self.frameVersion)
    writer.writeUnsignedVarint(UInt32(Swift.type(of: value).apiKey))
    writer.writeUnsignedVarint(UInt32(version))
    value.encode(into: &writer, version: version)
    return writer.buffer
  }
}
