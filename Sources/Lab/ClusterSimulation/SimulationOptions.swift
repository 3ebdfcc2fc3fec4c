import Base

/// What a run is to be like, as far as the seed does not decide.
package struct SimulationOptions: Sendable, Hashable {
  package var nodeCount: Int
  /// Virtual time in all: the beginning, the trouble, and the quiet in which everything must heal.
  package var duration: Duration
  /// What may be done to the cluster; each seed takes a part of it. Nil: everything.
  package var faults: Set<FaultKind>?
  /// Entries of the trace that are kept.
  package var traceCapacity: Int
  #if APUS_MUTANTS
    /// A bug that every node has.
    package var mutant: SimulationMutant?
  #endif

  package init(nodeCount: Int = 3, duration: Duration = .seconds(60), faults: Set<FaultKind>? = nil, traceCapacity: Int = 1_000) {
    self.nodeCount = nodeCount
    self.duration = duration
    self.faults = faults
    self.traceCapacity = traceCapacity
  }

  /// Gives every node a deliberate bug. False where the build has none of that name.
  package mutating func setMutant(_ name: String) -> Bool {
    #if APUS_MUTANTS
      self.mutant = SimulationMutant.all.first { $0.name == name }
      return self.mutant != nil
    #else
      return false
    #endif
  }

  /// Of the mutant; nil without one.
  var mutantName: String? {
    #if APUS_MUTANTS
      return self.mutant?.name
    #else
      return nil
    #endif
  }

  /// How the command line says the same.
  package func replay(seed: UInt64) -> String {
    var command = "apus sim run --seeds 1 --seed \(seed) --nodes \(self.nodeCount) --seconds \(self.duration.wholeMilliseconds / 1000)"
    if let faults { command += " --faults \(faults.map(\.rawValue).sorted().joined(separator: ","))" }
    if let name = self.mutantName { command += " --mutant \(name)" }
    return command
  }
}
