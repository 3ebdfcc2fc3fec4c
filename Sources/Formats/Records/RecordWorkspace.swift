package import Compression
internal import Model
internal import NIOCore

/// What one loop or thread keeps between batches: the codecs' contexts and room to decompress into.
package final class RecordWorkspace {
  package let compressor = Compressor()
  package let decompressor = Decompressor()
  private var scratch = ByteBuffer()
  /// A scratch buffer that grew beyond it for one large batch is given back.
  private static let keptByteCount = 1 << 20
  /// Where records are decompressed to be looked at, one window after another; nil until the first. Most batches fit in one.
  private var window: UnsafeMutableRawBufferPointer?
  package static let windowByteCount = 1 << 20

  package init() {}

  deinit { self.window?.deallocate() }

  /// Decompresses `input` window by window, for `scan` to look at, and answers the largest timestamp. However large the result would
  /// be, no more of it than a window is ever here; beyond `limit` bytes it is refused. The codec has a history of its own besides: of a
  /// zstd frame as much as the frame demands, at most 128 MiB, which is given back at the end.
  func scan(_ input: UnsafeRawBufferPointer, codec: CompressionCodec, limit: Int, _ scan: RecordScan) throws(BatchRefusal) -> Timestamp {
    let window = self.window ?? .allocate(byteCount: Self.windowByteCount, alignment: 4096)
    self.window = window
    var output = ScannedOutput(scan, window: window)
    do { try self.decompressor.decompress(input, codec: codec, limit: limit, into: &output) } catch { throw Self.refusal(error) }
    if let refusal = output.refusal { throw refusal }
    return try output.scan.finish()
  }

  /// Gives `body` what `input` decompresses to, for as long as it runs: up to `limit` bytes of memory, and the codec's history.
  package func withDecompressed<Result>(
    _ input: UnsafeRawBufferPointer, codec: CompressionCodec, limit: Int,
    _ body: (UnsafeRawBufferPointer) throws(BatchRefusal) -> Result
  ) throws(BatchRefusal) -> Result {
    self.scratch.clear()
    defer { if self.scratch.capacity > Self.keptByteCount { self.scratch = ByteBuffer() } }
    do { try self.decompressor.decompress(input, codec: codec, limit: limit, into: &self.scratch) } catch { throw Self.refusal(error) }
    return try self.scratch.withUnsafeReadableBytes { (bytes) throws(BatchRefusal) -> Result in try body(bytes) }
  }

  private static func refusal(_ error: CompressionError) -> BatchRefusal {
    guard case .tooLarge(let codec, let limit) = error else { return BatchRefusal(.compression(error)) }
    return BatchRefusal(
      .messageTooLarge, "The batch's \(codec) records decompress to more than the \(limit) bytes that are allowed: send smaller batches.")
  }
}
