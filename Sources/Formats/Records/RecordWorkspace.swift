package import Compression
internal import NIOCore

/// What one loop or thread keeps between batches: the codecs' contexts and room to decompress into.
package final class RecordWorkspace {
  package let compressor = Compressor()
  package let decompressor = Decompressor()
  private var scratch = ByteBuffer()
  /// A scratch buffer that grew beyond it for one large batch is given back.
  private static let keptByteCount = 1 << 20

  package init() {}

  /// Gives `body` what `input` decompresses to, for as long as it runs.
  package func withDecompressed<Result>(
    _ input: UnsafeRawBufferPointer, codec: CompressionCodec, limit: Int,
    _ body: (UnsafeRawBufferPointer) throws(BatchRefusal) -> Result
  ) throws(BatchRefusal) -> Result {
    self.scratch.clear()
    defer { if self.scratch.capacity > Self.keptByteCount { self.scratch = ByteBuffer() } }
    do { try self.decompressor.decompress(input, codec: codec, limit: limit, into: &self.scratch) } catch {
      throw BatchRefusal(.compression(error))
    }
    return try self.scratch.withUnsafeReadableBytes { (bytes) throws(BatchRefusal) -> Result in try body(bytes) }
  }
}
