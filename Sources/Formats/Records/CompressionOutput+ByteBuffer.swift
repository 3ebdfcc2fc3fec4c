internal import Compression
package import NIOCore

/// Codecs write straight into the buffer's own storage.
extension ByteBuffer: CompressionOutput {
  package mutating func append<E: Error>(
    byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> Int
  ) throws(E) {
    try self.writeWithUnsafeMutableBytes(minimumWritableBytes: byteCount) { (room) throws(E) -> Int in
      try body(UnsafeMutableRawBufferPointer(rebasing: room[..<byteCount]))
    }
  }
}
