import Base
import Model
import Replication
import Testing

@Suite("A cluster of replicas under faults")
struct SimulationTests {
  @Test("Whatever goes wrong, what is promised holds", arguments: 0..<8)
  func seeds(part: UInt64) {
    for seed in part * 25..<(part + 1) * 25 {
      let outcome = Simulation.run(seed: seed)
      #expect(outcome.violation == nil, "seed \(seed)")
      #expect(outcome.acknowledged > 0, "seed \(seed)")
    }
  }
}
