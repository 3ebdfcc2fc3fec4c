import Compression
import Model
import Records
import Synchronization
import Testing
import Wire

@testable import KafkaClient

/// One after another: times are part of what is tested.
@Suite(.serialized, .timeLimit(.minutes(1))) struct ProducerTests {
  private func withProducer(
    _ cluster: FakeCluster, _ change: (inout ProducerConfiguration) -> Void = { _ in },
    _ body: (KafkaProducer) async throws -> Void
  ) async throws {
    var configuration = ProducerConfiguration(cluster.configuration)
    configuration.linger = .milliseconds(1)
    change(&configuration)
    let producer = try KafkaProducer(configuration)
    let result: Result<Void, any Error>
    do { result = .success(try await body(producer)) } catch { result = .failure(error) }
    await producer.close()
    await cluster.stop()
    try result.get()
  }

  private func record(_ number: Int) -> ProducerRecord { ProducerRecord(topic: "t", text: "\(number)") }

  @Test(arguments: [FakeCluster.newest, FakeCluster.oldest])
  func recordsArriveInOrderWhateverIsSpoken(versions: [ApiKey: ClosedRange<Int16>]) async throws {
    let cluster = try await FakeCluster(versions: versions)
    try await self.withProducer(cluster) { producer in
      for number in 0..<100 { try await producer.enqueue(self.record(number)) }
      let offset = try await producer.send(self.record(100)).offset
      #expect(offset == 100)
      #expect(try cluster.values() == (0...100).map(String.init))
      #expect(cluster.versionsSeen(.produce) == [min(12, versions[.produce]!.upperBound)])
      #expect(cluster.versionsSeen(.metadata) == [versions[.metadata]!.upperBound])
    }
  }

  @Test(arguments: CompressionType.allCases)
  func everyCodec(compression: CompressionType) async throws {
    let cluster = try await FakeCluster()
    try await self.withProducer(cluster, { $0.compression = compression }) { producer in
      for number in 0..<50 { try await producer.enqueue(self.record(number)) }
      await producer.flush()
      #expect(try cluster.values() == (0..<50).map(String.init))
      let codecs = cluster.state.withLock { Set($0.log.map { $0.header.attributes.codecNumber }) }
      #expect(codecs == [compression.codec.rawValue])
    }
  }

  @Test func aLeaderThatIsNoBrokerIsWaitedFor() async throws {
    let cluster = try await FakeCluster()
    cluster.moveLeader(to: 9)
    try await self.withProducer(cluster) { producer in
      try await producer.enqueue(self.record(0))
      while cluster.count(.metadata) < 3 { try await Task.sleep(for: .milliseconds(5)) }
      cluster.moveLeader(to: 1)
      await producer.flush()
      #expect(try cluster.values() == ["0"])
    }
  }

  @Test func aNamedLeaderIsFollowedAtOnceAndOrderKept() async throws {
    let cluster = try await FakeCluster(brokers: 2)
    cluster.moveLeader(to: 1)
    try await self.withProducer(cluster, { $0.client.retryBackoff = .seconds(3) }) { producer in
      _ = try await producer.send(self.record(0))
      let before = cluster.count(.metadata)
      cluster.moveLeader(to: 2)
      cluster.misbehave(.produce, .refuse(.notLeaderOrFollower, namesLeader: true))
      let start = ContinuousClock.now
      for number in 1..<50 { try await producer.enqueue(self.record(number)) }
      let offset = try await producer.send(self.record(50)).offset
      #expect(offset == 50)
      #expect(ContinuousClock.now - start < .seconds(2), "the retry backoff is not waited for")
      #expect(try cluster.values() == (0...50).map(String.init))
      #expect(cluster.count(.metadata) == before)
    }
  }

  @Test func aLeaderThatMovedIsFoundByMetadata() async throws {
    let cluster = try await FakeCluster(brokers: 2)
    try await self.withProducer(cluster) { producer in
      _ = try await producer.send(self.record(0))
      cluster.moveLeader(to: 2)
      for number in 1..<20 { try await producer.enqueue(self.record(number)) }
      let offset = try await producer.send(self.record(20)).offset
      #expect(offset == 20)
      #expect(try cluster.values() == (0...20).map(String.init))
    }
  }

  @Test func whatWasWrittenBeforeTheConnectionBrokeIsNotWrittenTwice() async throws {
    let cluster = try await FakeCluster()
    cluster.misbehave(.produce, .closeAfterwards, .closeAfterwards)
    try await self.withProducer(cluster, { $0.batchByteCount = 200 }) { producer in
      for number in 0..<60 { try await producer.enqueue(self.record(number)) }
      let offset = try await producer.send(self.record(60)).offset
      #expect(offset == 60)
      #expect(try cluster.values() == (0...60).map(String.init))
    }
  }

  @Test func aSilentBrokerIsAskedAgain() async throws {
    let cluster = try await FakeCluster()
    cluster.misbehave(.produce, .silence)
    try await self.withProducer(cluster, { $0.client.requestTimeout = .milliseconds(200) }) { producer in
      let offset = try await producer.send(self.record(1)).offset
      #expect(offset == 0)
      #expect(cluster.count(.produce) == 2)
    }
  }

  @Test func aRefusalForGoodIsReportedWithItsReason() async throws {
    let cluster = try await FakeCluster()
    cluster.misbehave(.produce, .refuse(.messageTooLarge, namesLeader: false))
    try await self.withProducer(cluster) { producer in
      let error = await #expect(throws: KafkaError.self) { try await producer.send(self.record(1)) }
      #expect(error?.kind == .broker(code: 10, name: "MESSAGE_TOO_LARGE"))
      let offset = try await producer.send(self.record(2)).offset
      #expect(offset == 0, "the next record is taken")
    }
  }

  @Test func deliveryEndsInTime() async throws {
    let cluster = try await FakeCluster()
    for _ in 0..<200 { cluster.misbehave(.produce, .refuse(.notEnoughReplicas, namesLeader: false)) }
    try await self.withProducer(cluster, { $0.deliveryTimeout = .milliseconds(400) }) { producer in
      let start = ContinuousClock.now
      let error = await #expect(throws: KafkaError.self) { try await producer.send(self.record(1)) }
      #expect(error?.kind == .timeout)
      #expect(error?.message.contains("NOT_ENOUGH_REPLICAS") == true)
      #expect(ContinuousClock.now - start < .seconds(5))
    }
  }

  @Test func anUnknownTopicIsToldSoon() async throws {
    let cluster = try await FakeCluster()
    cluster.state.withLock { $0.topicExists = false }
    try await self.withProducer(cluster, { $0.unknownTopicTimeout = .milliseconds(200) }) { producer in
      let error = await #expect(throws: KafkaError.self) { try await producer.send(self.record(1)) }
      #expect(error?.code == .unknownTopicOrPartition)
    }
  }

  @Test func withoutAcknowledgementsRecordsStillArrive() async throws {
    let cluster = try await FakeCluster()
    try await self.withProducer(cluster, {
      $0.acknowledgement = .none
      $0.idempotence = false
    }) { producer in
      let offset = try await producer.send(self.record(1)).offset
      #expect(offset == -1)
      for _ in 0..<100 where try cluster.values().isEmpty { try await Task.sleep(for: .milliseconds(10)) }
      #expect(try cluster.values() == ["1"])
    }
  }

  @Test func sendersWaitWhileTheBufferIsFull() async throws {
    let cluster = try await FakeCluster()
    try await self.withProducer(cluster, {
      $0.bufferByteCount = 2000
      $0.batchByteCount = 500
    }) { producer in
      for number in 0..<500 { try await producer.enqueue(self.record(number)) }
      await producer.flush()
      #expect(try cluster.values() == (0..<500).map(String.init))
    }
  }

  @Test func contradictionsAreRefused() {
    var configuration = ProducerConfiguration(ClientConfiguration(bootstrap: []))
    configuration.acknowledgement = .leader
    #expect(throws: KafkaError.self) { try KafkaProducer(configuration) }
    configuration.idempotence = false
    configuration.compressionLevel = 99
    configuration.compression = .gzip
    #expect(throws: KafkaError.self) { try KafkaProducer(configuration) }
  }

  @Test func aBrokerThatIsNotThereIsNamed() async throws {
    let cluster = try await FakeCluster()
    var configuration = ProducerConfiguration(cluster.configuration)
    await cluster.stop()
    configuration.client.unreachableTimeout = .milliseconds(100)
    let producer = try KafkaProducer(configuration)
    let error = await #expect(throws: KafkaError.self) { try await producer.send(self.record(1)) }
    #expect(error?.kind == .connection)
    #expect(error?.message.contains("Connection refused") == true)
    await producer.close()
  }
}
