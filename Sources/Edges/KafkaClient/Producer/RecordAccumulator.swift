package import Base
import DequeModule
import Model
import NIOCore

/// The producer's memory: which records wait for which partition, what may be sent now, and what to do when it fails.
///
/// A value without IO, clock or randomness of its own. Per partition, batches leave in the order in which they were begun, and keep it
/// through failures: once one failed, no other leaves before all that are under way have come back; then they go again in order.
/// An idempotent producer keeps the sequence numbers of what it repeats; when it cannot know what the broker has (a batch expired after
/// it was sent, the broker lost its state), it asks for a new producer id and starts from sequence 0.
package struct RecordAccumulator<Waiter: Sendable>: Sendable {
  private struct Slot {
    var partition: TopicPartition
    /// -1: not known.
    var leader: Int32 = -1
    var queue: Deque<ProducerBatch<Waiter>> = []
    var inFlightCount = 0
    var retryNotBefore = Instant.origin
    /// A batch came back: the others under way must come back, too, before anything else leaves.
    var isRecovering = false
    var identity: ProducerIdentity?
    var nextSequence: Int32 = 0
    /// The sequence numbers no longer follow from what was sent: take up a new identity before sending on.
    var needsNewIdentity = false
    var isActive = false
    var byteCount = 0
  }

  package enum AppendOutcome: Hashable, Sendable {
    /// `wakes`: there is something new to send or to wait for, so look again. `opened`: the record began a batch.
    case appended(wakes: Bool, opened: Bool)
    /// No room: try again after a report.
    case bufferFull
    case recordTooLarge(byteCount: Int)
  }

  package let limits: ProducerLimits
  private var slots: [Slot] = []
  private var indices: [TopicPartition: Int] = [:]
  /// Slots with something queued.
  private var active: [Int] = []
  /// Every batch begun so far has a smaller id.
  package private(set) var nextBatchID: UInt64 = 0
  private var drainStart = 0
  /// Somebody found the buffer full: incomplete batches leave, too.
  private var isStarved = false

  /// Set once the broker gave one. While it is nil an idempotent producer sends nothing.
  package var identity: ProducerIdentity?
  /// Incomplete batches leave at once.
  package var isFlushing = false
  /// Bytes held, those under way included.
  package private(set) var byteCount = 0
  /// Batches not yet reported, those under way included.
  package private(set) var batchCount = 0

  package init(limits: ProducerLimits) { self.limits = limits }

  package var isEmpty: Bool { self.batchCount == 0 }
  package var needsIdentity: Bool { self.limits.isIdempotent && self.identity == nil && !self.active.isEmpty }

  // MARK: Partitions

  /// The accumulator's number for a partition.
  package mutating func slot(for partition: TopicPartition) -> Int {
    if let index = self.indices[partition] { return index }
    self.slots.append(Slot(partition: partition))
    self.indices[partition] = self.slots.count - 1
    return self.slots.count - 1
  }

  package func partition(of slot: Int) -> TopicPartition { self.slots[slot].partition }
  package mutating func setLeader(_ leader: Int32, of slot: Int) { self.slots[slot].leader = leader }
  /// Bytes that wait for the partition: what the partitioner weighs.
  package func queuedByteCount(of slot: Int) -> Int { self.slots[slot].byteCount }
  package var slotCount: Int { self.slots.count }

  // MARK: Appending

  /// Puts a record into the partition's open batch, or begins one. `timestamp` is in milliseconds since 1970, or -1.
  package mutating func append(
    to index: Int, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, headers: [RecordHeader], timestamp: Int64,
    waiter: Waiter?, now: @autoclosure () -> Instant
  ) -> AppendOutcome {
    let size = OpenBatch.byteCountMax(key: key, value: value, headers: headers)
    guard size <= self.limits.recordByteCountMax else { return .recordTooLarge(byteCount: size) }
    guard self.byteCount + size <= self.limits.bufferByteCountMax || self.batchCount == 0 else {
      self.isStarved = true
      return .bufferFull
    }
    var wakes = false
    var opened = false
    let last = self.slots[index].queue.count - 1
    if last < 0 || self.slots[index].queue[last].isClosed {
      opened = true
      wakes = true
    } else if self.slots[index].queue[last].byteCount + size > self.limits.batchByteCountMax {
      self.slots[index].queue[last].isClosed = true
      opened = true
      wakes = true
    }
    if opened {
      let batch = ProducerBatch<Waiter>(
        id: self.nextBatchID, slot: index, partition: self.slots[index].partition, createdAt: now(), records: OpenBatch())
      self.slots[index].queue.append(batch)
      self.nextBatchID += 1
      self.batchCount += 1
      self.activate(index)
    }
    let position = self.slots[index].queue.count - 1
    let before = self.slots[index].queue[position].byteCount
    if let waiter {
      let recordIndex = self.slots[index].queue[position].recordCount
      self.slots[index].queue[position].waiters.append((recordIndex, waiter))
    }
    self.slots[index].queue[position].records.append(key: key, value: value, headers: headers, timestamp: timestamp)
    let after = self.slots[index].queue[position].byteCount
    let grown = after - (opened ? 0 : before)
    self.byteCount += grown
    self.slots[index].byteCount += grown
    if after >= self.limits.batchByteCountMax {
      self.slots[index].queue[position].isClosed = true
      wakes = true
    }
    return .appended(wakes: wakes, opened: opened)
  }

  private mutating func activate(_ index: Int) {
    guard !self.slots[index].isActive else { return }
    self.slots[index].isActive = true
    self.active.append(index)
  }

  // MARK: Sending

  /// The leaders with something to send now (-1 among them if a leader is not known), each once.
  package func readyLeaders(now: Instant) -> [Int32] {
    var leaders: [Int32] = []
    for index in self.active where self.isReady(index, now: now) && !leaders.contains(self.slots[index].leader) {
      leaders.append(self.slots[index].leader)
    }
    return leaders
  }

  private func isReady(_ index: Int, now: Instant) -> Bool {
    guard let head = self.slots[index].queue.first else { return false }
    if self.slots[index].isRecovering && self.slots[index].inFlightCount > 0 { return false }
    if self.slots[index].retryNotBefore > now { return false }
    if self.limits.isIdempotent {
      guard let identity = self.identity else { return false }
      let isStuck = self.slots[index].inFlightCount > 0 || self.slots[index].identity == identity
      if self.slots[index].needsNewIdentity && isStuck { return false }
    }
    return head.isClosed || head.attempts > 0 || self.isFlushing || self.isStarved || head.createdAt + self.limits.linger <= now
  }

  /// Takes the batches that go into one request to `leader`: at most one per partition, together not beyond `byteCountMax` unless a
  /// single one is.
  package mutating func drain(leader: Int32, byteCountMax: Int, now: Instant, into batches: inout [ProducerBatch<Waiter>]) {
    var taken = 0
    let count = self.active.count
    // The start rotates, so that no partition starves behind others when the request fills up.
    self.drainStart = count == 0 ? 0 : (self.drainStart + 1) % count
    for step in 0..<count {
      let index = self.active[(self.drainStart + step) % count]
      guard self.slots[index].leader == leader, self.isReady(index, now: now) else { continue }
      let size = self.slots[index].queue[0].encoded?.readableBytes ?? self.slots[index].queue[0].byteCount
      if taken > 0, taken + size > byteCountMax { continue }
      taken += size
      var batch = self.slots[index].queue.removeFirst()
      self.stamp(&batch, index)
      batch.isClosed = true
      batch.attempts += 1
      self.slots[index].inFlightCount += 1
      self.slots[index].isRecovering = false
      batches.append(batch)
    }
    self.prune()
  }

  private mutating func stamp(_ batch: inout ProducerBatch<Waiter>, _ index: Int) {
    guard self.limits.isIdempotent, let identity = self.identity else { return }
    if self.slots[index].needsNewIdentity || (self.slots[index].identity != identity && batch.identity == nil
      && self.slots[index].inFlightCount == 0) {
      self.slots[index].identity = identity
      self.slots[index].nextSequence = 0
      self.slots[index].needsNewIdentity = false
    }
    // A batch that was sent keeps what it was sent with, unless the partition has taken up a new identity since.
    if batch.identity != nil, batch.identity == self.slots[index].identity { return }
    batch.identity = self.slots[index].identity
    batch.baseSequence = self.slots[index].nextSequence
    batch.needsStamp = true
    self.slots[index].nextSequence = Self.sequence(batch.baseSequence, plus: batch.recordCount)
  }

  /// Sequence numbers wrap to 0 after 2^31 - 1.
  private static func sequence(_ sequence: Int32, plus count: Int32) -> Int32 {
    Int32(truncatingIfNeeded: (Int64(sequence) + Int64(count)) & 0x7FFF_FFFF)
  }

  private mutating func prune() {
    self.active.removeAll { index in
      if !self.slots[index].queue.isEmpty { return false }
      self.slots[index].isActive = false
      return true
    }
  }

  /// When to look again, if nothing else happens before: a linger or a wait is over, or a batch has run out of time.
  package func nextDeadline(now: Instant) -> Instant? {
    var earliest: Instant?
    for index in self.active {
      guard let head = self.slots[index].queue.first else { continue }
      var at = head.createdAt + self.limits.deliveryTimeout
      if self.slots[index].retryNotBefore > now {
        at = min(at, self.slots[index].retryNotBefore)
      } else if !head.isClosed, head.attempts == 0 {
        let lingered = head.createdAt + self.limits.linger
        if lingered > now { at = min(at, lingered) }
      }
      earliest = min(earliest ?? at, at)
    }
    return earliest
  }

  // MARK: What became of it

  /// Takes back a batch that was sent. Returns the report if its fate is known now, or nil if it will be sent again.
  package mutating func complete(
    _ batch: ProducerBatch<Waiter>, _ outcome: BatchOutcome, now: Instant, jitter: Double = 1
  ) -> DeliveryReport<Waiter>? {
    let index = batch.slot
    self.slots[index].inFlightCount -= 1
    switch outcome {
    case .written(let baseOffset, let logAppendTime):
      return self.report(batch, .success((baseOffset, logAppendTime)))
    case .refused(let error, _) where error.code == .duplicateSequenceNumber:
      // The broker has it from an earlier attempt whose answer was lost, too long ago to remember the offset.
      _ = error
      return self.report(batch, .success((-1, -1)))
    case .refused(let error, let promptly):
      if let report = self.refuse(batch, error, now: now) { return report }
      if !promptly {
        let doublings = min(batch.attempts - 1, 20)
        let wait = min(self.limits.retryBackoff * (1 << doublings), self.limits.retryBackoffMax)
        self.slots[index].retryNotBefore = now + .nanoseconds(Int64(Double(wait.wholeNanoseconds) * jitter))
      }
      return nil
    }
  }

  /// Decides between another attempt (nil) and the end.
  private mutating func refuse(_ batch: ProducerBatch<Waiter>, _ error: KafkaError, now: Instant) -> DeliveryReport<Waiter>? {
    let index = batch.slot
    let lostSequence = self.limits.isIdempotent && Self.isSequenceError(error)
    if lostSequence, !self.slots[index].isRecovering { self.abandonIdentity(of: index, batch) }
    self.slots[index].isRecovering = true
    let expired = batch.createdAt + self.limits.deliveryTimeout <= now
    if (error.isRetriable || lostSequence), !expired, batch.attempts < self.limits.attemptsMax {
      self.requeue(batch)
      return nil
    }
    if let identity = batch.identity, identity == self.slots[index].identity {
      let end = Self.sequence(batch.baseSequence, plus: batch.recordCount)
      if batch.attempts == 1, !error.isRetriable, end == self.slots[index].nextSequence {
        // Refused for good, and nothing was numbered after it: the numbers are free again.
        self.slots[index].nextSequence = batch.baseSequence
      } else {
        self.abandonIdentity(of: index, batch)
      }
    }
    if expired, error.isRetriable {
      let text = "not delivered within \(self.limits.deliveryTimeout) (delivery.timeout.ms); the last attempt: \(error)"
      return self.report(batch, .failure(KafkaError(.timeout, text)))
    }
    return self.report(batch, .failure(error))
  }

  private static func isSequenceError(_ error: KafkaError) -> Bool {
    switch error.code {
    case .outOfOrderSequenceNumber, .unknownProducerId, .invalidProducerEpoch: true
    default: false
    }
  }

  /// The broker's idea of the sequence cannot be known any more.
  private mutating func abandonIdentity(of index: Int, _ batch: ProducerBatch<Waiter>) {
    guard self.limits.isIdempotent, !self.slots[index].needsNewIdentity else { return }
    self.slots[index].needsNewIdentity = true
    if self.identity == self.slots[index].identity { self.identity = nil }
  }

  private mutating func requeue(_ batch: ProducerBatch<Waiter>) {
    let index = batch.slot
    let position = self.slots[index].queue.firstIndex { $0.id > batch.id } ?? self.slots[index].queue.count
    self.slots[index].queue.insert(batch, at: position)
    self.activate(index)
  }

  private mutating func report(
    _ batch: ProducerBatch<Waiter>, _ result: Result<(baseOffset: Int64, logAppendTime: Int64), KafkaError>
  ) -> DeliveryReport<Waiter> {
    self.byteCount -= batch.byteCount
    self.slots[batch.slot].byteCount -= batch.byteCount
    self.batchCount -= 1
    if self.byteCount < self.limits.bufferByteCountMax { self.isStarved = false }
    return DeliveryReport(
      batchID: batch.id, partition: batch.partition, recordCount: batch.recordCount, byteCount: batch.byteCount,
      waiters: batch.waiters, result: result)
  }

  /// Gives up what has waited for longer than the delivery timeout. `reason` says what was in the way.
  package mutating func expire(now: Instant, reason: String, into reports: inout [DeliveryReport<Waiter>]) {
    for index in self.active {
      while let head = self.slots[index].queue.first, head.createdAt + self.limits.deliveryTimeout <= now {
        self.slots[index].queue.removeFirst()
        // A batch that was sent may be in the log: its numbers cannot be used again, nor can those after them.
        if head.attempts > 0 { self.abandonIdentity(of: index, head) }
        let error = KafkaError(.timeout, "not delivered within \(self.limits.deliveryTimeout) (delivery.timeout.ms): \(reason)")
        reports.append(self.report(head, .failure(error)))
      }
    }
    self.prune()
  }

  /// Gives up everything that is queued; what is under way comes back through `complete`.
  package mutating func failQueued(_ error: KafkaError, into reports: inout [DeliveryReport<Waiter>]) {
    self.failQueued(error, topic: nil, into: &reports)
  }

  /// Gives up what is queued for one topic: it does not exist.
  package mutating func failQueued(_ error: KafkaError, topic: String?, into reports: inout [DeliveryReport<Waiter>]) {
    for index in self.active where topic == nil || self.slots[index].partition.topic == topic {
      while let batch = self.slots[index].queue.popFirst() {
        if batch.attempts > 0 { self.abandonIdentity(of: index, batch) }
        reports.append(self.report(batch, .failure(error)))
      }
    }
    self.prune()
  }
}
