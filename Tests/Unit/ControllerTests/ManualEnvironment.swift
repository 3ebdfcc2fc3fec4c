import Base
import Environment
import Model
import Synchronization
import VirtualWorld

/// An environment on a memory disk whose blocking work runs when the test says so, on the test's thread.
final class ManualEnvironment: Environment {
  struct Timer: TimerHandle {
    func cancel() {}
  }
  private struct State {
    var work: [@Sendable () -> Void] = []
    var time: Int64 = 1_700_000_000_000
    var generator: SeededGenerator
  }
  let disk: MemoryDisk
  var network: IsolatedNetwork { IsolatedNetwork { self.submit(to: .background, $0) } }
  private let state: Mutex<State>

  init(disk: MemoryDisk = MemoryDisk(), seed: UInt64 = 1) {
    self.disk = disk
    self.state = Mutex(State(generator: SeededGenerator(seed: seed)))
  }

  func now() -> Instant { .origin }
  func wallClock() -> Timestamp {
    self.state.withLock { state in
      state.time += 1
      return Timestamp(state.time)
    }
  }
  func schedule(after delay: Duration, _ body: @escaping @Sendable () -> Void) -> Timer { Timer() }
  func submit(to lane: WorkLane, _ body: @escaping @Sendable () -> Void) { self.state.withLock { $0.work.append(body) } }
  func entropy() -> UInt64 { self.state.withLock { $0.generator.next() } }

  var hasWork: Bool { self.state.withLock { !$0.work.isEmpty } }
  func runOne() {
    let body = self.state.withLock { state in state.work.isEmpty ? nil : state.work.removeFirst() }
    body?()
  }
  func runAll() { while self.hasWork { self.runOne() } }
}
