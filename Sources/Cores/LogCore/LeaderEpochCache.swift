package import Model

/// Which leader epoch began at which offset: what `leader-epoch-checkpoint` holds and OffsetForLeaderEpoch answers from (KIP-101).
///
/// Invariant: epochs and start offsets both ascend.
package struct LeaderEpochCache: Hashable, Sendable {
  package struct Entry: Hashable, Sendable {
    package var epoch: LeaderEpoch
    package var startOffset: Offset
    package init(epoch: LeaderEpoch, startOffset: Offset) { (self.epoch, self.startOffset) = (epoch, startOffset) }
  }

  package private(set) var entries: [Entry] = []

  package init() {}

  package var latestEpoch: LeaderEpoch? { self.entries.last?.epoch }

  /// Notes that `epoch` begins at `startOffset`. Entries that contradict it (same or later epoch, same or later offset)
  /// go, for the newer knowledge is right. True if anything changed.
  @discardableResult
  package mutating func assign(_ epoch: LeaderEpoch, startOffset: Offset) -> Bool {
    guard epoch.rawValue >= 0, startOffset.rawValue >= 0 else { return false }
    if let last = self.entries.last, last.epoch == epoch, startOffset >= last.startOffset { return false }
    while let last = self.entries.last, last.epoch >= epoch || last.startOffset >= startOffset { self.entries.removeLast() }
    self.entries.append(Entry(epoch: epoch, startOffset: startOffset))
    return true
  }

  /// The largest known epoch not above `epoch`, and the offset after its last record. Nil where Kafka answers "undefined":
  /// `epoch` is negative or newer than all known.
  package func endOffset(for epoch: LeaderEpoch, logEndOffset: Offset) -> (epoch: LeaderEpoch, endOffset: Offset)? {
    guard epoch.rawValue >= 0, let latest = self.entries.last, epoch <= latest.epoch else { return nil }
    if epoch == latest.epoch { return (epoch, logEndOffset) }
    let above = self.firstIndex { $0.epoch > epoch }
    // Older than everything kept: all of what is kept is younger, so the epoch ended where it begins.
    let known = above > 0 ? self.entries[above - 1].epoch : epoch
    return (known, self.entries[above].startOffset)
  }

  /// The epoch that the record at `offset` was written in; nil if older than what is kept.
  package func epoch(at offset: Offset) -> LeaderEpoch? {
    let above = self.firstIndex { $0.startOffset > offset }
    return above > 0 ? self.entries[above - 1].epoch : nil
  }

  /// Forgets what begins at `endOffset` or later.
  @discardableResult
  package mutating func truncate(toEnd endOffset: Offset) -> Bool {
    let kept = self.firstIndex { $0.startOffset >= endOffset }
    guard kept < self.entries.count else { return false }
    self.entries.removeSubrange(kept...)
    return true
  }

  /// Forgets what ended before `startOffset`; the epoch that spans it begins there now.
  @discardableResult
  package mutating func truncate(toStart startOffset: Offset) -> Bool {
    let above = self.firstIndex { $0.startOffset > startOffset }
    guard above > 0, above > 1 || self.entries[0].startOffset < startOffset else { return false }
    self.entries.removeSubrange(..<(above - 1))
    self.entries[0].startOffset = startOffset
    return true
  }

  private func firstIndex(where predicate: (Entry) -> Bool) -> Int {
    var (low, high) = (0, self.entries.count)
    while low < high {
      let middle = (low + high) / 2
      if predicate(self.entries[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }

  // MARK: The checkpoint file

  /// The text of `leader-epoch-checkpoint`: version 0, the number of entries, then `epoch startOffset` per line.
  package var checkpointText: String {
    var text = "0\n\(self.entries.count)\n"
    for entry in self.entries { text += "\(entry.epoch) \(entry.startOffset)\n" }
    return text
  }

  /// Parses the file's text; nil if any of it is not as it should be.
  package init?(checkpointText text: String) {
    guard let rows = CheckpointText.rows(of: text, columnCount: 2) else { return nil }
    for row in rows {
      guard let epoch = Int32(row[0]), let start = Int64(row[1]), epoch >= 0, start >= 0 else { return nil }
      let entry = Entry(epoch: LeaderEpoch(epoch), startOffset: Offset(start))
      if let last = self.entries.last, entry.epoch <= last.epoch || entry.startOffset <= last.startOffset { return nil }
      self.entries.append(entry)
    }
  }
}
