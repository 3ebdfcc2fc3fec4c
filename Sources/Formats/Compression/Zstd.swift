internal import CZstd

/// A zstd compression context.
final class ZstdEncoder {
  private let context: OpaquePointer

  init() throws(CompressionError) {
    guard let context = ZSTD_createCCtx() else { throw .failed(.zstd, reason: "no memory for a context") }
    self.context = context
  }

  deinit { ZSTD_freeCCtx(self.context) }

  /// One frame that states its content size, without a checksum: the batch has a CRC of its own.
  func compress(_ input: UnsafeRawBufferPointer, level: Int, into output: inout some CompressionOutput) throws(CompressionError) {
    try Self.check(ZSTD_CCtx_setParameter(self.context, ZSTD_c_compressionLevel, Int32(level)))
    try output.append(byteCount: ZSTD_compressBound(input.count)) { (room) throws(CompressionError) -> Int in
      let count = ZSTD_compress2(self.context, room.baseAddress, room.count, input.baseAddress, input.count)
      try Self.check(count)
      return count
    }
  }

  private static func check(_ result: Int) throws(CompressionError) {
    if ZSTD_isError(result) != 0 { throw .failed(.zstd, reason: String(cString: ZSTD_getErrorName(result))) }
  }
}

/// A zstd decompression context. Reads any number of frames one after another, as zstd's own tools do.
final class ZstdDecoder {
  private let context: OpaquePointer

  init() throws(CompressionError) {
    guard let context = ZSTD_createDCtx() else { throw .failed(.zstd, reason: "no memory for a context") }
    self.context = context
    // 128 MiB, zstd's own bound on what a stream may demand of its reader and what its highest level uses.
    _ = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 27)
  }

  deinit { ZSTD_freeDCtx(self.context) }

  /// The memory the context holds, its window included.
  var byteCount: Int { ZSTD_sizeof_DCtx(self.context) }

  func decompress(_ input: UnsafeRawBufferPointer, limit: Int, into output: inout some CompressionOutput) throws(CompressionError) {
    guard let start = input.baseAddress, input.count > 0 else { throw .truncated(.zstd) }
    _ = ZSTD_DCtx_reset(self.context, ZSTD_reset_session_only)
    let size = ZSTD_getFrameContentSize(start, input.count)
    // The two values that are no size are the largest two.
    let promised = size >= UInt64.max - 1 ? nil : Int(min(size, UInt64(Int32.max)))
    if let promised, promised > limit { throw .tooLarge(.zstd, limit: limit) }
    var pacing = OutputPacing(inputByteCount: input.count, limit: limit, promised: promised, roomMax: output.roomByteCountMax)
    var source = ZSTD_inBuffer(src: start, size: input.count, pos: 0)
    var isInsideFrame = true
    while source.pos < source.size || isInsideFrame {
      let wanted = pacing.room
      var written = 0
      try output.append(byteCount: wanted) { (room) throws(CompressionError) -> Int in
        var sink = ZSTD_outBuffer(dst: room.baseAddress, size: room.count, pos: 0)
        let before = source.pos
        let hint = ZSTD_decompressStream(self.context, &sink, &source)
        if ZSTD_isError(hint) != 0 { throw Self.error(hint) }
        isInsideFrame = hint != 0
        written = sink.pos
        // Room left and nothing more to read, inside a frame: the rest of it is missing.
        if isInsideFrame, source.pos == source.size, sink.pos < sink.size { throw .truncated(.zstd) }
        if before == source.pos, written == 0, isInsideFrame { throw .corrupt(.zstd, reason: "no progress") }
        return written
      }
      pacing.advance(by: written)
      if pacing.isBeyondLimit { throw .tooLarge(.zstd, limit: limit) }
      if !output.wantsMore { return }
    }
  }

  private static func error(_ result: Int) -> CompressionError {
    let reason = String(cString: ZSTD_getErrorName(result))
    return switch ZSTD_getErrorCode(result) {
    case ZSTD_error_memory_allocation: .failed(.zstd, reason: reason)
    case ZSTD_error_srcSize_wrong: .truncated(.zstd)
    default: .corrupt(.zstd, reason: reason)
    }
  }
}
