import Base
import Broker
import NIOCore
import NIOPosix
import NIOServer
import Synchronization
import Testing

/// A server on a free port of the loopback, for the length of one test.
final class ServerFixture {
  let server: KafkaServer
  let handler: EchoHandler
  let port: Int
  let events: EventLog

  final class EventLog: Sendable {
    let texts = Mutex<[String]>([])
    func contains(_ part: String) -> Bool { self.texts.withLock { $0.contains { $0.contains(part) } } }
  }

  init(loopCount: Int = 2, onDisk: Bool = true, _ change: (inout ServerLimits) -> Void = { _ in }) throws {
    var limits = ServerLimits()
    change(&limits)
    let events = EventLog()
    self.events = events
    self.server = KafkaServer(loopCount: loopCount, limits: limits, readByteCount: 64 << 10) { event in
      let text: String? =
        switch event {
        case .opened: nil
        case .closed(_, let reason, let isError): (isError ? "error: " : "closed: ") + reason
        case .refused(_, _, let reason): "refused: " + reason
        case .acceptFailed(_, let reason): "accept: " + reason
        }
      if let text { events.texts.withLock { $0.append(text) } }
    }
    self.handler = EchoHandler(
      file: TestFile(pattern(EchoHandler.fileByteCount), onDisk: onDisk), threads: MultiThreadedEventLoopGroup.singleton)
    self.port = try self.server.bind(ListenerAddress(name: "PLAINTEXT", host: "127.0.0.1", port: 0)).port
    self.server.serve(self.handler)
  }

  deinit { self.server.stop(grace: .milliseconds(200)) }

  func client() -> TestClient { TestClient(port: self.port) }

  /// Waits up to ten seconds.
  func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<5_000 where !condition() { sleepBriefly() }
    return condition()
  }
}

private func request(_ command: EchoHandler.Command, _ rest: [UInt8] = []) -> [UInt8] { framed([command.rawValue] + rest) }

@Suite(.serialized) struct KafkaServerTests {
  @Test func answersInOrderWhateverThreadTheyComeFrom() throws {
    let fixture = try ServerFixture()
    let client = fixture.client()
    var generator = SeededGenerator(seed: 11)
    var stream: [UInt8] = []
    var expected: [[UInt8]] = []
    for index in 0..<2_000 {
      let later = generator.next() % 3 == 0
      let body =
        [later ? EchoHandler.Command.echoLater.rawValue : EchoHandler.Command.echo.rawValue, UInt8(generator.next() % 20)]
        + pattern(Int(generator.next() % 700), seed: index)
      stream += framed(body)
      expected.append(body)
      if index % 10 == 0 { stream += request(.silent) }
    }
    let sender = Sender(client, stream)
    for body in expected {
      guard client.receiveFrame() == body else {
        Issue.record("an answer out of order")
        break
      }
    }
    sender.join()
    #expect(fixture.handler.seen.withLock { $0.requests } == 2_200)
  }

  @Test(arguments: [1, 100, 64 << 10, (64 << 10) - 4, 100_000, 1 << 20, 5 << 20])
  func framesOfAllSizes(byteCount: Int) throws {
    let fixture = try ServerFixture()
    let client = fixture.client()
    let body = [EchoHandler.Command.echo.rawValue] + pattern(byteCount - 1)
    let sender = Sender(client, framed(body) + framed(body) + framed(body))
    for _ in 0..<3 { #expect(client.receiveFrame() == body) }
    sender.join()
  }

  @Test(arguments: [true, false]) func filesAreSent(onDisk: Bool) throws {
    let fixture = try ServerFixture(onDisk: onDisk)
    let client = fixture.client()
    client.send(request(.echo) + request(.file) + request(.file) + request(.echo))
    #expect(client.receiveFrame() == [1])
    #expect(client.receiveFrame() == [4] + fixture.handler.file.bytes)
    #expect(client.receiveFrame() == [4] + fixture.handler.file.bytes)
    #expect(client.receiveFrame() == [1])
  }

  @Test(arguments: [EchoHandler.Command.file, .large])
  func aClientThatReadsNothing(command: EchoHandler.Command) throws {
    let fixture = try ServerFixture { $0.outboundByteCountMax = 4 << 20 }
    let client = TestClient(port: fixture.port, receiveBufferByteCount: 16 << 10)
    let before = residentByteCount()
    let many = (0..<200).flatMap { _ in request(command) }
    _ = client.sendWithoutWaiting(many)
    // 200 MiB are asked for; what is served is what the limit and the kernel's buffers hold.
    let other = fixture.client()
    for round in 0..<200 {
      other.send(request(.echo, [UInt8(round)]))
      #expect(other.receiveFrame() == [1, UInt8(round)], "the others are undisturbed")
    }
    let served = fixture.handler.seen.withLock { $0.requests } - 200
    #expect(served < 20, "served \(served)")
    #expect(residentByteCount() - before < 32 << 20)
    // Then it reads after all, and gets everything.
    for _ in 0..<200 {
      // One that is missing is enough: to wait for each of the others as well would take half an hour.
      try #require(client.receiveFrame().count >= EchoHandler.fileByteCount)
    }
  }

  /// Every answer is over the limit, so that each request behind it has to wait until it was written; and no further bytes come
  /// from the client that would make anybody look again.
  @Test func requestsThatWaitForRoomAreServedWhenThereIsSome() throws {
    let fixture = try ServerFixture { $0.outboundByteCountMax = 1 }
    let client = fixture.client()
    client.send((0..<50).flatMap { request(.echo, [UInt8($0)]) })
    for round in 0..<50 {
      try #require(client.receiveFrame() == [1, UInt8(round)])
    }
  }

  @Test func requestsOverTheLimitWait() throws {
    let fixture = try ServerFixture { $0.inFlightRequestsMax = 10 }
    let client = fixture.client()
    client.send((0..<9).flatMap { _ in request(.hold) } + request(.echo))
    client.send((0..<100_000).flatMap { _ in request(.echo) })
    sleepBriefly()
    #expect(fixture.eventually { fixture.handler.seen.withLock { $0.requests } == 10 })
  }

  @Test func twoThousandIdleConnections() throws {
    raiseDescriptorLimit()
    let fixture = try ServerFixture()
    let before = residentByteCount()
    let clients = (0..<2_000).map { _ in fixture.client() }
    for (index, client) in clients.enumerated() { client.send(request(.echo, [UInt8(index % 256)])) }
    for (index, client) in clients.enumerated() { #expect(client.receiveFrame() == [1, UInt8(index % 256)]) }
    #expect(fixture.server.connectionCount == 2_000)
    let each = (residentByteCount() - before) / 2_000
    #expect(each < 16 << 10, "\(each) bytes for each idle connection")
    for client in clients { client.end() }
    #expect(fixture.eventually { fixture.server.connectionCount == 0 })
    #expect(fixture.handler.seen.withLock { $0.disconnected } == 2_000)
  }

  @Test func halfClosedClientGetsItsAnswers() throws {
    let fixture = try ServerFixture()
    let client = fixture.client()
    client.send((0..<50).flatMap { request(.echoLater, [$0]) } + request(.file))
    client.closeOutput()
    for value in UInt8(0)..<50 { #expect(client.receiveFrame() == [2, value]) }
    #expect(client.receiveFrame().count == EchoHandler.fileByteCount + 1)
    #expect(client.isAtEnd)
    #expect(fixture.eventually { fixture.handler.seen.withLock { $0.disconnected } == 1 })
  }

  @Test func abruptResets() throws {
    let fixture = try ServerFixture()
    for index in 0..<100 {
      let client = fixture.client()
      client.send(request(.echoLater, [UInt8(index)]) + request(.large) + request(.file) + framed(1_000_000, pattern(index * 100)))
      if index % 2 == 0 { sleepBriefly() }
      client.reset()
    }
    #expect(fixture.eventually { fixture.server.connectionCount == 0 })
    let client = fixture.client()
    client.send(request(.echo))
    #expect(client.receiveFrame() == [1])
  }

  @Test(arguments: [
    (framed(-1, [1, 2, 3]), "a request of -1 bytes"), (framed(0, [1]), "a request of 0 bytes"),
    (framed(101 << 20, [1]), "socket.request.max.bytes=104857600"),
    ([0x16, 0x03, 0x01, 0x00, 0xA5, 0x01, 0x00], "TLS ClientHello on a PLAINTEXT listener"),
    (Array("GET / HTTP/1.1\r\n\r\n".utf8), "an HTTP request"), (request(.refuse), "refused by the test"),
  ] as [([UInt8], String)])
  func badBytes(bytes: [UInt8], reason: String) throws {
    let fixture = try ServerFixture()
    let client = fixture.client()
    client.send(bytes)
    #expect(client.isAtEnd)
    #expect(fixture.eventually { fixture.events.contains(reason) })
    let isTheBrokers = reason.contains("refused")
    #expect(fixture.events.contains("error: ") != isTheBrokers, "what the broker refuses, it reports itself")
  }

  @Test func answersBeforeBadBytesStillArrive() throws {
    let fixture = try ServerFixture()
    let client = fixture.client()
    client.send(request(.echoLater, [100]) + request(.echo) + request(.refuse) + request(.echo))
    #expect(client.receiveFrame() == [2, 100])
    #expect(client.receiveFrame() == [1])
    #expect(client.isAtEnd)
  }

  @Test func idleConnectionsAreClosed() throws {
    let fixture = try ServerFixture { $0.idleMax = .milliseconds(200) }
    let idle = fixture.client()
    let waiting = fixture.client()
    waiting.send(request(.hold))
    #expect(idle.isAtEnd)
    #expect(fixture.events.contains("closed: idle"))
    #expect(fixture.eventually { fixture.server.connectionCount == 1 })
    sleepBriefly(500)
    #expect(fixture.server.connectionCount == 1, "a request that waits keeps its connection")
  }

  @Test func limitsOnConnections() throws {
    let fixture = try ServerFixture {
      $0.connectionsMax = 3
      $0.connectionsPerAddressMax = 2
    }
    var clients = [fixture.client(), fixture.client()]
    for client in clients {
      client.send(request(.echo))
      #expect(client.receiveFrame() == [1])
    }
    #expect(fixture.client().isAtEnd)
    #expect(fixture.eventually { fixture.events.contains("refused: 2 connections from 127.0.0.1 are open: max.connections.per.ip") })
    clients.removeLast().end()
    #expect(fixture.eventually { fixture.server.connectionCount == 1 })
    let again = fixture.client()
    again.send(request(.echo))
    #expect(again.receiveFrame() == [1])
  }

  @Test func severalListeners() throws {
    let fixture = try ServerFixture()
    #expect(throws: BindError.self) {
      try fixture.server.bind(ListenerAddress(name: "OTHER", host: "127.0.0.1", port: fixture.port))
    }
    do {
      _ = try fixture.server.bind(ListenerAddress(name: "OTHER", host: "127.0.0.1", port: fixture.port))
    } catch {
      #expect(error.description == "cannot listen on 127.0.0.1:\(fixture.port): Address already in use")
    }
  }

  @Test func stoppingAnswersWhatIsBeingServed() throws {
    let fixture = try ServerFixture()
    let client = fixture.client()
    client.send(request(.echo) + request(.echoLater, [255]))
    #expect(client.receiveFrame() == [1])
    fixture.server.stop(grace: .seconds(5))
    #expect(client.receiveFrame() == [2, 255])
    #expect(client.isAtEnd)
  }
}

/// Sends from a thread of its own, so that neither side waits for the other.
final class Sender {
  private let done: EventLoopFuture<Void>

  init(_ client: TestClient, _ bytes: [UInt8]) {
    nonisolated(unsafe) let client = client
    self.done = NIOThreadPool.singleton.runIfActive(eventLoop: MultiThreadedEventLoopGroup.singleton.next()) { client.send(bytes) }
  }

  func join() { try? self.done.wait() }
}
