package import Base

/// A promise that was broken.
package struct Violation: Sendable, Hashable, CustomStringConvertible {
  /// Which: a name that does not change, for tests that expect it.
  package enum Property: String, Sendable, Hashable, CaseIterable {
    /// What was acknowledged is there.
    case durability
    /// An idempotent producer's record is there once, everybody's no more often than it was sent.
    case exactlyOnce = "exactly once"
    /// The records of a producer are in the order of their sending.
    case order
    /// The bytes are those that were sent.
    case content
    /// What was committed stays what it was.
    case committedStays = "committed stays"
    /// Nobody is told of an end of the log that lies before what others were told already.
    case freshness
    /// One leader per epoch.
    case oneLeader = "one leader per epoch"
    case electionSafety = "election safety"
    case leaderAppendOnly = "leader append-only"
    case logMatching = "log matching"
    case leaderCompleteness = "leader completeness"
    case stateMachineSafety = "state machine safety"
    /// Images of the same offset are the same.
    case sameMetadata = "same metadata"
    /// Who is in the ISR has everything that is committed, on disk where the topic asks for that.
    case inSync = "in-sync replicas"
    /// Replicas hold the same bytes.
    case sameReplicas = "same replicas"
    /// Once all is well, everything is served again within a bounded time.
    case healing
    /// No process ends or gives up without a cause.
    case process
  }
  package var property: Property
  package var text: String
  /// True time of the world.
  package var time: Instant

  package var description: String { "\(self.property.rawValue): \(self.text) (at \(self.time.nanoseconds / 1_000_000) ms)" }
}

/// What came of one run.
package struct SimulationReport: Sendable {
  package var seed: UInt64
  /// What the seed made of the cluster: its size, its configuration, who works on it and what troubles it.
  package var world: String
  package var violations: [Violation] = []
  /// Of everything that happened, and of all bytes that were sent: equal for equal runs.
  package var digest: UInt64 = 0
  package var virtualTime = Duration.zero
  package var eventCount: UInt64 = 0
  package var coverage = Coverage()
  /// The end of the story, for a run that failed.
  package var trace: [String] = []
  /// The one command that shows it again.
  package var replay: String

  package var isGood: Bool { self.violations.isEmpty }
}
