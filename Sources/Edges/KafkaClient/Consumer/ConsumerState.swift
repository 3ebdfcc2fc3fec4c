package import Base
import DequeModule
import Model
package import NIOCore
import Records

/// What a consumer knows: where each partition is read, what was fetched and not yet taken, and what to do next.
///
/// A value without IO or clock: the fetcher asks it what to look up and what to fetch, and gives it the answers. Answers carry the
/// generation of the partition's position, so that what was asked before a seek is ignored after it.
package struct ConsumerState: Sendable {
  private struct Reading: Sendable {
    var generation: UInt64
    /// Set while the offset must be looked up.
    var start: StartPosition?
    /// Where the next fetch begins.
    var fetchOffset: Int64 = -1
    /// Behind what was taken.
    var position: Int64 = -1
    var isBusy = false
    var isFailed = false
    var notBefore = Instant.origin
    var backoff: Backoff
    var queuedByteCount = 0
    var byteCountMax: Int
    var highWatermark: Int64 = -1
    /// The end that was told last.
    var toldEnd: Int64 = -1
    var unknownSince: Instant?
  }

  private struct Queued: Sendable {
    var event: Result<ConsumerEvent, KafkaError>
    var partition: TopicPartition
    var generation: UInt64
    var byteCount: Int
    /// The position once the event was taken; nil leaves it.
    var nextOffset: Int64?
  }

  /// A partition to fetch or to look up.
  package struct Order: Hashable, Sendable {
    package var partition: TopicPartition
    package var generation: UInt64
    package var offset: Int64
    package var byteCountMax: Int
  }

  package let configuration: ConsumerConfiguration
  private var readings: [TopicPartition: Reading] = [:]
  /// Sorted, and rotated by every fetch so that each partition comes first in turn.
  private var order: [TopicPartition] = []
  private var queue: Deque<Queued> = []
  /// What concerns no partition alone; handed out after what was fetched.
  private var failure: KafkaError?
  private var nextGeneration: UInt64 = 0
  package private(set) var queuedByteCount = 0
  package var isClosed = false
  /// The time at which `takeLookups` or `takeFetches` was last called.
  private var lookedAt = Instant.origin
  /// Bytes queued when a fetch was withheld for lack of room. Nil: none was.
  private var withheldAt: Int?

  package init(_ configuration: ConsumerConfiguration) { self.configuration = configuration }

  // MARK: Assignment

  package var topics: Set<String> { Set(self.order.map(\.topic)) }
  package var partitions: [TopicPartition] { self.order.sorted() }

  /// Replaces the assignment. Partitions that stay with a new position start over.
  package mutating func assign(_ positions: [TopicPartition: StartPosition]) {
    self.readings = [:]
    self.order = positions.keys.sorted()
    self.queue.removeAll()
    self.queuedByteCount = 0
    for (partition, start) in positions { self.begin(partition, at: start) }
  }

  private mutating func begin(_ partition: TopicPartition, at start: StartPosition) {
    self.nextGeneration += 1
    let backoff = Backoff(base: self.configuration.client.retryBackoff, maximum: self.configuration.client.retryBackoffMax)
    var reading = Reading(generation: self.nextGeneration, backoff: backoff, byteCountMax: self.configuration.partitionByteCountMax)
    if case .offset(let offset) = start, offset >= 0 {
      (reading.fetchOffset, reading.position) = (offset, offset)
    } else {
      reading.start = start
    }
    self.readings[partition] = reading
  }

  /// Reads on from elsewhere. What was fetched and not taken is dropped. False if the partition is not assigned.
  package mutating func seek(_ partition: TopicPartition, to start: StartPosition) -> Bool {
    guard let old = self.readings[partition] else { return false }
    self.queuedByteCount -= old.queuedByteCount
    self.queue.removeAll { $0.partition == partition }
    self.begin(partition, at: start)
    return true
  }

  /// The offset of the next record that will be handed out. Nil if the partition is not assigned or its start is still being looked up.
  package func position(of partition: TopicPartition) -> Int64? {
    guard let reading = self.readings[partition], reading.position >= 0 else { return nil }
    return reading.position
  }

  /// The partition's end as the last answer said. Nil before the first.
  package func highWatermark(of partition: TopicPartition) -> Int64? {
    guard let reading = self.readings[partition], reading.highWatermark >= 0 else { return nil }
    return reading.highWatermark
  }

  // MARK: What to do

  /// Partitions whose start must be looked up now. `accepts` says whether the partition's leader can be asked. They count as busy until
  /// `located` or `failed`.
  package mutating func takeLookups(now: Instant, accepts: (TopicPartition) -> Bool) -> [(order: Order, start: StartPosition)] {
    self.lookedAt = now
    var lookups: [(order: Order, start: StartPosition)] = []
    for partition in self.order {
      guard let reading = self.readings[partition], let start = reading.start, Self.isFree(reading, now), accepts(partition)
      else { continue }
      self.readings[partition]!.isBusy = true
      lookups.append((Order(partition: partition, generation: reading.generation, offset: -1, byteCountMax: 0), start))
    }
    return lookups
  }

  /// Partitions to fetch now. `accepts` says whether the partition's leader can be asked. They count as busy until answered.
  package mutating func takeFetches(now: Instant, accepts: (TopicPartition) -> Bool) -> [Order] {
    self.lookedAt = now
    self.withheldAt = nil
    guard self.queuedByteCount < self.configuration.prefetchByteCount else {
      self.withheldAt = self.queuedByteCount
      return []
    }
    var orders: [Order] = []
    for partition in self.order {
      guard let reading = self.readings[partition], reading.start == nil, Self.isFree(reading, now) else { continue }
      // A partition nobody takes from must not fill the memory that the others need.
      guard reading.queuedByteCount < max(self.configuration.prefetchByteCount / self.order.count, reading.byteCountMax) else {
        self.withheldAt = self.queuedByteCount
        continue
      }
      guard accepts(partition) else { continue }
      self.readings[partition]!.isBusy = true
      orders.append(
        Order(partition: partition, generation: reading.generation, offset: reading.fetchOffset, byteCountMax: reading.byteCountMax))
    }
    if self.order.count > 1 { self.order.append(self.order.removeFirst()) }
    return orders
  }

  private static func isFree(_ reading: Reading, _ now: Instant) -> Bool {
    !reading.isBusy && !reading.isFailed && reading.notBefore <= now
  }

  /// When to look again, if nothing else happens before: a wait after a failure is over. It may lie in the past: a wait counts as over
  /// only once somebody has looked after its end, for one that ends between the look and this question would be forgotten.
  package var nextDeadline: Instant? {
    self.readings.values.lazy.filter { !$0.isFailed && $0.notBefore > self.lookedAt }.map(\.notBefore).min()
  }

  // MARK: Answers

  /// The start was found.
  package mutating func located(_ order: Order, offset: Int64) {
    guard self.readings[order.partition]?.generation == order.generation else { return }
    self.readings[order.partition]!.isBusy = false
    self.readings[order.partition]!.start = nil
    self.readings[order.partition]!.fetchOffset = offset
    self.readings[order.partition]!.position = offset
    self.readings[order.partition]!.unknownSince = nil
    self.readings[order.partition]!.backoff.reset()
  }

  /// The request for the partition failed. Passing failures are tried again after a wait, others are thrown by `next`.
  package mutating func failed(_ order: Order, _ error: KafkaError, promptly: Bool, now: Instant, using generator: inout SeededGenerator) {
    guard var reading = self.readings[order.partition], reading.generation == order.generation else { return }
    defer { self.readings[order.partition] = reading }
    reading.isBusy = false
    if error.code == .offsetOutOfRange {
      switch self.configuration.offsetReset {
      case .earliest: reading.start = .earliest
      case .latest: reading.start = .latest
      case .fail: self.giveUp(&reading, order.partition, error)
      }
      return
    }
    guard error.isRetriable else { return self.giveUp(&reading, order.partition, error) }
    if error.code == .unknownTopicOrPartition || error.code == .unknownTopicId {
      let since = reading.unknownSince ?? now
      reading.unknownSince = since
      if now - since >= self.configuration.unknownTopicTimeout { return self.giveUp(&reading, order.partition, error) }
    } else {
      reading.unknownSince = nil
    }
    if !promptly { reading.notBefore = now + reading.backoff.next(using: &generator) }
  }

  private mutating func giveUp(_ reading: inout Reading, _ partition: TopicPartition, _ error: KafkaError) {
    reading.isFailed = true
    self.queue.append(Queued(event: .failure(error), partition: partition, generation: reading.generation, byteCount: 0, nextOffset: nil))
  }

  /// Lets `take` hand out an error that is no partition's. Reading goes on.
  package mutating func fail(_ error: KafkaError) { self.failure = error }

  /// What one fetch brought for a partition.
  package struct Fetched: Sendable {
    package var records: ByteBuffer
    package var highWatermark: Int64
    /// The end for readers of committed records; -1 if the broker does not say.
    package var lastStableOffset: Int64
    /// Of aborted transactions: the producer and its first offset.
    package var aborted: [(producerID: Int64, firstOffset: Int64)]

    package init(
      records: ByteBuffer, highWatermark: Int64, lastStableOffset: Int64 = -1, aborted: [(producerID: Int64, firstOffset: Int64)] = []
    ) {
      self.records = records
      self.highWatermark = highWatermark
      self.lastStableOffset = lastStableOffset
      self.aborted = aborted
    }
  }

  /// Takes in what was fetched: batches in order, then, if that was all there is, the end.
  package mutating func fetched(_ order: Order, _ answer: Fetched, pool: DecompressorPool) {
    guard var reading = self.readings[order.partition], reading.generation == order.generation else { return }
    defer { self.readings[order.partition] = reading }
    reading.isBusy = false
    reading.backoff.reset()
    reading.unknownSince = nil
    reading.highWatermark = answer.highWatermark
    var filter = AbortedTransactionFilter(answer.aborted)
    var batches = BatchSequence(answer.records, checksChecksums: self.configuration.checksChecksums)
    var count = 0
    do {
      while let batch = try batches.next() {
        count += 1
        // The first batch may begin before the offset that was asked for.
        guard batch.header.nextOffset.rawValue > reading.fetchOffset else { continue }
        let hidden = try filter.hides(batch, isActive: self.configuration.readCommitted)
        if !hidden { self.enqueue(batch, &reading, order.partition, pool) }
        reading.fetchOffset = batch.header.nextOffset.rawValue
        if hidden { self.skip(to: reading.fetchOffset, &reading, order.partition) }
      }
    } catch {
      return self.giveUp(&reading, order.partition, KafkaError(.malformed, """
        \(order.partition) is corrupt at offset \(reading.fetchOffset): \(error). Consume from behind it with another offset.
        """))
    }
    if count == 0, answer.records.readableBytes > 0 {
      // Not even one whole batch: a broker that cuts answers off must be asked for more.
      reading.byteCountMax = min(reading.byteCountMax * 2, 1 << 30)
    }
    let end = self.configuration.readCommitted && answer.lastStableOffset >= 0 ? answer.lastStableOffset : answer.highWatermark
    if reading.fetchOffset >= end, reading.toldEnd != reading.fetchOffset {
      reading.toldEnd = reading.fetchOffset
      self.queue.append(Queued(
        event: .success(.endOfPartition(order.partition, offset: reading.fetchOffset)), partition: order.partition,
        generation: reading.generation, byteCount: 0, nextOffset: reading.fetchOffset))
    }
  }

  private mutating func enqueue(_ batch: RecordBatchView, _ reading: inout Reading, _ partition: TopicPartition, _ pool: DecompressorPool) {
    let consumed = ConsumedBatch(
      partition: partition, view: batch, from: reading.fetchOffset, highWatermark: reading.highWatermark, pool: pool,
      limit: self.configuration.decompressedByteCountMax)
    let byteCount = batch.header.totalByteCount
    reading.queuedByteCount += byteCount
    self.queuedByteCount += byteCount
    self.queue.append(Queued(
      event: .success(.batch(consumed)), partition: partition, generation: reading.generation, byteCount: byteCount,
      nextOffset: batch.header.nextOffset.rawValue))
  }

  /// Records that nobody sees still move the position, once those before them were taken.
  private mutating func skip(to offset: Int64, _ reading: inout Reading, _ partition: TopicPartition) {
    if let last = self.queue.lastIndex(where: { $0.partition == partition }) {
      self.queue[last].nextOffset = offset
    } else {
      reading.position = offset
    }
  }

  // MARK: Taking

  /// The next event, or nil if there is none yet.
  package mutating func take() -> Result<ConsumerEvent, KafkaError>? {
    guard let queued = self.queue.popFirst() else {
      defer { self.failure = nil }
      return self.failure.map { .failure($0) }
    }
    self.queuedByteCount -= queued.byteCount
    if self.readings[queued.partition]?.generation == queued.generation {
      self.readings[queued.partition]!.queuedByteCount -= queued.byteCount
      if let nextOffset = queued.nextOffset { self.readings[queued.partition]!.position = nextOffset }
    }
    return queued.event
  }

  /// True, once, when enough was taken to go on fetching.
  package mutating func takeWish() -> Bool {
    guard let withheldAt = self.withheldAt, self.queuedByteCount * 2 <= withheldAt else { return false }
    self.withheldAt = nil
    return true
  }
}
