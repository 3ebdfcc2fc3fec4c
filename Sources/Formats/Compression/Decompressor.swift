/// Decompresses with every codec, keeping the libraries' contexts between calls.
///
/// One loop or thread owns one; contexts are made when a codec is first used. The input may come from anyone: a result larger
/// than the caller's limit, a truncated or a corrupt stream is an error, and memory is taken as output arrives, not as it is promised.
package final class Decompressor {
  private var zstd: ZstdDecoder?
  private var lz4: LZ4Decoder?
  private var gzip: GzipDecoder?
  /// Of memory in a codec's context. Up to level 15 zstd's own windows have 4 MiB or less.
  private static let keptByteCount = 8 << 20

  package init() {}

  /// Appends what `input` decompresses to; on an error `output` may hold a part of it.
  ///
  /// - Parameter limit: the most bytes the result may have; beyond it `.tooLarge` is thrown.
  package func decompress(
    _ input: UnsafeRawBufferPointer, codec: CompressionCodec, limit: Int, into output: inout some CompressionOutput
  ) throws(CompressionError) {
    let limit = max(0, min(limit, Int(Int32.max)))
    switch codec {
    case .none:
      guard input.count <= limit else { throw .tooLarge(.none, limit: limit) }
      output.append(byteCount: input.count) { room in
        room.copyMemory(from: input)
        return input.count
      }
    case .snappy:
      try Snappy.decompress(input, limit: limit, into: &output)
    case .gzip:
      if self.gzip == nil { self.gzip = try GzipDecoder() }
      try self.gzip!.decompress(input, limit: limit, into: &output)
    case .lz4:
      if self.lz4 == nil { self.lz4 = try LZ4Decoder() }
      try self.lz4!.decompress(input, limit: limit, into: &output)
    case .zstd:
      if self.zstd == nil { self.zstd = try ZstdDecoder() }
      // A frame may demand a window of 128 MiB: a context that had to grow for one is not kept.
      defer { if self.zstd!.byteCount > Self.keptByteCount { self.zstd = nil } }
      try self.zstd!.decompress(input, limit: limit, into: &output)
    }
  }
}

/// How much room to give a streaming decoder next: a guess from the input first, then twice as much each time.
struct OutputPacing {
  private var next: Int
  private(set) var produced = 0
  private let limit: Int
  private let roomMax: Int

  /// - Parameters:
  ///   - promised: the size the stream says it has, if it says so. Believed only as far as the input makes it plausible.
  ///   - roomMax: of the output. One that has a bound gives all of it every time: it takes no memory for it.
  init(inputByteCount: Int, limit: Int, promised: Int? = nil, roomMax: Int) {
    self.limit = limit
    self.roomMax = roomMax
    if roomMax < .max {
      self.next = roomMax
      return
    }
    let plausible = max(65_536, min(inputByteCount, 1 << 26) * 8)
    self.next = promised.map { max(1, min($0, plausible)) } ?? max(4_096, min(plausible, inputByteCount * 4))
  }

  /// One byte more than the limit leaves: a stream that needs it is too large, and one that does not has come to its end.
  var room: Int { max(1, min(self.next, self.roomMax, self.limit - self.produced + 1)) }
  var isBeyondLimit: Bool { self.produced > self.limit }

  mutating func advance(by count: Int) {
    // Only a decoder that filled its room needs more of it next time.
    if count == self.room { self.next = max(4_096, min(self.next * 2, 1 << 24)) }
    self.produced += count
  }
}
