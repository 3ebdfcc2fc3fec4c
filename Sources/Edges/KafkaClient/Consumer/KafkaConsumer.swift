import Model
import NIOCore
import Synchronization

/// Consumes partitions that it is assigned. It fetches ahead, follows leaders, and hands out records partition by partition in order.
///
/// ```swift
/// let consumer = KafkaConsumer(ConsumerConfiguration(try ClientConfiguration(bootstrap: "127.0.0.1:9092")))
/// try await consumer.assign(topic: "orders", from: .earliest)
/// for try await record in consumer.records { print(record.offset, record.value?.text ?? "") }
/// ```
///
/// Records go to whoever asks first: several tasks may call `next` at once, each batch goes to one of them.
public final class KafkaConsumer: Sendable {
  public let configuration: ConsumerConfiguration
  package let cluster: ClusterClient
  private let state: Mutex<Shared>
  private let fetcher: ConsumerFetcher

  private typealias Waiter = UnsafeContinuation<Result<ConsumerEvent, KafkaError>?, Never>
  private struct Shared: Sendable {
    var consumer: ConsumerState
    var waiters: [(id: UInt64, continuation: Waiter)] = []
    var nextWaiterID: UInt64 = 0
    var isWakePending = false
  }

  /// Connects when partitions are assigned.
  ///
  /// - Parameter onConnectivity: called when a broker is lost or unreachable, and when it is back, once each, on the client's own thread.
  public init(_ configuration: ConsumerConfiguration, onConnectivity: (@Sendable (ConnectivityChange) -> Void)? = nil) {
    self.configuration = configuration
    self.cluster = ClusterClient(configuration.client)
    self.cluster.onConnectivity = onConnectivity
    self.state = Mutex(Shared(consumer: ConsumerState(configuration)))
    self.fetcher = ConsumerFetcher(configuration, self.cluster)
    self.fetcher.access = { [weak self] body in self?.update(body) }
  }

  deinit {
    let (cluster, fetcher) = (self.cluster, self.fetcher)
    cluster.eventLoop.execute {
      fetcher.stop()
      cluster.close()
    }
  }

  // MARK: Assignment

  /// Reads these partitions from now on, and no others. A partition that does not exist is an error of `next`.
  public func assign(_ positions: [TopicPartition: StartPosition]) {
    self.update { $0.assign(positions) }
    self.fetcher.wake()
  }

  /// Reads all partitions that the topic has now. Throws if there is no such topic.
  public func assign(topic: String, from start: StartPosition) async throws(KafkaError) {
    let count = try await self.partitionCount(of: topic)
    self.assign(Dictionary(uniqueKeysWithValues: (0..<count).map { (TopicPartition(topic: topic, partition: $0), start) }))
  }

  /// How many partitions the topic has. Throws `UNKNOWN_TOPIC_OR_PARTITION` if it does not exist.
  public func partitionCount(of topic: String) async throws(KafkaError) -> Int32 {
    let count = try await self.cluster.retrying("look up topic \(topic)") { () throws(KafkaError) -> Int32? in
      let known = try await self.cluster.onLoop { [cluster] in
        cluster.refreshMetadata(topics: [topic]).map { cluster.metadata.topics[topic] }
      }
      guard let known, known.errorCode != .unknownTopicOrPartition else { return nil }
      if known.errorCode != .none { throw KafkaError(known.errorCode, about: "topic \(topic)") }
      return Int32(known.partitions.count)
    }
    guard let count else { throw KafkaError(.unknownTopicOrPartition, about: "topic \(topic)") }
    return count
  }

  /// What is assigned.
  public var assignment: [TopicPartition] { self.state.withLock { $0.consumer.partitions } }

  /// Goes on elsewhere in a partition. Records fetched but not yet taken are dropped. Throws if the partition is not assigned.
  public func seek(_ partition: TopicPartition, to start: StartPosition) throws(KafkaError) {
    guard self.state.withLock({ $0.consumer.seek(partition, to: start) }) else {
      throw KafkaError(.invalidArgument, "\(partition) is not assigned to this consumer")
    }
    self.fetcher.wake()
  }

  /// The offset of the next record to be handed out; nil while the start is being looked up.
  public func position(of partition: TopicPartition) -> Int64? { self.state.withLock { $0.consumer.position(of: partition) } }

  /// The partition's end as last heard; nil before the first answer.
  public func highWatermark(of partition: TopicPartition) -> Int64? { self.state.withLock { $0.consumer.highWatermark(of: partition) } }

  // MARK: Reading

  /// The next batch or end of a partition; waits for one. Nil once the consumer is closed or the task cancelled.
  ///
  /// Throws what cannot be helped by waiting, such as `OFFSET_OUT_OF_RANGE` without a reset policy. The partition it is about gives no
  /// more until it is assigned again or sought; the others go on.
  public func next() async throws(KafkaError) -> ConsumerEvent? {
    let (event, id) = self.state.withLock { state -> (Result<ConsumerEvent, KafkaError>?, UInt64) in
      state.nextWaiterID += 1
      return (state.consumer.take(), state.nextWaiterID)
    }
    if let event {
      self.wakeIfRoom()
      return try event.get()
    }
    let result = await withTaskCancellationHandler {
      await withUnsafeContinuation { (continuation: Waiter) in
        let (event, isOver) = self.state.withLock { state -> (Result<ConsumerEvent, KafkaError>?, Bool) in
          if let event = state.consumer.take() { return (event, true) }
          if state.consumer.isClosed || Task.isCancelled { return (nil, true) }
          state.waiters.append((id, continuation))
          return (nil, false)
        }
        if isOver { continuation.resume(returning: event) }
      }
    } onCancel: {
      let waiter = self.state.withLock { state -> Waiter? in
        guard let index = state.waiters.firstIndex(where: { $0.id == id }) else { return nil }
        return state.waiters.remove(at: index).continuation
      }
      waiter?.resume(returning: nil)
    }
    self.wakeIfRoom()
    return try result?.get()
  }

  /// The next event if there is one already.
  package func nextIfReady() throws(KafkaError) -> ConsumerEvent? {
    guard let event = self.state.withLock({ $0.consumer.take() }) else { return nil }
    self.wakeIfRoom()
    return try event.get()
  }

  /// Batches and ends of partitions as they come.
  public var events: ConsumerEvents { ConsumerEvents(consumer: self) }
  /// Batches as they come.
  public var batches: ConsumerBatches { ConsumerBatches(consumer: self) }
  /// Records, one by one. Slower than `batches`.
  public var records: ConsumerRecords { ConsumerRecords(consumer: self) }

  /// Stops fetching and closes the connections. Waiting calls of `next` return nil.
  public func close() async {
    let waiters = self.state.withLock { state in
      state.consumer.isClosed = true
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.continuation.resume(returning: nil) }
    _ = try? await self.cluster.onLoop { [cluster, fetcher] in
      fetcher.stop()
      cluster.close()
      return cluster.eventLoop.makeSucceededVoidFuture()
    }
  }

  // MARK: Sharing with the fetcher

  /// Changes the state and hands events to those who wait.
  private func update(_ body: (inout ConsumerState) -> Void) {
    var ready: [(Waiter, Result<ConsumerEvent, KafkaError>)] = []
    self.state.withLock { state in
      body(&state.consumer)
      while !state.waiters.isEmpty, let event = state.consumer.take() { ready.append((state.waiters.removeFirst().continuation, event)) }
    }
    for (waiter, event) in ready { waiter.resume(returning: event) }
  }

  /// Fetching paused while the queue was full: half empty is the time to go on.
  private func wakeIfRoom() {
    if self.state.withLock({ $0.consumer.takeWish() }) { self.fetcher.wake() }
  }
}

/// See `KafkaConsumer.events`.
public struct ConsumerEvents: AsyncSequence, Sendable {
  public typealias Element = ConsumerEvent
  fileprivate let consumer: KafkaConsumer

  public struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate let consumer: KafkaConsumer
    public mutating func next() async throws(KafkaError) -> ConsumerEvent? { try await self.consumer.next() }
  }
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(consumer: self.consumer) }
}

/// See `KafkaConsumer.batches`.
public struct ConsumerBatches: AsyncSequence, Sendable {
  public typealias Element = ConsumedBatch
  fileprivate let consumer: KafkaConsumer

  public struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate let consumer: KafkaConsumer
    public mutating func next() async throws(KafkaError) -> ConsumedBatch? {
      while let event = try await self.consumer.next() {
        if case .batch(let batch) = event { return batch }
      }
      return nil
    }
  }
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(consumer: self.consumer) }
}

/// See `KafkaConsumer.records`.
public struct ConsumerRecords: AsyncSequence, Sendable {
  public typealias Element = ConsumerRecord
  fileprivate let consumer: KafkaConsumer

  public struct AsyncIterator: AsyncIteratorProtocol {
    fileprivate var batches: ConsumerBatches.AsyncIterator
    fileprivate var current: IndexingIterator<[ConsumerRecord]> = [].makeIterator()
    public mutating func next() async throws(KafkaError) -> ConsumerRecord? {
      while true {
        if let record = self.current.next() { return record }
        guard let batch = try await self.batches.next() else { return nil }
        self.current = try batch.records().makeIterator()
      }
    }
  }
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(batches: ConsumerBatches.AsyncIterator(consumer: self.consumer)) }
}
