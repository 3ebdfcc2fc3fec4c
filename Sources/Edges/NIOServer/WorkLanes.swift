package import Environment
import NIOPosix
import Synchronization

/// Threads for blocking work, one for each lane, started when the lane is first used.
package final class WorkLanes: Sendable {
  private struct State {
    var pools: [WorkLane: NIOThreadPool] = [:]
    var isStopped = false
  }

  private let state = Mutex(State())

  package init() {}

  /// Runs `body` on the lane's thread after everything submitted to the lane before. After `stop` it is dropped.
  package func submit(to lane: WorkLane, _ body: @escaping @Sendable () -> Void) {
    let pool = self.state.withLock { state -> NIOThreadPool? in
      if state.isStopped { return nil }
      if let pool = state.pools[lane] { return pool }
      let pool = NIOThreadPool(numberOfThreads: 1)
      pool.start()
      state.pools[lane] = pool
      return pool
    }
    // An item that finds its pool stopped was submitted by one that ran during the stop: the work is over.
    pool?.submit { state in if case .active = state { body() } }
  }

  /// Runs what has been submitted so far to its end, and ends the threads. Blocks; not on a lane.
  package func stop() {
    let pools = self.state.withLock { state in
      defer { state.pools = [:] }
      state.isStopped = true
      return state.pools.values.map { $0 }
    }
    for pool in pools {
      let isDone = Flag()
      pool.submit { _ in isDone.set() }
      while !isDone.isSet { CLibrary.pause(milliseconds: 1) }
      try? pool.syncShutdownGracefully()
    }
  }
}

private final class Flag: Sendable {
  private let value = Atomic(false)
  func set() { self.value.store(true, ordering: .releasing) }
  var isSet: Bool { self.value.load(ordering: .acquiring) }
}
