import Base
import Environment
import NIOCore
import NIONetwork
import NIOPosix
import Synchronization
import Testing

/// Connections to other nodes on real sockets.
@Suite(.serialized) struct NIONetworkTests {
  /// What a link's handler was told, to wait for.
  final class Events: Sendable {
    private let lines = Mutex<[String]>([])
    private let continuation: AsyncStream<String>.Continuation
    let stream: AsyncStream<String>

    init() { (self.stream, self.continuation) = AsyncStream.makeStream() }

    func note(_ event: LinkEvent) {
      switch event {
      case .opened: self.continuation.yield("opened")
      case .received(let body):
        let start = body.getString(at: body.readerIndex, length: min(8, body.readableBytes)) ?? ""
        self.continuation.yield("got \(body.readableBytes): \(start)")
      case .closed(let failure):
        self.continuation.yield("closed: \(failure)")
        self.continuation.finish()
      }
    }
    func all() async -> [String] { await self.stream.reduce(into: []) { $0.append($1) } }
  }

  /// Sends back what it gets, and closes when it gets a frame of three bytes.
  private final class Echo: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    let closesAtOnce: Bool
    init(closesAtOnce: Bool) { self.closesAtOnce = closesAtOnce }
    func channelActive(context: ChannelHandlerContext) { if self.closesAtOnce { context.close(promise: nil) } }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let buffer = self.unwrapInboundIn(data)
      context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
      if buffer.readableBytes == 7 { context.close(promise: nil) }
    }
  }

  private func withServer(
    closesAtOnce: Bool = false, _ body: (NIONetwork, NodeAddress) async throws -> Void
  ) async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
    let server = try await ServerBootstrap(group: group)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Echo(closesAtOnce: closesAtOnce)) }
      }
      .bind(host: "127.0.0.1", port: 0).get()
    let network = NIONetwork(controlGroup: group, dataGroup: group, frameByteCountMax: 4 << 20, connectTimeout: .milliseconds(500))
    try await body(network, NodeAddress(host: "127.0.0.1", port: UInt16(server.localAddress!.port!)))
    try? await server.close().get()
    try await group.shutdownGracefully()
  }

  private func frame(_ byteCount: Int) -> ByteBuffer {
    var buffer = ByteBuffer()
    buffer.writeInteger(Int32(byteCount))
    buffer.writeRepeatingByte(UInt8(ascii: "x"), count: byteCount)
    return buffer
  }

  @Test(arguments: [Traffic.control, .data])
  func framesGoOutInOrderAndComeBackWhole(_ traffic: Traffic) async throws {
    try await self.withServer { network, address in
      let events = Events()
      let link = network.connect(to: address, for: traffic) { events.note($0) }
      // Sent before the connection stands, one of them larger than any read.
      link.send(self.frame(10))
      link.send(self.frame(3 << 20))
      link.send(self.frame(1))
      var seen: [String] = []
      for await line in events.stream {
        seen.append(line)
        if seen.count == 4 { link.close() }
      }
      #expect(seen == ["opened", "got 10: xxxxxxxx", "got 3145728: xxxxxxxx", "got 1: x", "closed: closed here"])
    }
  }

  @Test func nobodyListening() async throws {
    try await self.withServer { network, _ in
      let events = Events()
      let link = network.connect(to: NodeAddress(host: "127.0.0.1", port: 1), for: .control) { events.note($0) }
      link.send(self.frame(1))
      #expect(await events.all() == ["closed: connection refused: nothing listens there"])
    }
  }

  @Test func anUnknownName() async throws {
    try await self.withServer { network, _ in
      let events = Events()
      let link = network.connect(to: NodeAddress(host: "no-such-host.invalid", port: 1), for: .control) { events.note($0) }
      #expect(await events.all() == ["closed: not reachable: the name 'no-such-host.invalid' cannot be resolved"])
      link.close()
    }
  }

  @Test func theOtherSideCloses() async throws {
    try await self.withServer(closesAtOnce: true) { network, address in
      let events = Events()
      let link = network.connect(to: address, for: .control) { events.note($0) }
      #expect(await events.all() == ["opened", "closed: the other side closed the connection"])
      link.send(self.frame(1))
    }
  }

  @Test func anAnswerBeyondTheLimit() async throws {
    try await self.withServer { network, address in
      let events = Events()
      let link = network.connect(to: address, for: .control) { events.note($0) }
      link.send(self.frame(4 << 20 | 1))
      let seen = await events.all()
      #expect(seen.count == 2 && seen[1].hasPrefix("closed: not a Kafka node's answer"), "\(seen)")
    }
  }

  @Test func closedBeforeItStood() async throws {
    try await self.withServer { network, address in
      let events = Events()
      let link = network.connect(to: address, for: .control) { events.note($0) }
      link.close()
      link.close()
      let seen = await events.all()
      #expect(seen.last == "closed: closed here", "\(seen)")
    }
  }
}
