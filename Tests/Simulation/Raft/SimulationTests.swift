import Base
import Model
import Raft
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#elseif canImport(Musl)
import Musl
#endif

/// Whole quorums in virtual time. A seed that fails prints what happened; `RAFT_SEEDS=from-to` runs others, and a release build runs
/// them ten times faster: `RAFT_SEEDS=0-20000 swift test -c release --filter RaftSimulation`.
@Suite("A quorum in trouble")
struct SimulationTests {
  static var seeds: Range<UInt64> {
    let parts = getenv("RAFT_SEEDS").map { String(cString: $0) }?.split(separator: "-").compactMap { UInt64($0) } ?? []
    return parts.count == 2 && parts[0] < parts[1] ? parts[0]..<parts[1] : 0..<200
  }

  @Test("Keeps Raft's promises whatever happens, and recovers when it is over")
  func seeds() {
    var counts = SimCounts()
    for seed in Self.seeds {
      let run = SimRun(seed: seed)
      counts.add(run.counts)
      if run.violation != nil { Issue.record("\(SimRun.story(of: seed))") }
    }
    // A simulation in which nothing happens proves nothing.
    #expect(counts.elections > 0 && counts.truncations > 0 && counts.snapshotsLoaded > 0 && counts.voterChanges > 0)
    #expect(counts.readsConfirmed > 0 && counts.staleTokens > 0 && counts.refused > 0)
  }

  struct Regression: CustomTestStringConvertible {
    var seed: UInt64
    var story: String
    var testDescription: String { "seed \(self.seed): \(self.story)" }
  }

  static let regressions = [
    Regression(seed: 45, story: "behind a snapshot the log forgot its term, and told followers to cut what is committed"),
    Regression(seed: 32, story: "a leader that removed itself died; only it had the newest entries, and it did not stand"),
    Regression(seed: 1794, story: "a replica with the newest entries was a voter by another's log only, and did not stand"),
    Regression(seed: 21, story: "replicas that had lost a leader sent one another back to it, for ever"),
    Regression(seed: 567, story: "the same with a leader whose disk was replaced"),
  ]

  @Test("What was found once", arguments: regressions)
  func regression(_ regression: Regression) {
    let run = SimRun(seed: regression.seed)
    if run.violation != nil { Issue.record("\(SimRun.story(of: regression.seed))") }
  }

  @Test("Reads stay linearizable with leaders that do not know that they are deposed", arguments: 0..<20 as Range<UInt64>)
  func reads(_ seed: UInt64) {
    let run = SimRun(seed: seed, focus: .reads)
    if run.violation != nil { Issue.record("\(SimRun.story(of: seed, focus: .reads))") }
  }

  @Test("Leaders that die as soon as they lead lose nothing", arguments: 0..<20 as Range<UInt64>)
  func elections(_ seed: UInt64) {
    let run = SimRun(seed: seed, focus: .elections)
    if run.violation != nil { Issue.record("\(SimRun.story(of: seed, focus: .elections))") }
  }

  @Test("The same seed gives the same run, event for event")
  func deterministic() {
    for seed in [3, 4, 5] as [UInt64] { #expect(SimRun.story(of: seed) == SimRun.story(of: seed)) }
  }
}
