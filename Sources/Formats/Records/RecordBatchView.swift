internal import Base
package import Compression
internal import Model
package import NIOCore

/// A stored or fetched batch: its header as a value and the bytes it came in, which are a slice and never a copy.
package struct RecordBatchView: Hashable, Sendable {
  package let header: BatchHeader
  /// The whole batch, header included.
  package let bytes: ByteBuffer

  /// The batch at the front of `bytes`, which may go on behind it.
  ///
  /// Checks the frame (length, format) and that offsets and counts can belong together; the CRC is `checkChecksum()`'s.
  package init(frontOf bytes: ByteBuffer) throws(RecordError) {
    let header = try bytes.withUnsafeReadableBytes { (bytes) throws(RecordError) -> BatchHeader in
      try Self.checkedHeader(frontOf: bytes)
    }
    self.header = header
    self.bytes = bytes.getSlice(at: bytes.readerIndex, length: header.totalByteCount)!
  }

  /// Reads and checks the header; the batch it announces is whole in `bytes`.
  static func checkedHeader(frontOf bytes: UnsafeRawBufferPointer) throws(RecordError) -> BatchHeader {
    // The magic comes first: in the formats before 2 the bytes behind it mean something else.
    let magicPosition = 16
    if bytes.count > magicPosition {
      let magic = bytes.load(fromByteOffset: magicPosition, as: Int8.self)
      guard magic == 2 else { throw .unsupportedMagic(magic) }
    }
    guard let header = BatchHeader(reading: bytes) else {
      throw .incomplete(expected: BatchHeader.byteCount, available: bytes.count)
    }
    guard header.totalByteCount >= BatchHeader.byteCount else { throw .invalidLength(header.batchLength) }
    guard header.totalByteCount <= bytes.count else {
      throw .incomplete(expected: header.totalByteCount, available: bytes.count)
    }
    // Compaction leaves fewer records than offsets, and batches with no record at all.
    let (_, overflow) = header.baseOffset.rawValue.addingReportingOverflow(Int64(header.lastOffsetDelta) + 1)
    guard header.baseOffset >= .zero, !overflow, header.lastOffsetDelta >= 0, header.recordCount >= 0,
      header.recordCount <= Int64(header.lastOffsetDelta) + 1
    else {
      throw .invalidOffsets(
        baseOffset: header.baseOffset, lastOffsetDelta: header.lastOffsetDelta, recordCount: header.recordCount)
    }
    return header
  }

  /// Holds the CRC-32C of the header against the bytes.
  package func checkChecksum() throws(RecordError) {
    let computed = self.bytes.withUnsafeReadableBytes { bytes in
      CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.crcCoverageStart...]))
    }
    guard computed == self.header.crc else { throw .checksumMismatch(stored: self.header.crc, computed: computed) }
  }

  /// Nil for a number that is no codec.
  package var codec: CompressionCodec? { CompressionCodec(rawValue: self.header.attributes.codecNumber) }

  /// The records without compression: a slice of the batch where it has none, else a new buffer of at most `limit` bytes.
  package func uncompressedRecords(using decompressor: Decompressor, limit: Int) throws(RecordError) -> ByteBuffer {
    guard let codec = self.codec else { throw .unknownCodec(self.header.attributes.codecNumber) }
    let start = self.bytes.readerIndex + BatchHeader.byteCount
    let body = self.bytes.getSlice(at: start, length: self.bytes.readableBytes - BatchHeader.byteCount)!
    // A batch that compaction emptied has no compressed stream either.
    if codec == .none || (body.readableBytes == 0 && self.header.recordCount == 0) { return body }
    var records = ByteBuffer()
    do {
      try body.withUnsafeReadableBytes { (input) throws(CompressionError) in
        try decompressor.decompress(input, codec: codec, limit: limit, into: &records)
      }
    } catch { throw .compression(error) }
    return records
  }

  /// An iterator over the records, decompressed once.
  package func records(using decompressor: Decompressor, limit: Int = 128 << 20) throws(RecordError) -> RecordIterator {
    RecordIterator(header: self.header, records: try self.uncompressedRecords(using: decompressor, limit: limit))
  }
}

/// Walks the batches of a buffer that may end in the middle of one, as what a broker answers to Fetch does.
package struct BatchSequence: Sendable {
  private var rest: ByteBuffer
  private let checksChecksums: Bool

  /// - Parameter checksChecksums: whether each batch's CRC is held against its bytes (`check.crcs`).
  package init(_ bytes: ByteBuffer, checksChecksums: Bool = true) {
    self.rest = bytes
    self.checksChecksums = checksChecksums
  }

  /// The bytes not walked yet; after `next()` has answered nil, those of a batch that is not all there.
  package var remainingByteCount: Int { self.rest.readableBytes }

  /// The next whole batch; nil at the end or before a partial batch. After an error the sequence stays where it is.
  package mutating func next() throws(RecordError) -> RecordBatchView? {
    guard self.rest.readableBytes > 0 else { return nil }
    let batch: RecordBatchView
    do { batch = try RecordBatchView(frontOf: self.rest) } catch {
      if case .incomplete = error { return nil }
      throw error
    }
    if self.checksChecksums { try batch.checkChecksum() }
    self.rest.moveReaderIndex(forwardBy: batch.header.totalByteCount)
    return batch
  }
}
