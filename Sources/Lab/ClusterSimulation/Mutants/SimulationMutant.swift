#if APUS_MUTANTS
  import Environment
  import Metadata
  import Raft
  import Replication

  /// A deliberate bug that every node of a run has.
  package struct SimulationMutant: Sendable, Hashable {
    package var name: String
    package init(_ name: String) { self.name = name }

    /// All that this build can have, by their names.
    package static let all: [SimulationMutant] =
      (RaftMutant.named.keys.sorted() + Mutant.allCases.map(\.rawValue) + ControllerMutant.allCases.map(\.rawValue)
        + EngineMutant.allCases.map(\.rawValue)).map { Self($0) }
  }
#endif
