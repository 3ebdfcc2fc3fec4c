import Environment
import Synchronization

/// Group commit: collects the partitions of one log directory that want to be on disk, and flushes them in passes on a lane of their own.
/// One sync of a partition covers everything appended to it before the sync began, whoever appended it.
final class LogDirectorySyncer<Env: Environment>: Sendable {
  private struct State: Sendable {
    /// In the order in which they asked, each once: `places` says where. A partition asks again after its flush has begun, when its
    /// `flush.ms` is over, when a segment is full, and when a flush that was put off is due.
    var wanting: [(partition: Partition<Env>, sealedOnly: Bool)] = []
    var places: [ObjectIdentifier: Int] = [:]
    var isRunning = false
  }
  private let environment: Env
  private let lane: WorkLane
  private let state = Mutex(State())

  /// - Parameter index: of the directory in `log.dirs`.
  init(environment: Env, directory index: Int) {
    self.environment = environment
    self.lane = .sync(logDirectory: index)
  }

  /// - Parameter sealedOnly: of closed segments, as nobody waits for the rest.
  func request(_ partition: Partition<Env>, sealedOnly: Bool = false) {
    let mustBegin = self.state.withLock { state in
      if let place = state.places[ObjectIdentifier(partition)] {
        if !sealedOnly { state.wanting[place].sealedOnly = false }
      } else {
        state.places[ObjectIdentifier(partition)] = state.wanting.count
        state.wanting.append((partition, sealedOnly))
      }
      defer { state.isRunning = true }
      return !state.isRunning
    }
    if mustBegin { self.environment.submit(to: self.lane) { self.pass() } }
  }

  private func pass() {
    let batch = self.state.withLock { state in
      defer {
        state.wanting = []
        state.places.removeAll(keepingCapacity: true)
      }
      return state.wanting
    }
    for (partition, sealedOnly) in batch { partition.flush(sealedOnly: sealedOnly) }
    let mustGoOn = self.state.withLock { state in
      state.isRunning = !state.wanting.isEmpty
      return state.isRunning
    }
    // A submission of its own, so that other work of the lane (a shutdown's last flush) gets its turn.
    if mustGoOn { self.environment.submit(to: self.lane) { self.pass() } }
  }
}
