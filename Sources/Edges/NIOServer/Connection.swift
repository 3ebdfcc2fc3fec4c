import Base
package import Broker
package import NIOCore
import Wire

/// Makes the front of a connection, on the connection's loop.
package typealias FrontMaker = @Sendable (Connection) -> any ConnectionFront

/// One connection: does what its `ConnectionMachine` says. The only handler of its channel.
///
/// Confined to its event loop, but for `deliver` and `close`, which hand over to it.
package final class Connection: ChannelInboundHandler, @unchecked Sendable {
  package typealias InboundIn = ByteBuffer
  package typealias OutboundOut = IOData

  package let client: ClientContext
  private let loop: DataLoop
  private let makeFront: FrontMaker
  private var front: (any ConnectionFront)?
  private let source: ReadBufferSource
  private let report: @Sendable (ServerEvent) -> Void
  private var context: ChannelHandlerContext?
  /// The first read's buffer, kept so that NIO's own pool of one finds its buffer in use and asks `ReadBufferSource` for every read.
  private var pin: ByteBuffer?
  private var isServing = false
  private var isInUnflushed = false
  private var isClosing = false
  private var slotBeingServed: UInt64?
  private var outgoing: [Answer] = []

  init(
    client: ClientContext, loop: DataLoop, makeFront: @escaping FrontMaker, source: ReadBufferSource,
    report: @escaping @Sendable (ServerEvent) -> Void
  ) {
    self.client = client
    self.loop = loop
    self.makeFront = makeFront
    self.source = source
    self.report = report
  }

  // MARK: Channel events

  package func handlerAdded(context: ChannelHandlerContext) { self.context = context }
  package func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  package func channelActive(context: ChannelHandlerContext) {
    self.loop.add(self)
    self.front = self.makeFront(self)
    self.report(.opened(self.client))
    context.read()
  }

  package func channelInactive(context: ChannelHandlerContext) {
    self.loop.remove(self)
    self.context = nil
    self.pin = nil
    self.front?.disconnected()
    self.front = nil
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
    let now = self.loop.now
    repeat {
      while let front = self.front, case .request(let slot, let frame) = self.source.machine.next(now: now) {
        self.slotBeingServed = slot
        front.handle(frame, slot: slot)
      }
      self.slotBeingServed = nil
      self.writeReady()
      // What was written may have made room for a request that had to wait; nobody else would come back for it.
    } while self.context != nil && (self.source.machine.hasReady || self.front != nil && self.source.machine.canServe)
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

  func abort(_ reason: ConnectionMachine.CloseReason) {
    self.end(reason.description, isError: reason.isError)
    self.context?.close(promise: nil)
  }

  // MARK: Answers

  /// Completes `slot`, from any thread, exactly once. Nil: no answer is due.
  package func deliver(_ answer: Answer?, slot: UInt64) { self.loop.deliver(answer, slot: slot, to: self) }

  /// Closes the connection once the answers before the request that is being served have been written. From any thread.
  package func close(reason: String) {
    guard self.loop.eventLoop.inEventLoop else { return self.loop.eventLoop.execute { self.close(reason: reason) } }
    self.source.machine.close(.refused(reason), before: self.slotBeingServed, now: self.loop.now)
    if !self.isServing { self.closeIfDone() }
  }

  /// On the loop. True if the connection must be flushed by somebody: it is not serving, and not yet in line.
  func accept(_ answer: Answer?, slot: UInt64) -> Bool {
    guard self.context != nil else { return false }
    self.source.machine.answer(slot, answer)
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
  /// Worth a warning: the peer did something wrong. What the broker refused it has reported itself, and it knows more about it.
  var isError: Bool {
    switch self {
    case .framing, .closingTooSlow: true
    case .refused, .peerClosed, .idle, .shutdown: false
    }
  }
}
