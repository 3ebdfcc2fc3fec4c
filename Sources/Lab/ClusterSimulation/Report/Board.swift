import Base
import Model
import Synchronization
import VirtualWorld

/// Where everybody in a run says what happened: the trace, the counts, and the promises that were broken.
final class Board: Sendable {
  private struct State: Sendable {
    var trace: Trace
    var coverage = Coverage()
    var violations: [Violation] = []
  }
  private let world: World
  private let state: Mutex<State>
  /// More would not help anybody.
  private static var violationsMax: Int { 5 }

  init(world: World, traceCapacity: Int) {
    self.world = world
    self.state = Mutex(State(trace: Trace(capacity: traceCapacity)))
  }

  func record(_ event: Trace.Event, _ subject: Trace.Subject) {
    let now = self.world.now
    self.state.withLock { $0.trace.record(event, subject, at: now) }
  }

  func count(_ mark: Coverage.Mark, _ count: UInt64 = 1) { self.state.withLock { $0.coverage[mark] += count } }

  func violate(_ property: Violation.Property, _ text: String) {
    let now = self.world.now
    self.state.withLock { state in
      state.trace.record(.note("VIOLATION of \(property.rawValue): \(text)"), .plan, at: now)
      if state.violations.count < Self.violationsMax { state.violations.append(Violation(property: property, text: text, time: now)) }
    }
  }

  var hasViolations: Bool { self.state.withLock { !$0.violations.isEmpty } }
  var violations: [Violation] { self.state.withLock { $0.violations } }
  var coverage: Coverage { self.state.withLock { $0.coverage } }
  var traceLines: [String] { self.state.withLock { $0.trace }.lines }
}
