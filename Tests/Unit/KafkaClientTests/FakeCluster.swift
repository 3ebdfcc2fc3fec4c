import Compression
import Model
import NIOCore
import NIOPosix
import Records
import Synchronization
import Wire

@testable import KafkaClient

/// A cluster of brokers that keep one topic `t` of one partition in memory, and misbehave as a test says.
final class FakeCluster: Sendable {
  enum Misbehaviour: Sendable {
    case refuse(ErrorCode, namesLeader: Bool)
    /// Does what was asked and closes the connection instead of answering.
    case closeAfterwards
    /// Never answers, nor anything that comes later on the connection: answers keep the order of requests.
    case silence
    /// Never answers, but answers what comes later on the connection, which no broker may do.
    case omission
  }

  /// From a request's body, its version and the broker that got it.
  typealias Answer = @Sendable (inout WireReader, Int16, Int32) throws -> any WireMessage

  struct State: Sendable {
    var ports: [Int32: Int] = [:]
    var leader: Int32 = 1
    var leaderEpoch: Int32 = 0
    var topicExists = true
    var log: [RecordBatchView] = []
    var end: Int64 = 0
    var start: Int64 = 0
    /// Answers to other kinds of requests, and to those that a test answers by itself.
    var answers: [ApiKey: Answer] = [:]
    /// What to do with the next requests of a kind, in order.
    var misbehaviour: [ApiKey: [Misbehaviour]] = [:]
    /// Requests seen: broker, kind, version.
    var seen: [(node: Int32, api: ApiKey, version: Int16)] = []
    /// The last append of each producer: its base sequence and base offset.
    var appended: [String: Int64] = [:]
  }

  /// Versions that the brokers speak.
  let versions: [ApiKey: ClosedRange<Int16>]
  let state: Mutex<State>
  private let channels = Mutex<[any Channel]>([])

  static let newest: [ApiKey: ClosedRange<Int16>] = [
    .produce: 0...12, .fetch: 4...17, .listOffsets: 1...9, .metadata: 0...12, .apiVersions: 0...4, .initProducerId: 0...4,
  ]
  /// What clients of before flexible encodings speak with.
  static let oldest: [ApiKey: ClosedRange<Int16>] = [
    .produce: 0...3, .fetch: 4...4, .listOffsets: 1...1, .metadata: 0...1, .apiVersions: 0...0, .initProducerId: 0...0,
  ]

  init(brokers: Int32 = 1, versions: [ApiKey: ClosedRange<Int16>] = FakeCluster.newest) async throws {
    self.versions = versions
    self.state = Mutex(State())
    for node in 1...brokers {
      let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(FakeConnection(self, node: node)) }
        }
        .bind(host: "127.0.0.1", port: 0).get()
      self.channels.withLock { $0.append(channel) }
      self.state.withLock { $0.ports[node] = channel.localAddress?.port ?? 0 }
    }
  }

  func stop() async {
    for channel in self.channels.withLock({ $0 }) { try? await channel.close() }
  }

  var configuration: ClientConfiguration {
    let port = self.state.withLock { $0.ports[1]! }
    var configuration = ClientConfiguration(bootstrap: [BrokerAddress(host: "127.0.0.1", port: port)], clientID: "test")
    configuration.requestTimeout = .seconds(5)
    configuration.operationTimeout = .seconds(10)
    configuration.unreachableTimeout = .seconds(5)
    configuration.retryBackoff = .milliseconds(10)
    configuration.reconnectBackoff = .milliseconds(10)
    return configuration
  }

  /// Answers requests of this type as `body` says, which also gets the broker's number.
  func answer<Request: ApiRequest>(_ type: Request.Type, _ body: @escaping @Sendable (Request, Int16, Int32) throws -> Request.Response) {
    self.state.withLock {
      $0.answers[Request.apiKey] = { reader, version, node in try body(try Request(from: &reader, version: version), version, node) }
    }
  }

  func misbehave(_ api: ApiKey, _ list: Misbehaviour...) { self.state.withLock { $0.misbehaviour[api, default: []] += list } }
  func count(_ api: ApiKey) -> Int { self.state.withLock { $0.seen.count { $0.api == api } } }
  func versionsSeen(_ api: ApiKey) -> Set<Int16> { self.state.withLock { Set($0.seen.filter { $0.api == api }.map(\.version)) } }

  /// The values of all records, in order.
  func values() throws -> [String] {
    try self.state.withLock { $0.log }.flatMap { batch in
      var values: [String] = []
      var iterator = try batch.records(using: Decompressor())
      while let record = try iterator.next() { values.append(record.value.map { String(buffer: $0) } ?? "null") }
      return values
    }
  }

  func moveLeader(to node: Int32) {
    self.state.withLock { state in
      state.leader = node
      state.leaderEpoch += 1
    }
  }
}

/// One connection to one of the brokers.
private final class FakeConnection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let cluster: FakeCluster
  private let node: Int32
  private var frames = FrameSplitter(frameByteCountMax: 1 << 26)
  /// An answer is being held back, and with it those to all later requests.
  private var isHolding = false

  init(_ cluster: FakeCluster, node: Int32) { (self.cluster, self.node) = (cluster, node) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    self.frames.receive(self.unwrapInboundIn(data))
    self.work(context)
  }

  private func work(_ context: ChannelHandlerContext) {
    do {
      while !self.isHolding, case .frame(let frame) = self.frames.next() { try self.handle(frame, context) }
    } catch {
      context.close(promise: nil)
    }
  }

  private func handle(_ frame: ByteBuffer, _ context: ChannelHandlerContext) throws {
    var reader = WireReader(frame)
    let header = try RequestHeader(from: &reader)
    let api = ApiKey(rawValue: header.apiKey)!
    let version = header.apiVersion
    let misbehaviour = self.cluster.state.withLock { state -> FakeCluster.Misbehaviour? in
      state.seen.append((self.node, api, version))
      guard let next = state.misbehaviour[api]?.first else { return nil }
      state.misbehaviour[api]!.removeFirst()
      return next
    }
    func answer(_ message: some WireMessage, version: Int16) {
      let frame = Frame.response(message, version: version, correlationId: header.correlationId)
      context.writeAndFlush(self.wrapOutboundOut(frame.buffer), promise: nil)
    }
    guard let range = self.cluster.versions[api], range.contains(version) else {
      if api == .apiVersions { return answer(self.apiVersions(.unsupportedVersion), version: 0) }
      throw WireError.unsupportedVersion(message: "\(api)", version: version)
    }
    if case .silence? = misbehaviour { return self.isHolding = true }
    if case .omission? = misbehaviour { return }
    if let answering = self.cluster.state.withLock({ $0.answers[api] }) {
      let message = try answering(&reader, version, self.node)
      if case .closeAfterwards? = misbehaviour { return context.close(promise: nil) }
      return answer(message, version: version)
    }
    var refusal: (code: ErrorCode, namesLeader: Bool)?
    if case .refuse(let code, let namesLeader)? = misbehaviour { refusal = (code, namesLeader) }
    switch api {
    case .apiVersions: answer(self.apiVersions(.none), version: version)
    case .metadata:
      if case .closeAfterwards? = misbehaviour { return context.close(promise: nil) }
      answer(self.metadata(), version: version)
    case .initProducerId: answer(InitProducerIdResponse(errorCode: refusal?.code ?? .none, producerId: 77), version: version)
    case .produce:
      let request = try ProduceRequest(from: &reader, version: version)
      let response = try self.produce(request, refusal)
      if case .closeAfterwards? = misbehaviour { return context.close(promise: nil) }
      if request.acks != 0 { answer(response, version: version) }
    case .listOffsets: answer(self.listOffsets(try ListOffsetsRequest(from: &reader, version: version)), version: version)
    case .fetch:
      let request = try FetchRequest(from: &reader, version: version)
      let response = self.fetch(request, refusal)
      if case .closeAfterwards? = misbehaviour { return context.close(promise: nil) }
      // An empty answer waits a little, as a broker's would.
      if request.maxWaitMs > 0, case .bytes(let bytes)? = response.responses[0].partitions[0].records, bytes.readableBytes == 0 {
        let bound = NIOLoopBound((context, self), eventLoop: context.eventLoop)
        self.isHolding = true
        context.eventLoop.scheduleTask(in: .milliseconds(20)) {
          let (context, connection) = bound.value
          let frame = Frame.response(response, version: version, correlationId: header.correlationId)
          context.writeAndFlush(connection.wrapOutboundOut(frame.buffer), promise: nil)
          connection.isHolding = false
          connection.work(context)
        }
      } else {
        answer(response, version: version)
      }
    default: throw WireError.unknownApiKey(header.apiKey)
    }
  }

  private func apiVersions(_ code: ErrorCode) -> ApiVersionsResponse {
    ApiVersionsResponse(
      errorCode: code,
      apiKeys: self.cluster.versions.map { key, range in
        .init(apiKey: key.rawValue, minVersion: range.lowerBound, maxVersion: range.upperBound)
      })
  }

  private func metadata() -> MetadataResponse {
    self.cluster.state.withLock { state in
      let code: ErrorCode = state.topicExists ? .none : .unknownTopicOrPartition
      return MetadataResponse(
        brokers: state.ports.sorted { $0.key < $1.key }.map { .init(nodeId: $0.key, host: "127.0.0.1", port: Int32($0.value)) },
        clusterId: "fake", controllerId: 1,
        topics: [
          .init(
            errorCode: code, name: "t",
            partitions: state.topicExists
              ? [.init(partitionIndex: 0, leaderId: state.leader, leaderEpoch: state.leaderEpoch, replicaNodes: [1, 2], isrNodes: [1, 2])]
              : [])
        ])
    }
  }

  private func produce(_ request: ProduceRequest, _ refusal: (code: ErrorCode, namesLeader: Bool)?) throws -> ProduceResponse {
    guard case .bytes(let bytes)? = request.topicData[0].partitionData[0].records else { throw WireError.unknownApiKey(0) }
    let batch = try RecordBatchView(frontOf: bytes)
    try batch.checkChecksum()
    return self.cluster.state.withLock { state in
      var answer = ProduceResponse.PartitionProduceResponse(index: 0)
      var response = ProduceResponse()
      let code = refusal?.code ?? (state.leader == self.node ? .none : .notLeaderOrFollower)
      if code != .none {
        answer.errorCode = code
        if refusal?.namesLeader == true { answer.currentLeader = .init(leaderId: state.leader, leaderEpoch: state.leaderEpoch) }
      } else {
        let key = "\(batch.header.producerID)/\(batch.header.producerEpoch)/\(batch.header.baseSequence)"
        if batch.header.producerID.rawValue >= 0, let earlier = state.appended[key] {
          answer.baseOffset = earlier
        } else {
          answer.baseOffset = state.end
          state.appended[key] = state.end
          state.append(batch)
        }
      }
      response.responses = [.init(name: "t", partitionResponses: [answer])]
      return response
    }
  }

  private func listOffsets(_ request: ListOffsetsRequest) -> ListOffsetsResponse {
    self.cluster.state.withLock { state in
      let timestamp = request.topics[0].partitions[0].timestamp
      var offset: Int64 = timestamp == -2 ? state.start : timestamp == -1 ? state.end : -1
      if timestamp >= 0, let found = state.log.first(where: { $0.header.maxTimestamp.rawValue >= timestamp }) {
        offset = found.header.baseOffset.rawValue
      }
      return ListOffsetsResponse(topics: [.init(name: "t", partitions: [.init(partitionIndex: 0, timestamp: -1, offset: offset)])])
    }
  }

  private func fetch(_ request: FetchRequest, _ refusal: (code: ErrorCode, namesLeader: Bool)?) -> FetchResponse {
    self.cluster.state.withLock { state in
      let offset = request.topics[0].partitions[0].fetchOffset
      var answer = FetchResponse.PartitionData(partitionIndex: 0, highWatermark: state.end, lastStableOffset: state.end)
      answer.records = .bytes(ByteBuffer())
      if let refusal {
        answer.errorCode = refusal.code
        if refusal.namesLeader { answer.currentLeader = .init(leaderId: state.leader, leaderEpoch: state.leaderEpoch) }
      } else if state.leader != self.node {
        answer.errorCode = .notLeaderOrFollower
      } else if offset < state.start || offset > state.end {
        answer.errorCode = .offsetOutOfRange
      } else {
        var bytes = ByteBuffer()
        for batch in state.log where batch.header.nextOffset.rawValue > offset { bytes.writeImmutableBuffer(batch.bytes) }
        answer.records = .bytes(bytes)
      }
      return FetchResponse(responses: [.init(topic: "t", partitions: [answer])])
    }
  }
}

extension FakeCluster.State {
  /// Puts a batch at the log's end.
  mutating func append(_ batch: RecordBatchView) {
    var bytes = batch.bytes
    var header = batch.header
    header.baseOffset = Offset(self.end)
    bytes.withUnsafeMutableReadableBytes { header.write(to: $0) }
    self.log.append(try! RecordBatchView(frontOf: bytes))
    self.end += Int64(header.lastOffsetDelta) + 1
  }
}
