import Environment
import Synchronization

/// Work that comes back at intervals, on the background lane.
final class BackgroundWork<Env: Environment>: Sendable {
  private struct State: Sendable {
    var isStopped = false
    var timers: [Env.Timer?] = []
  }
  private let environment: Env
  private let state = Mutex(State())

  init(environment: Env) { self.environment = environment }

  /// Runs `body` every `interval`, counted from the end of one run to the beginning of the next, the first time after one interval.
  func every(_ interval: Duration, _ body: @escaping @Sendable () -> Void) {
    // An interval of zero in a configuration means "as often as can be".
    let interval = max(interval, .milliseconds(1))
    let place = self.state.withLock { state in
      state.timers.append(nil)
      return state.timers.endIndex - 1
    }
    self.arm(place, interval, body)
  }

  /// Runs `body` once after `delay`, unless everything is stopped before.
  func after(_ delay: Duration, _ body: @escaping @Sendable () -> Void) {
    if self.state.withLock({ $0.isStopped }) { return }
    _ = self.environment.schedule(after: delay) { self.run(body) }
  }

  /// Runs `body` soon.
  func soon(_ body: @escaping @Sendable () -> Void) { self.run(body) }

  /// Nothing begins any more. What runs now goes on to its end.
  func stop() {
    let timers = self.state.withLock { state in
      state.isStopped = true
      defer { state.timers = [] }
      return state.timers
    }
    for timer in timers { timer?.cancel() }
  }

  private func arm(_ place: Int, _ interval: Duration, _ body: @escaping @Sendable () -> Void) {
    self.state.withLock { state in
      if state.isStopped { return }
      state.timers[place] = self.environment.schedule(after: interval) {
        self.run {
          body()
          self.arm(place, interval, body)
        }
      }
    }
  }

  private func run(_ body: @escaping @Sendable () -> Void) {
    self.environment.submit(to: .background) {
      if !self.state.withLock({ $0.isStopped }) { body() }
    }
  }
}
