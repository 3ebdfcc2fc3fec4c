internal import CSnappy

/// Snappy as Kafka's clients write it.
///
/// The Java client and most others frame it like xerial's snappy-java: `82 S N A P P Y 00`, version i32, lowest compatible version
/// i32, then blocks of an i32 length (all big-endian) and so many bytes of raw snappy. librdkafka writes one raw snappy block.
/// We write the framing and read both.
enum Snappy {
  private static let magic: [UInt8] = [0x82, 0x53, 0x4E, 0x41, 0x50, 0x50, 0x59, 0x00]
  private static let headerByteCount = 16
  private static let version: Int32 = 1
  /// snappy-java's default.
  private static let blockByteCount = 32 * 1024

  static func compress(_ input: UnsafeRawBufferPointer, into output: inout some CompressionOutput) throws(CompressionError) {
    let blockCount = (input.count + Self.blockByteCount - 1) / Self.blockByteCount
    let bound = Self.headerByteCount + blockCount * (4 + snappy_max_compressed_length(min(input.count, Self.blockByteCount)))
    try output.append(byteCount: bound) { (room) throws(CompressionError) -> Int in
      room.copyBytes(from: Self.magic)
      room.storeBytes(of: Self.version.bigEndian, toByteOffset: 8, as: Int32.self)
      room.storeBytes(of: Self.version.bigEndian, toByteOffset: 12, as: Int32.self)
      var position = Self.headerByteCount
      for start in stride(from: 0, to: input.count, by: Self.blockByteCount) {
        let count = min(Self.blockByteCount, input.count - start)
        var written = room.count - position - 4
        let status = snappy_compress(
          (input.baseAddress! + start).assumingMemoryBound(to: CChar.self), count,
          (room.baseAddress! + position + 4).assumingMemoryBound(to: CChar.self), &written)
        if status != SNAPPY_OK { throw .failed(.snappy, reason: "snappy_compress answered \(status.rawValue)") }
        room.storeBytes(of: Int32(written).bigEndian, toByteOffset: position, as: Int32.self)
        position += 4 + written
      }
      return position
    }
  }

  static func decompress(
    _ input: UnsafeRawBufferPointer, limit: Int, into output: inout some CompressionOutput
  ) throws(CompressionError) {
    guard input.count > 0 else { throw .truncated(.snappy) }
    var produced = 0
    guard Self.startsWithMagic(input[...]) else {
      return try Self.decompressBlock(input, limit: limit, produced: &produced, into: &output)
    }
    var position = 0
    while position < input.count {
      let rest = input[position...]
      // A stream may follow a stream: its header stands where a block's length would.
      if Self.startsWithMagic(rest) {
        guard rest.count >= Self.headerByteCount else { throw .truncated(.snappy) }
        let lowest = Int32(bigEndian: input.loadUnaligned(fromByteOffset: position + 12, as: Int32.self))
        guard lowest <= Self.version else { throw .corrupt(.snappy, reason: "framing version \(lowest) is not known") }
        position += Self.headerByteCount
        continue
      }
      guard rest.count >= 4 else { throw .truncated(.snappy) }
      let count = Int(Int32(bigEndian: input.loadUnaligned(fromByteOffset: position, as: Int32.self)))
      guard count > 0 else { throw .corrupt(.snappy, reason: "a block of \(count) bytes") }
      guard count <= rest.count - 4 else { throw .truncated(.snappy) }
      let block = UnsafeRawBufferPointer(rebasing: input[(position + 4)..<(position + 4 + count)])
      try Self.decompressBlock(block, limit: limit, produced: &produced, into: &output)
      if !output.wantsMore { return }
      position += 4 + count
    }
  }

  private static func decompressBlock(
    _ block: UnsafeRawBufferPointer, limit: Int, produced: inout Int, into output: inout some CompressionOutput
  ) throws(CompressionError) {
    let source = block.baseAddress!.assumingMemoryBound(to: CChar.self)
    var promised = 0
    guard snappy_uncompressed_length(source, block.count, &promised) == SNAPPY_OK else {
      throw .corrupt(.snappy, reason: "a block without a valid length")
    }
    guard promised <= limit - produced else { throw .tooLarge(.snappy, limit: limit) }
    // A copy of 64 bytes takes 3 in the stream, so that nothing grows more than about 21 times: a promise of more is a lie, and
    // no memory is taken for it.
    guard promised <= block.count * 22 else { throw .corrupt(.snappy, reason: "a block promises more than it can hold") }
    try output.append(byteCount: promised) { (room) throws(CompressionError) -> Int in
      // The library does not take a null pointer, which an empty room may have.
      var nothing: CChar = 0
      var written = promised
      let status = withUnsafeMutablePointer(to: &nothing) { spare in
        snappy_uncompress(source, block.count, room.baseAddress?.assumingMemoryBound(to: CChar.self) ?? spare, &written)
      }
      guard status == SNAPPY_OK else { throw .corrupt(.snappy, reason: "a block does not decompress") }
      return written
    }
    produced += promised
  }

  private static func startsWithMagic(_ bytes: Slice<UnsafeRawBufferPointer>) -> Bool {
    bytes.count >= Self.magic.count && bytes.prefix(Self.magic.count).elementsEqual(Self.magic)
  }
}
