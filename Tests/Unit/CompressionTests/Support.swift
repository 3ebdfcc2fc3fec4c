import Base
import Compression

func compressed(
  _ bytes: [UInt8], _ codec: CompressionCodec, level: Int? = nil, with compressor: Compressor = Compressor()
) throws(CompressionError) -> [UInt8] {
  var output: [UInt8] = []
  let result = bytes.withUnsafeBytes { input in
    Result { () throws(CompressionError) in try compressor.compress(input, codec: codec, level: level, into: &output) }
  }
  try result.get()
  return output
}

func decompressed(
  _ bytes: [UInt8], _ codec: CompressionCodec, limit: Int = 64 << 20, with decompressor: Decompressor = Decompressor()
) throws(CompressionError) -> [UInt8] {
  var output: [UInt8] = []
  let result = bytes.withUnsafeBytes { input in
    Result { () throws(CompressionError) in try decompressor.decompress(input, codec: codec, limit: limit, into: &output) }
  }
  try result.get()
  return output
}

/// Lines that repeat with variations, as logs do; `count` bytes of them.
func logLikeBytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var generator = SeededGenerator(seed: seed)
  var bytes: [UInt8] = []
  while bytes.count < count {
    bytes.append(contentsOf: "time=\(generator.next() % 1_000_000) level=info path=/v1/items/\(generator.next() % 512)\n".utf8)
  }
  return Array(bytes[..<count])
}

func randomBytes(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var generator = SeededGenerator(seed: seed)
  var bytes: [UInt8] = []
  bytes.reserveCapacity(count + 8)
  while bytes.count < count { withUnsafeBytes(of: generator.next()) { bytes.append(contentsOf: $0) } }
  return Array(bytes[..<count])
}

func bytes(hex: String) -> [UInt8] {
  let digits = Array(hex)
  return stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...($0 + 1)]), radix: 16)! }
}

let realCodecs = CompressionCodec.allCases.filter { $0 != .none }
