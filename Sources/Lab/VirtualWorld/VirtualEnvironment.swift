package import Base
package import Environment
package import Model
import Synchronization

/// A node's surroundings in one thread: a disk that fails on demand, a clock that moves when told, and work that runs when told.
///
/// Nothing happens by itself: `settle` runs what was submitted, `advance` moves the clock from timer to timer. A lane can be held,
/// which is how a test looks at the moment between a write and its sync. The same seed gives the same run.
package final class VirtualEnvironment: Environment {
  package typealias Body = @Sendable () -> Void

  private struct Appointment: Sendable {
    var deadline: Instant
    /// Of equal deadlines the one that was set first fires first.
    var order: UInt64
    var body: Body
  }
  private struct State: Sendable {
    var now = Instant(nanoseconds: 1_000_000_000)
    var wallClockAtOrigin: Int64
    var generator: SeededGenerator
    var nextOrder: UInt64 = 0
    var timers: [Appointment] = []
    /// In the order of submission.
    var work: [(lane: WorkLane, body: Body)] = []
    var heldLanes: Set<WorkLane> = []
  }

  package let disk: FaultyDisk
  private let state: Mutex<State>

  /// - Parameter wallClock: the time of day at the beginning.
  package init(disk: FaultyDisk, seed: UInt64, wallClock: Timestamp = Timestamp(1_700_000_000_000)) {
    self.disk = disk
    let origin = wallClock.rawValue - 1_000
    self.state = Mutex(State(wallClockAtOrigin: origin, generator: SeededGenerator(seed: seed)))
  }

  // MARK: - What the node sees

  package func now() -> Instant { self.state.withLock { $0.now } }

  package func wallClock() -> Timestamp {
    self.state.withLock { Timestamp($0.wallClockAtOrigin + $0.now.nanoseconds / 1_000_000) }
  }

  package func schedule(after delay: Duration, _ body: @escaping Body) -> VirtualTimer {
    self.state.withLock { state in
      let order = state.nextOrder
      state.nextOrder += 1
      state.timers.append(Appointment(deadline: state.now + max(.zero, delay), order: order, body: body))
      return VirtualTimer(environment: self, order: order)
    }
  }

  fileprivate func cancelTimer(_ order: UInt64) { self.state.withLock { $0.timers.removeAll { $0.order == order } } }

  package func submit(to lane: WorkLane, _ body: @escaping Body) { self.state.withLock { $0.work.append((lane, body)) } }

  package func entropy() -> UInt64 { self.state.withLock { $0.generator.next() } }

  package var network: IsolatedNetwork { IsolatedNetwork { self.submit(to: .background, $0) } }

  // MARK: - What the test does

  /// Lets work of `lane` pile up until it is released.
  package func hold(_ lane: WorkLane) { self.state.withLock { _ = $0.heldLanes.insert(lane) } }
  package func release(_ lane: WorkLane) { self.state.withLock { _ = $0.heldLanes.remove(lane) } }

  /// Runs submitted work, in its order, until none is left but that of held lanes.
  package func settle() {
    while let body = self.takeWork() { body() }
  }

  /// Runs the next piece of submitted work. False if there is none.
  @discardableResult
  package func step() -> Bool {
    guard let body = self.takeWork() else { return false }
    body()
    return true
  }

  private func takeWork() -> Body? {
    self.state.withLock { state in
      guard let index = state.work.firstIndex(where: { !state.heldLanes.contains($0.lane) }) else { return nil }
      return state.work.remove(at: index).body
    }
  }

  /// Moves the clock, firing each timer at its time and running the work that it brings.
  package func advance(by span: Duration) {
    let end = self.now() + span
    self.settle()
    while let body = self.takeTimer(upTo: end) {
      body()
      self.settle()
    }
    self.state.withLock { $0.now = end }
  }

  private func takeTimer(upTo end: Instant) -> Body? {
    self.state.withLock { state in
      let next = state.timers.indices.min {
        (state.timers[$0].deadline, state.timers[$0].order) < (state.timers[$1].deadline, state.timers[$1].order)
      }
      guard let next, state.timers[next].deadline <= end else { return nil }
      let timer = state.timers.remove(at: next)
      state.now = max(state.now, timer.deadline)
      return timer.body
    }
  }

  /// Timers that are set, for tests that look for forgotten ones.
  package var timerCount: Int { self.state.withLock { $0.timers.count } }
  package var pendingWorkCount: Int { self.state.withLock { $0.work.count } }

  /// Forgets all timers and work, as the death of the process does. The disk is another matter.
  package func dropEverything() {
    let dropped = self.state.withLock { state in
      defer { (state.timers, state.work, state.heldLanes) = ([], [], []) }
      return (state.timers, state.work)
    }
    _ = dropped
  }
}

/// A timer of a `VirtualEnvironment`.
package struct VirtualTimer: TimerHandle {
  fileprivate let environment: VirtualEnvironment
  fileprivate let order: UInt64
  package func cancel() { self.environment.cancelTimer(self.order) }
}
