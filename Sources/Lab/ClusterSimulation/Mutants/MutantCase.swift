#if APUS_MUTANTS
  /// A deliberate bug, the troubles that bring it to light, and within how many seeds they do.
  package struct MutantCase: Sendable, CustomStringConvertible {
    package var mutant: String
    package var seeds: Range<UInt64>
    var nodeCount: Int
    var seconds: Int64
    var faults: Set<FaultKind>?
    /// Found by one of its first seeds, so that every run of the tests can look for it.
    package var isQuick: Bool

    init(
      _ mutant: String, _ seeds: Range<UInt64>, nodes: Int = 3, seconds: Int64 = 40, faults: Set<FaultKind>? = nil, quick: Bool = false
    ) {
      (self.mutant, self.seeds, self.nodeCount, self.seconds, self.faults) = (mutant, seeds, nodes, seconds, faults)
      self.isQuick = quick
    }

    package var description: String { self.mutant }

    /// What the first seed that shows it has to say; nil if none does.
    package func find() -> SimulationReport? {
      var options = SimulationOptions(nodeCount: self.nodeCount, duration: .seconds(self.seconds), faults: self.faults)
      guard options.setMutant(self.mutant) else { return nil }
      for seed in self.seeds {
        let report = Simulation.run(seed: seed, options: options)
        if !report.isGood { return report }
      }
      return nil
    }

    /// What most of them are run with: everything but bits that flip.
    private static let most = Set(FaultKind.allCases).subtracting([.bitFlip])

    /// Those of Raft and of replication that are not here are found by the simulations of those machines alone, which run a thousand times
    /// as many moments of them. Seeds that miss a bug are left out to save their time.
    package static let all: [MutantCase] = [
      // The engine's.
      MutantCase("leavesQuorumStateUnsynced", 20..<24, faults: Self.most, quick: true),
      MutantCase("showsUncommitted", 20..<24, faults: Self.most, quick: true),
      MutantCase("tellsLatestTooEarly", 24..<34, faults: Self.most),
      MutantCase("ignoresDivergence", 24..<34, faults: Self.most),
      MutantCase("keepsDivergingTail", 20..<24, faults: Self.most, quick: true),
      MutantCase("leavesDirectoriesUnsynced", 20..<24, faults: Self.most, quick: true),
      MutantCase("forgetsProducers", 20..<24, faults: Self.most, quick: true),
      MutantCase("recoversUnchecked", 1..<11, faults: [.power, .bitFlip]),
      MutantCase("trustsPageCache", 10..<30, nodes: 1, faults: [.diskError, .power, .powerAtWrite, .kill, .restart]),
      MutantCase("tellsOlderWatermark", 15..<25, seconds: 60, faults: [.power, .powerAtWrite, .blackout]),
      // Replication's.
      MutantCase("acknowledgesEarly", 20..<24, faults: Self.most, quick: true),
      MutantCase("countsUnflushed", 24..<34, faults: Self.most),
      MutantCase("claimsUnflushed", 20..<24, faults: Self.most, quick: true),
      MutantCase("trustsOwnEnd", 24..<34, faults: Self.most),
      MutantCase("forgetsLease", 5..<20, seconds: 60, faults: [.isolate, .pause]),
      // The controller's.
      MutantCase("anyReplicaIsElected", 20..<28, faults: Self.most),
      MutantCase("fencedStaysInSync", 20..<28, faults: Self.most),
      // Raft's.
      MutantCase("skipsLogMatching", 20..<24, faults: Self.most),
      MutantCase("countsMinority", 20..<24, faults: Self.most, quick: true),
      MutantCase("ignoresLogEnd", 20..<24, faults: Self.most, quick: true),
    ]
  }
#endif
