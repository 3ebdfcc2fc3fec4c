package import NIOCore

/// Bytes of a key, a value or a header: a slice of what the broker sent, kept alive by this value and not copied.
public struct KafkaBytes: RandomAccessCollection, Hashable, Sendable, CustomStringConvertible {
  package var buffer: ByteBuffer

  package init(_ buffer: ByteBuffer) { self.buffer = buffer }

  public var startIndex: Int { 0 }
  public var endIndex: Int { self.buffer.readableBytes }
  public subscript(position: Int) -> UInt8 {
    precondition(position >= 0 && position < self.endIndex, "position \(position) is outside of \(self.endIndex) bytes")
    return self.buffer.getInteger(at: self.buffer.readerIndex + position, as: UInt8.self)!
  }

  /// Gives the bytes where they stand. The pointer is valid only inside `body`.
  public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    try self.buffer.withUnsafeReadableBytes(body)
  }
  public func withContiguousStorageIfAvailable<R>(_ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R? {
    try self.buffer.withUnsafeReadableBytes { try $0.withMemoryRebound(to: UInt8.self, body) }
  }

  /// The bytes as text; what is not UTF-8 becomes replacement characters.
  public var text: String { String(decoding: self.buffer.readableBytesView, as: UTF8.self) }
  public var description: String { self.text }
}
