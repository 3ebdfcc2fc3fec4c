internal import CLZ4

/// An LZ4 frame compression context.
final class LZ4Encoder {
  private let context: OpaquePointer

  init() throws(CompressionError) {
    var context: OpaquePointer?
    let result = LZ4F_createCompressionContext(&context, UInt32(LZ4F_VERSION))
    guard LZ4F_isError(result) == 0, let context else { throw .failed(.lz4, reason: "no memory for a context") }
    self.context = context
  }

  deinit { LZ4F_freeCompressionContext(self.context) }

  /// One frame of independent 64 KiB blocks without checksums, which is all that Kafka's Java client reads.
  func compress(_ input: UnsafeRawBufferPointer, level: Int, into output: inout some CompressionOutput) throws(CompressionError) {
    var preferences = LZ4F_preferences_t()
    preferences.frameInfo.blockSizeID = LZ4F_max64KB
    preferences.frameInfo.blockMode = LZ4F_blockIndependent
    // Kafka's default level means LZ4's fast method; any other is the level of its slow one, whose lowest is 2.
    preferences.compressionLevel = level == CompressionCodec.lz4.defaultLevel ? 0 : Int32(min(max(level, 2), 12))
    preferences.autoFlush = 1
    let headerBound = 19
    let bound = headerBound + LZ4F_compressBound(input.count, &preferences)
    try output.append(byteCount: bound) { (room) throws(CompressionError) -> Int in
      var count = try Self.checked(LZ4F_compressBegin(self.context, room.baseAddress, room.count, &preferences))
      if input.count > 0 {
        count += try Self.checked(
          LZ4F_compressUpdate(self.context, room.baseAddress! + count, room.count - count, input.baseAddress, input.count, nil))
      }
      count += try Self.checked(LZ4F_compressEnd(self.context, room.baseAddress! + count, room.count - count, nil))
      return count
    }
  }

  private static func checked(_ result: Int) throws(CompressionError) -> Int {
    if LZ4F_isError(result) != 0 { throw .failed(.lz4, reason: String(cString: LZ4F_getErrorName(result))) }
    return result
  }
}

/// An LZ4 frame decompression context. Reads any number of frames one after another.
final class LZ4Decoder {
  private let context: OpaquePointer

  init() throws(CompressionError) {
    var context: OpaquePointer?
    let result = LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION))
    guard LZ4F_isError(result) == 0, let context else { throw .failed(.lz4, reason: "no memory for a context") }
    self.context = context
  }

  deinit { LZ4F_freeDecompressionContext(self.context) }

  func decompress(_ input: UnsafeRawBufferPointer, limit: Int, into output: inout some CompressionOutput) throws(CompressionError) {
    guard let start = input.baseAddress, input.count > 0 else { throw .truncated(.lz4) }
    LZ4F_resetDecompressionContext(self.context)
    var pacing = OutputPacing(inputByteCount: input.count, limit: limit, roomMax: output.roomByteCountMax)
    var consumed = 0
    var isInsideFrame = true
    while consumed < input.count || isInsideFrame {
      var written = 0
      try output.append(byteCount: pacing.room) { (room) throws(CompressionError) -> Int in
        var sourceCount = input.count - consumed
        written = room.count
        let hint = LZ4F_decompress(self.context, room.baseAddress, &written, start + consumed, &sourceCount, nil)
        if LZ4F_isError(hint) != 0 { throw .corrupt(.lz4, reason: String(cString: LZ4F_getErrorName(hint))) }
        consumed += sourceCount
        isInsideFrame = hint != 0
        if isInsideFrame, consumed == input.count, written < room.count { throw .truncated(.lz4) }
        if sourceCount == 0, written == 0, isInsideFrame { throw .corrupt(.lz4, reason: "no progress") }
        return written
      }
      pacing.advance(by: written)
      if pacing.isBeyondLimit { throw .tooLarge(.lz4, limit: limit) }
      if !output.wantsMore { return }
    }
  }
}
