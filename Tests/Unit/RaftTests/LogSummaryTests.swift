import Base
import Model
import Raft
import Testing

@Suite("What Raft knows of the log")
struct LogSummaryTests {
  /// Holds a summary against the plain list of terms it stands for, over random changes.
  @Test("Terms, ends and validity are those of the entries, whatever was appended, cut and dropped", arguments: 0..<40 as Range<UInt64>)
  func againstList(_ seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var summary = LogSummary(voters: Replica.voters([1, 2, 3]), version: .dynamicVoters)
    var terms: [Term] = []
    var start = 0
    var term: Int32 = 1
    for _ in 0..<200 {
      switch Int.random(in: 0..<10, using: &generator) {
      case 0..<5:
        if Bool.random(using: &generator) { term += Int32.random(in: 0...2, using: &generator) }
        let count = Int64.random(in: 1...3, using: &generator)
        let begins = [TermStart(term: Term(term), index: summary.endIndex)]
        summary.append(EntryRun(start: summary.endIndex, end: summary.endIndex + count, terms: begins, payload: PayloadID(0)))
        terms += Array(repeating: Term(term), count: Int(count))
      case 5..<7:
        let end = Int.random(in: start...terms.count, using: &generator)
        summary.truncate(to: LogIndex(Int64(end)))
        terms.removeLast(terms.count - end)
        // Only terms above the last left may follow.
        term = max(1, terms.last?.rawValue ?? 1)
      case 7: summary.persist(upTo: LogIndex(Int64.random(in: 0...Int64(terms.count), using: &generator)))
      default:
        let end = Int.random(in: start...terms.count, using: &generator)
        let latest = summary.latestSnapshot?.id.index ?? .zero
        guard end > start, LogIndex(Int64(end)) > latest else { continue }
        let id = LogEnd(term: terms[end - 1], index: LogIndex(Int64(end)))
        summary.add(SnapshotInfo(id: id, byteCount: 1))
        summary.dropPrefix(to: id)
        start = end
      }
      Self.compare(summary, terms, start)
    }
  }

  private static func compare(_ summary: LogSummary, _ terms: [Term], _ start: Int) {
    #expect(summary.endIndex == LogIndex(Int64(terms.count)))
    #expect(summary.startIndex == LogIndex(Int64(start)))
    #expect(summary.lastTerm == terms.last ?? .zero)
    #expect(summary.durableEnd <= summary.endIndex && summary.durableEnd >= summary.startIndex)
    for index in start..<terms.count { #expect(summary.term(at: LogIndex(Int64(index))) == terms[index]) }
    #expect(summary.term(at: summary.endIndex) == (start == terms.count && start > 0 ? nil : summary.term(at: summary.endIndex)))
    let base = start > 0 ? terms[start - 1] : .zero
    for asked in 0...Int32(terms.last?.rawValue ?? 0) + 1 {
      // The largest term not above the one asked for, and the index after its last entry, from where the log begins on.
      let last = terms.indices.last { terms[$0] <= Term(asked) && $0 >= start }
      let expected = last.map { LogEnd(term: terms[$0], index: LogIndex(Int64($0 + 1))) }
      #expect(summary.end(of: Term(asked)) == expected ?? LogEnd(term: base, index: LogIndex(Int64(start))))
    }
  }

  @Test("A position is valid if the entry before it has its term")
  func positions() {
    var log = Replica.log([(1, 3), (4, 2)])
    func validate(_ term: Int32, _ index: Int64) -> FetchPosition { log.validate(LogEnd(term: Term(term), index: LogIndex(index))) }
    #expect(validate(0, 0) == .valid)
    #expect(validate(1, 3) == .valid)
    #expect(validate(4, 5) == .valid)
    #expect(validate(2, 4) == .diverging(LogEnd(term: Term(1), index: LogIndex(3))))
    #expect(validate(5, 5) == .diverging(LogEnd(term: Term(4), index: LogIndex(5))))
    #expect(validate(0, 2) == .diverging(.zero))
    let id = LogEnd(term: Term(1), index: LogIndex(2))
    log.add(SnapshotInfo(id: id, byteCount: 1))
    #expect(validate(0, 0) == .snapshot(id))
    log.dropPrefix(to: id)
    #expect(validate(1, 1) == .snapshot(id))
    #expect(validate(0, 2) == .snapshot(id))
    #expect(validate(1, 2) == .valid)
    #expect(validate(1, 3) == .valid)
  }

  @Test("A log is cut at the end of the term both have, or of the one before it")
  func truncationPoints() {
    let log = Replica.log([(1, 3), (4, 5)])
    #expect(log.truncationPoint(for: LogEnd(term: Term(4), index: LogIndex(6))) == LogIndex(6))
    #expect(log.truncationPoint(for: LogEnd(term: Term(4), index: LogIndex(60))) == LogIndex(8))
    #expect(log.truncationPoint(for: LogEnd(term: Term(3), index: LogIndex(7))) == LogIndex(3))
    #expect(log.truncationPoint(for: LogEnd(term: Term(1), index: LogIndex(2))) == LogIndex(2))
    #expect(log.truncationPoint(for: .zero) == .zero)
  }

  @Test("Voters by index: a snapshot gets those in force below its end, and old ones are forgotten with the log")
  func history() {
    var log = Replica.log([(1, 3)])
    log.append(Replica.run(3, 5, term: 1, controls: [PlacedControl(index: LogIndex(3), entry: .voters(Replica.voters([1, 2])))]))
    log.append(Replica.run(5, 6, term: 1, controls: [PlacedControl(index: LogIndex(5), entry: .voters(Replica.voters([1])))]))
    log.persist(upTo: log.endIndex)
    #expect(log.voterHistory.value(below: LogIndex(3)) == Replica.voters([1, 2, 3]))
    #expect(log.voterHistory.value(below: LogIndex(4)) == Replica.voters([1, 2]))
    let id = LogEnd(term: Term(1), index: LogIndex(4))
    log.add(SnapshotInfo(id: id, byteCount: 1))
    log.dropPrefix(to: id)
    #expect(log.voterHistory.entries.map(\.index) == [LogIndex(3), LogIndex(5)])
    log.truncate(to: LogIndex(5))
    #expect(log.voters == Replica.voters([1, 2]))
  }

  @Test("Voter sets that differ by one share a voter in every two majorities")
  func overlap() {
    let three = Replica.voters([1, 2, 3])
    #expect(three.overlaps(Replica.voters([1, 2, 3, 4])))
    #expect(three.overlaps(Replica.voters([1, 2])))
    #expect(!three.overlaps(Replica.voters([1, 2, 4])))
    #expect(!three.overlaps(Replica.voters([1])))
    #expect(VoterSet(three.voters + [three.voters[0]]) == nil)
  }
}
