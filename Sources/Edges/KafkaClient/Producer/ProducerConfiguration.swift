package import Compression

/// When the broker's answer counts a record as delivered.
public enum Acknowledgement: Int16, Hashable, Sendable, CaseIterable {
  /// Not at all: delivered means handed to the network.
  case none = 0
  /// Once the leader has written it.
  case leader = 1
  /// Once every replica in sync has it.
  case all = -1
}

/// How record batches are compressed.
public enum CompressionType: String, Hashable, Sendable, CaseIterable {
  case none, gzip, snappy, lz4, zstd

  package var codec: CompressionCodec {
    switch self {
    case .none: .none
    case .gzip: .gzip
    case .snappy: .snappy
    case .lz4: .lz4
    case .zstd: .zstd
    }
  }
}

/// How a producer gathers, sends and repeats. Names in parentheses are Kafka's.
public struct ProducerConfiguration: Hashable, Sendable {
  public var client: ClientConfiguration
  public var acknowledgement = Acknowledgement.all
  public var compression = CompressionType.none
  /// Nil: the codec's default (`compression.<codec>.level`).
  public var compressionLevel: Int?
  /// A batch holds up to this many bytes before compression, unless a single record is larger (`batch.size`).
  public var batchByteCount = 65536
  /// How long a batch that is not full waits for more records (`linger.ms`).
  public var linger: Duration = .milliseconds(5)
  /// Batches of several partitions share a request up to this many bytes (half of what `max.request.size` means).
  public var requestByteCountMax = 1 << 20
  /// The largest record, in bytes before compression (the other half). Brokers have a limit of their own, `message.max.bytes`.
  public var recordByteCountMax = 1 << 20
  /// Requests under way per broker (`max.in.flight.requests.per.connection`).
  public var inFlightMax = 5
  /// Memory for records not yet delivered; beyond it senders wait (`buffer.memory`). In bytes.
  public var bufferByteCount = 64 << 20
  /// How long a sender waits for memory or metadata (`max.block.ms`).
  public var blockTimeout: Duration = .seconds(60)
  /// How long a topic may stay unknown to the cluster before a sender is told so. Topics that are created on demand take a moment.
  public var unknownTopicTimeout: Duration = .seconds(5)
  /// From `send` until the report, attempts included (`delivery.timeout.ms`).
  public var deliveryTimeout: Duration = .seconds(120)
  /// Attempts after the first (`retries`); the delivery timeout ends them in any case.
  public var retries = Int.max - 1
  /// Whether the broker recognises what it is sent twice (`enable.idempotence`). Needs `acknowledgement == .all`.
  /// Without it a record may be written twice when an answer is lost, and order is kept only among records that fail together.
  public var idempotence = true

  public init(_ client: ClientConfiguration) { self.client = client }

  /// Throws `.invalidArgument` for what contradicts itself.
  package func validate() throws(KafkaError) {
    if self.idempotence, self.acknowledgement != .all {
      throw KafkaError(.invalidArgument, "idempotence needs acknowledgement by all replicas (acks=all); switch one of the two")
    }
    if self.idempotence, !(1...5).contains(self.inFlightMax) {
      throw KafkaError(.invalidArgument, "idempotence allows 1 to 5 requests in flight per connection, not \(self.inFlightMax)")
    }
    if self.inFlightMax < 1 { throw KafkaError(.invalidArgument, "at least one request must be allowed in flight") }
    if self.batchByteCount < 1 || self.requestByteCountMax < 1 || self.bufferByteCount < 1 {
      throw KafkaError(.invalidArgument, "batch, request and buffer size must be positive")
    }
    if max(self.requestByteCountMax, self.recordByteCountMax, self.batchByteCount) > 1 << 30 {
      throw KafkaError(.invalidArgument, "records, batches and requests beyond 1 GiB are not possible")
    }
    if let level = self.compressionLevel, !self.compression.codec.accepts(level: level) {
      throw KafkaError(.invalidArgument, "\(self.compression.rawValue) has no compression level \(level)")
    }
  }

  package var limits: ProducerLimits {
    ProducerLimits(
      batchByteCountMax: self.batchByteCount, linger: self.linger, bufferByteCountMax: self.bufferByteCount,
      recordByteCountMax: self.recordByteCountMax, deliveryTimeout: self.deliveryTimeout,
      attemptsMax: self.retries == .max ? .max : self.retries + 1, retryBackoff: self.client.retryBackoff,
      retryBackoffMax: self.client.retryBackoffMax, isIdempotent: self.idempotence)
  }
}
