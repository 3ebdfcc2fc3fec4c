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
    /// The properties that show it: promises broken, not just a quorum that comes to nothing.
    var properties: [String]
    var focus = SimPlan.Focus.everything
    var testDescription: String { self.name }
  }

  /// Every mutant is found within this many seeds.
  static let seedsMax: UInt64 = 100

  static let cases: [Case] = [
    Case(mutant: .skipsLogMatching, name: "skips the log-matching check", properties: ["log matching", "high watermark"]),
    Case(mutant: .forgetsVote, name: "votes twice after a restart", properties: ["one vote per term"]),
    Case(mutant: .sendsBeforePersist, name: "sends before it persists", properties: ["persist before send"]),
    Case(mutant: .commitsEarlierTerms, name: "commits entries of earlier terms by counting", properties: ["commitment"]),
    Case(mutant: .countsUnsynced, name: "counts what is not on disk", properties: ["persist before send"]),
    Case(mutant: .ignoresStickiness, name: "ignores that it hears a leader", properties: ["leader stickiness"]),
    Case(mutant: .forgetsCheckQuorum, name: "forgets check-quorum", properties: ["check quorum"]),
    Case(mutant: .truncatesCommitted, name: "truncates below the high watermark", properties: ["invariant"]),
    Case(mutant: .overlapsVoterChanges, name: "accepts two voter changes at once", properties: ["one voter change"]),
    Case(mutant: .countsObservers, name: "counts observers as voters", properties: ["high watermark"]),
    Case(mutant: .readsUnconfirmed, name: "reads without confirmation", properties: ["linearizable reads"], focus: .reads),
    Case(
      mutant: .confirmsReadsByFetch, name: "takes a fetch after a read for its confirmation", properties: ["linearizable reads"],
      focus: .reads),
    Case(mutant: .ignoresLogEnd, name: "votes without a look at the log", properties: ["leader completeness"]),
    Case(mutant: .resumesCandidacy, name: "goes on as a candidate after a restart", properties: ["election safety"]),
    Case(mutant: .keepsTruncatedVoters, name: "keeps voters that were cut off", properties: ["voters in force"]),
    Case(mutant: .countsMinority, name: "is elected by one vote too few", properties: ["election safety"]),
    Case(
      mutant: .changesVotersEarly, name: "changes voters before its term is established",
      properties: ["one voter change", "voter change"]),
  ]

  @Test("Every bug is found within 100 seeds", arguments: cases)
  func found(_ mutant: Case) {
    for seed in 0..<Self.seedsMax {
      guard let violation = SimRun(seed: seed, focus: mutant.focus, mutants: mutant.mutant).violation else { continue }
      #expect(mutant.properties.contains(violation.property), "seed \(seed): \(violation)")
      return
    }
    Issue.record("nothing was found in \(Self.seedsMax) seeds")
  }
}
#endif
