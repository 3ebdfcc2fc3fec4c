package import NIOCore

/// The record batches of one partition in Produce, Fetch and FetchSnapshot.
package enum RecordData: Hashable, Sendable {
  /// The batches themselves. Decoded, they are a view of the frame: the readable bytes are the field, the reader index is not 0, and the
  /// frame's memory lives as long as the view.
  case bytes(ByteBuffer)
  /// Batches that are elsewhere, in a file for instance. The encoder writes their length and notes the place in `WireWriter.splices`.
  case external(byteCount: Int)

  /// No batches: encoded as a length of 0, which is not null.
  package static var empty: RecordData { .bytes(ByteBuffer()) }

  /// The size of the batches in bytes.
  package var byteCount: Int {
    switch self {
    case .bytes(let buffer): buffer.readableBytes
    case .external(let byteCount): byteCount
    }
  }
}
