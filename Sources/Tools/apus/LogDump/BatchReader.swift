import NIOCore
import Records

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Reads a segment batch by batch, never more of it than one batch and a chunk. A length is believed only as far as the file goes.
struct BatchReader: ~Copyable {
  private static let chunkByteCount = 1 << 20
  private let descriptor: CInt
  private let fileByteCount: Int64
  private var buffer = ByteBuffer()
  /// Of the first byte in `buffer`.
  private var position: Int64 = 0

  init(_ path: String) throws(DumpFailure) {
    let descriptor: CInt
    do throws(SystemFailure) { descriptor = try Descriptor.open(path) } catch { throw DumpFailure(error) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      let failure = SystemFailure(number: errno)
      Descriptor.close(descriptor)
      throw DumpFailure(failure)
    }
    self.descriptor = descriptor
    self.fileByteCount = Int64(status.st_size)
  }

  deinit { Descriptor.close(self.descriptor) }

  /// The next batch and where it begins; nil at the end of the file. Throws what makes it impossible to go on.
  mutating func next() throws(DumpFailure) -> (position: Int64, bytes: ByteBuffer)? {
    let left = self.fileByteCount - self.position
    if left == 0 { return nil }
    guard left >= Int64(BatchHeader.byteCount) else {
      throw DumpFailure("the last \(left) bytes are less than the header of a batch: the end is torn", at: self.position)
    }
    try self.fill(BatchHeader.byteCount)
    let header = self.buffer.withUnsafeReadableBytes { BatchHeader(reading: $0) }
    guard let header, header.totalByteCount >= BatchHeader.byteCount else {
      throw DumpFailure("a batch cannot have a length of \(header?.batchLength ?? 0): what follows cannot be read", at: self.position)
    }
    guard Int64(header.totalByteCount) <= left else {
      let reason = "a batch of \(header.totalByteCount) bytes begins here, but the file has only \(left) more: the end is torn"
      throw DumpFailure(reason, at: self.position)
    }
    try self.fill(header.totalByteCount)
    defer { self.position += Int64(header.totalByteCount) }
    guard let bytes = self.buffer.readSlice(length: header.totalByteCount) else {
      throw DumpFailure("the file became shorter while it was read", at: self.position)
    }
    return (self.position, bytes)
  }

  /// Has at least `byteCount` bytes in the buffer.
  private mutating func fill(_ byteCount: Int) throws(DumpFailure) {
    if self.buffer.readableBytes >= byteCount { return }
    // What was handed out keeps its memory; the rest moves to a buffer of its own.
    var fresh = ByteBuffer()
    fresh.reserveCapacity(max(byteCount, Self.chunkByteCount))
    fresh.writeImmutableBuffer(self.buffer)
    self.buffer = fresh
    while self.buffer.readableBytes < byteCount {
      let descriptor = self.descriptor
      var failure: SystemFailure?
      let count = self.buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: byteCount - self.buffer.readableBytes) { room in
        do throws(SystemFailure) {
          return try Descriptor.read(descriptor, into: room)
        } catch {
          failure = error
          return 0
        }
      }
      if let failure { throw DumpFailure(failure) }
      if count == 0 { throw DumpFailure("the file became shorter while it was read", at: self.position) }
    }
  }
}
