internal import Base
package import Model
package import NIOCore

/// A produced batch that may be appended: its header as it will be stored but for offset and epoch, and the bytes it came in.
///
/// It is stored as 61 patched bytes followed by `body`, a slice of what was received; nothing of it is copied.
package struct ValidatedBatch: Hashable, Sendable {
  /// As received, except that `maxTimestamp` is what the records say where they were looked at.
  package let header: BatchHeader
  /// The whole batch as received, header included.
  package let bytes: ByteBuffer
  /// The time of appending where the topic wants it in its records, else nil.
  package let logAppendTime: Timestamp?
  /// Whether a field that the CRC covers will differ from what was received.
  private let changesChecksum: Bool

  init(header: BatchHeader, received: BatchHeader, bytes: ByteBuffer, logAppendTime: Timestamp?) {
    self.header = header
    self.bytes = bytes
    self.logAppendTime = logAppendTime
    self.changesChecksum = logAppendTime != nil || header != received
  }

  package var byteCount: Int { self.bytes.readableBytes }
  package var recordCount: Int { Int(self.header.recordCount) }
  /// Everything behind the header.
  package var body: ByteBuffer {
    self.bytes.getSlice(
      at: self.bytes.readerIndex + BatchHeader.byteCount, length: self.bytes.readableBytes - BatchHeader.byteCount)!
  }

  /// The header to store: offset and leader epoch set, and in a topic with LogAppendTime the append time with its attribute bit.
  /// The CRC is computed anew only if a field it covers changes.
  package func patchedHeader(baseOffset: Offset, leaderEpoch: LeaderEpoch) -> BatchHeader {
    var header = self.header
    header.baseOffset = baseOffset
    header.partitionLeaderEpoch = leaderEpoch
    if let logAppendTime = self.logAppendTime {
      header.attributes.isLogAppendTime = true
      header.maxTimestamp = logAppendTime
    }
    if self.changesChecksum {
      header.crc = self.bytes.withUnsafeReadableBytes { bytes in
        header.checksum(body: UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.byteCount...]))
      }
    }
    return header
  }

  /// Gives `body` the 61 bytes of the patched header, on the stack.
  package func withPatchedHeader<Result, E: Error>(
    baseOffset: Offset, leaderEpoch: LeaderEpoch, _ body: (UnsafeRawBufferPointer) throws(E) -> Result
  ) throws(E) -> Result {
    try self.patchedHeader(baseOffset: baseOffset, leaderEpoch: leaderEpoch).withBytes(body)
  }
}

extension BatchHeader {
  /// The CRC-32C of a batch with this header and these bytes behind it.
  package func checksum(body: UnsafeRawBufferPointer) -> UInt32 {
    self.withBytes { head in
      CRC32C.checksum(body, continuing: CRC32C.checksum(UnsafeRawBufferPointer(rebasing: head[Self.crcCoverageStart...])))
    }
  }

  /// Gives `body` the 61 bytes, on the stack.
  package func withBytes<Result, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> Result) throws(E) -> Result {
    var head: InlineArray<61, UInt8> = .init(repeating: 0)
    var span = head.mutableSpan
    let outcome: Swift.Result<Result, E> = span.withUnsafeMutableBytes { bytes in
      self.write(to: bytes)
      return Swift.Result { () throws(E) -> Result in try body(UnsafeRawBufferPointer(bytes)) }
    }
    return try outcome.get()
  }
}
