internal import CZlib

/// A gzip compression stream.
final class GzipEncoder {
  // zlib keeps a pointer to the stream it was made with, so that it must not move.
  private let stream: UnsafeMutablePointer<z_stream>
  private var level: Int32 = Z_DEFAULT_COMPRESSION

  init() throws(CompressionError) {
    self.stream = .allocate(capacity: 1)
    self.stream.initialize(to: z_stream())
    let result = deflateInit2_(
      self.stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, gzipWindowBits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
      Int32(MemoryLayout<z_stream>.size))
    if result != Z_OK { throw .failed(.gzip, reason: "deflateInit2 answered \(result)") }
  }

  deinit {
    deflateEnd(self.stream)
    self.stream.deallocate()
  }

  /// One gzip member.
  func compress(_ input: UnsafeRawBufferPointer, level: Int, into output: inout some CompressionOutput) throws(CompressionError) {
    var result = deflateReset(self.stream)
    if result == Z_OK, Int32(level) != self.level {
      // Directly after a reset nothing is pending, so that this compresses nothing with the old level.
      result = deflateParams(self.stream, Int32(level), Z_DEFAULT_STRATEGY)
      self.level = Int32(level)
    }
    if result != Z_OK { throw .failed(.gzip, reason: "deflateReset answered \(result)") }
    let bound = Int(deflateBound(self.stream, UInt(input.count)))
    try output.append(byteCount: bound) { (room) throws(CompressionError) -> Int in
      self.stream.pointee.next_in = UnsafeMutablePointer(mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
      self.stream.pointee.avail_in = UInt32(input.count)
      self.stream.pointee.next_out = room.baseAddress?.assumingMemoryBound(to: UInt8.self)
      self.stream.pointee.avail_out = UInt32(room.count)
      let result = deflate(self.stream, Z_FINISH)
      if result != Z_STREAM_END { throw .failed(.gzip, reason: "deflate answered \(result)") }
      return room.count - Int(self.stream.pointee.avail_out)
    }
  }
}

/// A gzip decompression stream. Reads any number of members one after another, as RFC 1952 says.
final class GzipDecoder {
  private let stream: UnsafeMutablePointer<z_stream>

  init() throws(CompressionError) {
    self.stream = .allocate(capacity: 1)
    self.stream.initialize(to: z_stream())
    let result = inflateInit2_(self.stream, gzipWindowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    if result != Z_OK { throw .failed(.gzip, reason: "inflateInit2 answered \(result)") }
  }

  deinit {
    inflateEnd(self.stream)
    self.stream.deallocate()
  }

  func decompress(_ input: UnsafeRawBufferPointer, limit: Int, into output: inout some CompressionOutput) throws(CompressionError) {
    guard let start = input.baseAddress, input.count > 0 else { throw .truncated(.gzip) }
    guard input.count <= Int(Int32.max) else { throw .tooLarge(.gzip, limit: Int(Int32.max)) }
    inflateReset(self.stream)
    self.stream.pointee.next_in = UnsafeMutablePointer(mutating: start.assumingMemoryBound(to: UInt8.self))
    self.stream.pointee.avail_in = UInt32(input.count)
    var pacing = OutputPacing(inputByteCount: input.count, limit: limit, roomMax: output.roomByteCountMax)
    var isFinished = false
    while !isFinished {
      var written = 0
      try output.append(byteCount: pacing.room) { (room) throws(CompressionError) -> Int in
        self.stream.pointee.next_out = room.baseAddress?.assumingMemoryBound(to: UInt8.self)
        self.stream.pointee.avail_out = UInt32(room.count)
        let result = inflate(self.stream, Z_NO_FLUSH)
        written = room.count - Int(self.stream.pointee.avail_out)
        switch result {
        case Z_STREAM_END:
          isFinished = self.stream.pointee.avail_in == 0
          if !isFinished { inflateReset(self.stream) }
        case Z_OK:
          if self.stream.pointee.avail_in == 0, self.stream.pointee.avail_out > 0 { throw .truncated(.gzip) }
        case Z_BUF_ERROR: throw .truncated(.gzip)
        case Z_MEM_ERROR: throw .failed(.gzip, reason: "no memory")
        default: throw .corrupt(.gzip, reason: self.stream.pointee.msg.map { String(cString: $0) } ?? "inflate answered \(result)")
        }
        return written
      }
      pacing.advance(by: written)
      if pacing.isBeyondLimit { throw .tooLarge(.gzip, limit: limit) }
      if !output.wantsMore { return }
    }
  }
}

/// The largest window, plus the 16 by which zlib knows that a gzip header and trailer are wanted.
private let gzipWindowBits: Int32 = 15 + 16
