import Base
import Broker
import Environment
import Metadata
import Model
import NIOCore
import Records
import Synchronization
import Testing
import VirtualWorld
import Wire

/// A broker in a virtual world, driven request by request in one thread.
final class TestNode {
  let environment: VirtualEnvironment
  let events = EventList()
  let broker: Broker<VirtualEnvironment>
  var disk: FaultyDisk { self.environment.disk }
  private var nextConnectionID: UInt64 = 1
  private(set) var client: TestClient

  /// Starts a node on `disk`; a new disk is a new node.
  init(
    disk: FaultyDisk? = nil, seed: UInt64 = 1, settings: [String: String] = [:], at wallClock: Timestamp = Timestamp(1_700_000_000_000),
    logLevels: (any LogLevels)? = nil
  ) throws {
    self.environment = VirtualEnvironment(disk: disk ?? FaultyDisk(seed: seed), seed: seed, wallClock: wallClock)
    var config = StaticConfig()
    try config.set("log.dirs", "/data")
    // Virtual days pass in some tests, and a heartbeat each tenth of a second would take real ones.
    try config.set("broker.session.timeout.ms", "2000000000")
    try config.set("broker.heartbeat.interval.ms", "900000000")
    for (name, value) in settings.sorted(by: { $0.key < $1.key }) { try config.set(name, value) }
    self.broker = try Broker.open(environment: self.environment, staticConfig: config, events: self.events, logLevels: logLevels)
    self.client = TestClient(connectionID: 0)
    let outcome = Mutex<Result<Void, BrokerStartError>?>(nil)
    self.broker.start { result in outcome.withLock { $0 = result } }
    self.environment.settle()
    try #require(outcome.withLock { $0 }, "the broker did not start").get()
    self.client = self.connect()
  }

  func connect() -> TestClient {
    defer { self.nextConnectionID += 1 }
    return TestClient(connectionID: self.nextConnectionID)
  }

  /// Stops cleanly and starts again on the same disk.
  func restarted(settings: [String: String] = [:]) throws -> TestNode {
    try self.stop()
    return try TestNode(disk: self.disk, seed: 2, settings: settings, at: self.environment.wallClock())
  }

  func stop() throws {
    let isDone = Mutex(false)
    self.broker.shutDown { isDone.withLock { $0 = true } }
    self.environment.settle()
    try #require(isDone.withLock { $0 }, "the shutdown did not end")
    self.disk.killProcess()
  }

  /// `kill -9`, and a start on what is left.
  func killedAndRestarted(losingPower: Bool = false, settings: [String: String] = [:]) throws -> TestNode {
    self.environment.dropEverything()
    if losingPower { self.disk.losePower() } else { self.disk.killProcess() }
    return try TestNode(disk: self.disk, seed: 3, settings: settings, at: self.environment.wallClock())
  }

  // MARK: - Requests

  /// Sends a request and runs what it brings about, but does not move the clock.
  @discardableResult
  func send<Request: ApiRequest>(_ request: Request, version: Int16? = nil, from client: TestClient? = nil, settling: Bool = true)
    -> Pending<Request.Response>
  {
    let version = version ?? Request.supportedVersions.upperBound
    let pending = self.send(raw: Self.frame(request, version: version), from: client, settling: settling)
    return Pending(sink: pending.sink, slot: pending.slot, version: version, responseKey: Request.apiKey)
  }

  static func frame<Request: ApiRequest>(_ request: Request, version: Int16 = Request.supportedVersions.upperBound) -> ByteBuffer {
    var writer = WireWriter()
    RequestHeader(Request.apiKey, version: version, correlationId: 77, clientId: "test").encode(into: &writer)
    request.encode(into: &writer, version: version)
    return writer.buffer
  }

  func send(raw frame: ByteBuffer, from client: TestClient? = nil, settling: Bool = true) -> (sink: TestSink, slot: UInt64) {
    let client = client ?? self.client
    let slot = client.sink.open()
    self.broker.handle(frame, from: client.context, reply: Reply(sink: client.sink, slot: slot))
    if settling { self.environment.settle() }
    return (client.sink, slot)
  }

  /// Sends a request that is answered without the clock moving, and returns the answer.
  func ask<Request: ApiRequest>(
    _ request: Request, version: Int16? = nil, from client: TestClient? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Request.Response {
    let pending = self.send(request, version: version, from: client)
    return try #require(
      try pending.response(), "no answer; the connection: \(pending.sink.closeReason ?? "open")", sourceLocation: sourceLocation)
  }

  @discardableResult
  func createTopic(_ name: String, partitions: Int32 = 1, configs: [String: String] = [:]) throws -> KafkaUUID {
    var topic = CreateTopicsRequest.CreatableTopic(name: name, numPartitions: partitions, replicationFactor: 1)
    topic.configs = configs.sorted { $0.key < $1.key }.map { .init(name: $0.key, value: $0.value) }
    let response = try self.ask(CreateTopicsRequest(topics: [topic]))
    try #require(response.topics.first?.errorCode == ErrorCode.none, "\(response.topics.first?.errorMessage ?? "")")
    return response.topics[0].topicId
  }
}

final class TestClient: Sendable {
  let context: ClientContext
  let sink = TestSink()
  init(connectionID: UInt64, listener: String = "PLAINTEXT", role: ListenerRole = .broker) {
    self.context = ClientContext(
      connectionID: connectionID, listener: listener, host: "127.0.0.1", port: 40_000 + Int(connectionID), role: role)
  }
}

/// Keeps the answers of one connection by slot.
final class TestSink: ResponseSink {
  typealias File = FaultyFile
  private struct State: Sendable {
    var slots: UInt64 = 0
    var frames: [UInt64: OutgoingFrame<FaultyFile>?] = [:]
    var closeReason: String?
    var answeredTwice = false
  }
  private let state = Mutex(State())

  func open() -> UInt64 {
    self.state.withLock { state in
      defer { state.slots += 1 }
      return state.slots
    }
  }
  func deliver(_ frame: OutgoingFrame<FaultyFile>?, slot: UInt64) {
    self.state.withLock { state in
      if state.frames[slot] != nil { state.answeredTwice = true }
      state.frames[slot] = .some(frame)
    }
  }
  func close(reason: String) { self.state.withLock { $0.closeReason = reason } }

  var closeReason: String? { self.state.withLock { $0.closeReason } }
  var answeredTwice: Bool { self.state.withLock { $0.answeredTwice } }
  /// Nil: not answered. `.some(nil)`: no answer is due.
  func frame(_ slot: UInt64) -> OutgoingFrame<FaultyFile>?? { self.state.withLock { $0.frames[slot] } }

  /// The answer's bytes as they would go over the wire.
  func bytes(_ slot: UInt64) throws -> ByteBuffer? {
    guard let frame = self.frame(slot), let frame else { return nil }
    var bytes = ByteBuffer()
    for piece in frame.pieces {
      switch piece {
      case .bytes(let part): bytes.writeImmutableBuffer(part)
      case .file(let file, let position, let byteCount):
        var part = [UInt8](repeating: 0, count: byteCount)
        let count = try part.withUnsafeMutableBytes { try file.read(into: $0, at: position) }
        #expect(count == byteCount)
        bytes.writeBytes(part)
      }
    }
    return bytes
  }
}

/// An answer that is there or will be.
struct Pending<Response: WireMessage> {
  let sink: TestSink
  let slot: UInt64
  let version: Int16
  let responseKey: ApiKey

  var isAnswered: Bool { self.sink.frame(self.slot) != nil }
  /// Answered with "no answer is due".
  var isSkipped: Bool { if case .some(.none) = self.sink.frame(self.slot) { true } else { false } }

  /// Nil if there is none yet.
  func response(decodedAs version: Int16? = nil) throws -> Response? {
    guard let bytes = try self.sink.bytes(self.slot) else { return nil }
    #expect(!self.sink.answeredTwice)
    var reader = WireReader(bytes)
    let length = try reader.readInteger("length", as: Int32.self)
    #expect(Int(length) == reader.remaining, "the length prefix counts what follows")
    let header = try ResponseHeader(from: &reader, apiKey: self.responseKey, version: version ?? self.version)
    #expect(header.correlationId == 77)
    let response = try Response(from: &reader, version: version ?? self.version)
    #expect(reader.remaining == 0, "\(reader.remaining) bytes follow the answer")
    return response
  }
}

/// What the broker reported.
final class EventList: BrokerEvents {
  private let events = Mutex<[BrokerEvent]>([])
  private let hook = Mutex<(@Sendable (BrokerEvent) -> Void)?>(nil)
  func record(_ event: BrokerEvent) {
    self.events.withLock { $0.append(event) }
    self.hook.withLock { $0 }?(event)
  }
  /// Called with each event from now on, in the middle of what the broker does.
  func onRecord(_ body: @escaping @Sendable (BrokerEvent) -> Void) { self.hook.withLock { $0 = body } }
  var all: [BrokerEvent] { self.events.withLock { $0 } }
  func contains(_ predicate: (BrokerEvent) -> Bool) -> Bool { self.all.contains(where: predicate) }
}
