package import Base
import Model

/// Stands for a caller of `send` until its record's fate is known. Nil: the record was not taken, there was no room.
package typealias DeliveryContinuation = UnsafeContinuation<Result<RecordMetadata, KafkaError>?, Never>

/// What callers and the sender share, under the producer's lock.
package struct ProducerState: Sendable {
  /// A topic whose partitions are known.
  private struct Topic: Sendable {
    /// The accumulator's number of each partition.
    var slots: [Int] = []
    /// Partitions that have a leader.
    var available: [Int32] = []
    var sticky: StickyPartitioner
  }

  package enum Offer: Sendable {
    case accepted
    /// The topic's partitions are not known yet.
    case needsMetadata
    case bufferFull
    case refused(KafkaError)
  }

  package struct FlushWaiter: Sendable {
    /// Batches begun before this id are waited for; so many are left.
    var target: UInt64
    var left: Int
    var continuation: UnsafeContinuation<Void, Never>
  }

  package var accumulator: RecordAccumulator<DeliveryContinuation>
  package var isClosed = false
  /// The sender has something new to look at.
  package var hasNews = false
  /// The sender was told to look and has not begun yet.
  package var isWakePending = false
  package var roomWaiters: [UInt64: UnsafeContinuation<Bool, Never>] = [:]
  package var nextWaiterID: UInt64 = 0
  package private(set) var flushWaiters: [FlushWaiter] = []
  private var topics: [String: Topic] = [:]
  private var generator: SeededGenerator

  package init(limits: ProducerLimits, seed: UInt64) {
    self.accumulator = RecordAccumulator(limits: limits)
    self.generator = SeededGenerator(seed: seed)
  }

  // MARK: Records

  /// Takes a record, or says what is missing. The bytes are copied. `timestamp` is in milliseconds since 1970.
  package mutating func offer(
    topic name: String, partition: Int32?, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, headers: [RecordHeader],
    timestamp: Int64, waiter: DeliveryContinuation?, now: @autoclosure () -> Instant
  ) -> Offer {
    if self.isClosed { return .refused(KafkaError(.closed, "the producer is closed")) }
    guard timestamp >= -1 else { return .refused(KafkaError(.invalidArgument, "a record's timestamp cannot be \(timestamp)")) }
    guard let topic = self.topics[name], !topic.slots.isEmpty else { return .needsMetadata }
    let count = Int32(topic.slots.count)
    var number: Int32
    var isSticky = false
    if let partition {
      guard partition >= 0, partition < count else {
        return .refused(KafkaError(.invalidArgument, "topic \(name) has no partition \(partition): it has \(count)"))
      }
      number = partition
    } else if let key {
      number = Murmur2.partition(forKey: key, partitionCount: count)
    } else {
      number = self.choosePartition(of: name, count: count)
      isSticky = true
    }
    let outcome = self.accumulator.append(
      to: topic.slots[Int(number)], key: key, value: value, headers: headers, timestamp: timestamp, waiter: waiter, now: now())
    switch outcome {
    case .appended(let wakes, let opened):
      if isSticky {
        self.topics[name]!.sticky.observe(byteCount: (key?.count ?? 0) + (value?.count ?? 0) + 16, endedBatch: opened || wakes)
      }
      if wakes { self.hasNews = true }
      return .accepted
    case .bufferFull: return .bufferFull
    case .recordTooLarge(let byteCount):
      return .refused(KafkaError(.invalidArgument, """
        the record takes up to \(byteCount) bytes, more than the \(self.accumulator.limits.recordByteCountMax) allowed \
        (recordByteCountMax); raise it here and message.max.bytes at the broker
        """))
    }
  }

  private mutating func choosePartition(of name: String, count: Int32) -> Int32 {
    if let current = self.topics[name]!.sticky.current, current < count { return current }
    let topic = self.topics[name]!
    let candidates = topic.available.isEmpty ? Array(0..<count) : topic.available
    let queued = candidates.map { (partition: $0, byteCount: self.accumulator.queuedByteCount(of: topic.slots[Int($0)])) }
    return self.topics[name]!.sticky.move(to: queued, using: &self.generator)
  }

  // MARK: Topics

  package func knows(topic: String) -> Bool { self.topics[topic]?.slots.isEmpty == false }
  package var topicNames: [String] { self.topics.keys.sorted() }

  /// Takes what the cluster says of a topic.
  package mutating func update(_ name: String, from metadata: ClusterMetadata) {
    guard let known = metadata.topics[name], known.errorCode == .none, !known.partitions.isEmpty else { return }
    var topic = self.topics[name] ?? Topic(sticky: StickyPartitioner(switchByteCount: self.accumulator.limits.batchByteCountMax))
    topic.available = []
    for (index, partition) in known.partitions.enumerated() {
      if index >= topic.slots.count { topic.slots.append(self.accumulator.slot(for: TopicPartition(topic: name, partition: Int32(index)))) }
      let leader = partition?.leader ?? -1
      self.accumulator.setLeader(leader, of: topic.slots[index])
      if leader >= 0 { topic.available.append(Int32(index)) }
    }
    self.topics[name] = topic
  }

  // MARK: Waiting

  package mutating func addFlushWaiter(_ continuation: UnsafeContinuation<Void, Never>) {
    guard self.accumulator.batchCount > 0 else { return continuation.resume() }
    self.flushWaiters.append(
      FlushWaiter(target: self.accumulator.nextBatchID, left: self.accumulator.batchCount, continuation: continuation))
    self.accumulator.isFlushing = true
  }

  /// A batch was reported. Returns who waited for it as the last one.
  package mutating func settle(batchID: UInt64) -> [UnsafeContinuation<Void, Never>] {
    if self.flushWaiters.isEmpty { return [] }
    var done: [UnsafeContinuation<Void, Never>] = []
    for index in self.flushWaiters.indices where batchID < self.flushWaiters[index].target {
      self.flushWaiters[index].left -= 1
      if self.flushWaiters[index].left == 0 { done.append(self.flushWaiters[index].continuation) }
    }
    self.flushWaiters.removeAll { $0.left == 0 }
    if self.flushWaiters.isEmpty { self.accumulator.isFlushing = self.isClosed }
    return done
  }

  package mutating func takeRoomWaiters() -> [UnsafeContinuation<Bool, Never>] {
    if self.roomWaiters.isEmpty { return [] }
    defer { self.roomWaiters = [:] }
    return Array(self.roomWaiters.values)
  }
}
