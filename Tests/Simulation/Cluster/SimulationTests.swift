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
    let coverage = Self.run(0..<12, SimulationOptions(nodeCount: 1, duration: .seconds(40)))
    // A simulation in which nothing happens proves nothing.
    for mark in [.kill, .powerLoss, .cleanStop, .recovery, .tornTail, .resent, .acknowledged, .read, .latestAsked] as [Coverage.Mark] {
      #expect(coverage[mark] > 0, "no \(mark.name)")
    }
  }

  @Test("Three nodes keep their promises whatever happens to them")
  func threeNodes() {
    let coverage = Self.run(0..<6, SimulationOptions(nodeCount: 3, duration: .seconds(30)))
    for mark in [
      .kill, .cleanStop, .recovery, .quorumLeader, .partitionLeader, .fenced, .inSyncShrank, .inSyncGrew, .resent, .acknowledged, .read,
      .latestAsked,
    ] as [Coverage.Mark] {
      #expect(coverage[mark] > 0, "no \(mark.name)")
    }
  }

  @Test("Five nodes do")
  func fiveNodes() { Self.run(0..<2, SimulationOptions(nodeCount: 5, duration: .seconds(30))) }

  @Test("Seeds that nobody has seen before")
  func fresh() {
    let first = UInt64.random(in: 0..<1 << 48)
    print("fresh seeds from \(first)")
    Self.run(first..<first + 4, SimulationOptions(nodeCount: 3, duration: .seconds(30)))
  }

  @Test("The same seed gives the same run, event for event and byte for byte")
  func deterministic() {
    let options = SimulationOptions(nodeCount: 3, duration: .seconds(25))
    for seed in [3] as [UInt64] {
      let (a, b) = (Simulation.run(seed: seed, options: options), Simulation.run(seed: seed, options: options))
      #expect(a.digest == b.digest && a.eventCount == b.eventCount && a.coverage == b.coverage)
      #expect(a.digest != Simulation.run(seed: seed + 100, options: options).digest)
    }
  }
}
