package import Environment
package import LogCore
package import Model

/// Files that are no longer part of a log and are to go: renamed first, removed after a while.
package struct SegmentRemoval<Disk: DiskPort>: Sendable {
  /// Base offsets of the segments and why each goes.
  package let segments: [(baseOffset: Offset, reason: RetentionRule.Reason)]
  package let byteCount: Int64
  /// How long to wait between `mark` and `remove` (`file.delete.delay.ms`).
  package let delay: Duration
  let paths: [String]
  let disk: Disk

  /// Renames the files to `.deleted`, oldest first. By the log's owner, before anybody can make the same paths anew.
  package func mark() throws(DiskError) {
    for path in self.paths where try self.disk.kind(of: path) != nil { try self.disk.rename(path, to: path + LogFileName.deletedSuffix) }
  }

  /// Removes the renamed files. A stop of the process in between is made up for when the log is opened again.
  package func remove() throws(DiskError) {
    for path in self.paths {
      let marked = path + LogFileName.deletedSuffix
      if try self.disk.kind(of: marked) != nil { try self.disk.removeFile(marked) }
    }
  }
}

/// A partition's directory that is to go.
package struct DirectoryRemoval<Disk: DiskPort>: Sendable {
  package let path: String
  /// How long to wait before `run` (`file.delete.delay.ms`).
  package let delay: Duration
  let disk: Disk
  /// Removes the directory and what is in it. On the background lane.
  package func run() throws(DiskError) { try self.disk.removeTree(self.path) }
}

extension PartitionLog {
  /// Takes the segments out of the log that retention no longer keeps. Nil if there are none. May read the time indexes of
  /// segments for the first time: on the background lane.
  ///
  /// - Parameter highWatermark: nothing at or above it goes.
  package mutating func applyRetention(highWatermark: Offset, now: Timestamp) throws(StorageError) -> SegmentRemoval<Disk>? {
    try self.requireOnline()
    var summaries: [SegmentSummary] = []
    for index in self.segments.indices {
      let needsTime = self.config.retentionAge != nil && self.segments[index].byteCount > 0
      summaries.append(
        SegmentSummary(
          baseOffset: self.segments[index].baseOffset, byteCount: self.segments[index].byteCount,
          largestTimestamp: needsTime ? try self.largestTimestamp(in: index) : .none))
    }
    let decision = RetentionRule.decide(
      segments: summaries, logStartOffset: self.logStartOffset, logEndOffset: self.logEndOffset, highWatermark: highWatermark,
      config: self.config, now: now)
    guard !decision.reasons.isEmpty else { return nil }
    if decision.rollsActiveSegment { try self.rollActive(now: now) }
    // The producers of what goes are known from the snapshot at the first segment that stays, so that should be there first. On a
    // disk that is full it cannot be, and space counts for more: without it a restart merely knows fewer producers of long ago.
    if !self.pendingSnapshots.isEmpty {
      do throws(StorageError) {
        if let ticket = try self.beginCheckpoint(snapshotAtEnd: false) {
          try onDisk { () throws(DiskError) in try ticket.run() }
          self.completeCheckpoint(ticket)
        }
      } catch {
        guard case .disk(let cause) = error, cause.kind == .noSpace else { throw error }
      }
    }
    let removed = Array(self.segments[..<decision.reasons.count])
    self.segments.removeFirst(removed.count)
    try self.moveLogStart(to: self.segments[0].baseOffset)
    let firstBase = self.segments[0].baseOffset
    var paths: [String] = []
    for segment in removed {
      segment.release()
      paths += segment.paths
    }
    for offset in self.snapshots where offset < firstBase {
      paths.append(self.directory + "/" + LogFileName.name(offset, .producerSnapshot))
    }
    self.snapshots.removeAll { $0 < firstBase }
    self.flushedOffset = max(self.flushedOffset, min(firstBase, self.logEndOffset))
    return SegmentRemoval(
      segments: zip(removed, decision.reasons).map { ($0.baseOffset, $1) }, byteCount: removed.reduce(0) { $0 + $1.byteCount },
      delay: self.config.fileDeleteDelay, paths: paths, disk: self.store.disk)
  }

  /// The youngest record's time in a segment; where records carry none, when the segment was last written.
  mutating func largestTimestamp(in index: Int) throws(StorageError) -> Timestamp {
    if !self.segments[index].knowsTimes {
      try self.withIndexes(of: index) { segment throws(StorageError) in _ = try segment.readTail() }
    }
    let largest = self.segments[index].pacing.maxTimestamp
    return largest.rawValue >= 0 ? largest : self.segments[index].lastTouched
  }

  /// DeleteRecords: nothing below `offset` can be read any more. The segments that held it go with the next `applyRetention`.
  /// Throws `.offsetOutOfRange` above the log's end; does nothing below its start.
  package mutating func advanceLogStart(to offset: Offset) throws(StorageError) {
    try self.requireOnline()
    guard offset <= self.logEndOffset else {
      throw .offsetOutOfRange(requested: offset, logStartOffset: self.logStartOffset, logEndOffset: self.logEndOffset)
    }
    try self.moveLogStart(to: offset)
  }

  private mutating func moveLogStart(to offset: Offset) throws(StorageError) {
    guard offset > self.logStartOffset else { return }
    self.logStartOffset = offset
    self.recoveryPoint = max(self.recoveryPoint, min(offset, self.flushedOffset))
    if self.leaderEpochs.truncate(toStart: offset) { self.leaderEpochsChanged = true }
    self.store.checkpoints.setLogStartOffset(offset, of: self.topicPartition)
  }

  /// Removes the log: its directory is renamed at once, so that one of the same name can be made, and removed by the ticket.
  /// - Parameter id: makes the new name unique.
  package mutating func delete(id: KafkaUUID) throws(StorageError) -> DirectoryRemoval<Disk> {
    if case .deleted = self.state { throw .notFound(path: self.directory) }
    let path = self.store.path + "/" + LogFileName.deletedDirectory(self.topicPartition, id: id)
    try self.store.checkpoints.forget(self.topicPartition)
    try onDisk { () throws(DiskError) in try self.store.disk.rename(self.directory, to: path) }
    self.state = .deleted
    for segment in self.segments { segment.release() }
    return DirectoryRemoval(path: path, delay: self.config.fileDeleteDelay, disk: self.store.disk)
  }
}
