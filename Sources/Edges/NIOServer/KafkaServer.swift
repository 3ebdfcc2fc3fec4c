import Base
package import Broker
package import NIOCore
package import NIOPosix
import Synchronization

/// The listeners of a node and the event loops behind them.
///
/// `init` makes the threads, `bind` takes the ports, `serve` begins to accept: between the last two the node can open its log while
/// clients queue in the kernel. `stop` ends it all and blocks.
package final class KafkaServer: Sendable {
  private let acceptGroup: MultiThreadedEventLoopGroup
  private let ownGroup: MultiThreadedEventLoopGroup
  package let dataGroup: MultiThreadedEventLoopGroup
  /// One for each loop that has connections: those of data, and last that of control.
  private let loops: [DataLoop]
  private let limits: ServerLimits
  private let quota = ConnectionQuota()
  private let nextConnectionID = Atomic<UInt64>(1)
  private let report: @Sendable (ServerEvent) -> Void
  private let makeFront = Mutex<FrontMaker?>(nil)
  private let channels = Mutex<[any Channel]>([])
  private let isStopped = Atomic<Bool>(false)

  /// `loopCount` data loops; `readByteCount` is the size of their read buffers.
  package init(
    loopCount: Int, limits: ServerLimits, readByteCount: Int = 1 << 20, report: @escaping @Sendable (ServerEvent) -> Void
  ) {
    self.acceptGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    self.ownGroup = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    self.dataGroup = MultiThreadedEventLoopGroup(numberOfThreads: loopCount)
    // What is said of control is short, snapshots aside.
    let control = DataLoop(eventLoop: self.ownGroup.next(), readByteCount: min(readByteCount, 1 << 16))
    self.loops = (0..<loopCount).map { [dataGroup] _ in DataLoop(eventLoop: dataGroup.next(), readByteCount: readByteCount) } + [control]
    self.limits = limits
    self.report = report
  }

  /// The loop for work that must not wait for data, nor for clients that come in a herd: the controller's listeners and its connections
  /// to others, heartbeats, the node's timers.
  package var controlLoop: any EventLoop { self.ownGroup.any() }
  package var controlGroup: any EventLoopGroup { self.ownGroup }

  /// Connections that are open now.
  package var connectionCount: Int { self.quota.total }

  // MARK: Life

  /// Takes the port. Returns the address with the port that the system chose if it was 0. Blocks on name resolution.
  package func bind(_ address: ListenerAddress, backlog: Int = 4096) throws(BindError) -> ListenerAddress {
    let bootstrap = ServerBootstrap(group: self.acceptGroup, childGroup: address.role == .controller ? self.ownGroup : self.dataGroup)
      .serverChannelOption(.backlog, value: CInt(clamping: backlog))
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .serverChannelOption(.autoRead, value: false)
      .serverChannelInitializer { [report] channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(AcceptErrorReporter(listener: address.name, report: report))
        }
      }
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try self.prepare(channel, listener: address.name, address.role) }
      }
    do {
      var bound = address
      let channel: any Channel
      if address.host.isEmpty {
        // Every interface of both families, where there are two.
        do { channel = try bootstrap.bind(host: "::", port: address.port).wait() } catch {
          channel = try bootstrap.bind(host: "0.0.0.0", port: address.port).wait()
        }
        bound.host = channel.localAddress?.ipAddress ?? "0.0.0.0"
      } else {
        channel = try bootstrap.bind(host: address.host, port: address.port).wait()
      }
      self.channels.withLock { $0.append(channel) }
      bound.port = channel.localAddress?.port ?? address.port
      return bound
    } catch {
      throw BindError(address: address, reason: Self.reason(error))
    }
  }

  /// Begins to accept connections on every listener and to give their requests to `handler`.
  package func serve(_ handler: some RequestHandler) { self.serve { HandlerFront(handler, $0) } }

  /// Begins to accept connections on every listener and to give their requests to fronts that `makeFront` makes.
  package func serve(_ makeFront: @escaping FrontMaker) {
    self.makeFront.withLock { $0 = makeFront }
    let interval = max(.milliseconds(1), min(.seconds(1), self.limits.idleMax / 4))
    for loop in self.loops { loop.eventLoop.execute { loop.startSweeping(every: interval) } }
    for channel in self.channels.withLock({ $0 }) { channel.setOption(.autoRead, value: true).whenSuccess { channel.read() } }
  }

  /// Gives the ports back. Connections stay. Blocks.
  package func stopAccepting() {
    let channels = self.channels.withLock { channels in
      defer { channels = [] }
      return channels
    }
    for channel in channels { try? channel.close().wait() }
  }

  /// Lets requests that are being served finish for up to `grace`, and closes every connection. Blocks.
  package func closeConnections(grace: Duration) {
    for loop in self.loops { loop.eventLoop.execute { loop.closeConnections() } }
    let clock = ContinuousClock()
    let deadline = clock.now + grace
    while self.quota.total > 0, clock.now < deadline { CLibrary.pause(milliseconds: 2) }
    for loop in self.loops { loop.eventLoop.execute { loop.abortConnections() } }
  }

  /// All of this, and ends the threads. Blocks; not on one of the server's own threads. Does nothing the second time.
  package func stop(grace: Duration = .seconds(2)) {
    if self.isStopped.exchange(true, ordering: .sequentiallyConsistent) { return }
    self.stopAccepting()
    self.closeConnections(grace: grace)
    try? self.dataGroup.syncShutdownGracefully()
    try? self.ownGroup.syncShutdownGracefully()
    try? self.acceptGroup.syncShutdownGracefully()
    self.makeFront.withLock { $0 = nil }
  }

  // MARK: Connections

  /// Runs on the connection's own loop, before it is active.
  private func prepare(_ channel: any Channel, listener: String, _ role: ListenerRole) throws {
    let host = channel.remoteAddress?.ipAddress ?? "unknown"
    guard let makeFront = self.makeFront.withLock({ $0 }) else { throw ChannelError.alreadyClosed }
    if let reason = self.quota.admit(host, self.limits) {
      self.report(.refused(host: host, listener: listener, reason: reason))
      throw ChannelError.alreadyClosed
    }
    channel.closeFuture.whenComplete { [quota] _ in quota.release(host) }
    do { try self.setUp(channel, host: host, listener: listener, role, makeFront) } catch {
      self.report(.refused(host: host, listener: listener, reason: "the connection cannot be set up: \(Self.reason(error))"))
      throw error
    }
  }

  private func setUp(
    _ channel: any Channel, host: String, listener: String, _ role: ListenerRole, _ makeFront: @escaping FrontMaker
  ) throws {
    guard let loop = self.loops.first(where: { $0.eventLoop === channel.eventLoop }) else { throw ChannelError.alreadyClosed }
    let client = ClientContext(
      connectionID: self.nextConnectionID.add(1, ordering: .relaxed).oldValue, listener: listener, host: host,
      port: channel.remoteAddress?.port ?? 0, role: role)
    let source = ReadBufferSource(
      machine: ConnectionMachine(limits: self.limits, now: loop.now), buffers: loop.buffers)
    let options = channel.syncOptions
    try options?.setOption(.tcpOption(.tcp_nodelay), value: 1)
    if let size = self.limits.receiveBufferByteCount { try options?.setOption(.socketOption(.so_rcvbuf), value: .init(size)) }
    if let size = self.limits.sendBufferByteCount { try options?.setOption(.socketOption(.so_sndbuf), value: .init(size)) }
    try options?.setOption(.autoRead, value: false)
    try options?.setOption(.maxMessagesPerRead, value: 1)
    try options?.setOption(.allowRemoteHalfClosure, value: true)
    try options?.setOption(.recvAllocator, value: source)
    let high = self.limits.outboundByteCountMax
    try options?.setOption(.writeBufferWaterMark, value: .init(low: max(1, high / 2), high: max(2, high)))
    try channel.pipeline.syncOperations.addHandler(
      Connection(client: client, loop: loop, makeFront: makeFront, source: source, report: self.report))
  }

  private static func reason(_ error: any Error) -> String {
    switch error {
    case let error as IOError: CLibrary.message(for: error.errnoCode)
    case SocketAddressError.unknown, is SocketAddressError.UnknownHost: "no such host"
    default: "\(error)"
    }
  }
}

/// Reports what the system would not accept, and lets NIO pause.
private final class AcceptErrorReporter: ChannelInboundHandler, Sendable {
  typealias InboundIn = any Channel
  private let listener: String
  private let report: @Sendable (ServerEvent) -> Void

  init(listener: String, report: @escaping @Sendable (ServerEvent) -> Void) { (self.listener, self.report) = (listener, report) }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    self.report(.acceptFailed(listener: self.listener, reason: "\(error)"))
    context.fireErrorCaught(error)
  }
}
