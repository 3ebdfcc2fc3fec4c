import Base

/// A topic's configuration as the log and the broker use it: resolved over the broker's defaults, typed, built once per change.
package struct TopicConfig: Sendable, Hashable {
  package struct CleanupPolicy: OptionSet, Sendable, Hashable {
    package var rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let delete = CleanupPolicy(rawValue: 1)
    package static let compact = CleanupPolicy(rawValue: 2)
  }
  package enum CompressionType: String, Sendable, Hashable { case uncompressed, zstd, lz4, snappy, gzip, producer }
  package enum TimestampType: String, Sendable, Hashable {
    case createTime = "CreateTime"
    case logAppendTime = "LogAppendTime"
  }
  package enum FlushPolicy: String, Sendable, Hashable { case fsync, os }
  package enum RecordsValidation: String, Sendable, Hashable { case batch, records }

  package var cleanupPolicy: CleanupPolicy = .delete
  package var compressionType: CompressionType = .producer
  /// 1...9, or -1 for the codec's own default.
  package var gzipLevel: Int32 = -1
  package var lz4Level: Int32 = 9
  package var zstdLevel: Int32 = 3
  package var deleteRetention: Duration = .milliseconds(86_400_000)
  package var fileDeleteDelay: Duration = .milliseconds(60_000)
  /// Records between two syncs; `.max` is never.
  package var flushMessages: Int64 = .max
  /// Nil: no timed sync.
  package var flushInterval: Duration?
  package var flushPolicy: FlushPolicy = .fsync
  package var indexIntervalBytes: Int = 4096
  package var maxCompactionLag: Duration = .milliseconds(Int64.max)
  package var maxMessageBytes: Int = 1_048_588
  package var timestampAfterMax: Duration = .milliseconds(3_600_000)
  package var timestampBeforeMax: Duration = .milliseconds(Int64.max)
  package var timestampType: TimestampType = .createTime
  package var minCleanableDirtyRatio: Double = 0.5
  package var minCompactionLag: Duration = .zero
  package var minInSyncReplicas: Int = 1
  package var preallocate = false
  package var recordsValidation: RecordsValidation = .records
  /// Nil: no limit.
  package var retentionBytes: Int64?
  /// Nil: for ever.
  package var retention: Duration? = .milliseconds(604_800_000)
  package var segmentBytes: Int = 1 << 30
  package var segmentIndexBytes: Int = 10 << 20
  package var segmentJitter: Duration = .zero
  package var segmentAge: Duration = .milliseconds(604_800_000)
  package var uncleanLeaderElection = false
  /// Replicas that the leaders' and the followers' replication quota hold for.
  package var throttledLeaders = ThrottledReplicas.none
  package var throttledFollowers = ThrottledReplicas.none

  /// Kafka's defaults.
  package init() {}

  /// `overrides` over `defaults`. A value that does not read (possible only in a log that others wrote) leaves the default in place
  /// and is listed in `problems`.
  package init(overrides: ConfigValues, over defaults: TopicConfig, problems: inout [ConfigError]) {
    self = defaults
    for pair in overrides.pairs {
      do throws(ConfigError) { try self.set(pair.name, pair.value) } catch { problems.append(error) }
    }
  }

  /// Checks what would be a topic's overrides: each name and value, and the values against each other.
  package static func validate(_ overrides: ConfigValues, over defaults: TopicConfig) throws(ConfigError) {
    var config = defaults
    for pair in overrides.pairs {
      try config.set(pair.name, pair.value)
      if let definition = ConfigRegistry.topicConfig(pair.name), case .unsupported(let reason) = definition.status,
        pair.value != definition.defaultValue
      {
        throw .invalid(pair.name, pair.value, reason)
      }
    }
    try config.validateRelations()
  }

  func validateRelations() throws(ConfigError) {
    if self.minCompactionLag > self.maxCompactionLag {
      throw ConfigError(
        "min.compaction.lag.ms",
        "min.compaction.lag.ms (\(self.minCompactionLag.wholeMilliseconds)) must not be greater than "
          + "max.compaction.lag.ms (\(self.maxCompactionLag.wholeMilliseconds))")
    }
    if self.cleanupPolicy.isEmpty { throw .invalid("cleanup.policy", "", "must name delete, compact or both") }
  }

  /// Sets one config by its topic name.
  mutating func set(_ name: String, _ text: String) throws(ConfigError) {
    guard let definition = ConfigRegistry.topicConfig(name) else { throw ConfigRegistry.unknownTopicConfig(name) }
    try definition.validate(text)
    switch definition.type {
    case .boolean: self.setBoolean(name, try definition.boolean(text))
    case .double: self.minCleanableDirtyRatio = try definition.double(text)
    case .int, .short, .long: self.setInteger(name, try definition.integer(text))
    case .string, .list, .class, .password: self.setText(name, text)
    }
  }

  private mutating func setBoolean(_ name: String, _ value: Bool) {
    switch name {
    case "preallocate": self.preallocate = value
    case "unclean.leader.election.enable": self.uncleanLeaderElection = value
    default: break  // of no effect without tiered storage
    }
  }

  private mutating func setInteger(_ name: String, _ value: Int64) {
    switch name {
    case "compression.gzip.level": self.gzipLevel = Int32(value)
    case "compression.lz4.level": self.lz4Level = Int32(value)
    case "compression.zstd.level": self.zstdLevel = Int32(value)
    case "delete.retention.ms": self.deleteRetention = .milliseconds(value)
    case "file.delete.delay.ms": self.fileDeleteDelay = .milliseconds(value)
    case "flush.messages": self.flushMessages = value
    case "flush.ms": self.flushInterval = value == .max ? nil : .milliseconds(value)
    case "index.interval.bytes": self.indexIntervalBytes = Int(value)
    case "max.compaction.lag.ms": self.maxCompactionLag = .milliseconds(value)
    case "max.message.bytes": self.maxMessageBytes = Int(value)
    case "message.timestamp.after.max.ms": self.timestampAfterMax = .milliseconds(value)
    case "message.timestamp.before.max.ms": self.timestampBeforeMax = .milliseconds(value)
    case "min.compaction.lag.ms": self.minCompactionLag = .milliseconds(value)
    case "min.insync.replicas": self.minInSyncReplicas = Int(value)
    case "retention.bytes": self.retentionBytes = value < 0 ? nil : value
    case "retention.ms": self.retention = value < 0 ? nil : .milliseconds(value)
    case "segment.bytes": self.segmentBytes = Int(value)
    case "segment.index.bytes": self.segmentIndexBytes = Int(value)
    case "segment.jitter.ms": self.segmentJitter = .milliseconds(value)
    case "segment.ms": self.segmentAge = .milliseconds(value)
    default: break  // of no effect without tiered storage
    }
  }

  /// The values have passed the definitions' validators, so that each raw value exists.
  private mutating func setText(_ name: String, _ text: String) {
    switch name {
    case "cleanup.policy":
      let elements = configList(text)
      self.cleanupPolicy = CleanupPolicy()
      if elements.contains("delete") { self.cleanupPolicy.insert(.delete) }
      if elements.contains("compact") { self.cleanupPolicy.insert(.compact) }
    case "compression.type": self.compressionType = CompressionType(rawValue: text) ?? .producer
    case "flush.policy": self.flushPolicy = FlushPolicy(rawValue: text) ?? .fsync
    case "message.timestamp.type": self.timestampType = TimestampType(rawValue: text) ?? .createTime
    case "records.validation": self.recordsValidation = RecordsValidation(rawValue: text) ?? .records
    case "follower.replication.throttled.replicas": self.throttledFollowers = ThrottledReplicas(text) ?? .none
    case "leader.replication.throttled.replicas": self.throttledLeaders = ThrottledReplicas(text) ?? .none
    default: break
    }
  }
}
