import Model

/// Counts elections. At most one leader is elected in a term (Raft, section 5.1); the controller calls it the leader epoch.
package struct Term: Newtype {
  package var rawValue: Int32
  package init(rawValue: Int32) { self.rawValue = rawValue }
  /// Before the first election.
  package static let zero = Term(rawValue: 0)
  /// No term from the network may reach it, so that the term after any accepted one exists.
  package static let max = Term(rawValue: .max)
  package var next: Term { Term(rawValue: self.rawValue + 1) }
}

/// An entry's place in the log, from 0. Ends are exclusive.
package struct LogIndex: Newtype {
  package var rawValue: Int64
  package init(rawValue: Int64) { self.rawValue = rawValue }
  package static let zero = LogIndex(rawValue: 0)
  package static func + (a: LogIndex, b: Int64) -> LogIndex { LogIndex(rawValue: a.rawValue + b) }
  package static func - (a: LogIndex, b: Int64) -> LogIndex { LogIndex(rawValue: a.rawValue - b) }
  package static func - (a: LogIndex, b: LogIndex) -> Int64 { a.rawValue - b.rawValue }
}

/// Where a log, or a term within it, ends: the term of the last entry and the index after it. Logs compare as Raft's section 5.4.1 has
/// it: the later last term is more up to date, and within one term the longer log.
///
/// A snapshot is named by the end of the log it stands for (KIP-630).
package struct LogEnd: Hashable, Comparable, Sendable, CustomStringConvertible {
  package var term: Term
  package var index: LogIndex
  package init(term: Term, index: LogIndex) { (self.term, self.index) = (term, index) }
  package static let zero = LogEnd(term: .zero, index: .zero)
  package static func < (a: LogEnd, b: LogEnd) -> Bool { (a.term, a.index) < (b.term, b.index) }
  package var description: String { "\(self.index)@\(self.term)" }
}
