/// Who sets the timestamps of a topic's records (`message.timestamp.type`).
package enum TimestampType: Int16, Hashable, Sendable, CaseIterable {
  case createTime = 0
  case logAppendTime = 1

  /// The value of the configuration.
  package var name: String { self == .createTime ? "CreateTime" : "LogAppendTime" }
}

/// What a topic demands of the batches that clients produce to it.
package struct BatchRules: Hashable, Sendable {
  /// `max.message.bytes`: the most bytes of a batch, header and compression included.
  package var maximumByteCount: Int
  /// `message.timestamp.type`.
  package var timestampType: TimestampType
  /// `message.timestamp.before.max.ms`: how far a timestamp may lie in the past.
  package var timestampBeforeMaximum: Int64
  /// `message.timestamp.after.max.ms`: how far a timestamp may lie in the future.
  package var timestampAfterMaximum: Int64
  /// Whether `cleanup.policy` has `compact`: every record then needs a key.
  package var isCompacted: Bool
  /// Whether compressed batches are decompressed and their records looked at. What is not compressed always is, and so is a
  /// batch for a compacted topic, or one whose header contradicts itself about timestamps.
  ///
  /// Apache Kafka always does. Without it a compressed batch is checked by its header and CRC alone, which costs nothing to
  /// speak of; a producer that writes a broken batch then finds out by its consumers, which check what they read.
  package var scansCompressedRecords: Bool
  /// The most bytes the records of one batch may have when decompressed, where they are: a bound on the work, and on the memory where
  /// they are compressed anew, that a batch made to be large can cause.
  package var maximumDecompressedByteCount: Int

  /// Kafka's defaults.
  package init(
    maximumByteCount: Int = 1_048_588, timestampType: TimestampType = .createTime, timestampBeforeMaximum: Int64 = .max,
    timestampAfterMaximum: Int64 = 3_600_000, isCompacted: Bool = false, scansCompressedRecords: Bool = true,
    maximumDecompressedByteCount: Int = 128 << 20
  ) {
    self.maximumByteCount = maximumByteCount
    self.timestampType = timestampType
    self.timestampBeforeMaximum = timestampBeforeMaximum
    self.timestampAfterMaximum = timestampAfterMaximum
    self.isCompacted = isCompacted
    self.scansCompressedRecords = scansCompressedRecords
    self.maximumDecompressedByteCount = maximumDecompressedByteCount
  }
}
