import Base
import Compression
import Testing

/// Counts what it is asked for, to hold promises against what arrives.
private struct MeteredOutput: CompressionOutput {
  var bytes: [UInt8] = []
  var largestRequest = 0

  mutating func append<E: Error>(byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> Int) throws(E) {
    self.largestRequest = max(self.largestRequest, byteCount)
    try self.bytes.append(byteCount: byteCount, body)
  }
}

@Suite struct BadStreamTests {
  @Test(arguments: realCodecs)
  func aStreamCutAnywhereIsAnError(codec: CompressionCodec) throws {
    let decompressor = Decompressor()
    let whole = try compressed(logLikeBytes(700), codec)
    for count in 0..<whole.count {
      // A snappy stream has no end of its own: cut behind its header it is an empty one.
      if codec == .snappy, count == 16 { continue }
      #expect(throws: CompressionError.self, "\(codec) cut to \(count) of \(whole.count) bytes") {
        try decompressed(Array(whole[..<count]), codec, with: decompressor)
      }
    }
    #expect(throws: CompressionError.truncated(codec)) { try decompressed(Array(whole.dropLast()), codec, with: decompressor) }
    #expect(throws: CompressionError.truncated(codec)) { try decompressed([], codec, with: decompressor) }
    #expect(try decompressed(whole, codec, with: decompressor) == logLikeBytes(700))
  }

  @Test(arguments: realCodecs)
  func bytesBehindTheStreamAreAnError(codec: CompressionCodec) throws {
    let whole = try compressed(logLikeBytes(700), codec)
    for garbage in [[UInt8](repeating: 0, count: 9), [UInt8](repeating: 0xA5, count: 9)] {
      #expect(throws: CompressionError.self) { try decompressed(whole + garbage, codec) }
    }
  }

  @Test(arguments: realCodecs)
  func garbageIsCorrupt(codec: CompressionCodec) throws {
    let decompressor = Decompressor()
    for seed in 0..<200 {
      let garbage = randomBytes(1 + seed, seed: UInt64(seed))
      #expect(throws: CompressionError.self) { try decompressed(garbage, codec, limit: 1 << 20, with: decompressor) }
    }
  }

  /// Whatever is done to a stream, it decompresses to something within the limit or is an error, and the contexts live on.
  @Test(arguments: realCodecs)
  func mutatedStreamsNeverTrapNorExceedTheLimit(codec: CompressionCodec) throws {
    var generator = SeededGenerator(seed: 42)
    let decompressor = Decompressor()
    let limit = 20_000
    let original = logLikeBytes(10_000)
    let whole = try compressed(original, codec)
    for _ in 0..<1_000 {
      var mutated = whole
      for _ in 0...(generator.next() % 4) {
        let position = Int(generator.next() % UInt64(mutated.count))
        mutated[position] = UInt8(truncatingIfNeeded: generator.next())
      }
      if generator.next() % 8 == 0 { mutated.removeLast(Int(generator.next() % UInt64(mutated.count))) }
      var output = MeteredOutput()
      do {
        try mutated.withUnsafeBytes { try decompressor.decompress($0, codec: codec, limit: limit, into: &output) }
        #expect(output.bytes.count <= limit)
      } catch {
        #expect(error is CompressionError)
      }
    }
    #expect(try decompressed(whole, codec, limit: limit, with: decompressor) == original)
  }

  @Test func aPromiseOfMuchTakesNoMemory() throws {
    // Raw snappy whose preamble says 2 GiB less a byte; framed snappy with the same; a zstd frame that says 1 GiB.
    let snappy: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF, 0x07, 0x00, 0x41]
    let framed = [0x82] + Array("SNAPPY".utf8) + [0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, UInt8(snappy.count)] + snappy
    let zstd = bytes(hex: "28b52ffda0000000400100002d")
    for (codec, stream) in [(CompressionCodec.snappy, snappy), (.snappy, framed), (.zstd, zstd)] {
      var output = MeteredOutput()
      #expect(throws: CompressionError.self) {
        try stream.withUnsafeBytes { try Decompressor().decompress($0, codec: codec, limit: .max, into: &output) }
      }
      #expect(output.largestRequest <= 65_536)
      #expect(throws: CompressionError.tooLarge(codec, limit: 1 << 20)) { try decompressed(stream, codec, limit: 1 << 20) }
    }
  }

  @Test(arguments: realCodecs)
  func aBombStopsAtTheLimit(codec: CompressionCodec) throws {
    let bomb = try compressed([UInt8](repeating: 0, count: 8 << 20), codec)
    var output = MeteredOutput()
    #expect(throws: CompressionError.tooLarge(codec, limit: 100_000)) {
      try bomb.withUnsafeBytes { try Decompressor().decompress($0, codec: codec, limit: 100_000, into: &output) }
    }
    #expect(output.bytes.count <= 100_001)
    #expect(output.largestRequest <= 100_001)
    #expect(throws: CompressionError.tooLarge(codec, limit: 0)) { try decompressed(bomb, codec, limit: 0) }
    #expect(throws: CompressionError.tooLarge(codec, limit: 0)) { try decompressed(bomb, codec, limit: -5) }
  }

  @Test func snappyFramingIsChecked() throws {
    let header: [UInt8] = [0x82] + Array("SNAPPY".utf8) + [0]
    #expect(throws: CompressionError.truncated(.snappy)) { try decompressed(header + [0, 0, 0, 1], .snappy) }
    #expect(throws: CompressionError.self) { try decompressed(header + [0, 0, 0, 2, 0, 0, 0, 2], .snappy) }
    let good = header + [0, 0, 0, 1, 0, 0, 0, 1]
    #expect(throws: CompressionError.truncated(.snappy)) { try decompressed(good + [0, 0, 1], .snappy) }
    #expect(throws: CompressionError.truncated(.snappy)) { try decompressed(good + [0, 0, 0, 2, 1], .snappy) }
    #expect(throws: CompressionError.corrupt(.snappy, reason: "a block of -1 bytes")) {
      try decompressed(good + [0xFF, 0xFF, 0xFF, 0xFF, 1], .snappy)
    }
    #expect(throws: CompressionError.corrupt(.snappy, reason: "a block of 0 bytes")) { try decompressed(good + [0, 0, 0, 0], .snappy) }
    #expect(throws: CompressionError.truncated(.snappy)) { try decompressed(good + [0x7F, 0xFF, 0xFF, 0xFF, 1], .snappy) }
  }

  @Test func errorsReadWell() {
    #expect(CompressionError.tooLarge(.zstd, limit: 10).description == "The zstd data is larger than the 10 bytes allowed for it.")
    #expect(CompressionError.truncated(.lz4).description == "The lz4 data is truncated.")
    #expect(CompressionError.unsupportedLevel(.gzip, level: 12).description == "12 is not a compression level of gzip.")
  }

  // MARK: Outputs that pass on what they get

  private struct Window: CompressionOutput {
    var roomByteCountMax: Int
    var stopsAfter = Int.max
    var bytes: [UInt8] = []
    var largestRequest = 0

    var wantsMore: Bool { self.bytes.count < self.stopsAfter }

    mutating func append<E: Error>(byteCount: Int, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> Int) throws(E) {
      self.largestRequest = max(self.largestRequest, byteCount)
      try self.bytes.append(byteCount: byteCount, body)
    }
  }

  @Test(arguments: realCodecs, [1, 1_000, 100_000])
  func anOutputsBoundIsKept(codec: CompressionCodec, bound: Int) throws {
    let original = logLikeBytes(bound == 1 ? 5_000 : 300_000)
    let whole = try compressed(original, codec)
    var output = Window(roomByteCountMax: bound)
    try whole.withUnsafeBytes { try Decompressor().decompress($0, codec: codec, limit: 1 << 20, into: &output) }
    #expect(output.bytes == original)
    // A block of snappy is decoded whole.
    #expect(output.largestRequest <= max(bound, codec == .snappy ? 32 * 1024 : 0))
  }

  @Test(arguments: realCodecs)
  func anOutputThatHasEnoughIsGivenNoMore(codec: CompressionCodec) throws {
    let whole = try compressed(logLikeBytes(300_000), codec)
    var output = Window(roomByteCountMax: 1_000, stopsAfter: 5_000)
    try whole.withUnsafeBytes { try Decompressor().decompress($0, codec: codec, limit: 1 << 20, into: &output) }
    #expect((5_000...(codec == .snappy ? 32 * 1024 : 6_000)).contains(output.bytes.count))
  }
}
