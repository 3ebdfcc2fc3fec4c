import Base
package import Compression
import Model
package import NIOCore
package import Records

/// The records of a batch while it fills, and the making of its bytes.
package struct OpenBatch: Sendable {
  private var builder: RecordBatchBuilder
  /// Header included, before compression. Stays as it is once the batch was encoded, which empties the builder.
  package private(set) var byteCount: Int
  package private(set) var recordCount: Int32 = 0

  package init() {
    self.builder = RecordBatchBuilder()
    self.byteCount = self.builder.uncompressedByteCount
  }

  /// The most that a record with these parts adds to a batch.
  package static func byteCountMax(key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, headers: [RecordHeader]) -> Int {
    var byteCount = RecordBatchBuilder.maximumByteCount(keyByteCount: key?.count ?? 0, valueByteCount: value?.count ?? 0)
    for header in headers { byteCount += 10 + header.name.utf8.count + (header.value?.count ?? 0) }
    return byteCount
  }

  /// Adds a record. Its size has been held against the limits, and its timestamp is not below -1: then the builder takes everything.
  package mutating func append(
    key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, headers: [RecordHeader], timestamp: Int64
  ) {
    let headers = headers.isEmpty ? [] : headers.map { Records.RecordHeader(key: $0.name, value: $0.value.map { ByteBuffer(bytes: $0) }) }
    do {
      try self.builder.append(timestamp: Timestamp(timestamp), key: key, value: value, headers: headers)
    } catch {
      preconditionFailure("a record within all limits was refused: \(error)")
    }
    self.byteCount = self.builder.uncompressedByteCount
    self.recordCount += 1
  }

  /// The batch's bytes, compressed.
  package mutating func encode(
    codec: CompressionCodec, level: Int?, identity: ProducerIdentity?, baseSequence: Int32, using compressor: Compressor
  ) throws(RecordError) -> ByteBuffer {
    self.builder.attributes.codec = codec
    self.builder.attributes.level = level
    if let identity {
      self.builder.attributes.producerID = ProducerID(identity.producerID)
      self.builder.attributes.producerEpoch = ProducerEpoch(identity.producerEpoch)
      self.builder.attributes.baseSequence = baseSequence
    }
    return try self.builder.finish(using: compressor)
  }

  /// Gives a batch that was encoded another identity.
  package static func restamp(_ batch: inout ByteBuffer, identity: ProducerIdentity, baseSequence: Int32) {
    batch.withUnsafeMutableReadableBytes { bytes in
      guard var header = BatchHeader(reading: UnsafeRawBufferPointer(bytes)) else { return }
      header.producerID = ProducerID(identity.producerID)
      header.producerEpoch = ProducerEpoch(identity.producerEpoch)
      header.baseSequence = baseSequence
      header.crc = header.checksum(body: UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.byteCount...]))
      header.write(to: bytes)
    }
  }
}
