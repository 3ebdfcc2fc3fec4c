import Base
import Compression
import Environment
import Metadata
import Model
import Records
import Replication

/// A topic as this broker serves it: its partitions in a dense array, and its configuration ready for use. Immutable; a change makes a
/// new one that shares the partitions.
final class HostedTopic<Env: Environment>: Sendable {
  enum Slot: Sendable {
    case hosted(Partition<Env>)
    /// Its replicas are on other brokers.
    case elsewhere
    /// It belongs here and could not be opened.
    /// - canPass: opening it is tried again.
    case offline(canPass: Bool)
  }

  let name: String
  let id: KafkaUUID
  /// By partition id.
  let slots: [Slot]
  /// A partition of it could not be opened.
  let hasOffline: Bool
  let config: TopicConfig
  let validator: RecordBatchValidator
  /// What batches are compressed with before they are stored; nil keeps them as they came.
  let compression: (codec: CompressionCodec, level: Int?)?

  init(name: String, id: KafkaUUID, slots: [Slot], config: TopicConfig) {
    self.name = name
    self.id = id
    self.slots = slots
    self.hasOffline = slots.contains { if case .offline = $0 { true } else { false } }
    self.config = config
    self.validator = RecordBatchValidator(rules: config.batchRules)
    self.compression = config.storedCompression
  }

  /// Topics of Kafka's own coordinators, which clients are told apart.
  static func isInternal(_ name: String) -> Bool {
    name == "__consumer_offsets" || name == "__transaction_state" || name == "__share_group_state"
  }

  func partition(_ id: PartitionID) -> Result<Partition<Env>, ErrorCode.Refusal> {
    guard id.rawValue >= 0, Int(id.rawValue) < self.slots.count else { return .failure(.init(code: .unknownTopicOrPartition)) }
    switch self.slots[Int(id.rawValue)] {
    case .hosted(let partition): return .success(partition)
    case .elsewhere: return .failure(.init(code: .notLeaderOrFollower))
    case .offline: return .failure(.init(code: .kafkaStorageError))
    }
  }

  /// The topic with another partition in this place.
  func replacing(_ id: PartitionID, with slot: Slot) -> HostedTopic<Env> {
    var slots = self.slots
    slots[Int(id.rawValue)] = slot
    return HostedTopic(name: self.name, id: self.id, slots: slots, config: self.config)
  }

  /// Those that could not be opened for a reason that can pass.
  var retriablePartitions: [PartitionID] {
    self.slots.indices.compactMap { if case .offline(canPass: true) = self.slots[$0] { PartitionID(Int32($0)) } else { nil } }
  }

  var hostedPartitions: [Partition<Env>] {
    self.slots.compactMap { if case .hosted(let partition) = $0 { partition } else { nil } }
  }
}

extension TopicConfig {
  /// What produced batches have to satisfy.
  var batchRules: BatchRules {
    BatchRules(
      maximumByteCount: self.maxMessageBytes, timestampType: self.timestampType == .logAppendTime ? .logAppendTime : .createTime,
      timestampBeforeMaximum: self.timestampBeforeMax.wholeMilliseconds, timestampAfterMaximum: self.timestampAfterMax.wholeMilliseconds,
      isCompacted: self.cleanupPolicy.contains(.compact),
      // What is compressed anew is opened anyway, and would be ours if it were broken.
      scansCompressedRecords: self.recordsValidation == .records || self.compressionType != .producer,
      // Records that would be let in as they are are let in compressed, too.
      maximumDecompressedByteCount: max(128 << 20, self.maxMessageBytes))
  }

  /// The codec of `compression.type` with its level; nil for `producer`.
  var storedCompression: (codec: CompressionCodec, level: Int?)? {
    switch self.compressionType {
    case .producer: nil
    case .uncompressed: (.none, nil)
    case .gzip: (.gzip, Int(self.gzipLevel))
    case .snappy: (.snappy, nil)
    case .lz4: (.lz4, Int(self.lz4Level))
    case .zstd: (.zstd, Int(self.zstdLevel))
    }
  }

  /// When appended records count as durable.
  var replicationFlushPolicy: Replication.FlushPolicy {
    Replication.FlushPolicy(durability: self.flushPolicy == .fsync ? .flushed : .written, unflushedRecordsMax: self.flushMessages)
  }
}
