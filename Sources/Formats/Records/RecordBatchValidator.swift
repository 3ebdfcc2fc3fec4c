internal import Base
internal import Compression
package import Model
package import NIOCore

/// Decides whether the `records` of a Produce request may be appended to a partition, as Apache Kafka's broker decides it.
///
/// A value of the topic's rules; the bytes are looked at where they lie. Where this is stricter than Kafka, it is about what no
/// client writes: bytes behind the batch, attribute bits that mean nothing or are the broker's, transactional batches without a
/// producer, and offset deltas that do not count up from 0 (Kafka stores these as they are, or rewrites the batch).
package struct RecordBatchValidator: Hashable, Sendable {
  package var rules: BatchRules

  package init(rules: BatchRules) { self.rules = rules }

  /// - Parameters:
  ///   - records: the request's field; nil is refused as an empty one is.
  ///   - produceVersion: of the request: zstd may be used from 7 on (KIP-110).
  ///   - now: the broker's clock, for the timestamp rules and LogAppendTime.
  package func validate(
    _ records: ByteBuffer?, produceVersion: Int16, now: Timestamp, workspace: RecordWorkspace
  ) throws(BatchRefusal) -> ValidatedBatch {
    guard let records, records.readableBytes > 0 else {
      throw BatchRefusal(.invalidRecord, "The partition's records are empty: exactly one record batch is expected.")
    }
    return try records.withUnsafeReadableBytes { (bytes) throws(BatchRefusal) -> ValidatedBatch in
      let received = try self.checkFrame(bytes)
      try Self.checkHeader(received, produceVersion: produceVersion)
      guard let codec = CompressionCodec(rawValue: received.attributes.codecNumber) else {
        throw BatchRefusal(.unknownCodec(received.attributes.codecNumber))
      }
      var header = received
      let body = UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.byteCount...])
      if codec == .none {
        var scan = self.scan(received, now: now)
        try scan.read(body)
        header.maxTimestamp = try scan.finish()
      } else if self.rules.scansCompressedRecords || self.rules.isCompacted || received.maxTimestamp < received.baseTimestamp {
        header.maxTimestamp = try workspace.scan(
          body, codec: codec, limit: self.rules.maximumDecompressedByteCount, self.scan(received, now: now))
      } else {
        try self.checkTimestampsOfHeader(received, now: now)
      }
      return ValidatedBatch(
        header: header, received: received, bytes: records, logAppendTime: self.rules.timestampType == .logAppendTime ? now : nil)
    }
  }

  /// Length, format and checksum: whether the bytes are one whole batch at all.
  private func checkFrame(_ bytes: UnsafeRawBufferPointer) throws(BatchRefusal) -> BatchHeader {
    let magicPosition = 16
    guard bytes.count > magicPosition else {
      throw BatchRefusal(.invalidRecord, "\(bytes.count) bytes are not a record batch.")
    }
    let magic = bytes.load(fromByteOffset: magicPosition, as: Int8.self)
    guard magic == 2 else {
      if magic == 0 || magic == 1 { throw BatchRefusal(.invalidRecord, RecordError.unsupportedMagic(magic).description) }
      throw BatchRefusal(.unsupportedMagic(magic))
    }
    guard let header = BatchHeader(reading: bytes) else {
      throw BatchRefusal(.invalidRecord, "\(bytes.count) bytes are less than the header of a record batch.")
    }
    guard header.totalByteCount >= BatchHeader.byteCount else { throw BatchRefusal(.invalidLength(header.batchLength)) }
    guard header.totalByteCount <= bytes.count else {
      let error = RecordError.incomplete(expected: header.totalByteCount, available: bytes.count)
      throw BatchRefusal(.invalidRecord, error.description)
    }
    guard header.totalByteCount == bytes.count else {
      throw BatchRefusal(
        .invalidRecord, "\(bytes.count - header.totalByteCount) bytes follow the record batch: exactly one batch is expected.")
    }
    guard bytes.count <= self.rules.maximumByteCount else {
      throw BatchRefusal(
        .messageTooLarge, "The record batch has \(bytes.count) bytes; max.message.bytes allows \(self.rules.maximumByteCount).")
    }
    let computed = CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.crcCoverageStart...]))
    guard computed == header.crc else { throw BatchRefusal(.checksumMismatch(stored: header.crc, computed: computed)) }
    return header
  }

  /// The fields of the header against each other and against what a client may say.
  private static func checkHeader(_ header: BatchHeader, produceVersion: Int16) throws(BatchRefusal) {
    let attributes = header.attributes
    if attributes.codecNumber == CompressionCodec.zstd.rawValue, produceVersion < 7 {
      throw BatchRefusal(
        .unsupportedCompressionType, "zstd needs Produce version 7 or newer; the request has version \(produceVersion).")
    }
    guard header.baseOffset == .zero else {
      throw BatchRefusal(.invalidRecord, "A produced batch has base offset 0, not \(header.baseOffset): the broker assigns offsets.")
    }
    guard header.recordCount > 0, header.lastOffsetDelta >= 0, header.lastOffsetDelta == header.recordCount - 1 else {
      throw BatchRefusal(
        .invalidOffsets(baseOffset: header.baseOffset, lastOffsetDelta: header.lastOffsetDelta, recordCount: header.recordCount))
    }
    if attributes.isControl { throw BatchRefusal(.invalidRecord, "Clients may not write control records.") }
    if attributes.isLogAppendTime {
      throw BatchRefusal(.invalidTimestamp, "A producer may not mark its timestamps as LogAppendTime: only the broker does.")
    }
    if attributes.hasDeleteHorizon || attributes.rawValue & ~0x7F != 0 {
      throw BatchRefusal(.invalidRecord, "The batch's attributes (\(attributes.rawValue)) have bits that a producer may not set.")
    }
    if header.producerID.rawValue >= 0 {
      guard header.producerEpoch.rawValue >= 0, header.baseSequence >= 0 else {
        throw BatchRefusal(
          .invalidRecord,
          "The batch of producer \(header.producerID) has epoch \(header.producerEpoch) and sequence \(header.baseSequence).")
      }
    } else {
      guard header.producerID == .none else {
        throw BatchRefusal(.invalidRecord, "\(header.producerID) is not a producer id.")
      }
      if attributes.isTransactional { throw BatchRefusal(.invalidRecord, "A transactional batch needs a producer id.") }
    }
  }

  // MARK: Records

  private func scan(_ header: BatchHeader, now: Timestamp) -> RecordScan {
    RecordScan(header: header, accepted: self.acceptedTimestamps(now: now), needsKeys: self.rules.isCompacted)
  }

  /// The timestamps that the topic takes, both ends included. Everything, where the broker sets them.
  private func acceptedTimestamps(now: Timestamp) -> ClosedRange<Int64> {
    guard self.rules.timestampType == .createTime else { return .min ... .max }
    let (earliest, before) = now.rawValue.subtractingReportingOverflow(self.rules.timestampBeforeMaximum)
    let (latest, after) = now.rawValue.addingReportingOverflow(self.rules.timestampAfterMaximum)
    let lower = before ? .min : earliest
    return lower...max(lower, after ? .max : latest)
  }

  private func checkTimestampsOfHeader(_ header: BatchHeader, now: Timestamp) throws(BatchRefusal) {
    let accepted = self.acceptedTimestamps(now: now)
    for timestamp in [header.baseTimestamp, header.maxTimestamp] where timestamp != .none && !accepted.contains(timestamp.rawValue) {
      throw BatchRefusal(.invalidTimestamp, "The batch has records with \(RecordScan.outOfRange(timestamp.rawValue, accepted)).")
    }
  }
}
