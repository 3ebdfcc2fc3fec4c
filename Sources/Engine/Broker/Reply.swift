package import Environment
package import NIOCore

/// One answer as it leaves a connection: its bytes in order, parts of them still in files so that they go out by `sendfile`.
/// The 4-byte length prefix is part of the first piece.
package struct OutgoingFrame<File: DiskFile>: Sendable {
  package enum Piece: Sendable {
    case bytes(ByteBuffer)
    /// `byteCount` bytes of `file` from `position`. The file stays open as long as the piece lives.
    case file(File, position: Int64, byteCount: Int)
  }
  package var pieces: [Piece]
  package init(_ pieces: [Piece]) { self.pieces = pieces }
  package init(_ bytes: ByteBuffer) { self.pieces = [.bytes(bytes)] }
}

/// Where the answers of one connection go. The edge (NIO handler, virtual network) implements it.
///
/// Answers are written in the order of their slots, which is the order in which the requests arrived; a slot that is answered
/// early waits for those before it.
package protocol ResponseSink<File>: AnyObject, Sendable {
  associatedtype File: DiskFile
  /// Completes `slot`, from any thread, exactly once. Nil: no answer is due (produce with acks=0).
  func deliver(_ frame: OutgoingFrame<File>?, slot: UInt64)
  /// Closes the connection once everything before has been written: the peer broke the protocol.
  func close(reason: String)
}

/// The right to answer one request.
package struct Reply<File: DiskFile>: Sendable {
  package let sink: any ResponseSink<File>
  package let slot: UInt64
  package init(sink: any ResponseSink<File>, slot: UInt64) { (self.sink, self.slot) = (sink, slot) }
  package func send(_ frame: OutgoingFrame<File>) { self.sink.deliver(frame, slot: self.slot) }
  package func skip() { self.sink.deliver(nil, slot: self.slot) }
}
