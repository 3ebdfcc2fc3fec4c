/// The configs of a topic: Kafka 4.2's, and `flush.policy` and `records.validation`, which are ours.
///
/// Where the broker has a config of the same meaning, it gives the topics their default (`brokerSynonyms`).
let topicConfigDefinitions: [ConfigDefinition] = [
  .topic("cleanup.policy", .list, "delete", .elements(["compact", "delete"]),
    "What happens to old segments: delete drops them by age and size, compact keeps each key's last record (this version: all of them)."),
  .topic("compression.gzip.level", .int, "-1", .range(-1...9),
    "The level when the broker compresses with gzip: 1 to 9, or -1 for gzip's own default."),
  .topic("compression.lz4.level", .int, "9", .range(1...17),
    "The level when the broker compresses with lz4."),
  .topic("compression.type", .string, "producer", .oneOf(compressionTypes),
    "The codec batches are stored in, whatever they were sent in; producer keeps each as it was sent."),
  .topic("compression.zstd.level", .int, "3", .range(-131_072...22),
    "The level when the broker compresses with zstd."),
  .topic("delete.retention.ms", .long, "86400000", .atLeast(0),
    "How long a compacted topic keeps a tombstone, in milliseconds. Compaction does not run in this version."),
  .topic("file.delete.delay.ms", .long, "60000", .atLeast(0), "How long a removed segment's files stay on disk, in milliseconds."),
  .topic("flush.messages", .long, "9223372036854775807", .atLeast(1),
    "Sync a partition to disk after this many records. Of use with flush.policy=os."),
  .topic("flush.ms", .long, "9223372036854775807", .atLeast(0),
    "Sync a partition to disk this many milliseconds after an append. Of use with flush.policy=os."),
  .topic("flush.policy", .string, "fsync", .oneOf(flushPolicies),
    "What acks=all waits for: fsync, the records are on disk; os, they are with the operating system, as in Kafka."),
  .topic("follower.replication.throttled.replicas", .list, "", .throttledReplicas,
    "Replicas whose replication is throttled on the followers' side: partition:broker pairs, or *."),
  .topic("index.interval.bytes", .int, "4096", .atLeast(0), "Bytes of log between two entries of the offset index."),
  .topic("leader.replication.throttled.replicas", .list, "", .throttledReplicas,
    "Replicas whose replication is throttled on the leader's side: partition:broker pairs, or *."),
  .topic("local.retention.bytes", .long, "-2", .atLeast(-2),
    "Bytes kept on local disk under tiered storage; -2 is retention.bytes."),
  .topic("local.retention.ms", .long, "-2", .atLeast(-2),
    "Milliseconds kept on local disk under tiered storage; -2 is retention.ms."),
  .topic("max.compaction.lag.ms", .long, "9223372036854775807", .atLeast(1),
    "The longest a record stays out of compaction, in milliseconds. Compaction does not run in this version."),
  .topic("max.message.bytes", .int, "1048588", .atLeast(0),
    "The largest record batch a producer may append, in bytes as it is stored."),
  .topic("message.timestamp.after.max.ms", .long, "3600000", .atLeast(0),
    "How far a record's timestamp may lie ahead of the broker's clock, in milliseconds."),
  .topic("message.timestamp.before.max.ms", .long, "9223372036854775807", .atLeast(0),
    "How far a record's timestamp may lie behind the broker's clock, in milliseconds."),
  .topic("message.timestamp.type", .string, "CreateTime", .oneOf(timestampTypes),
    "Whether records carry the producer's time or the time of the append."),
  .topic("min.cleanable.dirty.ratio", .double, "0.5", .fraction(0, 1),
    "The share of a log that must be uncompacted before it is compacted. Compaction does not run in this version."),
  .topic("min.compaction.lag.ms", .long, "0", .atLeast(0),
    "The shortest a record stays out of compaction, in milliseconds. Compaction does not run in this version."),
  .topic("min.insync.replicas", .int, "1", .atLeast(1), "In-sync replicas without which acks=all is refused."),
  .topic("preallocate", .boolean, "false", "Whether a new segment's space is reserved on disk."),
  .topic("records.validation", .string, "records", .oneOf(recordValidations),
    "How much of a compressed batch is checked: records, every record in it, as Kafka does; batch, its header and checksum."),
  .topic("remote.log.copy.disable", .boolean, "false", "Whether a tiered topic stops copying segments to remote storage."),
  .topic("remote.log.delete.on.disable", .boolean, "false", "Whether remote segments go when tiering is switched off."),
  .topic("remote.storage.enable", .boolean, "false", .any, status: .unsupported("tiered storage is not supported by this version"),
    "Whether segments move to remote storage."),
  .topic("retention.bytes", .long, "-1", .any, "Bytes a partition keeps before old segments go; -1 is no limit."),
  .topic("retention.ms", .long, "604800000", .atLeast(-1),
    "Milliseconds a record is kept before its segment goes; -1 is for ever."),
  .topic("segment.bytes", .int, "1073741824", .atLeast(14), "The size at which a segment is closed and the next begun, in bytes."),
  .topic("segment.index.bytes", .int, "10485760", .atLeast(4), "The largest an index file may grow, in bytes."),
  .topic("segment.jitter.ms", .long, "0", .atLeast(0),
    "The most by which segment.ms is shortened at random, so that segments do not all roll at once."),
  .topic("segment.ms", .long, "604800000", .atLeast(1),
    "The age at which a segment is closed even if it is not full, in milliseconds."),
  .topic("unclean.leader.election.enable", .boolean, "false",
    "Whether a replica that is not in sync may lead when no other is left, at the price of records."),
]

let compressionTypes = ["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]
let timestampTypes = ["CreateTime", "LogAppendTime"]
let flushPolicies = ["fsync", "os"]
let recordValidations = ["batch", "records"]

extension ConfigDefinition {
  fileprivate static func topic(
    _ name: String, _ type: ConfigType, _ defaultValue: String, _ validator: ConfigValidator,
    status: Status = .used, _ documentation: String
  ) -> ConfigDefinition {
    ConfigDefinition(name, type, defaultValue, validator, status: status, isDynamic: true, documentation)
  }
  fileprivate static func topic(_ name: String, _ type: ConfigType, _ defaultValue: String, _ documentation: String) -> ConfigDefinition {
    ConfigDefinition(name, type, defaultValue, .any, isDynamic: true, documentation)
  }
}

/// A broker config that gives a topic config its default, in the unit it is written in.
package struct BrokerSynonym: Sendable, Hashable {
  package var name: String
  /// Milliseconds in one of its units; 1 where the unit is the topic config's own.
  package var factor: Int64
}

/// The broker configs behind each topic config, the first that is set winning
/// (`org.apache.kafka.server.config.ServerTopicConfigSynonyms`).
let topicConfigSynonyms: [String: [BrokerSynonym]] = {
  let same: [(String, String)] = [
    ("cleanup.policy", "log.cleanup.policy"), ("compression.gzip.level", "compression.gzip.level"),
    ("compression.lz4.level", "compression.lz4.level"), ("compression.type", "compression.type"),
    ("compression.zstd.level", "compression.zstd.level"), ("delete.retention.ms", "log.cleaner.delete.retention.ms"),
    ("file.delete.delay.ms", "log.segment.delete.delay.ms"), ("flush.messages", "log.flush.interval.messages"),
    ("flush.policy", "flush.policy"), ("index.interval.bytes", "log.index.interval.bytes"),
    ("local.retention.bytes", "log.local.retention.bytes"), ("local.retention.ms", "log.local.retention.ms"),
    ("max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"), ("max.message.bytes", "message.max.bytes"),
    ("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms"),
    ("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms"),
    ("message.timestamp.type", "log.message.timestamp.type"), ("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio"),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms"), ("min.insync.replicas", "min.insync.replicas"),
    ("preallocate", "log.preallocate"), ("records.validation", "records.validation"), ("retention.bytes", "log.retention.bytes"),
    ("segment.bytes", "log.segment.bytes"), ("segment.index.bytes", "log.index.size.max.bytes"),
    ("unclean.leader.election.enable", "unclean.leader.election.enable"),
  ]
  var synonyms: [String: [BrokerSynonym]] = [:]
  for (topic, broker) in same { synonyms[topic] = [BrokerSynonym(name: broker, factor: 1)] }
  let hour: Int64 = 3_600_000
  synonyms["flush.ms"] = [.init(name: "log.flush.interval.ms", factor: 1), .init(name: "log.flush.scheduler.interval.ms", factor: 1)]
  synonyms["retention.ms"] = [
    .init(name: "log.retention.ms", factor: 1), .init(name: "log.retention.minutes", factor: 60_000),
    .init(name: "log.retention.hours", factor: hour),
  ]
  synonyms["segment.ms"] = [.init(name: "log.roll.ms", factor: 1), .init(name: "log.roll.hours", factor: hour)]
  synonyms["segment.jitter.ms"] = [.init(name: "log.roll.jitter.ms", factor: 1), .init(name: "log.roll.jitter.hours", factor: hour)]
  return synonyms
}()
