import Foundation
import Storage
import Testing

/// Random lives of a log against a model. `APUS_SEEDS=a..<b` runs other seeds than the usual ones.
@Suite struct SimulationTests {
  private func run(_ usual: Range<UInt64>, _ options: LogSimulation.Options) {
    var seeds = usual
    if let text = ProcessInfo.processInfo.environment["APUS_SEEDS"] {
      let bounds = text.split(separator: ".").compactMap { UInt64($0.drop { $0 == "<" }) }
      if bounds.count == 2 { seeds = bounds[0]..<bounds[1] }
    }
    var failures = 0
    for seed in seeds {
      var simulation = LogSimulation(seed: seed, options: options)
      do { try simulation.run() } catch {
        Issue.record("\(error)")
        failures += 1
        if failures == 10 { return }
      }
    }
  }

  @Test func withoutTroubleTheLogIsTheModel() {
    self.run(0..<500, .init(losesPower: false, killsProcess: true, operations: 60))
  }

  @Test func lossOfPowerBetweenCallsLosesNothingThatWasFlushed() {
    self.run(0..<1000, .init(failsInTheMiddle: false))
  }

  @Test func whatARestartFindsAfterAFailedCallIsNotLostAgain() {
    self.run(0..<700, .init(failsInTheMiddle: false, failsCalls: true, lives: 6))
  }

  @Test func lossOfPowerAtAnyMomentLosesNothingThatWasFlushed() {
    self.run(0..<2000, .init())
  }
}
