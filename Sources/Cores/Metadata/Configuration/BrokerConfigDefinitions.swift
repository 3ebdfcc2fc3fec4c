/// The broker configs that Apus acts on. Names, types and limits are Kafka 4.2's; defaults as well, except where "Default in Apus" is said.
let brokerConfigDefinitions: [ConfigDefinition] = (
  identityConfigs + clusterConfigs + networkConfigs + topicConfigs + logConfigs + replicationConfigs
).map { definition in
  guard let reason = withoutEffect[definition.name] else { return definition }
  var definition = definition
  definition.status = .accepted(reason)
  return definition
}

/// Keys that are read and checked, yet change nothing in this version.
private let withoutEffect: [String: String] = {
  let compaction = "compaction does not run in this version"
  let tiering = "tiered storage is not supported by this version"
  return [
    "security.inter.broker.protocol": "only PLAINTEXT listeners are served by this version",
    "queued.max.request.bytes": "what is being served is limited per connection in this version",
    "log.cleaner.delete.retention.ms": compaction, "log.cleaner.max.compaction.lag.ms": compaction,
    "log.cleaner.min.cleanable.ratio": compaction, "log.cleaner.min.compaction.lag.ms": compaction,
    "log.local.retention.bytes": tiering, "log.local.retention.ms": tiering,
    "log.preallocate": "space is reserved as a log grows",
  ]
}()

private let identityConfigs: [ConfigDefinition] = [
  // Kafka has no default here and refuses to start: Apus starts with no file at all.
  .broker("node.id", .int, "1", .atLeast(0), "This node's number in the cluster. Default in Apus: 1."),
  .broker("broker.id", .int, "-1", "The old name of node.id; -1 is not set."),
  .broker("broker.rack", .string, nil, "The rack or zone of this broker; replicas are spread over racks."),
  .broker("log.dir", .string, "./apus-data",
    "The directory of the partitions, if log.dirs is not set. Default in Apus: ./apus-data."),
  .broker("log.dirs", .string, nil, "The directories of the partitions, separated by commas. This version serves one."),
  .broker("metadata.log.dir", .string, nil,
    "The directory of the metadata log; by default, and in this version always, the first of log.dirs."),
  .broker("metadata.log.segment.bytes", .int, "1073741824", .atLeast(12),
    "The size at which a segment of the metadata log is closed, in bytes."),
  .broker("metadata.log.segment.ms", .long, "604800000", .atLeast(1),
    "The age at which a segment of the metadata log is closed, in milliseconds."),
]

private let networkConfigs: [ConfigDefinition] = [
  .broker("listeners", .list, "PLAINTEXT://127.0.0.1:9092",
    "The addresses to accept clients on: NAME://host:port, several separated by commas. Default in Apus: this machine only."),
  .broker("advertised.listeners", .list, nil, "The addresses clients are told to connect to; by default those of listeners."),
  .broker("listener.security.protocol.map", .string, defaultSecurityProtocolMap,
    "The protocol of each listener name. This version serves PLAINTEXT."),
  .broker("inter.broker.listener.name", .string, nil, "The listener brokers use among themselves; by default the first."),
  .broker("security.inter.broker.protocol", .string, "PLAINTEXT", .oneOf(securityProtocols),
    "The protocol brokers use among themselves, where no listener is named."),
  .broker("num.network.threads", .int, "3", .atLeast(1),
    "Event loops for clients' connections. Default in Apus: one per processor."),
  .broker("socket.request.max.bytes", .int, "104857600", .atLeast(1), "The largest request accepted, in bytes."),
  .broker("socket.receive.buffer.bytes", .int, "102400", .atLeast(-1),
    "SO_RCVBUF of clients' connections; -1 leaves it to the system."),
  .broker("socket.send.buffer.bytes", .int, "102400", .atLeast(-1),
    "SO_SNDBUF of clients' connections; -1 leaves it to the system."),
  .broker("socket.listen.backlog.size", .int, "50", .atLeast(1), "Connections that may wait to be accepted."),
  .broker("connections.max.idle.ms", .long, "600000",
    "A connection without a request for this many milliseconds is closed; negative is never."),
  .broker("max.connections", .int, "2147483647", .atLeast(0), "Connections accepted in all."),
  .broker("max.connections.per.ip", .int, "2147483647", .atLeast(0), "Connections accepted from one address."),
  .broker("max.connections.per.ip.overrides", .string, "", "Other limits for some addresses: address:limit, separated by commas."),
  .broker("queued.max.request.bytes", .long, "-1",
    "Bytes of requests being served at once over all connections; -1 is no limit beyond the connections' own."),
]

private let topicConfigs: [ConfigDefinition] = [
  .broker("auto.create.topics.enable", .boolean, "true", "Whether a topic comes to be when a client asks for it by name."),
  .broker("delete.topic.enable", .boolean, "true", "Whether topics may be deleted."),
  .broker("num.partitions", .int, "1", .atLeast(1), "Partitions of a topic whose creator did not say."),
  .broker("default.replication.factor", .int, "1", .range(1...32_767), "Replicas of a partition whose creator did not say."),
  .broker("fetch.max.bytes", .int, "57671680", .atLeast(1024),
    "The most one Fetch is answered with, in bytes; a first batch larger than that still goes out."),
  .broker("max.incremental.fetch.session.cache.slots", .int, "1000", .atLeast(0), "Fetch sessions remembered at once."),
  .broker("max.request.partition.size.limit", .int, "2000", .atLeast(1),
    "Partitions one DescribeTopicPartitions is answered with."),
  .broker("producer.id.expiration.ms", .int, "86400000", .atLeast(1),
    "How long an idempotent producer is remembered after its last batch, in milliseconds."),
  .broker("producer.id.expiration.check.interval.ms", .int, "600000", .atLeast(1),
    "How often forgotten producers are looked for, in milliseconds."),
]

private let logConfigs: [ConfigDefinition] = [
  .dynamic("flush.policy", .string, "fsync", .oneOf(flushPolicies),
    "What acks=all waits for: fsync, the records are on disk; os, they are with the operating system, as in Kafka."),
  .dynamic("records.validation", .string, "records", .oneOf(recordValidations),
    "How much of a compressed batch is checked: records, every record in it, as Kafka does; batch, its header and checksum."),
  .dynamic("message.max.bytes", .int, "1048588", .atLeast(0),
    "The largest record batch a producer may append, in bytes as it is stored."),
  .dynamic("min.insync.replicas", .int, "1", .atLeast(1), "In-sync replicas without which acks=all is refused."),
  .dynamic("unclean.leader.election.enable", .boolean, "false", .any,
    "Whether a replica that is not in sync may lead when no other is left, at the price of records."),
  .dynamic("compression.type", .string, "producer", .oneOf(compressionTypes),
    "The codec batches are stored in, whatever they were sent in; producer keeps each as it was sent."),
  .dynamic("compression.gzip.level", .int, "-1", .range(-1...9),
    "The level when the broker compresses with gzip: 1 to 9, or -1 for gzip's own default."),
  .dynamic("compression.lz4.level", .int, "9", .range(1...17), "The level when the broker compresses with lz4."),
  .dynamic("compression.zstd.level", .int, "3", .range(-131_072...22), "The level when the broker compresses with zstd."),
  .dynamic("log.cleanup.policy", .list, "delete", .elements(["compact", "delete"]),
    "What happens to old segments: delete, compact, or both."),
  .dynamic("log.cleaner.delete.retention.ms", .long, "86400000", .atLeast(0),
    "How long a compacted topic keeps a tombstone, in milliseconds."),
  .dynamic("log.cleaner.max.compaction.lag.ms", .long, "9223372036854775807", .atLeast(1),
    "The longest a record stays out of compaction, in milliseconds."),
  .dynamic("log.cleaner.min.cleanable.ratio", .double, "0.5", .fraction(0, 1),
    "The share of a log that must be uncompacted before it is compacted."),
  .dynamic("log.cleaner.min.compaction.lag.ms", .long, "0", .atLeast(0),
    "The shortest a record stays out of compaction, in milliseconds."),
  .dynamic("log.flush.interval.messages", .long, "9223372036854775807", .atLeast(1),
    "Sync a partition to disk after this many records. Of use with flush.policy=os."),
  .dynamic("log.flush.interval.ms", .long, nil, .any,
    "Sync a partition to disk this many milliseconds after an append; by default log.flush.scheduler.interval.ms."),
  .broker("log.flush.scheduler.interval.ms", .long, "9223372036854775807",
    "How often partitions that are due for a sync are looked for, in milliseconds."),
  .broker("num.recovery.threads.per.data.dir", .int, "2", .atLeast(1),
    "Logs opened, and after an unclean stop checked, at one time when the broker starts."),
  .broker("log.flush.offset.checkpoint.interval.ms", .int, "60000", .atLeast(0),
    "How often the recovery points are written down, in milliseconds."),
  .broker("log.flush.start.offset.checkpoint.interval.ms", .int, "60000", .atLeast(0),
    "How often the log start offsets are written down, in milliseconds."),
  .dynamic("log.index.interval.bytes", .int, "4096", .atLeast(0), "Bytes of log between two entries of the offset index."),
  .dynamic("log.index.size.max.bytes", .int, "10485760", .atLeast(4), "The largest an index file may grow, in bytes."),
  .dynamic("log.local.retention.bytes", .long, "-2", .atLeast(-2),
    "Bytes kept on local disk under tiered storage; -2 is log.retention.bytes."),
  .dynamic("log.local.retention.ms", .long, "-2", .atLeast(-2),
    "Milliseconds kept on local disk under tiered storage; -2 is log.retention.ms."),
  .dynamic("log.message.timestamp.after.max.ms", .long, "3600000", .atLeast(0),
    "How far a record's timestamp may lie ahead of the broker's clock, in milliseconds."),
  .dynamic("log.message.timestamp.before.max.ms", .long, "9223372036854775807", .atLeast(0),
    "How far a record's timestamp may lie behind the broker's clock, in milliseconds."),
  .dynamic("log.message.timestamp.type", .string, "CreateTime", .oneOf(timestampTypes),
    "Whether records carry the producer's time or the time of the append."),
  .dynamic("log.preallocate", .boolean, "false", .any, "Whether a new segment's space is reserved on disk."),
  .dynamic("log.retention.bytes", .long, "-1", .any, "Bytes a partition keeps before old segments go; -1 is no limit."),
  .broker("log.retention.check.interval.ms", .long, "300000", .atLeast(1),
    "How often segments past retention are looked for, in milliseconds."),
  .broker("log.retention.hours", .int, "168",
    "Hours a record is kept before its segment goes, if neither minutes nor milliseconds are set."),
  .broker("log.retention.minutes", .int, nil, "Minutes a record is kept before its segment goes, if milliseconds are not set."),
  .dynamic("log.retention.ms", .long, nil, .any, "Milliseconds a record is kept before its segment goes; -1 is for ever."),
  .broker("log.roll.hours", .int, "168", .atLeast(1),
    "The age in hours at which a segment is closed, if milliseconds are not set."),
  .broker("log.roll.jitter.hours", .int, "0", .atLeast(0), "The most by which that age is shortened at random, in hours."),
  .dynamic("log.roll.jitter.ms", .long, nil, .any, "The most by which that age is shortened at random, in milliseconds."),
  .dynamic("log.roll.ms", .long, nil, .any, "The age in milliseconds at which a segment is closed."),
  .dynamic("log.segment.bytes", .int, "1073741824", .atLeast(14),
    "The size at which a segment is closed and the next begun, in bytes."),
  .dynamic("log.segment.delete.delay.ms", .long, "60000", .atLeast(0),
    "How long a removed segment's files stay on disk, in milliseconds."),
  .broker("replica.high.watermark.checkpoint.interval.ms", .long, "5000",
    "How often the high watermarks are written down, in milliseconds."),
]

private let replicationConfigs: [ConfigDefinition] = [
  .broker("num.replica.fetchers", .int, "1", .atLeast(1), "Connections to each broker that this one replicates from."),
  .broker("replica.fetch.min.bytes", .int, "1", .atLeast(0), "Bytes that a leader gathers before it answers a follower."),
  .broker("replica.fetch.wait.max.ms", .int, "500", .atLeast(1),
    "How long a leader waits for them, in milliseconds. Less than replica.lag.time.max.ms."),
  .broker("replica.fetch.max.bytes", .int, "1048576", .atLeast(0),
    "Bytes of one partition that a follower asks for at once; a first batch larger than that still comes."),
  .broker("replica.fetch.response.max.bytes", .int, "10485760", .atLeast(0), "Bytes of all partitions that a follower asks for at once."),
  .broker("replica.fetch.backoff.ms", .int, "1000", .atLeast(0),
    "The longest wait before a failed fetch of a partition is tried again, in milliseconds. The first tries come sooner."),
  .broker("replica.lag.time.max.ms", .long, "30000", .atLeast(1),
    "How long a follower may lack records before it is no longer in sync, in milliseconds."),
  .broker("replica.socket.timeout.ms", .int, "30000", .atLeast(1),
    "How long a leader may take to answer a follower, in milliseconds. At least replica.fetch.wait.max.ms."),
  .dynamic("leader.replication.throttled.rate", .long, "9223372036854775807", .atLeast(0),
    "Bytes a second that this broker gives to replicas named by leader.replication.throttled.replicas while they are not in sync. "
      + "Only set dynamically; in a file it has no effect."),
  .dynamic("follower.replication.throttled.rate", .long, "9223372036854775807", .atLeast(0),
    "Bytes a second that this broker copies for replicas named by follower.replication.throttled.replicas while they are not in sync. "
      + "Only set dynamically; in a file it has no effect."),
  .broker("replication.quota.window.num", .int, "11", .atLeast(1), "Windows over which the rate of throttled replication is taken."),
  .broker("replication.quota.window.size.seconds", .int, "1", .atLeast(1), "Seconds in each of these windows."),
  .broker("replica.selector.class", .string, nil, .oneOf(replicaSelectors),
    "Which replica consumers read from: by default the leader, or one in their rack (RackAwareReplicaSelector, KIP-392)."),
]

let rackAwareSelector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
private let replicaSelectors = ["org.apache.kafka.common.replica.LeaderSelector", rackAwareSelector]
let securityProtocols = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
private let defaultSecurityProtocolMap = "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT"

extension ConfigDefinition {
  static func broker(
    _ name: String, _ type: ConfigType, _ defaultValue: String?, _ validator: ConfigValidator, _ documentation: String
  ) -> ConfigDefinition {
    ConfigDefinition(name, type, defaultValue, validator, documentation)
  }
  static func broker(_ name: String, _ type: ConfigType, _ defaultValue: String?, _ documentation: String) -> ConfigDefinition {
    ConfigDefinition(name, type, defaultValue, .any, documentation)
  }
  fileprivate static func dynamic(
    _ name: String, _ type: ConfigType, _ defaultValue: String?, _ validator: ConfigValidator, _ documentation: String
  ) -> ConfigDefinition {
    ConfigDefinition(name, type, defaultValue, validator, isDynamic: true, documentation)
  }
}
