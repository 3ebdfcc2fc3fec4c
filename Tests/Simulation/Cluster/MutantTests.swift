import ClusterSimulation
import Testing

#if APUS_MUTANTS
  /// Deliberate bugs, one at a time: a simulation that does not find them would not find ours. `apus sim mutants` runs all of them; here
  /// are those that a debug build finds in a few seconds.
  @Suite("Mutants in a cluster")
  struct ClusterMutantTests {
    @Test("Every bug is found within its seeds", arguments: MutantCase.all.filter(\.isQuick))
    func found(_ mutant: MutantCase) {
      let report = mutant.find()
      #expect(report != nil, "nothing was found in seeds \(mutant.seeds)")
    }

    @Test("There are no two of a name, and every case is of a bug that there is")
    func names() {
      let names = MutantCase.all.map(\.mutant)
      #expect(Set(names).count == names.count)
      #expect(Set(names).isSubset(of: SimulationMutant.all.map(\.name)))
    }
  }
#endif
