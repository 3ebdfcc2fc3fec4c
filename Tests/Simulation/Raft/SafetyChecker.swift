import Base
import Model
import Raft

/// Watches a run from outside, with its own memory of what was ever said, and keeps the first thing that must not be.
///
/// Raft's five properties are those of its figure 3.
struct SafetyChecker {
  struct Violation: Hashable, CustomStringConvertible {
    var property: String
    var detail: String
    var description: String { "\(self.property): \(self.detail)" }
  }
  private struct Place: Hashable {
    var index: LogIndex
    var term: Term
  }
  struct Commit: Hashable {
    var entry: SimEntry
    /// The term of the leader that first committed it.
    var by: Term
    /// Of all entries up to and with this one.
    var digest: UInt64
  }
  struct Vote: Hashable {
    var voter: ReplicaKey
    var term: Term
  }

  private(set) var violation: Violation?
  private var leaders: [Term: (node: Int, incarnation: Int)] = [:]
  private var written: [Place: (content: SimEntry.Content, termBefore: Term)] = [:]
  private(set) var votes: [Vote: ReplicaKey] = [:]
  /// From index 0 on.
  private(set) var commits: [Commit] = []
  var committedEnd: LogIndex { LogIndex(Int64(self.commits.count)) }

  mutating func fail(_ property: String, _ detail: @autoclosure () -> String) {
    if self.violation == nil { self.violation = Violation(property: property, detail: detail()) }
  }

  static func digest(_ before: UInt64, _ entry: SimEntry) -> UInt64 {
    var x = before &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(entry.term.rawValue)
    switch entry.content {
    case .command(let value): x ^= value &* 0xBF58_476D_1CE4_E5B9
    case .control: x ^= 0x94D0_49BB_1331_11EB
    }
    return x ^ (x >> 29)
  }

  /// Election safety: at most one leader in a term; and none that started again leads on.
  mutating func elected(_ node: Int, _ incarnation: Int, _ term: Term, _ log: SimLog) {
    if let other = self.leaders[term] {
      self.fail("election safety", "term \(term) is led by node \(node).\(incarnation) and by node \(other.node).\(other.incarnation)")
    }
    self.leaders[term] = (node, incarnation)
    // Leader completeness: what leaders of earlier terms committed is in the log.
    for (place, commit) in self.commits.enumerated() where commit.by < term {
      let index = LogIndex(Int64(place))
      if index >= log.base.index, log.entry(index) != commit.entry {
        return self.fail("leader completeness", "node \(node) leads term \(term) without entry \(index), committed in term \(commit.by)")
      }
    }
  }

  /// Log matching: an index and a term name one entry, and everything before it.
  mutating func appended(_ node: Int, _ index: LogIndex, _ entry: SimEntry, after termBefore: Term) {
    let place = Place(index: index, term: entry.term)
    guard let known = self.written[place] else { return self.written[place] = (entry.content, termBefore) }
    if known.content != entry.content || known.termBefore != termBefore {
      self.fail(
        "log matching",
        "node \(node) has \(entry.content) after term \(termBefore) at \(index)@\(entry.term), "
          + "another has \(known.content) after \(known.termBefore)")
    }
  }

  /// State machine safety: no two replicas apply different entries at one index.
  mutating func applied(_ node: Int, _ index: LogIndex, _ entry: SimEntry, by term: Term, isLeader: Bool) {
    if index < self.committedEnd {
      let known = self.commits[Int(index.rawValue)].entry
      if known != entry { self.fail("state machine safety", "node \(node) applies \(entry) at \(index) where \(known) was applied") }
      return
    }
    if index > self.committedEnd { return self.fail("state machine safety", "node \(node) skips to \(index)") }
    if !isLeader { self.fail("high watermark", "node \(node) knows that \(index) is committed before any leader does") }
    let digest = Self.digest(self.commits.last?.digest ?? 0, entry)
    self.commits.append(Commit(entry: entry, by: term, digest: digest))
  }

  mutating func loaded(_ node: Int, _ snapshot: SimSnapshot) {
    let end = snapshot.id.index
    if end > self.committedEnd || (end > .zero && self.commits[Int(end.rawValue) - 1].digest != snapshot.digest) {
      self.fail("state machine safety", "node \(node) loads snapshot \(snapshot.id) of a state that was never committed")
    }
  }

  func digest(below end: LogIndex) -> UInt64 { end > .zero ? self.commits[Int(end.rawValue) - 1].digest : 0 }

  /// One vote per voter and term, across restarts. Called when a message that gives it leaves the node.
  mutating func voted(_ voter: ReplicaKey, _ term: Term, for candidate: ReplicaKey) {
    let vote = Vote(voter: voter, term: term)
    if let before = self.votes[vote], before != candidate {
      self.fail("one vote per term", "\(voter) votes in term \(term) for \(candidate) after \(before)")
    }
    self.votes[vote] = candidate
  }
}
