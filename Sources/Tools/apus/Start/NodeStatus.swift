import Synchronization

/// What became of a node that was started, for the thread that waits for it; each news wakes that thread (`StopSignals.wake`).
final class NodeStatus: Sendable {
  private struct State: Sendable {
    var isReady = false
    var isTold = false
    var failure: StartError?
  }
  private let state = Mutex(State())

  var hasStarted: Bool { self.state.withLock { $0.isReady } }
  /// Why the process cannot go on.
  var failure: StartError? { self.state.withLock { $0.failure } }

  /// True once: the node serves, and nobody has been told.
  func isNewlyReady() -> Bool {
    self.state.withLock { state in
      defer { state.isTold = state.isReady }
      return state.isReady && !state.isTold
    }
  }

  func noteReady() {
    self.state.withLock { $0.isReady = true }
    StopSignals.wake()
  }

  /// The first counts: it is the cause of others.
  func noteFailure(_ failure: StartError) {
    self.state.withLock { $0.failure = $0.failure ?? failure }
    StopSignals.wake()
  }
}
