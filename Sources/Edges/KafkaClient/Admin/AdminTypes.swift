/// A topic to create.
public struct NewTopic: Hashable, Sendable {
  public var name: String
  /// Nil: the broker's `num.partitions`.
  public var partitions: Int32?
  /// Nil: the broker's `default.replication.factor`.
  public var replicationFactor: Int16?
  /// Brokers per partition, the preferred leader first. If given, `partitions` and `replicationFactor` must be nil.
  public var assignments: [Int32: [Int32]]
  /// Topic configuration by Kafka's names, such as `retention.ms`.
  public var configs: [String: String]

  public init(
    _ name: String, partitions: Int32? = nil, replicationFactor: Int16? = nil, assignments: [Int32: [Int32]] = [:],
    configs: [String: String] = [:]
  ) {
    self.name = name
    self.partitions = partitions
    self.replicationFactor = replicationFactor
    self.assignments = assignments
    self.configs = configs
  }
}

/// What the broker created, or would have created. -1 where the broker is too old to say.
public struct CreatedTopic: Hashable, Sendable {
  public var name: String
  /// 22 characters of URL-safe base64; nil where the broker is too old to say.
  public var id: String?
  public var partitions: Int32
  public var replicationFactor: Int16
}

/// One partition as the cluster describes it.
public struct PartitionDescription: Hashable, Sendable {
  public var partition: Int32
  /// Nil: no leader at the moment.
  public var leader: Int32?
  /// -1: the broker is too old to say.
  public var leaderEpoch: Int32
  public var replicas: [Int32]
  public var inSyncReplicas: [Int32]
  public var offlineReplicas: [Int32]
  /// Out of the ISR, yet known to hold every record up to the high watermark (KIP-966). Nil: the broker does not say.
  public var eligibleLeaderReplicas: [Int32]?
  /// The last leader, where neither the ISR nor the ELR has anybody. Nil: the broker does not say.
  public var lastKnownEligibleLeaderReplicas: [Int32]?

  public init(
    partition: Int32, leader: Int32?, leaderEpoch: Int32, replicas: [Int32], inSyncReplicas: [Int32], offlineReplicas: [Int32] = [],
    eligibleLeaderReplicas: [Int32]? = nil, lastKnownEligibleLeaderReplicas: [Int32]? = nil
  ) {
    self.partition = partition
    self.leader = leader
    self.leaderEpoch = leaderEpoch
    self.replicas = replicas
    self.inSyncReplicas = inSyncReplicas
    self.offlineReplicas = offlineReplicas
    self.eligibleLeaderReplicas = eligibleLeaderReplicas
    self.lastKnownEligibleLeaderReplicas = lastKnownEligibleLeaderReplicas
  }
}

/// One topic as the cluster describes it.
public struct TopicDescription: Hashable, Sendable {
  public var name: String
  /// Nil where the broker is too old to say.
  public var id: String?
  public var isInternal: Bool
  /// By partition number.
  public var partitions: [PartitionDescription]

  public init(name: String, id: String?, isInternal: Bool, partitions: [PartitionDescription]) {
    (self.name, self.id, self.isInternal, self.partitions) = (name, id, isInternal, partitions)
  }
}

/// What can be configured.
public enum ConfigResource: Hashable, Sendable {
  case topic(String)
  case broker(Int32)
  /// What holds for every broker.
  case allBrokers

  var type: Int8 {
    switch self {
    case .topic: 2
    case .broker, .allBrokers: 4
    }
  }
  var name: String {
    switch self {
    case .topic(let name): name
    case .broker(let id): "\(id)"
    case .allBrokers: ""
    }
  }
}

/// One configured value.
public struct ConfigEntry: Hashable, Sendable {
  public enum Source: Hashable, Sendable {
    case topic, broker, clusterDefault, staticFile, defaultValue, other
  }
  public var name: String
  /// Nil: not set, or secret.
  public var value: String?
  public var source: Source
  public var isReadOnly: Bool
  public var isSensitive: Bool
}

/// A change of one configured value.
public enum ConfigChange: Hashable, Sendable {
  case set(String)
  /// Back to the default.
  case delete
  /// Adds to or takes from a list value.
  case append(String), subtract(String)
}

/// Which offset of a partition is meant.
public enum OffsetSpec: Hashable, Sendable {
  /// The first record that is kept.
  case earliest
  /// The end: the offset that the next record will have.
  case latest
  /// The first record whose timestamp, in milliseconds since 1970, is not before this one.
  case timestamp(Int64)
  /// The record with the greatest timestamp.
  case maxTimestamp

  /// The number that stands for it in ListOffsets.
  var wireValue: Int64 {
    switch self {
    case .earliest: -2
    case .latest: -1
    case .timestamp(let milliseconds): milliseconds
    case .maxTimestamp: -3
    }
  }
}

/// An answer to "which offset is that". Offset -1: no record fits.
public struct ListedOffset: Hashable, Sendable {
  public var offset: Int64
  /// Of the record found, in milliseconds since 1970; -1 for `earliest` and `latest`.
  public var timestamp: Int64
  public var leaderEpoch: Int32
}

/// A log directory of one broker.
public struct LogDirectory: Hashable, Sendable {
  public struct Replica: Hashable, Sendable {
    public var partition: TopicPartition
    public var byteCount: Int64
    public var offsetLag: Int64
  }
  public var broker: Int32
  public var path: String
  /// Of the file system; -1 where the broker is too old to say.
  public var totalByteCount: Int64
  public var usableByteCount: Int64
  public var replicas: [Replica]
}
