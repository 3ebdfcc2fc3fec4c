package import Model

/// Names bytes that the driver holds: entries that were proposed or fetched, a chunk of a snapshot. The machine hands the name back in
/// an effect of the same `handle`, or never; the driver may forget it then.
package struct PayloadID: Newtype {
  package var rawValue: UInt64
  package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// The term that begins at an index.
package struct TermStart: Hashable, Sendable {
  package var term: Term
  package var index: LogIndex
  package init(term: Term, index: LogIndex) { (self.term, self.index) = (term, index) }
}

/// Entries that came from a leader, as far as Raft needs to know them.
package struct EntryRun: Hashable, Sendable {
  package var start: LogIndex
  package var end: LogIndex
  /// The terms of the entries, the first at `start`.
  package var terms: [TermStart]
  package var controls: [PlacedControl]
  package var payload: PayloadID
  package init(start: LogIndex, end: LogIndex, terms: [TermStart], controls: [PlacedControl] = [], payload: PayloadID) {
    (self.start, self.end, self.terms, self.controls, self.payload) = (start, end, terms, controls, payload)
  }

  /// Whether the parts fit together: not empty, terms and controls in order and inside.
  var isWellFormed: Bool {
    guard self.start.rawValue >= 0, self.start < self.end, self.terms.first?.index == self.start else { return false }
    for (a, b) in zip(self.terms, self.terms.dropFirst()) where a.term >= b.term || a.index >= b.index { return false }
    for (a, b) in zip(self.controls, self.controls.dropFirst()) where a.index >= b.index { return false }
    guard let lastTerm = self.terms.last, lastTerm.index < self.end, self.terms[0].term > .zero else { return false }
    return self.controls.allSatisfy { self.start <= $0.index && $0.index < self.end }
  }
}

/// A snapshot that is whole and on this node's disk.
package struct SnapshotInfo: Hashable, Sendable {
  package var id: LogEnd
  package var byteCount: Int64
  package init(id: LogEnd, byteCount: Int64) { (self.id, self.byteCount) = (id, byteCount) }
}

/// What the control records of a snapshot say.
package struct SnapshotSummary: Hashable, Sendable {
  package var info: SnapshotInfo
  /// Nil in a snapshot taken under `kraft.version` 0: the voters are those of the configuration.
  package var voters: VoterSet?
  package var version: KRaftVersion
  package init(info: SnapshotInfo, voters: VoterSet?, version: KRaftVersion) {
    (self.info, self.voters, self.version) = (info, voters, version)
  }
}
