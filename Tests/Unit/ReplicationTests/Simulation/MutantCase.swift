import Replication

#if APUS_MUTANTS
  /// A deliberate bug, the troubles that bring it to light, and within how many seeds.
  struct MutantCase: Sendable, CustomStringConvertible {
    var mutant: Mutant
    /// Nil: as the seed has it.
    var faults: [Profile.Fault]?
    /// All below are known to miss it, and left out to save their time.
    var seedMin: UInt64 = 0
    var seedMax: UInt64
    var adjust: @Sendable (inout Profile) -> Void = { _ in }

    var description: String { self.mutant.rawValue }

    func profile(seed: UInt64) -> Profile {
      var profile = Profile(seed: seed)
      if let faults {
        profile.faults = faults
        profile.faultInterval = 60_000_000
      }
      self.adjust(&profile)
      return profile
    }

    /// The first seed that finds it; nil if none below `seedMax` does.
    func firstSeed() -> UInt64? {
      (self.seedMin..<self.seedMax).first {
        Simulation.run(seed: $0, profile: self.profile(seed: $0), mutant: self.mutant).violation != nil
      }
    }

    static let all: [MutantCase] = [
      MutantCase(mutant: .acknowledgesEarly, faults: [], seedMax: 2),
      MutantCase(mutant: .countsUnflushed, faults: [], seedMax: 5) { $0.durability = .flushed },
      MutantCase(mutant: .claimsUnflushed, faults: [], seedMax: 5) { $0.durability = .flushed },
      MutantCase(mutant: .shrinksBeforeCommitted, faults: [.throttle, .oneWayCut, .longDelay], seedMax: 30) {
        $0.minInSync = 1
      },
      MutantCase(mutant: .ignoresProposedReplicas, faults: [.crash, .longDelay], seedMax: 30) { $0.minInSync = 1 },
      MutantCase(mutant: .forgetsLease, faults: [.pause, .cut], seedMax: 10),
      MutantCase(mutant: .leaseFromReceipt, faults: [.pause, .longDelay, .cut], seedMax: 30),
      MutantCase(mutant: .expandsBelowEpochStart, faults: nil, seedMin: 40, seedMax: 50),
      MutantCase(mutant: .trustsStaleAnswers, faults: [.crash, .duplicate, .longDelay], seedMax: 30) { $0.minInSync = 1 },
      MutantCase(mutant: .dropsUncertainProposal, faults: [.crash, .longDelay], seedMin: 0, seedMax: 40) { $0.minInSync = 1 },
      MutantCase(mutant: .ignoresMinInSync, faults: [.crash], seedMax: 10) {
        $0.minInSync = 2
        $0.replicationFactor = 2
      },
      MutantCase(mutant: .truncatesToHighWatermark, faults: [.crash, .move, .longDelay], seedMin: 0, seedMax: 200) { $0.minInSync = 1 },
      MutantCase(mutant: .truncatesOnce, faults: [.crash, .pause, .move], seedMax: 30),
      MutantCase(mutant: .trustsOwnEnd, faults: [.crash, .move], seedMax: 20),
      MutantCase(mutant: .evictsOnFirstWrite, faults: [], seedMax: 10) {
        $0.producersPerPartition = 1
        $0.silencePercent = 20
      },
      MutantCase(mutant: .withholdsHighWatermark, faults: [], seedMax: 5),
    ]
  }
#endif
