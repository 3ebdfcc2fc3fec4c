import Base
import Testing

@testable import Compression

private func compressed(_ bytes: [UInt8], _ codec: CompressionCodec, level: Int? = nil, with compressor: Compressor) throws -> [UInt8] {
  var output: [UInt8] = []
  try bytes.withUnsafeBytes { input in try compressor.compress(input, codec: codec, level: level, into: &output) }
  return output
}

private func decompressed(
  _ bytes: [UInt8], _ codec: CompressionCodec, limit: Int = 64 << 20, with decompressor: Decompressor
) throws -> [UInt8] {
  var output: [UInt8] = []
  try bytes.withUnsafeBytes { input in try decompressor.decompress(input, codec: codec, limit: limit, into: &output) }
  return output
}

/// Lines that repeat with variations, as logs do; `count` bytes of them.
private func logLikeBytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var generator = SeededGenerator(seed: seed)
  var bytes: [UInt8] = []
  while bytes.count < count {
    bytes.append(contentsOf: "time=\(generator.next() % 1_000_000) level=info path=/v1/items/\(generator.next() % 512)\n".utf8)
  }
  return Array(bytes[..<count])
}

private func randomBytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var generator = SeededGenerator(seed: seed)
  return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
}

private let realCodecs = CompressionCodec.allCases.filter { $0 != .none }

@Suite struct CodecTests {
  @Test(arguments: CompressionCodec.allCases)
  func whatIsCompressedComesBack(codec: CompressionCodec) throws {
    let (compressor, decompressor) = (Compressor(), Decompressor())
    // Sizes around the block sizes of snappy (32 KiB) and lz4 (64 KiB), and the contexts used again and again.
    for count in [0, 1, 2, 100, 4_095, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537, 300_000] {
      for bytes in [logLikeBytes(count), randomBytes(count), [UInt8](repeating: 7, count: count)] {
        let small = try compressed(bytes, codec, with: compressor)
        if codec == .none { #expect(small == bytes) }
        #expect(try decompressed(small, codec, with: decompressor) == bytes)
      }
    }
  }

  @Test(arguments: realCodecs)
  func repetitionShrinks(codec: CompressionCodec) throws {
    let bytes = logLikeBytes(100_000)
    let small = try compressed(bytes, codec, with: Compressor())
    #expect(small.count < bytes.count / 2)
  }

  @Test(arguments: realCodecs)
  func theLimitHoldsToTheByte(codec: CompressionCodec) throws {
    let (compressor, decompressor) = (Compressor(), Decompressor())
    for count in [1, 70_000, 300_000] {
      let small = try compressed([UInt8](repeating: 0, count: count), codec, with: compressor)
      #expect(try decompressed(small, codec, limit: count, with: decompressor).count == count)
      #expect(throws: CompressionError.tooLarge(codec, limit: count - 1)) {
        try decompressed(small, codec, limit: count - 1, with: decompressor)
      }
      // An error leaves the context usable.
      #expect(try decompressed(small, codec, limit: count, with: decompressor).count == count)
    }
  }
}
