import Base
import Broker
import NIOCore
import Synchronization
import Wire

/// What the connections of one event loop share: read buffers, a coarse clock, and the way for answers from other threads to get in.
///
/// Everything is confined to the loop, but for `deliver`, which has a lock.
final class DataLoop: @unchecked Sendable {
  private struct Delivery {
    let connection: Connection
    let slot: UInt64
    let answer: Answer?
  }

  private struct Inbox {
    var deliveries: [Delivery] = []
    /// A drain is on its way to the loop: what is added now will be seen by it.
    var isScheduled = false
  }

  let eventLoop: any EventLoop
  let buffers: ReceiveBuffers
  private var connections: [UInt64: Connection] = [:]
  private let inbox = Mutex(Inbox())
  private var drained: [Delivery] = []
  /// Connections that got answers and have not written them.
  private var unflushed: [Connection] = []
  private var flushIsScheduled = false
  /// Depth of connections that are serving requests: whoever is outermost flushes for all.
  private var servingDepth = 0
  private var sweep: RepeatedTask?

  init(eventLoop: any EventLoop, readByteCount: Int) {
    self.eventLoop = eventLoop
    self.buffers = ReceiveBuffers(byteCount: readByteCount)
  }

  var now: Instant { Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds)) }

  // MARK: Connections

  func add(_ connection: Connection) { self.connections[connection.client.connectionID] = connection }
  func remove(_ connection: Connection) { self.connections[connection.client.connectionID] = nil }
  var connectionCount: Int { self.connections.count }

  /// Looks at every connection each `interval`, for those that are idle or take too long to end.
  func startSweeping(every interval: Duration) {
    let pause = TimeAmount.nanoseconds(interval.wholeNanoseconds)
    self.sweep = self.eventLoop.scheduleRepeatedTask(initialDelay: pause, delay: pause) { [weak self] _ in
      guard let self else { return }
      let now = self.now
      for connection in Array(self.connections.values) { connection.closeIfOverdue(now: now) }
    }
  }

  /// Every connection ends once its requests are answered.
  func closeConnections() {
    self.sweep?.cancel()
    self.sweep = nil
    for connection in Array(self.connections.values) { connection.beginShutdown() }
  }

  /// Every connection ends now.
  func abortConnections() {
    for connection in Array(self.connections.values) { connection.abort(.shutdown) }
  }

  // MARK: Answers

  /// Takes an answer on any thread. Answers of other threads are gathered, so that fifty of them wake the loop once.
  func deliver(_ answer: Answer?, slot: UInt64, to connection: Connection) {
    if self.eventLoop.inEventLoop { return self.accept(answer, slot: slot, for: connection) }
    let mustSchedule = self.inbox.withLock { inbox in
      inbox.deliveries.append(Delivery(connection: connection, slot: slot, answer: answer))
      defer { inbox.isScheduled = true }
      return !inbox.isScheduled
    }
    if mustSchedule { self.eventLoop.execute { self.drainInbox() } }
  }

  private func drainInbox() {
    self.inbox.withLock { inbox in
      swap(&inbox.deliveries, &self.drained)
      inbox.isScheduled = false
    }
    self.servingDepth += 1
    for delivery in self.drained { self.accept(delivery.answer, slot: delivery.slot, for: delivery.connection) }
    self.drained.removeAll(keepingCapacity: self.drained.count <= 1024)
    self.endServing()
  }

  private func accept(_ answer: Answer?, slot: UInt64, for connection: Connection) {
    guard connection.accept(answer, slot: slot) else { return }
    self.unflushed.append(connection)
    if self.servingDepth == 0, !self.flushIsScheduled {
      self.flushIsScheduled = true
      self.eventLoop.execute {
        self.flushIsScheduled = false
        self.flushAll()
      }
    }
  }

  func beginServing() { self.servingDepth += 1 }

  /// Writes what other connections of this loop were answered meanwhile.
  func endServing() {
    self.servingDepth -= 1
    if self.servingDepth == 0, !self.unflushed.isEmpty { self.flushAll() }
  }

  private func flushAll() {
    while let connection = self.unflushed.popLast() { connection.flushAnswers() }
  }
}
