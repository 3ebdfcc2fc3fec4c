package import Logging
internal import Synchronization

/// The level from which on events are logged: shared by the process's loggers, and changed from any thread.
package final class LogThreshold: Sendable {
  private let index: Atomic<Int>

  package init(_ level: Logger.Level) { self.index = Atomic(Self.place(of: level)) }

  package var level: Logger.Level {
    get { Logger.Level.allCases[self.index.load(ordering: .relaxed)] }
    set { self.index.store(Self.place(of: newValue), ordering: .relaxed) }
  }

  private static func place(of level: Logger.Level) -> Int { Logger.Level.allCases.firstIndex(of: level)! }
}
