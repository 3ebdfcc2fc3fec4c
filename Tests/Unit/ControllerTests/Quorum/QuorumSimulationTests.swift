import Base
import Controller
import Model
import Testing
import VirtualWorld

/// The metadata log's replicas on disks and wires that fail.
@Suite struct QuorumSimulationTests {
  @Test(arguments: 1...12 as ClosedRange<UInt64>)
  func whateverHappensNothingAcknowledgedIsLost(_ seed: UInt64) {
    let simulation = QuorumSimulation(seed: seed, nodeCount: seed.isMultiple(of: 3) ? 5 : 3)
    simulation.run(trouble: .seconds(8))
    #expect(
      simulation.problems.isEmpty,
      "seed \(seed): \(simulation.problems.prefix(5).joined(separator: "; "))\n\(simulation.trace.suffix(60).joined(separator: "\n"))")
    #expect(simulation.electionCount > 0)
    #expect(simulation.acknowledgedCount > 20, "seed \(seed) got only \(simulation.acknowledgedCount) done")
  }

  @Test func aSeedGivesTheSameRun() {
    func run() -> (UInt64, Int) {
      let simulation = QuorumSimulation(seed: 7, nodeCount: 3)
      simulation.run(trouble: .seconds(5))
      return (simulation.world.digest, simulation.acknowledgedCount)
    }
    #expect(run() == run())
  }
}
