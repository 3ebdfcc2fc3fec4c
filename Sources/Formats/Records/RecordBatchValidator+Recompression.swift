package import Compression
import Model
import NIOCore

extension RecordBatchValidator {
  /// The same records behind another codec, for a topic whose `compression.type` is not `producer`. A batch that has the codec
  /// already is answered as it is, whatever its level, as Apache Kafka does.
  ///
  /// - Parameter level: Kafka's level of the codec; nil for its default.
  /// - Throws: `INVALID_RECORD` if the records do not decompress, `MESSAGE_TOO_LARGE` if the rules do not allow the result.
  package func recompressed(
    _ batch: ValidatedBatch, codec: CompressionCodec, level: Int? = nil, workspace: RecordWorkspace
  ) throws(BatchRefusal) -> ValidatedBatch {
    let number = batch.header.attributes.codecNumber
    guard let source = CompressionCodec(rawValue: number) else { throw BatchRefusal(.unknownCodec(number)) }
    if source == codec { return batch }
    // Without a codec the result is what was decompressed, so that more than a batch may have need not be decompressed.
    let limit = min(self.rules.maximumDecompressedByteCount, codec == .none ? self.rules.maximumByteCount : .max)
    var bytes = ByteBuffer()
    bytes.reserveCapacity(batch.byteCount)
    bytes.writeRepeatingByte(0, count: BatchHeader.byteCount)
    try batch.body.withUnsafeReadableBytes { (body) throws(BatchRefusal) in
      if source == .none {
        try Self.compress(body, codec: codec, level: level, with: workspace.compressor, into: &bytes)
      } else {
        try workspace.withDecompressed(body, codec: source, limit: limit) {
          (records) throws(BatchRefusal) in
          try Self.compress(records, codec: codec, level: level, with: workspace.compressor, into: &bytes)
        }
      }
    }
    guard bytes.readableBytes <= min(self.rules.maximumByteCount, Int(Int32.max)) else {
      throw BatchRefusal(
        .messageTooLarge,
        "As \(codec) the record batch has \(bytes.readableBytes) bytes; max.message.bytes allows \(self.rules.maximumByteCount).")
    }
    var header = batch.header
    header.attributes.codecNumber = codec.rawValue
    header.batchLength = Int32(bytes.readableBytes - BatchHeader.logOverhead)
    bytes.withUnsafeMutableReadableBytes { bytes in
      header.crc = header.checksum(body: UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.byteCount...]))
      header.write(to: bytes)
    }
    return ValidatedBatch(header: header, received: header, bytes: bytes, logAppendTime: batch.logAppendTime)
  }

  private static func compress(
    _ records: UnsafeRawBufferPointer, codec: CompressionCodec, level: Int?, with compressor: Compressor, into bytes: inout ByteBuffer
  ) throws(BatchRefusal) {
    do { try compressor.compress(records, codec: codec, level: level, into: &bytes) } catch { throw BatchRefusal(.compression(error)) }
  }
}
