/// Why bytes could not be compressed or decompressed.
package enum CompressionError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The compressed bytes end before the stream does.
  case truncated(CompressionCodec)
  /// The compressed bytes are not what the codec writes.
  case corrupt(CompressionCodec, reason: String)
  /// The result would be larger than the caller allows. Nothing beyond the limit was produced.
  case tooLarge(CompressionCodec, limit: Int)
  /// The level is not one Kafka accepts for the codec.
  case unsupportedLevel(CompressionCodec, level: Int)
  /// The library refused for a reason of its own, as a rule for want of memory.
  case failed(CompressionCodec, reason: String)

  package var description: String {
    switch self {
    case .truncated(let codec): "The \(codec) data is truncated."
    case .corrupt(let codec, let reason): "The \(codec) data is corrupt: \(reason)."
    case .tooLarge(let codec, let limit): "The \(codec) data is larger than the \(limit) bytes allowed for it."
    case .unsupportedLevel(let codec, let level): "\(level) is not a compression level of \(codec)."
    case .failed(let codec, let reason): "The \(codec) library failed: \(reason)."
    }
  }
}
