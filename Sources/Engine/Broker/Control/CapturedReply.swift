import Environment
import NIOCore
import Synchronization

/// Takes the answer to a request that no connection brought: one that this process asked itself, or that came in an envelope.
final class CapturedReply<File: DiskFile>: ResponseSink {
  enum Outcome: Sendable {
    /// The answer as it would go over the wire, without its length.
    case frame(ByteBuffer)
    /// The controller of this node does not decide: nothing was done.
    case notController
    /// The request made no sense, or is one without an answer.
    case refused(reason: String)
  }
  private struct State: Sendable {
    var complete: (@Sendable (Outcome) -> Void)?
    var isNotController = false
  }
  private let state: Mutex<State>

  /// `complete` runs once, on any thread.
  init(_ complete: @escaping @Sendable (Outcome) -> Void) { self.state = Mutex(State(complete: complete)) }

  /// What the answer would say in many places is said of it as a whole (as Kafka's controller answers an envelope).
  func noteNotController() { self.state.withLock { $0.isNotController = true } }

  func deliver(_ frame: OutgoingFrame<File>?, slot: UInt64) {
    let (complete, isNotController) = self.take()
    if isNotController { return complete?(.notController) ?? () }
    guard let frame else { return complete?(.refused(reason: "it has no answer")) ?? () }
    var bytes = ByteBuffer()
    for piece in frame.pieces {
      // Records stay in their files only in what a fetch of partitions is answered with, which does not come this way.
      guard case .bytes(let part) = piece else { return complete?(.refused(reason: "its answer has records")) ?? () }
      bytes.writeImmutableBuffer(part)
    }
    bytes.moveReaderIndex(forwardBy: min(4, bytes.readableBytes))
    complete?(.frame(bytes.slice()))
  }

  func close(reason: String) { self.take().complete?(.refused(reason: reason)) }

  private func take() -> (complete: (@Sendable (Outcome) -> Void)?, isNotController: Bool) {
    self.state.withLock { state in
      defer { state.complete = nil }
      return (state.complete, state.isNotController)
    }
  }
}
