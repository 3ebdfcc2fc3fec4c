package import Broker
package import Environment
package import NIOCore

/// One answer on its way out of a connection: an `OutgoingFrame` that has forgotten which kind of disk its files are on.
///
/// The code of a generic class that is called through NIO's protocols is never specialised, and costs several times as much; so from
/// here to the socket nothing is generic.
package struct Answer: Sendable {
  package enum Piece: Sendable {
    case bytes(ByteBuffer)
    case file(any DiskFile, position: Int64, byteCount: Int)
  }
  private enum Content: Sendable {
    case bytes(ByteBuffer)
    case pieces([Piece])
  }
  private let content: Content
  /// Bytes on the wire.
  package let byteCount: Int

  package init(_ bytes: ByteBuffer) {
    self.content = .bytes(bytes)
    self.byteCount = bytes.readableBytes
  }

  package init(_ pieces: [Piece]) {
    var byteCount = 0
    for piece in pieces {
      switch piece {
      case .bytes(let bytes): byteCount += bytes.readableBytes
      case .file(_, position: _, byteCount: let count): byteCount += count
      }
    }
    self.content = .pieces(pieces)
    self.byteCount = byteCount
  }

  package init<File: DiskFile>(_ frame: OutgoingFrame<File>) {
    if frame.pieces.count == 1, case .bytes(let bytes) = frame.pieces[0] {
      self.init(bytes)
      return
    }
    var pieces: [Piece] = []
    pieces.reserveCapacity(frame.pieces.count)
    for piece in frame.pieces {
      switch piece {
      case .bytes(let bytes): pieces.append(.bytes(bytes))
      case .file(let file, let position, let byteCount): pieces.append(.file(file, position: position, byteCount: byteCount))
      }
    }
    self.init(pieces)
  }

  /// Its pieces in order.
  package func forEach(_ body: (Piece) -> Void) {
    switch self.content {
    case .bytes(let bytes): body(.bytes(bytes))
    case .pieces(let pieces): for piece in pieces { body(piece) }
    }
  }
}
