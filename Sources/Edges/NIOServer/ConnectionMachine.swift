package import Base
package import NIOCore
package import Wire

/// One connection without its socket: cuts bytes into requests, numbers them, puts answers in order, and says when to read, when to
/// stop, and when to close. The handler that owns it does what it says.
///
/// A request is served only while the connection is within its limits, so a client that sends without reading, or sends faster than it
/// is answered, fills its own socket and nothing else.
package struct ConnectionMachine {
  package enum Step {
    /// Serve this request; its answer belongs to `slot`.
    case request(slot: UInt64, frame: ByteBuffer)
    /// Nothing to serve now.
    case pause
  }

  /// Why the connection ends.
  package enum CloseReason: Hashable, Sendable, CustomStringConvertible {
    case framing(FramingError)
    /// The broker refused a request in a way that leaves no answer.
    case refused(String)
    /// The peer closed its side, and everything it asked for has been answered.
    case peerClosed
    case idle
    /// The peer did not take its last answers in time.
    case closingTooSlow
    /// The node stops.
    case shutdown

    package var description: String {
      switch self {
      case .framing(let error): Self.describe(error)
      case .refused(let reason): reason
      case .peerClosed: "closed by the client"
      case .idle: "idle for longer than connections.max.idle.ms"
      case .closingTooSlow: "the client did not take its last answers in time"
      case .shutdown: "the node stops"
      }
    }

    /// What the client did, in the words of the broker's configuration.
    private static func describe(_ error: FramingError) -> String {
      switch error {
      case .tooLong(let length, let max): "a request of \(length) bytes, more than socket.request.max.bytes=\(max)"
      case .otherProtocol(.tls):
        "a TLS ClientHello on a PLAINTEXT listener: the client uses security.protocol=SSL, this listener does not"
      case .otherProtocol(.http): "an HTTP request: this port speaks the Kafka protocol"
      case .otherProtocol(.ssh): "an SSH client: this port speaks the Kafka protocol"
      case .nonPositiveLength(let length): "a request of \(length) bytes: not the Kafka protocol, or the stream is out of step"
      case .lostRead: error.description
      }
    }
  }

  package let limits: ServerLimits
  package var splitter: FrameSplitter
  private var answers = AnswerQueue()
  /// Answers that may leave, in order. The handler takes them all with `takeReady`.
  private var ready: [Answer] = []
  private var readyByteCount = 0
  /// The socket takes more: what was written before is below the limit.
  private var isWritable = true
  private var inputIsClosed = false
  /// Set when the end is decided: answers of slots before it still leave, the others are dropped.
  private var closing: (reason: CloseReason, before: UInt64, since: Instant)?
  private var lastActivity: Instant

  package init(limits: ServerLimits, now: Instant) {
    self.limits = limits
    self.splitter = FrameSplitter(frameByteCountMax: limits.frameByteCountMax)
    self.lastActivity = now
  }

  /// Requests that were given out and whose answers have not left.
  package var inFlightCount: Int { self.answers.count }
  /// Bytes of requests that were given out and have no answer yet.
  package var inFlightByteCount: Int { self.answers.waitingByteCount }
  /// Bytes of answers held here, not yet handed to the socket.
  package var outboundByteCount: Int { self.readyByteCount + self.answers.parkedByteCount }

  /// A further request may be served.
  private var mayServe: Bool {
    self.closing == nil && self.isWritable && self.answers.count < self.limits.inFlightRequestsMax
      && self.outboundByteCount < self.limits.outboundByteCountMax && self.answers.waitingByteCount < self.limits.inFlightByteCountMax
  }

  /// A request is here, whole, and may be served now.
  package var canServe: Bool { self.mayServe && self.splitter.hasFrame }

  /// The socket should be read. False while requests that are already here must wait.
  package var wantsRead: Bool { self.mayServe && !self.inputIsClosed && !self.splitter.hasFrame }

  // MARK: Inputs

  /// Bytes arrived, in the buffer from `splitter.bufferForRead`.
  package mutating func receive(_ buffer: ByteBuffer, now: Instant) {
    self.lastActivity = now
    self.splitter.receive(buffer)
  }

  /// The next request, if one is complete and may be served. Bytes that are no requests begin the end of the connection.
  package mutating func next(now: Instant) -> Step {
    guard self.mayServe else { return .pause }
    switch self.splitter.next() {
    case .frame(let frame): return .request(slot: self.answers.open(byteCount: frame.readableBytes), frame: frame)
    case .incomplete: return .pause
    case .broken(let error):
      self.close(.framing(error), before: self.answers.nextSlot, now: now)
      return .pause
    }
  }

  /// The answer of `slot`; nil: none is due.
  package mutating func answer(_ slot: UInt64, _ answer: Answer?) {
    if let closing = self.closing, slot >= closing.before { return }
    var index = self.ready.count
    let wasWaiting = self.answers.answer(slot, answer, into: &self.ready)
    invariant(wasWaiting, "slot \(slot) was answered twice, or never asked")
    while index < self.ready.count {
      self.readyByteCount += self.ready[index].byteCount
      index += 1
    }
  }

  /// The socket became full or has room again.
  package mutating func writabilityChanged(_ isWritable: Bool, now: Instant) {
    self.isWritable = isWritable
    self.lastActivity = now
  }

  /// The peer will send no more.
  package mutating func inputClosed(now: Instant) {
    self.inputIsClosed = true
    self.lastActivity = now
  }

  /// Ends the connection after the answers of the slots before `before` have left (nil: of all slots given out so far).
  /// The first reason stays.
  package mutating func close(_ reason: CloseReason, before: UInt64? = nil, now: Instant) {
    if self.closing == nil { self.closing = (reason, before ?? self.answers.nextSlot, now) }
  }

  // MARK: Outputs

  package var hasReady: Bool { !self.ready.isEmpty }

  /// What is to be written now, in order. `answers` is replaced; its storage is reused.
  package mutating func takeReady(_ answers: inout [Answer], now: Instant) {
    answers.removeAll(keepingCapacity: true)
    swap(&answers, &self.ready)
    self.readyByteCount = 0
    if !answers.isEmpty { self.lastActivity = now }
  }

  /// Non-nil once the connection should be closed: everything it still owed has been taken for writing.
  package var shouldClose: CloseReason? {
    guard self.ready.isEmpty else { return nil }
    if let closing = self.closing { return self.answers.firstUnsent >= closing.before ? closing.reason : nil }
    return self.inputIsClosed && self.answers.count == 0 && !self.splitter.hasFrame ? .peerClosed : nil
  }

  /// Called now and then: non-nil if the connection is to be closed at once, whatever it still owes.
  package func overdue(now: Instant) -> CloseReason? {
    if let closing = self.closing { return now - closing.since > self.limits.closingMax ? .closingTooSlow : nil }
    if self.inputIsClosed { return now - self.lastActivity > self.limits.closingMax ? .peerClosed : nil }
    // A request that waits on purpose (a fetch) keeps its connection; a client that takes nothing does not.
    let isWaiting = self.isWritable && self.answers.count > 0
    return !isWaiting && now - self.lastActivity > self.limits.idleMax ? .idle : nil
  }
}
