import Base
import Election
import Model
import Raft

/// An entry with its content, which the machine never sees.
struct SimEntry: Hashable {
  enum Content: Hashable {
    case command(UInt64)
    case control(ControlEntry)
  }
  var term: Term
  var content: Content
}

/// A snapshot: what it stands for, boiled down to a number that depends on every entry below it.
struct SimSnapshot: Hashable {
  var summary: SnapshotSummary
  var digest: UInt64
  var id: LogEnd { self.summary.info.id }
}

/// The files of the log.
struct SimLog: Hashable {
  var base = LogEnd.zero
  var entries: [SimEntry] = []
  var snapshots: [SimSnapshot] = []

  var end: LogIndex { self.base.index + Int64(self.entries.count) }
  func place(_ index: LogIndex) -> Int { Int(index - self.base.index) }
  func entry(_ index: LogIndex) -> SimEntry? { index >= self.base.index && index < self.end ? self.entries[self.place(index)] : nil }
  func term(at index: LogIndex) -> Term? { index == self.base.index - 1 ? self.base.term : self.entry(index)?.term }

  mutating func apply(_ write: LogWrite) {
    switch write {
    case .append(let start, let entries):
      precondition(start == self.end, "append at \(start), the log ends at \(self.end)")
      self.entries += entries
    case .truncate(let end): self.entries.removeLast(Int(self.end - end))
    case .install(let snapshot):
      self.base = snapshot.id
      self.entries = []
      self.snapshots = [snapshot]
    case .dropPrefix(let to):
      self.entries.removeFirst(self.place(to.index))
      self.base = to
      self.snapshots.removeAll { $0.id.index < to.index }
    }
  }

  /// The entries of a range as a fetch tells of them.
  func run(from start: LogIndex, count: Int, payload: PayloadID) -> (run: EntryRun, entries: [SimEntry]) {
    let entries = Array(self.entries[self.place(start)..<self.place(start) + count])
    var terms: [TermStart] = []
    var controls: [PlacedControl] = []
    for (place, entry) in entries.enumerated() {
      let index = start + Int64(place)
      if terms.last?.term != entry.term { terms.append(TermStart(term: entry.term, index: index)) }
      if case .control(let control) = entry.content { controls.append(PlacedControl(index: index, entry: control)) }
    }
    return (EntryRun(start: start, end: start + Int64(count), terms: terms, controls: controls, payload: payload), entries)
  }

  /// What a machine is given when it starts on these files.
  func summary(voters: VoterSet, version: KRaftVersion) -> LogSummary {
    var summary = LogSummary(voters: voters, version: version)
    for snapshot in self.snapshots {
      if snapshot.id == self.base { summary.reset(to: snapshot.summary) } else { summary.add(snapshot.summary.info) }
    }
    if !self.entries.isEmpty {
      summary.append(self.run(from: self.base.index, count: self.entries.count, payload: PayloadID(0)).run)
      summary.persist(upTo: summary.endIndex)
    }
    return summary
  }
}

/// A write to the log that may be lost until it is complete.
enum LogWrite: Hashable {
  case append(start: LogIndex, [SimEntry])
  case truncate(LogIndex)
  case install(SimSnapshot)
  case dropPrefix(LogEnd)
}

/// A disk: what survives a crash, and what is under way. Writes to one file complete in their order.
struct SimDisk {
  struct PendingWrite {
    /// Nil where nobody waits for it.
    var token: PersistToken?
    var write: LogWrite
  }
  var state = HardState()
  /// The log as it would be found after a crash now, at worst.
  var log = SimLog()
  var pendingStates: [(token: PersistToken, state: HardState)] = []
  var pendingWrites: [PendingWrite] = []
  var stateSync = Sync()
  var logSync = Sync()

  /// Group commit: what is written while a sync is under way shares the next one.
  struct Sync {
    private var endsAt = Instant.origin
    private var nextEndsAt: Instant?

    mutating func end(of write: Instant, taking time: Duration) -> Instant {
      if let next = self.nextEndsAt, self.endsAt <= write { (self.endsAt, self.nextEndsAt) = (next, nil) }
      if self.endsAt <= write {
        self.endsAt = write + time
        return self.endsAt
      }
      let end = self.nextEndsAt ?? self.endsAt + time
      self.nextEndsAt = end
      return end
    }
  }

  mutating func completeState(_ token: PersistToken) {
    while let first = self.pendingStates.first, first.token <= token {
      self.state = first.state
      self.pendingStates.removeFirst()
    }
  }

  mutating func completeWrite(_ token: PersistToken) -> LogWrite? {
    var last: LogWrite?
    while let first = self.pendingWrites.first, first.token.map({ $0 <= token }) ?? true {
      self.log.apply(first.write)
      last = first.token == nil ? last : first.write
      self.pendingWrites.removeFirst()
    }
    return last
  }

  /// The power goes: any number of the writes under way may have got through, the last of them in part.
  mutating func crash(using generator: inout SeededGenerator) {
    for _ in 0..<Int.random(in: 0...self.pendingStates.count, using: &generator) { self.state = self.pendingStates.removeFirst().state }
    for _ in 0..<Int.random(in: 0...self.pendingWrites.count, using: &generator) { self.log.apply(self.pendingWrites.removeFirst().write) }
    if case .append(let start, let entries)? = self.pendingWrites.first?.write {
      self.log.apply(.append(start: start, Array(entries.prefix(Int.random(in: 0...entries.count, using: &generator)))))
    }
    self.pendingStates = []
    self.pendingWrites = []
  }
}
