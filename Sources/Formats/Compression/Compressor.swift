/// Compresses with every codec, keeping the libraries' contexts between calls (a fresh zstd context costs more than a small batch).
///
/// One loop or thread owns one; contexts are made when a codec is first used.
package final class Compressor {
  private var zstd: ZstdEncoder?
  private var lz4: LZ4Encoder?
  private var gzip: GzipEncoder?

  package init() {}

  /// Appends the compressed form of `input` to `output`; on an error `output` may hold a part of it.
  ///
  /// - Parameter level: Kafka's level of the codec; nil for Kafka's default. Ignored by codecs without levels.
  package func compress(
    _ input: UnsafeRawBufferPointer, codec: CompressionCodec, level: Int? = nil, into output: inout some CompressionOutput
  ) throws(CompressionError) {
    guard input.count <= Int(Int32.max) else { throw .tooLarge(codec, limit: Int(Int32.max)) }
    let chosen = level ?? codec.defaultLevel ?? 0
    if codec.levels != nil, !codec.accepts(level: chosen) { throw .unsupportedLevel(codec, level: chosen) }
    switch codec {
    case .none:
      output.append(byteCount: input.count) { room in
        room.copyMemory(from: input)
        return input.count
      }
    case .snappy:
      try Snappy.compress(input, into: &output)
    case .gzip:
      if self.gzip == nil { self.gzip = try GzipEncoder() }
      try self.gzip!.compress(input, level: chosen, into: &output)
    case .lz4:
      if self.lz4 == nil { self.lz4 = try LZ4Encoder() }
      try self.lz4!.compress(input, level: chosen, into: &output)
    case .zstd:
      if self.zstd == nil { self.zstd = try ZstdEncoder() }
      try self.zstd!.compress(input, level: chosen, into: &output)
    }
  }
}
