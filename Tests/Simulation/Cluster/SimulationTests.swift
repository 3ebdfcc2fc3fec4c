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

  /// Troubles of processes alone. Power, disks and the network are for `apus sim run`, which tries all of them.
  private static let options = SimulationOptions(
    nodeCount: 3, duration: .seconds(40), faults: [.kill, .restart, .pause])

  @Test("Three nodes keep their promises while processes die, pause and are restarted")
  func threeNodes() {
    let coverage = Self.run(100..<104, Self.options)
    // A simulation in which nothing happens proves nothing.
    for mark in [.kill, .cleanStop, .pause, .recovery, .acknowledged, .read, .latestAsked] as [Coverage.Mark] {
      #expect(coverage[mark] > 0, "no \(mark.name)")
    }
  }

  /// What was found with all the troubles that there were then.
  private static let firstFaults: Set<FaultKind> = [
    .clock, .crashAtWrite, .cut, .diskError, .elect, .fullDisk, .isolate, .kill, .pause, .power, .powerAtWrite, .reassign, .reset,
    .restart, .rolling, .slowDisk, .slowWire, .topics,
  ]

  private static let secondFaults = Self.firstFaults.union([.blackout, .bitFlip, .reassignKill, .voters, .unclean])

  /// 25, 1003: power that was lost while a topic was made left an empty `partition.metadata`, and the partition out of service. 1005, 1006:
  /// a new leader told consumers that the log ended before what they had read.
  @Test("What was found with all troubles is not found again", arguments: [(25, 1), (1003, 3), (1005, 3), (1006, 3)] as [(UInt64, Int)])
  func regressionsOfAll(seed: UInt64, nodes: Int) {
    Self.run([seed], SimulationOptions(nodeCount: nodes, duration: .seconds(nodes == 1 ? 40 : 60), faults: Self.firstFaults))
  }

  /// 1012: a fetcher that backed off woke itself without end. 7092, 8000, 8010: a replica that was out of the ISR and held everything was
  /// never proposed again. 7093: what a write that had failed for want of room left in a segment came back with a loss of power.
  @Test(
    "What was found since is not found again", arguments: [(1012, 3), (7092, 3), (7093, 3), (8000, 5), (8010, 5)] as [(UInt64, Int)])
  func laterRegressions(seed: UInt64, nodes: Int) {
    Self.run([seed], SimulationOptions(nodeCount: nodes, duration: .seconds(60), faults: Self.secondFaults))
  }

  @Test("Seeds that nobody has seen before")
  func fresh() {
    let first = UInt64.random(in: 0..<1 << 48)
    let options = SimulationOptions(nodeCount: 3, duration: .seconds(40))
    print("fresh seeds: \(options.replay(seed: first))")
    Self.run(first..<first + 2, options)
  }

  /// 24: a leader without a lease showed consumers an older high watermark. 109: a directory was marked as clean while its logs were being
  /// opened. 126: of a producer's batches only the last was known after a clean restart.
  @Test("What was found once is not found again", arguments: [24, 109, 126] as [UInt64])
  func regressions(seed: UInt64) {
    let faults: Set<FaultKind> = [
      .clock, .crashAtWrite, .cut, .diskError, .fullDisk, .isolate, .kill, .pause, .power, .powerAtWrite, .reset, .restart, .rolling,
      .slowDisk, .slowWire,
    ]
    Self.run([seed], SimulationOptions(nodeCount: 1, duration: .seconds(40), faults: faults))
  }

  @Test("The same seed gives the same run, event for event and byte for byte")
  func deterministic() {
    var options = Self.options
    options.duration = .seconds(15)
    let (a, b) = (Simulation.run(seed: 3, options: options), Simulation.run(seed: 3, options: options))
    #expect(a.digest == b.digest && a.eventCount == b.eventCount && a.coverage == b.coverage)
    #expect(a.digest != Simulation.run(seed: 103, options: options).digest)
  }
}
