import ArgumentParser
import ClusterSimulation

/// `apus sim mutants`
struct SimMutantsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mutants", abstract: "Run the simulation on deliberate bugs, and say which it finds.",
    discussion: """
      Only in builds that can have them: debug builds, and those with `-Xswiftc -DAPUS_MUTANTS`. Each is run with the troubles and the \
      seeds that its case names, until one seed shows it.

      Exit codes: 0 all were found; 1 one was not; 64 the command line was wrong, or the build has none.
      """)

  @Argument(help: ArgumentHelp("Their names. Default: all.", valueName: "name")) var names: [String] = []

  func run() async throws {
    #if APUS_MUTANTS
      for name in self.names where !MutantCase.all.contains(where: { $0.mutant == name }) {
        throw ValidationError("'\(name)' is no deliberate bug that the simulation is known to find")
      }
      var missed: [String] = []
      for mutant in MutantCase.all where self.names.isEmpty || self.names.contains(mutant.mutant) {
        if let report = mutant.find() {
          print("\(mutant.mutant): seed \(report.seed) of \(mutant.seeds): \(report.violations[0])")
        } else {
          print("\(mutant.mutant): NOT FOUND in seeds \(mutant.seeds)")
          missed.append(mutant.mutant)
        }
      }
      if !missed.isEmpty { throw ExitCode.failure }
    #else
      throw ValidationError("this build has no deliberate bugs: build with -Xswiftc -DAPUS_MUTANTS")
    #endif
  }
}
