#if APUS_MUTANTS
  /// A deliberate bug that every node of a run has.
  package struct SimulationMutant: Sendable, Hashable {
    package var name: String
    package init(_ name: String) { self.name = name }
  }
#endif
