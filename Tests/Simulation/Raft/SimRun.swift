import Base
import Raft

/// One seed from beginning to end.
struct SimRun {
  var seed: UInt64
  var violation: SafetyChecker.Violation?
  var counts: SimCounts
  var committed: Int64
  var plan: SimPlan

  init(seed: UInt64, focus: SimPlan.Focus = .everything, mutants: RaftMutant = []) {
    let world = SimWorld(seed: seed, plan: SimPlan(seed: seed, focus: focus), mutants: mutants)
    world.settle()
    self.seed = seed
    self.violation = world.checker.violation
    self.counts = world.counts
    self.committed = world.checker.committedEnd.rawValue
    self.plan = world.plan
  }

  /// The same run again, told line by line, as far as the end of it may be of use.
  static func story(of seed: UInt64, focus: SimPlan.Focus = .everything, mutants: RaftMutant = [], lines: Int = 150) -> String {
    let world = SimWorld(seed: seed, plan: SimPlan(seed: seed, focus: focus), mutants: mutants, tells: true)
    world.settle()
    let story = world.story ?? []
    return "seed \(seed): \(world.plan)\n" + story.suffix(lines).joined(separator: "\n")
      + (world.checker.violation.map { "\nviolated: \($0)" } ?? "")
  }
}
