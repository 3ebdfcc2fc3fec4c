import Compression
import Testing

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

  @Test func namesAndNumbersAreKafkas() {
    #expect(CompressionCodec.allCases.map(\.name) == ["none", "gzip", "snappy", "lz4", "zstd"])
    #expect(CompressionCodec.allCases.map(\.rawValue) == [0, 1, 2, 3, 4])
    for codec in CompressionCodec.allCases { #expect(CompressionCodec(name: codec.name) == codec) }
    #expect(CompressionCodec(name: "producer") == nil)
    #expect(CompressionCodec(name: "GZIP") == nil)
    #expect(CompressionCodec(rawValue: 5) == nil)
  }

  @Test func levelsAreKafkas() throws {
    let bytes = logLikeBytes(200_000)
    let compressor = Compressor()
    for (codec, fast, thorough, refused) in [
      (CompressionCodec.gzip, 1, 9, [0, 10, -2]), (.lz4, 1, 17, [0, 18, -1]), (.zstd, -100, 19, [23, -131_073]),
    ] {
      let (large, small) = (
        try compressed(bytes, codec, level: fast, with: compressor), try compressed(bytes, codec, level: thorough, with: compressor)
      )
      #expect(small.count < large.count, "\(codec): the level has no effect")
      // The level of the call before does not stick.
      #expect(try compressed(bytes, codec, level: fast, with: compressor) == large)
      #expect(try compressed(bytes, codec, with: compressor) == compressed(bytes, codec, level: codec.defaultLevel))
      for level in refused {
        #expect(throws: CompressionError.unsupportedLevel(codec, level: level)) {
          try compressed(bytes, codec, level: level, with: compressor)
        }
        #expect(!codec.accepts(level: level))
      }
      #expect(codec.accepts(level: fast) && codec.accepts(level: thorough) && codec.accepts(level: codec.defaultLevel!))
    }
    // Codecs without levels take any and ignore it.
    #expect(try compressed(bytes, .snappy, level: 99) == compressed(bytes, .snappy))
    #expect(!CompressionCodec.snappy.accepts(level: 1))
  }

  @Test(arguments: realCodecs)
  func whatIsAppendedFollowsWhatWasThere(codec: CompressionCodec) throws {
    let bytes = logLikeBytes(1_000)
    let small = try compressed(bytes, codec)
    var output: [UInt8] = [1, 2, 3]
    try bytes.withUnsafeBytes { try Compressor().compress($0, codec: codec, into: &output) }
    #expect(output == [1, 2, 3] + small)
    output = [4, 5]
    try small.withUnsafeBytes { try Decompressor().decompress($0, codec: codec, limit: 1_000, into: &output) }
    #expect(output == [4, 5] + bytes)
  }
}
