import NIOCore
import Wire

/// Lends NIO the buffers to read into: the loop's, or the one in which a large frame is being gathered. Owns the connection's machine,
/// because the answer depends on what has arrived so far.
///
/// Confined to the connection's loop; NIO asks on that loop.
final class ReadBufferSource: RecvByteBufferAllocator, @unchecked Sendable {
  var machine: ConnectionMachine
  private let buffers: ReceiveBuffers
  private var hasPinned = false
  /// Room for the first read of a connection, which NIO's pool then keeps: as small as possible.
  private static var pinByteCount: Int { 16 }

  init(machine: ConnectionMachine, buffers: ReceiveBuffers) {
    self.machine = machine
    self.buffers = buffers
  }

  func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
    if self.hasPinned { return self.machine.splitter.bufferForRead(from: self.buffers) }
    self.hasPinned = true
    return allocator.buffer(capacity: Self.pinByteCount)
  }

  func nextBufferSize() -> Int? { 1 }
  func record(actualReadBytes: Int) -> Bool { true }
}
