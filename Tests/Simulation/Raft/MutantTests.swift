import Base
import Model
import Raft
import Testing

#if APUS_MUTANTS
/// Deliberate bugs, one at a time: a simulation that does not find them would not find ours.
@Suite("Mutants")
struct MutantTests {
  struct Case: CustomTestStringConvertible {
    var mutant: RaftMutant
    var name: String
    /// The property that shows it first, as a rule.
    var property: String
    var focus = SimPlan.Focus.everything
    var testDescription: String { self.name }
  }

  /// Every mutant is found within this many seeds.
  static let seedsMax: UInt64 = 100

  static let cases: [Case] = [
    Case(mutant: .skipsLogMatching, name: "skips the log-matching check", property: "log matching"),
    Case(mutant: .forgetsVote, name: "votes twice after a restart", property: "one vote per term"),
    Case(mutant: .sendsBeforePersist, name: "sends before it persists", property: "persist before send"),
    Case(mutant: .commitsEarlierTerms, name: "commits entries of earlier terms by counting", property: "commitment"),
    Case(mutant: .countsUnsynced, name: "counts what is not on disk", property: "persist before send"),
    Case(mutant: .ignoresStickiness, name: "ignores that it hears a leader", property: "leader stickiness"),
    Case(mutant: .forgetsCheckQuorum, name: "forgets check-quorum", property: "check quorum"),
    Case(mutant: .truncatesCommitted, name: "truncates below the high watermark", property: "invariant"),
    Case(mutant: .overlapsVoterChanges, name: "accepts two voter changes at once", property: "one voter change"),
    Case(mutant: .countsObservers, name: "counts observers as voters", property: "high watermark"),
    Case(mutant: .readsUnconfirmed, name: "reads without confirmation", property: "linearizable reads", focus: .reads),
    Case(mutant: .ignoresLogEnd, name: "votes without a look at the log", property: "leader completeness"),
    Case(mutant: .resumesCandidacy, name: "goes on as a candidate after a restart", property: "election safety"),
    Case(mutant: .keepsTruncatedVoters, name: "keeps voters that were cut off", property: "voters in force"),
    Case(mutant: .countsMinority, name: "is elected by one vote too few", property: "election safety"),
    Case(mutant: .changesVotersEarly, name: "changes voters before its term is established", property: "one voter change"),
  ]

  @Test("Every bug is found within 100 seeds", arguments: cases)
  func found(_ mutant: Case) {
    for seed in 0..<Self.seedsMax {
      guard let violation = SimRun(seed: seed, focus: mutant.focus, mutants: mutant.mutant).violation else { continue }
      #expect(violation.property == mutant.property, "seed \(seed): \(violation)")
      return
    }
    Issue.record("nothing was found in \(Self.seedsMax) seeds")
  }
}
#endif
