// Public where the rest of the package says `package`: the compiler (6.3) inlines and specializes across modules only what is
// public, and without that every conversion and comparison would be a call through the protocol's witnesses.

/// An integer with a meaning: values of different kinds cannot be mixed, and raw integers do not cross target boundaries.
public protocol Newtype: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible
where RawValue: FixedWidthInteger & Sendable {
  init(rawValue: RawValue)
}

extension Newtype {
  public init(_ rawValue: RawValue) { self.init(rawValue: rawValue) }
  public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
  public var description: String { String(describing: self.rawValue) }
}

/// Kafka's `node.id` (a broker, a controller, or both).
public struct NodeID: Newtype {
  public var rawValue: Int32
  public init(rawValue: Int32) { self.rawValue = rawValue }
  /// "No node": Kafka's -1 in `leader` fields and consumer `replica_id`s.
  public static let none = NodeID(rawValue: -1)
}

/// The index of a partition within its topic, from 0.
public struct PartitionID: Newtype {
  public var rawValue: Int32
  public init(rawValue: Int32) { self.rawValue = rawValue }
}

/// A record's place in a partition log. End offsets are exclusive.
public struct Offset: Newtype {
  public var rawValue: Int64
  public init(rawValue: Int64) { self.rawValue = rawValue }
  public static let zero = Offset(rawValue: 0)
  /// Kafka's -1: "unknown" in answers, "latest" in ListOffsets.
  public static let unknown = Offset(rawValue: -1)
  public static func + (a: Offset, b: Int64) -> Offset { Offset(rawValue: a.rawValue + b) }
  public static func - (a: Offset, b: Offset) -> Int64 { a.rawValue - b.rawValue }
}

/// Counts the leaders of one partition; stored in every batch (`partitionLeaderEpoch`). Fences stale leaders.
public struct LeaderEpoch: Newtype {
  public var rawValue: Int32
  public init(rawValue: Int32) { self.rawValue = rawValue }
  public static let unknown = LeaderEpoch(rawValue: -1)
}

/// Counts every change of a partition's registration; AlterPartition is a compare-and-set on it.
public struct PartitionEpoch: Newtype {
  public var rawValue: Int32
  public init(rawValue: Int32) { self.rawValue = rawValue }
}

/// The metadata offset at which a broker's registration begins, with what it changes of partitions: one incarnation of the broker.
public struct BrokerEpoch: Newtype {
  public var rawValue: Int64
  public init(rawValue: Int64) { self.rawValue = rawValue }
  public static let unknown = BrokerEpoch(rawValue: -1)
}

/// Identifies an idempotent or transactional producer; allocated in blocks by the controller.
public struct ProducerID: Newtype {
  public var rawValue: Int64
  public init(rawValue: Int64) { self.rawValue = rawValue }
  public static let none = ProducerID(rawValue: -1)
}

/// Fences older incarnations of one producer.
public struct ProducerEpoch: Newtype {
  public var rawValue: Int16
  public init(rawValue: Int16) { self.rawValue = rawValue }
  public static let none = ProducerEpoch(rawValue: -1)
}

/// Milliseconds since 1970-01-01T00:00:00Z, as in Kafka's records. -1: none.
public struct Timestamp: Newtype {
  public var rawValue: Int64
  public init(rawValue: Int64) { self.rawValue = rawValue }
  public static let none = Timestamp(rawValue: -1)
}

/// A topic's partition by name. For maps keyed by it on the hot path, resolve it to a slot once per request.
package struct TopicPartition: Hashable, Sendable, Comparable, CustomStringConvertible {
  package var topic: String
  package var partition: PartitionID
  package init(_ topic: String, _ partition: PartitionID) { (self.topic, self.partition) = (topic, partition) }
  /// The directory name Kafka gives it: `<topic>-<partition>`.
  package var description: String { "\(self.topic)-\(self.partition)" }
  package static func < (a: TopicPartition, b: TopicPartition) -> Bool {
    a.topic == b.topic ? a.partition < b.partition : a.topic < b.topic
  }
}
