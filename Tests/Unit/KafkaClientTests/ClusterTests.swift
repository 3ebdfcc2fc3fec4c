import Base
import Model
import NIOCore
import NIOPosix
import Testing
import Wire

@testable import KafkaClient

@Suite struct ClusterTests {
  @Test func addresses() throws {
    #expect(BrokerAddress("a") == BrokerAddress(host: "a", port: 9092))
    #expect(BrokerAddress(" a.b:19 ") == BrokerAddress(host: "a.b", port: 19))
    #expect(BrokerAddress("[::1]:19") == BrokerAddress(host: "::1", port: 19))
    #expect(BrokerAddress("fe80::1") == BrokerAddress(host: "fe80::1", port: 9092))
    #expect(BrokerAddress(host: "::1", port: 19).description == "[::1]:19")
    for bad in ["", ":19", "a:", "a:0", "a:65536", "a:x", "[::1", "[::1]x", "a b:1"] { #expect(BrokerAddress(bad) == nil, "\(bad)") }
    #expect(try BrokerAddress.list("a:1,b:2").count == 2)
    #expect(throws: KafkaError.self) { try BrokerAddress.list("a:1,b:x") }
    #expect(throws: KafkaError.self) { try BrokerAddress.list("") }
  }

  @Test func waitsDoubleWithJitter() {
    var generator = SeededGenerator(seed: 3)
    var backoff = Backoff(base: .milliseconds(50), maximum: .seconds(1))
    let nominal: [Int64] = [50, 100, 200, 400, 800, 1000, 1000]
    for milliseconds in nominal {
      let wait = backoff.next(using: &generator)
      #expect(wait >= .milliseconds(milliseconds) * 0.8 && wait <= .milliseconds(milliseconds) * 1.2)
    }
    backoff.reset()
    #expect(backoff.next(using: &generator) <= .milliseconds(60))
  }

  // MARK: Connectivity

  @Test func eachChangeIsToldOnce() {
    let (a, b) = (BrokerAddress(host: "a", port: 1), BrokerAddress(host: "b", port: 1))
    let (closed, refused) = (KafkaError(.connection, "closed"), KafkaError(.connection, "refused"))
    func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }
    var watch = ConnectivityWatch()
    #expect(watch.failed(a, refused, isNamed: true, now: at(1)) == nil, "who wanted the first connection gets the error itself")
    #expect(watch.unreachableSince == nil)
    #expect(watch.connected(to: a) == nil)
    #expect(watch.failed(b, refused, isNamed: true, now: at(2)) == .unreachable(b, refused), "named by the cluster, and never reached")
    #expect(watch.failed(b, refused, isNamed: true, now: at(3)) == nil)
    #expect(watch.unreachableSince == nil, "the other one is there")
    #expect(watch.closed(a, closed, wasBusy: true, isNamed: true, now: at(4)) == .lost(a, closed))
    #expect(watch.failed(a, refused, isNamed: true, now: at(5)) == nil)
    #expect(watch.unreachableSince == at(4))
    #expect(watch.connected(to: b) == .restored(b))
    #expect(watch.unreachableSince == nil)
    #expect(watch.connected(to: a) == .restored(a))
    #expect(watch.connected(to: a) == nil)
    // A connection closed while it had nothing to do, as brokers do after a while, is not lost yet.
    #expect(watch.closed(a, closed, wasBusy: false, isNamed: true, now: at(6)) == nil)
    #expect(watch.closed(b, closed, wasBusy: false, isNamed: true, now: at(7)) == nil)
    #expect(watch.unreachableSince == nil)
    #expect(watch.failed(a, refused, isNamed: true, now: at(600)) == .lost(a, refused))
    #expect(watch.unreachableSince == at(600))
  }

  /// One broker by two names: the bootstrap list's, and the one that it advertises.
  @Test func anAddressThatTheClusterDoesNotNameIsNotSpokenOf() {
    let (bootstrap, advertised) = (BrokerAddress(host: "localhost", port: 1), BrokerAddress(host: "127.0.0.1", port: 1))
    let (closed, refused) = (KafkaError(.connection, "closed"), KafkaError(.connection, "refused"))
    let now = Instant(nanoseconds: 1)
    var watch = ConnectivityWatch()
    #expect(watch.connected(to: bootstrap) == nil)
    #expect(watch.connected(to: advertised) == nil)
    #expect(watch.closed(bootstrap, closed, wasBusy: true, isNamed: false, now: now) == nil)
    #expect(watch.unreachableSince == nil)
    #expect(watch.closed(advertised, closed, wasBusy: true, isNamed: true, now: now) == .lost(advertised, closed))
    #expect(watch.failed(bootstrap, refused, isNamed: false, now: now) == nil)
    #expect(watch.unreachableSince == now, "no address of the two answers, whatever is told of them")
    #expect(watch.connected(to: bootstrap) == nil)
    #expect(watch.connected(to: advertised) == .restored(advertised))
  }

  @Test(.timeLimit(.minutes(1)), arguments: [
    ("HTTP/1.1 400 Bad Request\r\n\r\n", "speaks HTTP"), ("\u{15}\u{3}\u{3}\u{0}\u{2}\u{2}F", "speaks TLS"),
  ])
  func otherProtocolsAreNamed(answer: String, words: String) async throws {
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(OtherServer(answer: answer)) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    var configuration = ClientConfiguration(bootstrap: [BrokerAddress(host: "127.0.0.1", port: server.localAddress?.port ?? 0)])
    configuration.unreachableTimeout = .zero
    let client = ClusterClient(configuration)
    let error = await #expect(throws: KafkaError.self) { try await client.onLoop { client.refreshMetadata() } }
    #expect(error?.kind == .malformed && error?.message.contains(words) == true, "\(error.map { "\($0)" } ?? "")")
    _ = try await client.onLoop {
      client.close()
      return client.eventLoop.makeSucceededVoidFuture()
    }
    try await server.close()
  }

  // MARK: Connections

  @Test(.timeLimit(.minutes(1))) func anAnswerOutOfTurnFailsEveryRequest() async throws {
    let cluster = try await FakeCluster()
    cluster.misbehave(.metadata, .omission)
    let client = ClusterClient(cluster.configuration)
    let kinds = try await client.onLoop {
      @Sendable func kind(_ answer: EventLoopFuture<MetadataResponse>) -> EventLoopFuture<KafkaError.Kind?> {
        answer.map { _ in nil }.flatMapErrorThrowing { KafkaError(wrapping: $0).kind }
      }
      return client.anyConnection().flatMap { connection in
        let unanswered = kind(connection.send(MetadataRequest()))
        return unanswered.and(kind(connection.send(MetadataRequest()))).map { [$0, $1] }
      }
    }
    #expect(kinds == [.malformed, .malformed])
    _ = try await client.onLoop {
      client.close()
      return client.eventLoop.makeSucceededVoidFuture()
    }
    await cluster.stop()
  }

  // MARK: Versions

  private func table(_ ranges: [(ApiKey, ClosedRange<Int16>)]) -> VersionTable {
    VersionTable(ApiVersionsResponse(apiKeys: ranges.map { key, range in
      .init(apiKey: key.rawValue, minVersion: range.lowerBound, maxVersion: range.upperBound)
    }))
  }

  @Test func theHighestCommonVersionIsSpoken() throws {
    let top = MetadataRequest.supportedVersions.upperBound
    #expect(try self.table([(.metadata, 0...100)]).version(of: MetadataRequest.self) == top)
    #expect(try self.table([(.metadata, 0...5)]).version(of: MetadataRequest.self) == 5)
    #expect(try self.table([(.metadata, 0...100)]).version(of: MetadataRequest.self, notAbove: 7) == 7)
    let none = #expect(throws: KafkaError.self) { try self.table([]).version(of: MetadataRequest.self) }
    #expect(none?.kind == .unsupportedVersion)
    let above = #expect(throws: KafkaError.self) { try self.table([(.metadata, 90...100)]).version(of: MetadataRequest.self) }
    #expect(above?.message.contains("the broker speaks 90 to 100") == true)
    #expect(throws: KafkaError.self) { try self.table([(.produce, 0...2)]).version(of: ProduceRequest.self) }
  }

  @Test func aRefusedApiVersionsIsReadInTheOldestForm() throws {
    var old = ByteBuffer()
    old.writeMultipleIntegers(Int32(7), Int16(35), Int32(1), Int16(18), Int16(0), Int16(2))
    let response = try RequestFrame.decodeApiVersions(old, asked: 4)
    #expect(response.errorCode == .unsupportedVersion)
    #expect(VersionTable(response).range(of: 18) == 0...2)
    // librdkafka's mock cluster writes the rest in the form that was asked for.
    var odd = ByteBuffer()
    odd.writeMultipleIntegers(Int32(7), Int16(35), UInt8(1), Int16(18), Int16(0), Int16(3), Int32(0))
    #expect(try RequestFrame.decodeApiVersions(odd, asked: 4).errorCode == .unsupportedVersion)
  }

  // MARK: Metadata

  private func response(_ topicID: KafkaUUID, leaders: [(Int32, epoch: Int32)], code: ErrorCode = .none) -> MetadataResponse {
    MetadataResponse(
      brokers: [.init(nodeId: 1, host: "a", port: 1), .init(nodeId: 2, host: "b", port: 2)], clusterId: "c", controllerId: 1,
      topics: [
        .init(
          errorCode: code, name: "t", topicId: topicID,
          partitions: leaders.enumerated().map { .init(partitionIndex: Int32($0), leaderId: $1.0, leaderEpoch: $1.epoch) })
      ])
  }

  @Test func olderLeadersDoNotReplaceNewerOnes() {
    let (id, other) = (KafkaUUID(high: 1, low: 1), KafkaUUID(high: 2, low: 2))
    var metadata = ClusterMetadata()
    metadata.merge(self.response(id, leaders: [(1, epoch: 5)]))
    metadata.merge(self.response(id, leaders: [(2, epoch: 4)]))
    #expect(metadata.partition(0, of: "t")?.leader == 1)
    #expect(metadata.observe(leader: 2, leaderEpoch: 6, of: .init(topic: "t", partition: 0)) == true)
    #expect(metadata.observe(leader: 1, leaderEpoch: 6, of: .init(topic: "t", partition: 0)) == false, "no news")
    #expect(metadata.partition(0, of: "t")?.leader == 2)
    // The topic was deleted and made again: everything known of it is about another topic.
    metadata.merge(self.response(other, leaders: [(1, epoch: 0), (2, epoch: 0)]))
    #expect(metadata.partition(0, of: "t")?.leader == 1)
    #expect(metadata.partition(1, of: "t")?.leader == 2)
    #expect(metadata.name(of: other) == "t")
    #expect(metadata.name(of: id) == nil)
    #expect(metadata.partition(2, of: "t") == nil)
    #expect(metadata.partition(-1, of: "t") == nil)
  }

  @Test func aTopicThatIsGoneIsForgotten() {
    let id = KafkaUUID(high: 1, low: 1)
    var metadata = ClusterMetadata()
    metadata.merge(self.response(id, leaders: [(1, epoch: 5)]))
    metadata.merge(self.response(id, leaders: [], code: .leaderNotAvailable))
    #expect(metadata.partition(0, of: "t")?.leader == 1, "a passing refusal keeps what is known")
    metadata.merge(self.response(.zero, leaders: [], code: .unknownTopicOrPartition))
    #expect(metadata.topics["t"]?.errorCode == .unknownTopicOrPartition)
    #expect(metadata.partition(0, of: "t") == nil)
  }

  @Test func aLyingPartitionNumberTakesNoMemory() {
    var metadata = ClusterMetadata()
    var response = self.response(KafkaUUID(high: 1, low: 1), leaders: [(1, epoch: 5)])
    response.topics[0].partitions.append(.init(partitionIndex: .max, leaderId: 1))
    metadata.merge(response)
    #expect(metadata.partition(0, of: "t")?.leader == 1)
    #expect((metadata.topics["t"]?.partitions.count ?? 0) < 2000)
  }
}

/// Answers whatever comes with the same.
private final class OtherServer: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer
  private let answer: String

  init(answer: String) { self.answer = answer }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(string: self.answer)), promise: nil)
  }
}
