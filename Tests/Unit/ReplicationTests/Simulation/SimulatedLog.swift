import LogCore
import Model

/// A log that forgets what was not flushed when its machine loses power.
struct SimulatedLog {
  struct Record: Hashable {
    var epoch: LeaderEpoch
    var value: UInt64
  }

  private(set) var startOffset: Int64 = 0
  private(set) var records: [Record] = []
  private(set) var epochs = LeaderEpochCache()
  private(set) var flushedEnd: Int64 = 0
  /// What the flush under way covers; nil if there is none.
  private(set) var flushing: Int64?

  var end: Int64 { self.startOffset + Int64(self.records.count) }
  /// Of the last record: an epoch that began and wrote nothing is not one a follower can ask about.
  var lastEpoch: LeaderEpoch { self.records.last?.epoch ?? .unknown }

  subscript(offset: Int64) -> Record? {
    offset >= self.startOffset && offset < self.end ? self.records[Int(offset - self.startOffset)] : nil
  }

  func slice(from offset: Int64, countMax: Int) -> [Record] {
    let first = Int(offset - self.startOffset)
    return Array(self.records[first..<min(self.records.count, first + countMax)])
  }

  func epochEnd(_ epoch: LeaderEpoch) -> (epoch: LeaderEpoch, endOffset: Offset)? {
    self.epochs.endOffset(for: epoch, logEndOffset: Offset(self.end))
  }

  mutating func beginEpoch(_ epoch: LeaderEpoch) { self.epochs.assign(epoch, startOffset: Offset(self.end)) }

  mutating func append(_ record: Record) {
    self.epochs.assign(record.epoch, startOffset: Offset(self.end))
    self.records.append(record)
  }

  mutating func truncate(to end: Int64) {
    guard end < self.end else { return }
    self.records.removeLast(Int(self.end - max(end, self.startOffset)))
    self.epochs.truncate(toEnd: Offset(self.end))
    self.flushedEnd = min(self.flushedEnd, self.end)
    self.flushing = self.flushing.map { min($0, self.end) }
  }

  mutating func restart(at offset: Int64) {
    self.records.removeAll()
    self.epochs = LeaderEpochCache()
    self.startOffset = offset
    self.flushedEnd = offset
    self.flushing = self.flushing.map { _ in offset }
  }

  mutating func advanceStart(to offset: Int64) {
    guard offset > self.startOffset else { return }
    self.records.removeFirst(Int(offset - self.startOffset))
    self.startOffset = offset
    self.epochs.truncate(toStart: Offset(offset))
    self.flushedEnd = max(self.flushedEnd, offset)
  }

  mutating func beginFlush() { self.flushing = self.end }

  mutating func endFlush() {
    if let flushing { self.flushedEnd = max(self.flushedEnd, min(flushing, self.end)) }
    self.flushing = nil
  }

  /// Power is lost: of what was not flushed, `kept` records happen to be on the disk.
  mutating func lose(keeping kept: Int64) {
    self.truncate(to: min(self.end, self.flushedEnd + kept))
    self.flushing = nil
  }
}
