import Base
import Compression
import Model
import NIOCore
import Records
import Synchronization
import Testing
import Wire

@testable import KafkaClient

/// One after another: times are part of what is tested.
@Suite(.serialized, .timeLimit(.minutes(1))) struct ConsumerTests {
  private let partition = KafkaClient.TopicPartition(topic: "t", partition: 0)

  /// A cluster whose log has batches of these values.
  private func cluster(
    _ batches: [[String]], brokers: Int32 = 1, versions: [ApiKey: ClosedRange<Int16>] = FakeCluster.newest
  ) async throws -> FakeCluster {
    let cluster = try await FakeCluster(brokers: brokers, versions: versions)
    for (index, values) in batches.enumerated() {
      let batch = try Self.batch(values, timestamp: Int64(index) * 1000)
      cluster.state.withLock { $0.append(batch) }
    }
    return cluster
  }

  static func batch(
    _ values: [String], timestamp: Int64 = 0, producerID: Int64 = -1, isTransactional: Bool = false
  ) throws -> RecordBatchView {
    var open = RecordBatchBuilder(.init(codec: .lz4, producerID: ProducerID(producerID), isTransactional: isTransactional))
    for value in values {
      try Array(value.utf8).withUnsafeBytes { try open.append(timestamp: Timestamp(timestamp), key: nil, value: $0) }
    }
    return try RecordBatchView(frontOf: try open.finish(using: Compressor()))
  }

  private func withConsumer(
    _ cluster: FakeCluster, _ change: (inout ConsumerConfiguration) -> Void = { _ in }, _ body: (KafkaConsumer) async throws -> Void
  ) async throws {
    var configuration = ConsumerConfiguration(cluster.configuration)
    configuration.waitMax = .milliseconds(50)
    change(&configuration)
    let consumer = KafkaConsumer(configuration)
    let result: Result<Void, any Error>
    do { result = .success(try await body(consumer)) } catch { result = .failure(error) }
    await consumer.close()
    await cluster.stop()
    try result.get()
  }

  /// Values until the end of the partition.
  private func values(_ consumer: KafkaConsumer) async throws -> [String] {
    var values: [String] = []
    for try await event in consumer.events {
      switch event {
      case .batch(let batch): values += try batch.records().map { $0.value?.text ?? "null" }
      case .endOfPartition: return values
      }
    }
    return values
  }

  @Test(arguments: [FakeCluster.newest, FakeCluster.oldest])
  func recordsFromEveryStart(versions: [ApiKey: ClosedRange<Int16>]) async throws {
    let starts: [(StartPosition, [String])] = [
      (.earliest, ["a", "b", "c", "d", "e"]), (.latest, []), (.offset(3), ["d", "e"]), (.fromEnd(2), ["d", "e"]),
      (.fromEnd(100), ["a", "b", "c", "d", "e"]), (.timestamp(1000), ["c", "d", "e"]), (.timestamp(9999), []),
    ]
    let cluster = try await self.cluster([["a", "b"], ["c", "d", "e"]], versions: versions)
    try await self.withConsumer(cluster) { consumer in
      for (start, expected) in starts {
        consumer.assign([self.partition: start])
        let found = try await self.values(consumer)
        #expect(found == expected, "\(start)")
        #expect(consumer.position(of: self.partition) == 5)
        #expect(consumer.highWatermark(of: self.partition) == 5)
      }
    }
  }

  @Test func recordsThatComeLaterAreSeenAndCancellationEndsTheWait() async throws {
    let cluster = try await self.cluster([["a"]])
    try await self.withConsumer(cluster) { consumer in
      try await consumer.assign(topic: "t", from: .latest)
      let atFirst = try await self.values(consumer)
      #expect(atFirst == [])
      let late = try Self.batch(["b"])
      cluster.state.withLock { $0.append(late) }
      let later = try await self.values(consumer)
      #expect(later == ["b"])
      let waiting = Task { try await consumer.next() }
      try await Task.sleep(for: .milliseconds(50))
      waiting.cancel()
      let cancelled = try await waiting.value
      #expect(cancelled == nil)
    }
  }

  @Test func aSeekDropsWhatWasFetched() async throws {
    let cluster = try await self.cluster([["a"], ["b"], ["c"]])
    try await self.withConsumer(cluster) { consumer in
      consumer.assign([self.partition: .earliest])
      guard case .batch(let first)? = try await consumer.next() else { Issue.record("no batch"); return }
      #expect(first.firstOffset == 0)
      #expect(consumer.position(of: self.partition) == 1)
      try consumer.seek(self.partition, to: .offset(2))
      let found = try await self.values(consumer)
      #expect(found == ["c"])
      #expect(throws: KafkaError.self) { try consumer.seek(.init(topic: "x", partition: 0), to: .earliest) }
    }
  }

  @Test(arguments: [true, false])
  func aNewLeaderIsFollowed(namesLeader: Bool) async throws {
    let cluster = try await self.cluster([["a"], ["b"]], brokers: 2)
    try await self.withConsumer(cluster) { consumer in
      consumer.assign([self.partition: .earliest])
      let found = try await self.values(consumer)
      #expect(found == ["a", "b"])
      cluster.moveLeader(to: 2)
      if namesLeader { cluster.misbehave(.fetch, .refuse(.notLeaderOrFollower, namesLeader: true)) }
      let late = try Self.batch(["c"])
      cluster.state.withLock { $0.append(late) }
      let atLast = try await self.values(consumer)
      #expect(atLast == ["c"])
      #expect(cluster.state.withLock { $0.seen.contains { $0.node == 2 && $0.api == .fetch } })
    }
  }

  @Test func brokenConnectionsAndSilenceAreSurvived() async throws {
    let cluster = try await self.cluster([["a"], ["b"]])
    // Long enough that a busy machine answers within it.
    cluster.misbehave(.fetch, .closeAfterwards, .silence, .closeAfterwards)
    try await self.withConsumer(cluster, { $0.client.requestTimeout = .seconds(2) }) { consumer in
      consumer.assign([self.partition: .earliest])
      let found = try await self.values(consumer)
      #expect(found == ["a", "b"])
    }
  }

  @Test func aLeaderThatIsNoBrokerIsWaitedFor() async throws {
    let cluster = try await self.cluster([["a"]])
    cluster.moveLeader(to: 9)
    try await self.withConsumer(cluster) { consumer in
      consumer.assign([self.partition: .earliest])
      while cluster.count(.metadata) < 3 { try await Task.sleep(for: .milliseconds(5)) }
      cluster.moveLeader(to: 1)
      let found = try await self.values(consumer)
      #expect(found == ["a"])
    }
  }

  @Test func anOffsetThatIsNotThere() async throws {
    let cluster = try await self.cluster([["a"]])
    try await self.withConsumer(cluster) { consumer in
      consumer.assign([self.partition: .offset(99)])
      let error = await #expect(throws: KafkaError.self) { try await consumer.next() }
      #expect(error?.code == .offsetOutOfRange)
      #expect(error?.message.contains("t-0 has no offset 99") == true)
    }
    let other = try await self.cluster([["a"]])
    try await self.withConsumer(other, { $0.offsetReset = .earliest }) { consumer in
      consumer.assign([self.partition: .offset(99)])
      let found = try await self.values(consumer)
      #expect(found == ["a"])
    }
  }

  @Test func aTopicThatIsNotThere() async throws {
    let cluster = try await self.cluster([])
    cluster.state.withLock { $0.topicExists = false }
    try await self.withConsumer(cluster, { $0.unknownTopicTimeout = .milliseconds(100) }) { consumer in
      let error = await #expect(throws: KafkaError.self) { try await consumer.assign(topic: "t", from: .earliest) }
      #expect(error?.code == .unknownTopicOrPartition)
      consumer.assign([self.partition: .earliest])
      let later = await #expect(throws: KafkaError.self) { try await consumer.next() }
      #expect(later?.code == .unknownTopicOrPartition)
    }
  }

  @Test func corruptDataIsNamedAndNotHandedOut() async throws {
    let cluster = try await self.cluster([["a"]])
    cluster.state.withLock { state in
      var bytes = state.log[0].bytes
      bytes.setInteger(UInt8(0xFF), at: bytes.writerIndex - 1)
      state.log[0] = try! RecordBatchView(frontOf: bytes)
    }
    try await self.withConsumer(cluster) { consumer in
      consumer.assign([self.partition: .earliest])
      let error = await #expect(throws: KafkaError.self) { try await consumer.next() }
      #expect(error?.kind == .malformed)
      #expect(error?.message.contains("t-0 is corrupt at offset 0") == true)
    }
  }

  // MARK: The state alone

  @Test func fetchingPausesWhileTheQueueIsFull() throws {
    var configuration = ConsumerConfiguration(ClientConfiguration(bootstrap: []))
    configuration.prefetchByteCount = 100
    configuration.partitionByteCountMax = 50
    var state = ConsumerState(configuration)
    state.assign([self.partition: .offset(0)])
    let order = state.takeFetches(now: .origin) { _ in true }[0]
    #expect(state.takeFetches(now: .origin) { _ in true }.isEmpty, "it is busy")
    let batch = try Self.batch([String((0..<200).map { _ in Character(UnicodeScalar(UInt8.random(in: 97...122))) })])
    state.fetched(order, .init(records: batch.bytes, highWatermark: 1), pool: DecompressorPool())
    #expect(state.queuedByteCount > 100)
    #expect(state.takeFetches(now: .origin) { _ in true }.isEmpty)
    #expect(state.takeWish() == false, "nothing was taken")
    guard case .success(.batch)? = state.take() else { Issue.record("no batch"); return }
    #expect(state.takeWish() == true)
    #expect(state.takeWish() == false, "once")
    #expect(state.takeFetches(now: .origin) { _ in true }.map(\.offset) == [1])
  }

  @Test func aWaitThatEndsAfterTheLookIsNotForgotten() throws {
    var configuration = ConsumerConfiguration(ClientConfiguration(bootstrap: []))
    configuration.client.retryBackoff = .milliseconds(10)
    var state = ConsumerState(configuration)
    var generator = SeededGenerator(seed: 1)
    let partitions = (0..<2).map { KafkaClient.TopicPartition(topic: "t", partition: $0) }
    // One that fetches and one that looks up its start: both wait.
    state.assign([partitions[0]: .offset(0), partitions[1]: .earliest])
    let orders = state.takeFetches(now: .origin) { _ in true } + state.takeLookups(now: .origin) { _ in true }.map(\.order)
    #expect(orders.map(\.partition) == partitions)
    #expect(state.nextDeadline == nil)
    for order in orders {
      state.failed(order, KafkaError(.connection, "gone"), promptly: false, now: .origin, using: &generator)
    }
    let first = try #require(state.nextDeadline)
    #expect(first > .origin)
    let before = first + .nanoseconds(-1)
    #expect(state.takeLookups(now: before) { _ in true }.isEmpty)
    #expect(state.takeFetches(now: before) { _ in true }.isEmpty)
    #expect(state.nextDeadline == first, "nobody has looked since it ended")
    let later = Instant.origin + .seconds(1)
    #expect(state.takeLookups(now: later) { _ in true }.count == 1)
    #expect(state.takeFetches(now: later) { _ in true }.count == 1)
    #expect(state.nextDeadline == nil, "both are under way")
  }

  @Test func answersFromBeforeASeekAreIgnored() throws {
    var state = ConsumerState(ConsumerConfiguration(ClientConfiguration(bootstrap: [])))
    state.assign([self.partition: .offset(0)])
    let order = state.takeFetches(now: .origin) { _ in true }[0]
    #expect(state.seek(self.partition, to: .offset(7)) == true)
    state.fetched(order, .init(records: try Self.batch(["a"]).bytes, highWatermark: 1), pool: DecompressorPool())
    #expect(state.take() == nil)
    #expect(state.takeFetches(now: .origin) { _ in true }.map(\.offset) == [7])
  }

  @Test func abortedTransactionsAreHiddenFromReadersOfCommitted() throws {
    var filter = AbortedTransactionFilter([(producerID: 5, firstOffset: 10)])
    func batch(_ offset: Int64, _ producer: Int64, control: Bool = false, transactional: Bool = true) throws -> RecordBatchView {
      var bytes = try Self.batch(["x"], producerID: producer, isTransactional: transactional).bytes
      bytes.withUnsafeMutableReadableBytes { raw in
        var header = BatchHeader(reading: UnsafeRawBufferPointer(raw))!
        header.baseOffset = Offset(offset)
        header.attributes.isControl = control
        header.write(to: raw)
      }
      return try RecordBatchView(frontOf: bytes)
    }
    #expect(try filter.hides(batch(9, 5), isActive: true) == false, "an earlier transaction of the producer was committed")
    #expect(try filter.hides(batch(10, 5), isActive: true) == true)
    #expect(try filter.hides(batch(11, 6), isActive: true) == false)
    #expect(try filter.hides(batch(12, 5), isActive: true) == true)
    #expect(try filter.hides(batch(13, 5, control: true), isActive: true) == true)
    #expect(try filter.hides(batch(14, 5), isActive: true) == false, "the next transaction")
    #expect(try filter.hides(batch(15, -1, transactional: false), isActive: true) == false)
    var inactive = AbortedTransactionFilter([(producerID: 5, firstOffset: 10)])
    #expect(try inactive.hides(batch(10, 5), isActive: false) == false)
  }

  // MARK: Outages

  /// With `localhost` the broker has two addresses, a connection to each, and one name in what is told.
  @Test(arguments: ["127.0.0.1", "localhost"])
  func anOutageIsToldOnceAndEndsWhoWaitsForAnEnd(bootstrapHost: String) async throws {
    let cluster = try await self.cluster([["a"]])
    var configuration = ConsumerConfiguration(cluster.configuration)
    configuration.client.bootstrap[0].host = bootstrapHost
    configuration.waitMax = .milliseconds(50)
    configuration.outageTimeout = .milliseconds(300)
    let changes = Mutex<[ConnectivityChange]>([])
    let consumer = KafkaConsumer(configuration) { change in changes.withLock { $0.append(change) } }
    try await consumer.assign(topic: "t", from: .earliest)
    #expect(try await self.values(consumer) == ["a"])
    await cluster.stop()
    cluster.misbehave(.fetch, .closeAfterwards)
    if bootstrapHost != "127.0.0.1" { cluster.misbehave(.metadata, .closeAfterwards) }
    let error = try await #require(throws: KafkaError.self) { while try await consumer.next() != nil {} }
    #expect(error.kind == .connection && error.message.contains("no broker could be reached for 0.3 s"), "\(error)")
    let address = cluster.configuration.bootstrap[0]
    let told = changes.withLock { $0 }
    #expect(told.count == 1, "\(told)")
    guard case .lost(address, let reason)? = told.first else {
      Issue.record("\(told)")
      return
    }
    #expect(reason.message.contains("closed the connection"))
    await consumer.close()
  }

  @Test func anAddressThatNeverAnswersIsNotCalledLost() async throws {
    let (cluster, other) = (try await self.cluster([["a"]]), try await FakeCluster())
    let closedPort = other.state.withLock { $0.ports[1]! }
    await other.stop()
    let configuration = ConsumerConfiguration(cluster.configuration)
    cluster.state.withLock { $0.ports[1] = closedPort }
    let told = AsyncStream.makeStream(of: ConnectivityChange.self)
    let consumer = KafkaConsumer(configuration) { told.continuation.yield($0) }
    consumer.assign([self.partition: .earliest])
    var changes = told.stream.makeAsyncIterator()
    guard case .unreachable(BrokerAddress(host: "127.0.0.1", port: closedPort), let reason)? = await changes.next() else {
      Issue.record("another change was told first, or none")
      return
    }
    #expect(reason.message.contains("cannot connect"))
    await consumer.close()
    await cluster.stop()
  }
}
