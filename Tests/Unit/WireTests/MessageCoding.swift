import NIOCore
import Wire

/// Type-erased coding of one generated message, for tests that treat all of them alike.
extension VersionedMessage {
  /// Decodes all of `bytes`.
  static func decoded(_ bytes: [UInt8], version: Int) throws(WireError) -> any VersionedMessage {
    try Self(decoding: ByteBuffer(bytes: bytes), version: Int16(version))
  }

  func bytes(version: Int) -> [UInt8] { Array(self.encoded(version: Int16(version)).buffer.readableBytesView) }

  func isEqual(to other: any VersionedMessage) -> Bool { other as? Self == self }
}
