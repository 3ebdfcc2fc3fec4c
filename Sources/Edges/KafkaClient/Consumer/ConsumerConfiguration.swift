/// Where reading a partition begins.
public enum StartPosition: Hashable, Sendable {
  /// The first record that is kept.
  case earliest
  /// Only records produced from now on.
  case latest
  case offset(Int64)
  /// So many records before the end, or from the first that is kept.
  case fromEnd(Int64)
  /// The first record whose timestamp, in milliseconds since 1970, is not before this one; the end if there is none.
  case timestamp(Int64)
}

/// What a consumer does when its offset is not in the partition: it was deleted, or never was (`auto.offset.reset`).
public enum OffsetReset: Hashable, Sendable {
  case earliest, latest
  /// `next` throws `OFFSET_OUT_OF_RANGE`.
  case fail
}

/// How a consumer fetches. Names in parentheses are Kafka's.
public struct ConsumerConfiguration: Hashable, Sendable {
  public var client: ClientConfiguration
  /// How long the broker may hold an answer back until there is enough (`fetch.max.wait.ms`).
  public var waitMax: Duration = .milliseconds(500)
  /// What counts as enough (`fetch.min.bytes`).
  public var byteCountMin = 1
  /// The largest answer, unless a single batch is larger (`fetch.max.bytes`).
  public var byteCountMax = 50 << 20
  /// The largest part of one partition in it (`max.partition.fetch.bytes`).
  public var partitionByteCountMax = 1 << 20
  /// Fetching pauses while so many bytes are fetched and not yet taken (`queued.max.messages.kbytes` of librdkafka).
  public var prefetchByteCount = 32 << 20
  /// Only records of committed transactions, and none behind an open one (`isolation.level=read_committed`).
  public var readCommitted = false
  public var offsetReset = OffsetReset.fail
  /// Whether checksums are held against the bytes (`check.crcs`).
  public var checksChecksums = true
  /// What a compressed batch may grow to, in bytes: a bound against batches made to exhaust memory.
  public var decompressedByteCountMax = 512 << 20
  /// How long a topic may stay unknown to the cluster before the consumer gives it up.
  public var unknownTopicTimeout: Duration = .seconds(5)
  /// How long there may be no broker at all, after there was one, before `next` throws `.connection`, once for each such time. The
  /// consumer goes on trying all the same. Nil: never.
  public var outageTimeout: Duration?

  public init(_ client: ClientConfiguration) { self.client = client }
}
