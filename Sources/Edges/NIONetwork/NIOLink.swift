import Base
import Environment
package import NIOCore
import NIOPosix
import Synchronization
import Wire

/// One connection to another node: the only handler of its channel.
///
/// Confined to its event loop, but for `send` and `close`, which may come from any thread and gather what they bring, so that many
/// requests wake the loop once and leave in one write.
package final class NIOLink: NetworkLink, ChannelInboundHandler, @unchecked Sendable {
  package typealias InboundIn = ByteBuffer

  private struct Outbox: Sendable {
    var frames: [ByteBuffer] = []
    var isClosing = false
    /// A drain is on its way to the loop.
    var isScheduled = false
  }

  private let eventLoop: any EventLoop
  private let handler: @Sendable (LinkEvent) -> Void
  private let outbox = Mutex(Outbox())
  private var frames: FrameSplitter
  private var channel: (any Channel)?
  private var isOpen = false
  private var isEnded = false

  init(eventLoop: any EventLoop, frameByteCountMax: Int, _ handler: @escaping @Sendable (LinkEvent) -> Void) {
    self.eventLoop = eventLoop
    self.handler = handler
    self.frames = FrameSplitter(frameByteCountMax: frameByteCountMax)
  }

  // MARK: - From any thread

  package func send(_ frame: ByteBuffer) { self.post { $0.frames.append(frame) } }

  package func close() { self.post { $0.isClosing = true } }

  private func post(_ change: (inout sending Outbox) -> Void) {
    let mustSchedule = self.outbox.withLock { outbox in
      change(&outbox)
      defer { outbox.isScheduled = true }
      return !outbox.isScheduled
    }
    if mustSchedule { self.eventLoop.execute { self.drain() } }
  }

  // MARK: - On the loop

  func connect(to address: NodeAddress, timeout: Duration, largeReads: Bool) {
    let bootstrap = ClientBootstrap(group: self.eventLoop)
      .connectTimeout(.nanoseconds(timeout.wholeNanoseconds))
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelOption(
        .recvAllocator,
        value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: largeReads ? 65_536 : 2048, maximum: largeReads ? 1 << 20 : 65_536))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(self) }
      }
    bootstrap.connect(host: address.host, port: Int(address.port)).whenComplete { result in
      switch result {
      case .success(let channel):
        if self.isEnded { return channel.close(promise: nil) }
        self.channel = channel
        self.isOpen = true
        self.handler(.opened)
        self.drain()
      case .failure(let error): self.end(Self.failure(error))
      }
    }
  }

  private func drain() {
    let (frames, isClosing) = self.outbox.withLock { outbox in
      outbox.isScheduled = false
      // Until the connection stands, frames stay where they are.
      if !self.isOpen, !outbox.isClosing { return ([ByteBuffer](), false) }
      defer { outbox.frames = [] }
      return (outbox.frames, outbox.isClosing)
    }
    if self.isEnded { return }
    if let channel = self.channel, !frames.isEmpty {
      for frame in frames { channel.write(frame, promise: nil) }
      channel.flush()
    }
    if isClosing { self.end(.closedHere) }
  }

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    self.frames.receive(self.unwrapInboundIn(data))
    while !self.isEnded {
      switch self.frames.next() {
      case .frame(let frame): self.handler(.received(frame))
      case .incomplete: return
      case .broken(let error): return self.end(.malformed(reason: "\(error)"))
      }
    }
  }

  package func channelInactive(context: ChannelHandlerContext) { self.end(.closedByPeer) }

  package func errorCaught(context: ChannelHandlerContext, error: any Error) { self.end(Self.failure(error)) }

  private func end(_ failure: LinkFailure) {
    if self.isEnded { return }
    self.isEnded = true
    self.channel?.close(promise: nil)
    self.channel = nil
    self.handler(.closed(failure))
  }

  private static func failure(_ error: any Error) -> LinkFailure {
    switch error {
    case let error as NIOConnectionError:
      // A name may stand for several addresses; that one of them refused says more than that another could not be reached.
      let failures = error.connectionErrors.map { Self.failure($0.error) }
      if failures.contains(.refused) { return .refused }
      return failures.first ?? .unreachable(reason: "the name '\(error.host)' cannot be resolved")
    case let error as IOError:
      switch error.errnoCode {
      case ECONNREFUSED: return .refused
      case ECONNRESET, EPIPE: return .closedByPeer
      default: return .unreachable(reason: String(cString: strerror(error.errnoCode)))
      }
    case ChannelError.connectTimeout(let limit): return .unreachable(reason: "no answer within \(limit.nanoseconds / 1_000_000) ms")
    default: return .unreachable(reason: "\(error)")
    }
  }
}
