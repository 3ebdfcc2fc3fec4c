import Base
import NIOCore
import Synchronization
import Model

/// Produces records: gathers them into batches per partition, compresses and sends them, repeats what fails for a passing reason, and
/// says what became of each.
///
/// ```swift
/// let producer = try KafkaProducer(ProducerConfiguration(try ClientConfiguration(bootstrap: "127.0.0.1:9092")))
/// let place = try await producer.send(ProducerRecord(topic: "orders", key: "42", text: "{}"))
/// await producer.close()
/// ```
///
/// `send` waits for the broker's answer; many tasks may send at once, and their records travel together. `enqueue` returns as soon as
/// the record is in memory, and the outcome comes to `onDelivery`, once per batch: the way to produce millions.
/// Both wait while the memory for undelivered records is full.
public final class KafkaProducer: Sendable {
  public let configuration: ProducerConfiguration
  package let cluster: ClusterClient
  private let state: Mutex<ProducerState>
  private let sender: ProducerSender

  /// - Parameters:
  ///   - onDelivery: called for every batch whose fate is known, in no particular order among partitions, on the client's own
  ///     thread: it must return quickly.
  ///   - onConnectivity: called when a broker is lost or unreachable, and when it is back, once each, on the same thread.
  ///
  /// Connects when the first record comes. Throws `.invalidArgument` if the configuration contradicts itself.
  public init(
    _ configuration: ProducerConfiguration, onDelivery: (@Sendable (DeliveredBatch) -> Void)? = nil,
    onConnectivity: (@Sendable (ConnectivityChange) -> Void)? = nil
  ) throws(KafkaError) {
    try configuration.validate()
    self.configuration = configuration
    self.cluster = ClusterClient(configuration.client)
    self.cluster.allowsTopicCreation = true
    self.cluster.onConnectivity = onConnectivity
    var generator = SystemRandomNumberGenerator()
    self.state = Mutex(ProducerState(limits: configuration.limits, seed: generator.next()))
    self.sender = ProducerSender(configuration, self.cluster, onDelivery: onDelivery)
    self.sender.access = { [weak self] body in self?.state.withLock { body(&$0) } }
  }

  deinit {
    let (cluster, sender) = (self.cluster, self.sender)
    cluster.eventLoop.execute {
      sender.stop()
      cluster.close()
    }
  }

  // MARK: Sending

  /// Produces one record and waits until it is delivered as the configuration's `acknowledgement` says.
  public func send(_ record: ProducerRecord) async throws(KafkaError) -> RecordMetadata {
    while true {
      let timestamp = record.timestamp ?? WallClock.milliseconds()
      let result = await withUnsafeContinuation { (continuation: DeliveryContinuation) in
        switch self.offer(record, timestamp: timestamp, waiter: continuation) {
        case .accepted: break
        case .needsMetadata, .bufferFull: continuation.resume(returning: nil)
        case .refused(let error): continuation.resume(returning: .failure(error))
        }
      }
      if let result { return try result.get() }
      try await self.ready(for: record.topic)
    }
  }

  /// Puts one record on its way and returns. What becomes of it is told to `onDelivery`.
  public func enqueue(_ record: ProducerRecord) async throws(KafkaError) {
    let timestamp = record.timestamp ?? WallClock.milliseconds()
    while true {
      switch self.offer(record, timestamp: timestamp, waiter: nil) {
      case .accepted: return
      case .needsMetadata, .bufferFull: try await self.ready(for: record.topic)
      case .refused(let error): throw error
      }
    }
  }

  /// Puts many records on their way, in order.
  public func enqueue(contentsOf records: [ProducerRecord]) async throws(KafkaError) {
    for record in records { try await self.enqueue(record) }
  }

  private func offer(_ record: ProducerRecord, timestamp: Int64, waiter: DeliveryContinuation?) -> ProducerState.Offer {
    Self.withBytes(record.key) { key in
      Self.withBytes(record.value) { value in
        self.withState { state in
          state.offer(
            topic: record.topic, partition: record.partition, key: key, value: value, headers: record.headers, timestamp: timestamp,
            waiter: waiter, now: MonotonicClock.now())
        }
      }
    }
  }

  private static func withBytes<R>(_ bytes: [UInt8]?, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
    guard let bytes else { return body(nil) }
    return bytes.withUnsafeBytes { body($0) }
  }

  /// Runs `body` under the producer's lock, to offer many records at once, and wakes the sender if there is something new to do.
  /// Nothing in `body` may block.
  package func withState<R>(_ body: (inout ProducerState) -> R) -> R {
    let (result, wakes) = self.state.withLock { state in
      let result = body(&state)
      let wakes = state.hasNews && !state.isWakePending
      state.hasNews = false
      if wakes { state.isWakePending = true }
      return (result, wakes)
    }
    if wakes { self.sender.wake() }
    return result
  }

  /// Waits until records of the topic can be taken: its partitions are known, and there is room. Throws after `blockTimeout`.
  package func ready(for topic: String) async throws(KafkaError) {
    if !self.state.withLock({ $0.knows(topic: topic) }) { return try await self.awaitMetadata(of: topic) }
    let id = self.state.withLock { state in
      state.nextWaiterID += 1
      return state.nextWaiterID
    }
    let hasRoom = await withUnsafeContinuation { (continuation: UnsafeContinuation<Bool, Never>) in
      let waits = self.state.withLock { state in
        if state.isClosed || state.accumulator.byteCount * 2 < self.configuration.bufferByteCount { return false }
        state.roomWaiters[id] = continuation
        return true
      }
      guard waits else { return continuation.resume(returning: true) }
      self.sender.wake()
      self.cluster.eventLoop.scheduleTask(in: .nanoseconds(self.configuration.blockTimeout.wholeNanoseconds)) {
        self.state.withLock { $0.roomWaiters.removeValue(forKey: id) }?.resume(returning: false)
      }
    }
    if !hasRoom {
      throw KafkaError(.timeout, """
        the buffer of \(self.configuration.bufferByteCount) bytes stayed full for \(self.configuration.blockTimeout): \
        the brokers do not keep up, or do not answer
        """)
    }
  }

  private func awaitMetadata(of topic: String) async throws(KafkaError) {
    let start = MonotonicClock.now()
    var backoff = Backoff(base: self.configuration.client.retryBackoff, maximum: self.configuration.client.retryBackoffMax)
    var generator = SeededGenerator(seed: UInt64(bitPattern: start.nanoseconds))
    while true {
      var failure: KafkaError
      do throws(KafkaError) {
        let metadata = try await self.cluster.onLoop { [cluster] in
          cluster.follow(topic)
          return cluster.refreshMetadata().map { cluster.metadata }
        }
        self.state.withLock { $0.update(topic, from: metadata) }
        if self.state.withLock({ $0.knows(topic: topic) || $0.isClosed }) { return }
        failure = KafkaError(metadata.topics[topic]?.errorCode ?? .leaderNotAvailable, about: "topic \(topic)")
      } catch {
        failure = error
      }
      // A topic that is being created appears within moments; one that stays unknown is a mistake worth telling soon.
      let patience =
        failure.code == .unknownTopicOrPartition ? self.configuration.unknownTopicTimeout
        : failure.kind == .connection ? min(self.configuration.client.unreachableTimeout, self.configuration.blockTimeout)
        : self.configuration.blockTimeout
      let wait = backoff.next(using: &generator)
      guard failure.isRetriable, MonotonicClock.now() + wait <= start + patience else {
        self.cluster.eventLoop.execute { [cluster] in cluster.unfollow(topic) }
        throw failure
      }
      do { try await Task.sleep(for: wait) } catch { throw KafkaError(.cancelled, "the wait for topic \(topic) was cancelled") }
    }
  }

  // MARK: Ending

  /// Waits until everything enqueued before the call was delivered or has failed. Nothing lingers meanwhile.
  public func flush() async {
    await withUnsafeContinuation { (continuation: UnsafeContinuation<Void, Never>) in
      self.state.withLock { $0.addFlushWaiter(continuation) }
      self.sender.wake()
    }
  }

  /// Takes no more records, waits for those taken, and closes the connections.
  public func close() async {
    self.state.withLock { state in
      state.isClosed = true
      state.accumulator.isFlushing = true
    }
    await self.flush()
    let waiters = self.state.withLock { $0.takeRoomWaiters() }
    for waiter in waiters { waiter.resume(returning: true) }
    _ = try? await self.cluster.onLoop { [cluster, sender] in
      sender.stop()
      cluster.close()
      return cluster.eventLoop.makeSucceededVoidFuture()
    }
  }
}
