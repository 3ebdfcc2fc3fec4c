/// A record to be produced.
public struct ProducerRecord: Hashable, Sendable {
  public var topic: String
  /// Nil: by the key's hash as Kafka's clients do, or without a key spread evenly.
  public var partition: Int32?
  public var key: [UInt8]?
  /// Nil is a tombstone: in a compacted topic it deletes the key.
  public var value: [UInt8]?
  public var headers: [RecordHeader]
  /// Milliseconds since 1970. Nil: now.
  public var timestamp: Int64?

  public init(
    topic: String, partition: Int32? = nil, key: [UInt8]? = nil, value: [UInt8]?, headers: [RecordHeader] = [], timestamp: Int64? = nil
  ) {
    self.topic = topic
    self.partition = partition
    self.key = key
    self.value = value
    self.headers = headers
    self.timestamp = timestamp
  }

  /// A record of text.
  public init(topic: String, key: String? = nil, text: String) {
    self.init(topic: topic, key: key.map { Array($0.utf8) }, value: Array(text.utf8))
  }
}

/// Where a record went.
public struct RecordMetadata: Hashable, Sendable {
  public var partition: TopicPartition
  /// -1 if the broker was not asked to say (acks=0), or recognised a repetition too old to remember.
  public var offset: Int64
  /// The broker's, in milliseconds since 1970, where the topic has LogAppendTime; else -1.
  public var logAppendTime: Int64
}

/// What became of a batch of records of one partition, in the order in which they were enqueued.
public struct DeliveredBatch: Sendable {
  public var partition: TopicPartition
  public var recordCount: Int
  /// Before compression.
  public var byteCount: Int
  /// The offset of the first record (-1 as in `RecordMetadata`), or why all of them failed.
  public var result: Result<Int64, KafkaError>
}
