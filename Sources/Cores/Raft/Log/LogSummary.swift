import Base
package import Model

/// The log as Raft needs to know it: where it begins and ends, which term begins where, the control entries in force. No entry's bytes.
///
/// ```
/// base.index = start of the log; everything below is in the snapshot named `base`
/// base.index <= durableEnd <= end
/// base.term <= terms[0].term < terms[1].term < ...     base.index <= terms[0].index < terms[1].index < ... < end
/// ```
package struct LogSummary: Hashable, Sendable {
  /// The end of what was dropped from the front, or zero: the first entry that is left has index `base.index`.
  package private(set) var base: LogEnd
  package private(set) var endIndex: LogIndex
  /// Everything below is on disk.
  package private(set) var durableEnd: LogIndex
  package private(set) var terms: [TermStart]
  /// Whole snapshots on disk, in order.
  package private(set) var snapshots: [SnapshotInfo]
  package private(set) var voterHistory: History<VoterSet>
  package private(set) var versionHistory: History<KRaftVersion>

  /// An empty log, as formatted: `voters` and `version` come from the configuration or from the bootstrap snapshot.
  package init(voters: VoterSet, version: KRaftVersion) {
    (self.base, self.endIndex, self.durableEnd) = (.zero, .zero, .zero)
    (self.terms, self.snapshots) = ([], [])
    self.voterHistory = History(voters)
    self.versionHistory = History(version)
  }

  package var startIndex: LogIndex { self.base.index }
  package var end: LogEnd { LogEnd(term: self.lastTerm, index: self.endIndex) }
  package var lastTerm: Term { self.terms.last?.term ?? self.base.term }
  package var latestSnapshot: SnapshotInfo? { self.snapshots.last }
  /// The voters in force: the last in the log, committed or not (KIP-853).
  package var voters: VoterSet { self.voterHistory.latest }
  package var version: KRaftVersion { self.versionHistory.latest }

  // MARK: Asking

  /// The term of the entry at `index`, or that of the last dropped one at `base.index - 1`; nil outside the log.
  package func term(at index: LogIndex) -> Term? {
    if index >= self.endIndex || index < self.base.index - 1 { return nil }
    return self.terms.last { $0.index <= index }?.term ?? self.base.term
  }

  /// The largest term in the log that is not above `term`, and where it ends.
  package func end(of term: Term) -> LogEnd {
    guard let place = self.terms.lastIndex(where: { $0.term <= term }) else {
      return LogEnd(term: self.base.term, index: self.base.index)
    }
    let next = place + 1
    return LogEnd(term: self.terms[place].term, index: next < self.terms.count ? self.terms[next].index : self.endIndex)
  }

  /// How a replica's log that ends at `position` goes together with this one (KIP-595, "Fetch"; KIP-630, "Validation").
  package func validate(_ position: LogEnd) -> FetchPosition {
    if position.index == .zero {
      // A replica that has nothing starts faster from a snapshot, even where the log is whole.
      if let latestSnapshot { return .snapshot(latestSnapshot.id) }
      return .valid
    }
    if position.index < self.base.index || (position.index == self.base.index && position.term != self.base.term)
      || position.term < self.base.term
    {
      guard let latestSnapshot else {
        // The log begins at zero and the position names a term below the first: nothing of it is right.
        invariant(self.base == .zero, "the log starts at \(self.base) and there is no snapshot")
        return .diverging(.zero)
      }
      return .snapshot(latestSnapshot.id)
    }
    let known = self.end(of: position.term)
    return known.term == position.term && known.index >= position.index ? .valid : .diverging(known)
  }

  /// Where this log has to be cut when the leader says that it has no more of `diverging.term` than up to `diverging.index`.
  package func truncationPoint(for diverging: LogEnd) -> LogIndex {
    let own = self.end(of: diverging.term)
    return own.term == diverging.term ? min(own.index, diverging.index) : own.index
  }

  // MARK: Changing

  /// Entries of one term are added at the end.
  mutating func append(count: Int64, term: Term, controls: [PlacedControl]) {
    self.append(terms: [TermStart(term: term, index: self.endIndex)], end: self.endIndex + count, controls: controls)
  }

  /// Adds a run that begins at the end of the log.
  package mutating func append(_ run: EntryRun) {
    invariant(run.start == self.endIndex && run.isWellFormed, "\(run) does not go on at \(self.endIndex)")
    self.append(terms: run.terms, end: run.end, controls: run.controls)
  }

  private mutating func append(terms: [TermStart], end: LogIndex, controls: [PlacedControl]) {
    for start in terms {
      invariant(start.term >= self.lastTerm, "an entry of term \(start.term) after one of \(self.lastTerm)")
      if start.term > self.lastTerm || self.terms.isEmpty { self.terms.append(start) }
    }
    self.endIndex = end
    for control in controls {
      switch control.entry {
      case .leaderChange: break
      case .voters(let voters): self.voterHistory.add(voters, at: control.index)
      case .kraftVersion(let version): self.versionHistory.add(version, at: control.index)
      }
    }
  }

  /// Everything below `index` was synced.
  package mutating func persist(upTo index: LogIndex) { self.durableEnd = min(max(self.durableEnd, index), self.endIndex) }

  /// Removes everything from `index` on, and with it what its control entries said.
  package mutating func truncate(to index: LogIndex) {
    invariant(self.base.index <= index && index <= self.endIndex, "cut at \(index), outside the log")
    self.endIndex = index
    self.durableEnd = min(self.durableEnd, index)
    while let last = self.terms.last, last.index >= index { self.terms.removeLast() }
    self.voterHistory.truncate(to: index)
    self.versionHistory.truncate(to: index)
  }

  /// A snapshot of what is below `info.id.index` was finished.
  package mutating func add(_ info: SnapshotInfo) {
    invariant(self.snapshots.last.map { $0.id.index < info.id.index } ?? true, "snapshot \(info.id) after \(self.snapshots)")
    self.snapshots.append(info)
  }

  /// Drops everything below `snapshot` from the front, and older snapshots with it.
  package mutating func dropPrefix(to snapshot: LogEnd) {
    invariant(self.snapshots.contains { $0.id == snapshot }, "there is no snapshot \(snapshot)")
    invariant(snapshot.index <= self.endIndex && snapshot.index >= self.base.index, "snapshot \(snapshot) is outside the log")
    self.base = snapshot
    if let spanning = self.terms.lastIndex(where: { $0.index <= snapshot.index }) {
      self.terms.removeFirst(spanning)
      self.terms[0].index = snapshot.index
      // The term may have ended right there.
      if self.terms.count > 1 ? self.terms[1].index == snapshot.index : self.endIndex == snapshot.index { self.terms.removeFirst() }
    }
    self.snapshots.removeAll { $0.id.index < snapshot.index }
    self.voterHistory.forget(below: snapshot.index)
    self.versionHistory.forget(below: snapshot.index)
    // What is in a snapshot on disk need not be in the log to survive.
    self.durableEnd = max(self.durableEnd, snapshot.index)
  }

  /// Replaces the whole log by a snapshot from the leader. Voters from the configuration stay where the snapshot has none.
  package mutating func reset(to summary: SnapshotSummary) {
    let voters = summary.voters ?? self.voterHistory.oldest
    self.base = summary.info.id
    self.endIndex = self.base.index
    self.durableEnd = self.base.index
    self.terms = []
    self.snapshots = [summary.info]
    self.voterHistory = History(voters, at: self.base.index - 1)
    self.versionHistory = History(summary.version, at: self.base.index - 1)
  }

  #if APUS_MUTANTS
  /// Puts voters in force that an entry before the end no longer says.
  mutating func keep(_ voters: VoterSet) { self.voterHistory = History(voters, at: self.endIndex - 1) }
  #endif

  func checkInvariants() -> String? {
    if self.base.index > self.durableEnd || self.durableEnd > self.endIndex {
      return "log start \(self.base), durable end \(self.durableEnd), end \(self.endIndex)"
    }
    if let first = self.terms.first, first.index < self.base.index || first.term < self.base.term {
      return "log start \(self.base), first term \(first)"
    }
    if let last = self.terms.last, last.index >= self.endIndex { return "term \(last) begins after the end \(self.endIndex)" }
    return nil
  }
}

/// What a leader makes of the position a replica fetches from.
package enum FetchPosition: Hashable, Sendable {
  case valid
  /// The leader's log has no such position: up to here its terms agree with what the replica may have.
  case diverging(LogEnd)
  /// The position is no longer in the leader's log: it takes this snapshot to go on.
  case snapshot(LogEnd)
}

/// Values that came into force at indexes of the log. It has at least one at any time.
package struct History<Value: Hashable & Sendable>: Hashable, Sendable {
  package struct Entry: Hashable, Sendable {
    /// -1 for what the log began with.
    package var index: LogIndex
    package var value: Value
  }
  package private(set) var entries: [Entry]

  init(_ value: Value, at index: LogIndex = LogIndex(-1)) { self.entries = [Entry(index: index, value: value)] }

  package var latest: Value { self.entries[self.entries.count - 1].value }
  package var latestIndex: LogIndex { self.entries[self.entries.count - 1].index }
  var oldest: Value { self.entries[0].value }
  /// What is in force for a snapshot that ends at `end`.
  package func value(below end: LogIndex) -> Value { self.entries.last { $0.index < end }?.value ?? self.oldest }

  mutating func add(_ value: Value, at index: LogIndex) {
    invariant(index > self.latestIndex, "index \(index) after \(self.latestIndex)")
    self.entries.append(Entry(index: index, value: value))
  }
  mutating func truncate(to end: LogIndex) {
    while self.entries.count > 1, self.latestIndex >= end { self.entries.removeLast() }
  }
  mutating func forget(below start: LogIndex) {
    while self.entries.count > 1, self.entries[1].index < start { self.entries.removeFirst() }
  }
}
