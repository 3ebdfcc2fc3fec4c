import Base
import Model
import Replication
import Testing

@Suite("A cluster of replicas under faults")
struct SimulationTests {
  @Test("Whatever goes wrong, what is promised holds, and all is well again soon after", arguments: 0..<20)
  func seeds(part: UInt64) {
    for seed in part * 10..<(part + 1) * 10 {
      let outcome = Simulation.run(seed: seed)
      #expect(outcome.violation == nil, "seed \(seed)")
      #expect(outcome.acknowledged > 0 && outcome.read > 0, "seed \(seed)")
    }
  }

  @Test("With nothing wrong the ISR never changes, whatever the load does", arguments: 0..<6)
  func calm(seed: UInt64) {
    var profile = Profile(seed: seed)
    profile.faults = []
    profile.silencePercent = seed % 2 == 0 ? 20 : 0
    profile.producersPerPartition = 1
    let outcome = Simulation.run(seed: seed, profile: profile)
    #expect(outcome.violation == nil)
    #expect(outcome.truncations == 0)
  }

  @Test("The same seed is the same run")
  func determinism() {
    let (first, second) = (Simulation.run(seed: 7, isTracing: true), Simulation.run(seed: 7, isTracing: true))
    #expect(first.trace.count > 50)
    #expect(first.trace == second.trace)
    #expect(first.eventCount == second.eventCount)
  }

  #if APUS_MUTANTS
    @Test("Every deliberate bug is found", arguments: MutantCase.all)
    func mutants(_ bug: MutantCase) {
      #expect(bug.firstSeed() != nil)
    }

    @Test("Every deliberate bug has its case")
    func mutantsAreCovered() {
      #expect(Set(MutantCase.all.map(\.mutant)) == Set(Mutant.allCases))
    }
  #endif
}
