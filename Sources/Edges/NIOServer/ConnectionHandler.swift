import Base
package import Broker
package import NIOCore

/// One connection: does what its `ConnectionMachine` says. The only handler of its channel.
///
/// Confined to its event loop, but for `deliver` and `close`, which hand over to it.
package final class ConnectionHandler<Handler: RequestHandler>: ChannelInboundHandler, ResponseSink, @unchecked Sendable {
  package typealias InboundIn = ByteBuffer
  package typealias OutboundOut = IOData
  package typealias File = Handler.File

  package let client: ClientContext
  private let loop: DataLoop<Handler>
  private let requests: Handler
  private let source: ReadBufferSource<File>
  private let report: @Sendable (ServerEvent) -> Void
  private var context: ChannelHandlerContext?
  /// The first read's buffer, kept so that NIO's own pool of one finds its buffer in use and asks `ReadBufferSource` for every read.
  private var pin: ByteBuffer?
  private var isServing = false
  private var isInUnflushed = false
  private var isClosing = false
  private var slotBeingServed: UInt64?
  private var outgoing: [OutgoingFrame<File>] = []

  init(
    client: ClientContext, loop: DataLoop<Handler>, requests: Handler, source: ReadBufferSource<File>,
    report: @escaping @Sendable (ServerEvent) -> Void
  ) {
    self.client = client
    self.loop = loop
    self.requests = requests
    self.source = source
    self.report = report
  }

  // MARK: Channel events

  package func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  package func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  package func channelActive(context: ChannelHandlerContext) {
    self.loop.add(self)
    self.requests.connected(self.client)
    self.report(.opened(self.client))
    context.read()
  }

  package func channelInactive(context: ChannelHandlerContext) {
    self.loop.remove(self)
    self.context = nil
    self.pin = nil
    self.requests.disconnected(self.client)
    if !self.isClosing { self.report(.closed(self.client, reason: "closed by the client", isError: false)) }
  }

  package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = self.unwrapInboundIn(data)
    if self.pin == nil { self.pin = buffer }
    self.source.machine.receive(buffer, now: self.loop.now)
    self.serve()
  }

  package func channelReadComplete(context: ChannelHandlerContext) {
    if self.source.machine.wantsRead { context.read() }
  }

  package func channelWritabilityChanged(context: ChannelHandlerContext) {
    self.source.machine.writabilityChanged(context.channel.isWritable, now: self.loop.now)
    self.resume()
  }

  package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard case ChannelEvent.inputClosed = event else { return }
    self.source.machine.inputClosed(now: self.loop.now)
    self.serve()
  }

  package func errorCaught(context: ChannelHandlerContext, error: any Error) {
    self.end("\(error)", isError: true)
    context.close(promise: nil)
  }

  // MARK: Serving

  /// Serves what is complete and allowed, and writes what is ready, until neither is left.
  private func serve() {
    // Writing can make the socket writable again, which asks to serve: the loop below sees to it.
    if self.isServing || self.context == nil { return }
    self.isServing = true
    self.loop.beginServing()
    repeat {
      while case .request(let slot, let frame) = self.source.machine.next(now: self.loop.now) {
        self.slotBeingServed = slot
        self.requests.handle(frame, from: self.client, reply: Reply(sink: self, slot: slot))
      }
      self.slotBeingServed = nil
      self.writeReady()
    } while self.context != nil && self.source.machine.hasReady
    self.source.machine.splitter.settle(to: self.loop.buffers)
    self.isServing = false
    self.closeIfDone()
    self.loop.endServing()
  }

  /// Serves what had to wait, and reads again if there is room.
  private func resume() {
    guard !self.isServing, let context = self.context else { return }
    self.serve()
    if self.context != nil, self.source.machine.wantsRead { context.read() }
  }

  private func closeIfDone() {
    guard !self.isClosing, let context = self.context, let reason = self.source.machine.shouldClose else { return }
    self.end(reason.description, isError: reason.isError)
    // An empty write completes after everything before it; only then is it safe to close.
    let written = context.eventLoop.makePromise(of: Void.self)
    let channel = context.channel
    written.futureResult.whenComplete { _ in channel.close(promise: nil) }
    context.writeAndFlush(self.wrapOutboundOut(.byteBuffer(ByteBuffer())), promise: written)
  }

  private func end(_ reason: String, isError: Bool) {
    guard !self.isClosing else { return }
    self.isClosing = true
    self.report(.closed(self.client, reason: reason, isError: isError))
  }

  /// Called now and then by the loop.
  func closeIfOverdue(now: Instant) {
    if let reason = self.source.machine.overdue(now: now) { self.abort(reason) }
  }

  func beginShutdown() {
    self.source.machine.close(.shutdown, now: self.loop.now)
    self.closeIfDone()
  }

  func abort(_ reason: ConnectionMachine<File>.CloseReason) {
    self.end(reason.description, isError: reason.isError)
    self.context?.close(promise: nil)
  }

  // MARK: Answers

  package func deliver(_ frame: OutgoingFrame<File>?, slot: UInt64) { self.loop.deliver(frame, slot: slot, to: self) }

  package func close(reason: String) {
    guard self.loop.eventLoop.inEventLoop else { return self.loop.eventLoop.execute { self.close(reason: reason) } }
    self.source.machine.close(.refused(reason), before: self.slotBeingServed, now: self.loop.now)
    if !self.isServing { self.closeIfDone() }
  }

  /// On the loop. True if the connection must be flushed by somebody: it is not serving, and not yet in line.
  func accept(_ frame: OutgoingFrame<File>?, slot: UInt64) -> Bool {
    guard self.context != nil else { return false }
    self.source.machine.answer(slot, frame)
    if self.isServing || self.isInUnflushed { return false }
    self.isInUnflushed = true
    return true
  }

  func flushAnswers() {
    self.isInUnflushed = false
    self.writeReady()
    self.resume()
    self.closeIfDone()
  }

  private func writeReady() {
    guard let context = self.context, self.source.machine.hasReady else { return }
    self.source.machine.takeReady(&self.outgoing, now: self.loop.now)
    FrameWriter(context: context).write(self.outgoing)
    self.outgoing.removeAll(keepingCapacity: self.outgoing.count <= 64)
    context.flush()
  }
}

extension ConnectionMachine.CloseReason {
  /// Worth a warning: the peer did something wrong.
  var isError: Bool {
    switch self {
    case .framing, .refused, .closingTooSlow: true
    case .peerClosed, .idle, .shutdown: false
    }
  }
}
