import ClusterSimulation
import Testing

/// Whole clusters, their clients and their troubles in virtual time. A seed that fails prints its story and the command that shows it
/// again.
@Suite("A cluster in trouble")
struct SimulationTests {
  /// Runs seeds, tells of those that fail, and returns what all of them went through.
  @discardableResult
  static func run(_ seeds: some Sequence<UInt64>, _ options: SimulationOptions) -> Coverage {
    var coverage = Coverage()
    for seed in seeds {
      let report = Simulation.run(seed: seed, options: options)
      coverage.add(report.coverage)
      if !report.isGood { Issue.record("\(Self.story(of: report))") }
    }
    return coverage
  }

  static func story(of report: SimulationReport) -> String {
    let end = report.trace.suffix(120).joined(separator: "\n")
    let violations = report.violations.map(\.description).joined(separator: "\n")
    return "seed \(report.seed), \(report.world)\n\(end)\n\(violations)\nagain: \(report.replay)"
  }

  @Test("One node keeps its promises whatever happens to it")
  func oneNode() {
    let coverage = Self.run(0..<40, SimulationOptions(nodeCount: 1, duration: .seconds(40)))
    // A simulation in which nothing happens proves nothing.
    for mark in [
      .kill, .powerLoss, .crashAtWrite, .powerAtWrite, .cleanStop, .pause, .fullDisk, .slowDisk, .diskError, .isolation, .cutWire, .reset,
      .recovery, .tornTail, .resent, .acknowledged, .acknowledgedByLeader, .read, .latestAsked, .offlinePartition,
    ] as [Coverage.Mark] {
      #expect(coverage[mark] > 0, "no \(mark.name)")
    }
  }

  @Test("Seeds that nobody has seen before")
  func fresh() {
    let first = UInt64.random(in: 0..<1 << 48)
    print("fresh seeds from \(first)")
    Self.run(first..<first + 10, SimulationOptions(nodeCount: 1, duration: .seconds(40)))
  }

  @Test("The same seed gives the same run, event for event and byte for byte")
  func deterministic() {
    let options = SimulationOptions(nodeCount: 1, duration: .seconds(30))
    for seed in [3, 4] as [UInt64] {
      let (a, b) = (Simulation.run(seed: seed, options: options), Simulation.run(seed: seed, options: options))
      #expect(a.digest == b.digest && a.eventCount == b.eventCount && a.coverage == b.coverage)
      #expect(a.digest != Simulation.run(seed: seed + 100, options: options).digest)
    }
  }
}
