import Base
import Broker
import Environment
import NIOCore
import Synchronization
import VirtualWorld

/// One accepted connection of a node: its requests go to the broker in order, and their answers leave in the same order.
///
/// The counterpart of what `NIOServer` does on sockets. Parts of files are read when they are sent, which may be later than the answer was
/// made, as with `sendfile` on a socket that is full.
final class ServedConnection: ResponseSink, Sendable {
  typealias File = FaultyFile

  private struct State: Sendable {
    /// Answers by slot, from `firstUnsent` on: nil has not come; an empty one is due to nobody.
    var answers: [OutgoingFrame<FaultyFile>??] = []
    var firstUnsent: UInt64 = 0
    var slotBeingServed: UInt64?
    /// The connection is to be closed when everything before this slot has been sent.
    var closesBefore: UInt64?
    var isSending = false
    var isClosed = false
  }

  let client: ClientContext
  private let broker: Broker<WorldNode>
  private let link: WorldLink
  private let environment: WorldNode
  /// Of ten thousand answers with parts of files, how many find the socket full.
  private let stallShare: UInt64
  private let state = Mutex(State())

  init(_ client: ClientContext, _ broker: Broker<WorldNode>, _ link: WorldLink, _ environment: WorldNode, stallShare: UInt64) {
    self.client = client
    self.broker = broker
    self.link = link
    self.environment = environment
    self.stallShare = stallShare
    broker.connected(client)
  }

  func receive(_ event: LinkEvent) {
    switch event {
    case .opened: break
    case .received(let frame):
      let slot: UInt64? = self.state.withLock { state in
        if state.isClosed || state.closesBefore != nil { return nil }
        state.answers.append(nil)
        let slot = state.firstUnsent + UInt64(state.answers.count) - 1
        state.slotBeingServed = slot
        return slot
      }
      guard let slot else { return }
      self.broker.handle(frame, from: self.client, reply: Reply(sink: self, slot: slot))
      self.state.withLock { $0.slotBeingServed = nil }
      self.closeIfDone()
    case .closed:
      let wasOpen = self.state.withLock { state in
        defer { (state.isClosed, state.answers) = (true, []) }
        return !state.isClosed
      }
      if wasOpen { self.broker.disconnected(self.client) }
    }
  }

  // MARK: - ResponseSink

  func deliver(_ frame: OutgoingFrame<FaultyFile>?, slot: UInt64) {
    let mustSend = self.state.withLock { state in
      if state.isClosed { return false }
      let place = Int(slot - state.firstUnsent)
      invariant(slot >= state.firstUnsent && place < state.answers.count && state.answers[place] == nil, "slot \(slot) is answered twice")
      state.answers[place] = .some(frame)
      if state.isSending { return false }
      state.isSending = true
      return true
    }
    if mustSend { self.send() }
  }

  func close(reason: String) {
    self.state.withLock { state in state.closesBefore = state.closesBefore ?? state.slotBeingServed ?? state.firstUnsent }
    if self.state.withLock({ $0.slotBeingServed == nil }) { self.closeIfDone() }
  }

  private func closeIfDone() {
    let mustClose = self.state.withLock { state in
      guard let end = state.closesBefore, state.firstUnsent >= end, !state.isSending, !state.isClosed else { return false }
      return true
    }
    if mustClose { self.link.close() }
  }

  /// Sends what is due, until there is nothing more or the socket is full.
  private func send() {
    while true {
      let next: OutgoingFrame<FaultyFile>?? = self.state.withLock { state in
        guard !state.isClosed, let first = state.answers.first, let answer = first else {
          state.isSending = false
          return nil
        }
        if let end = state.closesBefore, state.firstUnsent >= end {
          state.isSending = false
          return nil
        }
        state.answers.removeFirst()
        state.firstUnsent += 1
        return .some(answer)
      }
      guard let answer = next else { break }
      guard let answer else { continue }
      if self.mustStall(answer) {
        _ = self.environment.schedule(after: .nanoseconds(Int64(self.environment.entropy() % 100_000_000))) {
          self.write(answer)
          self.send()
        }
        return
      }
      self.write(answer)
    }
    self.closeIfDone()
  }

  private func mustStall(_ answer: OutgoingFrame<FaultyFile>) -> Bool {
    guard self.stallShare > 0, answer.pieces.contains(where: { if case .file = $0 { true } else { false } }) else { return false }
    return self.environment.entropy() % 10_000 < self.stallShare
  }

  private func write(_ answer: OutgoingFrame<FaultyFile>) {
    if answer.pieces.count == 1, case .bytes(let bytes) = answer.pieces[0] { return self.link.send(bytes) }
    var frame = ByteBuffer()
    for piece in answer.pieces {
      switch piece {
      case .bytes(let bytes): frame.writeImmutableBuffer(bytes)
      case .file(let file, let position, let byteCount):
        let count = frame.writeWithUnsafeMutableBytes(minimumWritableBytes: byteCount) { room in
          (try? file.read(into: UnsafeMutableRawBufferPointer(rebasing: room[..<byteCount]), at: position)) ?? 0
        }
        // A file that is shorter than was said, or cannot be read, leaves no way to end the frame.
        if count < byteCount { return self.link.close() }
      }
    }
    self.link.send(frame)
  }
}
