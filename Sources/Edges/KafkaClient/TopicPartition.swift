/// One partition of a topic, by name and number.
public struct TopicPartition: Hashable, Comparable, Sendable, CustomStringConvertible {
  public var topic: String
  /// From 0.
  public var partition: Int32

  public init(topic: String, partition: Int32) { (self.topic, self.partition) = (topic, partition) }

  /// `<topic>-<partition>`, as Kafka names the partition's directory.
  public var description: String { "\(self.topic)-\(self.partition)" }

  public static func < (a: TopicPartition, b: TopicPartition) -> Bool {
    a.topic == b.topic ? a.partition < b.partition : a.topic < b.topic
  }
}

/// A header of a record: a name that may repeat, and a value that may be absent.
public struct RecordHeader: Hashable, Sendable {
  public var name: String
  /// Nil is Kafka's null, which is not the same as no bytes.
  public var value: [UInt8]?

  public init(_ name: String, _ value: [UInt8]?) { (self.name, self.value) = (name, value) }
  /// A header whose value is the UTF-8 of `text`.
  public init(_ name: String, text: String) { (self.name, self.value) = (name, Array(text.utf8)) }
}
