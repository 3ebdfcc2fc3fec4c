import Base
import Environment
import Synchronization

/// Something that waits and gives up at a deadline.
protocol Expirable: AnyObject, Sendable {
  /// The deadline has passed. Called without any lock held, from a timer's thread; may come although the wait has just ended.
  func expire()
}

/// All deadlines of waiting requests, on one timer of the environment.
final class DeadlineQueue<Env: Environment>: Sendable {
  typealias Handle = TimerWheel<any Expirable>.Handle

  private struct State: Sendable {
    var wheel: TimerWheel<any Expirable>
    var armedFor: Instant?
    var timer: Env.Timer?
  }
  private let environment: Env
  private let state: Mutex<State>

  init(environment: Env) {
    self.environment = environment
    self.state = Mutex(State(wheel: TimerWheel(now: environment.now())))
  }

  func add(_ waiter: any Expirable, deadline: Instant) -> Handle {
    self.state.withLock { state in
      let handle = state.wheel.insert(waiter, at: deadline)
      self.arm(&state)
      return handle
    }
  }

  /// Forgets the deadline. Nothing if it has passed.
  func cancel(_ handle: Handle) {
    // The waiter is released after unlocking: its end may run more code than belongs under this lock.
    let waiter = self.state.withLock { $0.wheel.cancel(handle) }
    _ = waiter
  }

  var count: Int { self.state.withLock { $0.wheel.count } }

  /// A timer that is too early costs one needless wake-up; it is left alone when its waiter was cancelled.
  private func arm(_ state: inout State) {
    guard let next = state.wheel.nextInstant else { return }
    if let armed = state.armedFor, armed <= next { return }
    state.timer?.cancel()
    state.armedFor = next
    let delay = max(.zero, next - self.environment.now())
    state.timer = self.environment.schedule(after: delay) { [weak self] in self?.fire() }
  }

  private func fire() {
    var due: [any Expirable] = []
    self.state.withLock { state in
      state.wheel.advance(to: self.environment.now(), into: &due)
      state.armedFor = nil
      state.timer = nil
      self.arm(&state)
    }
    for waiter in due { waiter.expire() }
  }
}
