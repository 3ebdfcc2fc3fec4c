import ArgumentParser
import Base
import ClusterSimulation
import JSON

/// `apus sim`: whole clusters in virtual time.
struct SimCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sim",
    abstract: "Run whole clusters in virtual time, with everything going wrong that can.",
    discussion: """
      Controllers, brokers, disks, network and clients run in one thread, on the code that `apus start` runs. From a seed follows \
      everything: what goes wrong, when, and what comes of it.

      Exit codes: 0 every promise was kept; 1 one was broken, with the story and the command that shows it again; 64 the command line \
      was wrong.
      """,
    subcommands: [SimRunCommand.self, SimMutantsCommand.self])
}

/// `apus sim run`
struct SimRunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run seeds, and say what was broken.",
    discussion: "Faults: \(FaultKind.allCases.map(\.rawValue).joined(separator: ", ")).")

  @Option(name: .long, help: ArgumentHelp("How many seeds to run, one after the other.", valueName: "n")) var seeds: UInt64 = 20
  @Option(name: .long, help: ArgumentHelp("The first seed. Default: any.", valueName: "seed")) var seed: UInt64?
  @Option(name: .long, help: ArgumentHelp("Nodes of the cluster: 1 to 9.", valueName: "n")) var nodes = 3
  @Option(name: .long, help: ArgumentHelp("Virtual seconds of each run.", valueName: "s")) var seconds: Int64 = 60
  @Option(name: .long, help: ArgumentHelp("What may go wrong, by commas; of these each seed has a part.", valueName: "names"))
  var faults: String?
  @Option(name: .long, help: ArgumentHelp("Processes at one time. Default: one per processor.", valueName: "n")) var jobs: Int?
  @Option(name: .long, help: ArgumentHelp("Go on until so many seeds have failed.", valueName: "n")) var failures = 1
  @Option(name: .long, help: ArgumentHelp("A deliberate bug that every node has; in test builds only.", valueName: "name"))
  var mutant: String?
  @Flag(name: .long, help: "One JSON object per line: each seed's report, then the whole.") var json = false
  @Flag(name: .long, help: ArgumentHelp("The story of every seed, also of those that are good.")) var verbose = false
  /// For the processes that the command starts: says which seed it begins, and gives its report as a line of JSON.
  @Flag(name: .long, help: .hidden) var worker = false

  func validate() throws {
    if !(1...9).contains(self.nodes) { throw ValidationError("--nodes is between 1 and 9.") }
    if !(20...86_400).contains(self.seconds) {
      throw ValidationError("--seconds is between 20 and 86400: trouble and recovery take their time.")
    }
    if self.seeds < 1 { throw ValidationError("--seeds is at least 1.") }
    if let jobs, !(1...256).contains(jobs) { throw ValidationError("--jobs is between 1 and 256.") }
    if self.failures < 1 { throw ValidationError("--failures is at least 1.") }
    _ = try self.faultKinds()
  }

  func faultKinds() throws -> Set<FaultKind>? {
    guard let faults else { return nil }
    var kinds: Set<FaultKind> = []
    for name in faults.split(separator: ",").map(String.init) where name != "none" {
      guard let kind = FaultKind(rawValue: name) else {
        throw ValidationError("'\(name)' is no fault: there are \(FaultKind.allCases.map(\.rawValue).joined(separator: ", ")), and none")
      }
      kinds.insert(kind)
    }
    return kinds
  }

  private func options() throws -> SimulationOptions {
    var options = SimulationOptions(
      nodeCount: self.nodes, duration: .seconds(self.seconds), faults: try self.faultKinds(), traceCapacity: self.verbose ? 200_000 : 1_000)
    if let mutant, !options.setMutant(mutant) { throw ValidationError("'\(mutant)' is no deliberate bug of this build") }
    return options
  }

  func run() async throws {
    let options = try self.options()
    let first = self.seed ?? UInt64.random(in: 0..<1 << 48)
    if self.worker { return self.work(from: first, options) }
    let isAlone = self.seeds == 1 || self.jobs == 1
    let sweep = SimSweep(first: first, count: self.seeds, failuresMax: self.failures, json: self.json)
    if isAlone {
      sweep.runHere(options, verbose: self.verbose)
    } else {
      var arguments = ["--nodes", "\(self.nodes)", "--seconds", "\(self.seconds)"]
      if let mutant { arguments += ["--mutant", mutant] }
      if let faults { arguments += ["--faults", faults] }
      try await sweep.runWorkers(arguments, options, jobs: self.jobs)
    }
    if !sweep.finish(options) { throw ExitCode.failure }
  }

  private func work(from first: UInt64, _ options: SimulationOptions) {
    for seed in first..<first + self.seeds {
      Process.write("begin \(seed)\n", to: 1)
      Process.write(Simulation.run(seed: seed, options: options).json.text + "\n", to: 1)
    }
  }
}
