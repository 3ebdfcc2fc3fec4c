package import NIOCore

/// The read buffers of one event loop, shared by its connections: a connection holds one only while a read is being processed, so
/// ten thousand idle connections cost no buffers.
///
/// Confined to its loop.
package final class ReceiveBuffers {
  package let byteCount: Int
  private var spare: [ByteBuffer] = []
  private let allocator = ByteBufferAllocator()

  /// `byteCount`: the size of one buffer, and so the most that one read takes.
  package init(byteCount: Int) { self.byteCount = byteCount }

  /// An empty buffer that nobody else refers to.
  package func take() -> ByteBuffer {
    while var buffer = self.spare.popLast() {
      // A slice that somebody kept pins the buffer: it is theirs now.
      if buffer.modifyIfUniquelyOwned({ $0.clear() }) != nil { return buffer }
    }
    return self.allocator.buffer(capacity: self.byteCount)
  }

  /// Takes a buffer back that came from `take`. Slices of it may still be alive.
  package func giveBack(_ buffer: ByteBuffer) {
    if self.spare.count < 2, buffer.storageCapacity >= self.byteCount { self.spare.append(buffer) }
  }
}
