import Compression
import Testing

/// Streams that other encoders write and ours do not, made with Python's gzip, lz4, zstandard and cramjam.
@Suite struct ForeignStreamTests {
  @Test func gzipMembersFollowOneAnother() throws {
    let members = bytes(
      hex: "1f8b08000000000002034bcb2c2a2ed10100d7364715060000001f8b08000000000002032b4e4dcecf4b010069111fb606000000")
    #expect(try decompressed(members, .gzip) == Array("first,second".utf8))
    #expect(throws: CompressionError.tooLarge(.gzip, limit: 11)) { try decompressed(members, .gzip, limit: 11) }
  }

  @Test func lz4FramesFollowOneAnother() throws {
    let frames = bytes(hex: "04224d186040820600008066697273742c0000000004224d18604082060000807365636f6e6400000000")
    #expect(try decompressed(frames, .lz4) == Array("first,second".utf8))
  }

  @Test func lz4FramesMayHaveChecksumsAndASize() throws {
    let frame = bytes(hex: "04224d187c408c00000000000000ad110000007f6c696e6b65642007006d506e6b656420e75315da00000000c177a9d6")
    #expect(try decompressed(frame, .lz4) == Array(String(repeating: "linked ", count: 20).utf8))
    var wrong = frame
    wrong[frame.count - 1] ^= 1
    #expect(throws: CompressionError.self) { try decompressed(wrong, .lz4) }
  }

  @Test func zstdFramesMayHaveNoSize() throws {
    let expected = Array(String(repeating: "streamed ", count: 20).utf8)
    // Level 22 asks for zstd's largest window.
    for hex in ["28b52ffd00588500004873747265616d65642001002852e508", "28b52ffd00888d00005073747265616d65642073010027520509"] {
      #expect(try decompressed(bytes(hex: hex), .zstd) == expected)
      #expect(try decompressed(bytes(hex: hex), .zstd, limit: expected.count) == expected)
      #expect(throws: CompressionError.tooLarge(.zstd, limit: expected.count - 1)) {
        try decompressed(bytes(hex: hex), .zstd, limit: expected.count - 1)
      }
    }
  }

  @Test func zstdFramesFollowOneAnother() throws {
    let frames = bytes(hex: "28b52ffd240631000066697273742cc77b8bf028b52ffd20063100007365636f6e64")
    #expect(try decompressed(frames, .zstd) == Array("first,second".utf8))
  }

  @Test func snappyMayComeWithoutFraming() throws {
    let raw = bytes(hex: "dc012872617720736e6170707920fe0b00fe0b00fe0b00420b00")
    let expected = Array(String(repeating: "raw snappy ", count: 20).utf8)
    #expect(try decompressed(raw, .snappy) == expected)
    // Framed by hand, in two blocks, with a second stream's header between them.
    let header: [UInt8] = [0x82] + Array("SNAPPY".utf8) + [0, 0, 0, 0, 1, 0, 0, 0, 1]
    let block = [0, 0, 0, UInt8(raw.count)] + raw
    #expect(try decompressed(header + block + block, .snappy) == expected + expected)
    #expect(try decompressed(header + block + header + block, .snappy) == expected + expected)
    #expect(try decompressed(header, .snappy) == [])
    #expect(throws: CompressionError.tooLarge(.snappy, limit: 439)) { try decompressed(header + block + block, .snappy, limit: 439) }
  }

  @Test func oursBeginAsKafkaExpects() throws {
    let input = logLikeBytes(100_000)
    let snappy = try compressed(input, .snappy)
    #expect(Array(snappy[..<16]) == [0x82] + Array("SNAPPY".utf8) + [0, 0, 0, 0, 1, 0, 0, 0, 1])
    let lz4 = try compressed(input, .lz4)
    // Magic; version 1 with independent blocks and nothing else; blocks of 64 KiB.
    #expect(Array(lz4[..<6]) == [0x04, 0x22, 0x4D, 0x18, 0x60, 0x40])
    #expect(Array(try compressed(input, .gzip)[..<3]) == [0x1F, 0x8B, 8])
    #expect(Array(try compressed(input, .zstd)[..<4]) == [0x28, 0xB5, 0x2F, 0xFD])
  }
}
