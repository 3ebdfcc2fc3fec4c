import Synchronization

/// Runs pieces of work one after another, on the thread of whoever brings the first: no thread of its own, no lock while a piece runs.
///
/// A piece may bring further ones; they run when it has ended. So the control plane of a node (Raft, the controller, the metadata)
/// is one line of steps, whichever loops, lanes and timers they come from.
final class SerialWork: Sendable {
  private struct State: Sendable {
    var waiting: [@Sendable () -> Void] = []
    var isRunning = false
  }
  private let state = Mutex(State())

  func add(_ body: @escaping @Sendable () -> Void) {
    let mustRun = self.state.withLock { state in
      state.waiting.append(body)
      defer { state.isRunning = true }
      return !state.isRunning
    }
    guard mustRun else { return }
    while true {
      let batch = self.state.withLock { state in
        let batch = state.waiting
        state.waiting = []
        state.isRunning = !batch.isEmpty
        return batch
      }
      if batch.isEmpty { return }
      for body in batch { body() }
    }
  }
}
