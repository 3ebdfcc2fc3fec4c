import Environment
import LogCore
package import Model
import Records

extension PartitionLog {
  /// Removes everything from the batch that holds `offset` on, so that the log ends at `offset` or before (at a batch's end).
  /// Does nothing at or above the log's end. Blocks: the recovery point is taken back on disk first, then files are cut.
  package mutating func truncate(to offset: Offset, now: Timestamp) throws(StorageError) {
    try self.requireOnline()
    guard offset < self.logEndOffset else { return }
    guard offset > self.segments[0].baseOffset else { return try self.truncateFully(to: max(offset, self.segments[0].baseOffset), now: now) }
    var index = self.segmentIndex(for: offset)
    var position = try self.position(of: offset, in: index)
    if position == 0, index > 0 {
      // The segment would be empty: the one before it becomes the active one, whole.
      index -= 1
      position = self.segments[index].byteCount
    }
    try self.store.checkpoints.lowerRecoveryPoint(of: self.topicPartition, to: offset)
    self.beginTruncation()
    do {
      try self.removeSegments(after: index)
      try self.cutActive(to: position)
    } catch {
      self.takeOffline("it could not be truncated to offset \(offset): \(error)")
      throw error
    }
    try self.finishTruncation()
  }

  /// Empties the log; the next batch gets `offset`. Also moves an empty or shorter log forward, as a follower does whose leader's
  /// log begins beyond its own. Blocks.
  package mutating func truncateFully(to offset: Offset, now: Timestamp) throws(StorageError) {
    try self.requireOnline()
    try self.store.checkpoints.lowerRecoveryPoint(of: self.topicPartition, to: .zero)
    self.beginTruncation()
    do {
      // The new segment first, under a name that no old one has unless it is cut to nothing.
      let old = self.segments
      self.segments = []
      for segment in old.reversed() { try self.removeFiles(of: segment) }
      self.logEndOffset = offset
      try self.addSegment(now: now)
    } catch {
      if self.segments.isEmpty { self.segments = [Segment(baseOffset: offset, directory: self.directory, files: self.store.files, isNew: true, now: now)] }
      self.logEndOffset = offset
      self.logStartOffset = offset
      self.flushedOffset = offset
      self.takeOffline("it could not be emptied: \(error)")
      throw error
    }
    self.logStartOffset = offset
    self.store.checkpoints.setLogStartOffset(offset, of: self.topicPartition)
    try self.finishTruncation()
  }

  private mutating func beginTruncation() {
    self.generation += 1
    self.boundaries.removeAll()
  }

  private mutating func removeSegments(after index: Int) throws(StorageError) {
    while self.activeIndex > index {
      try self.removeFiles(of: self.segments[self.activeIndex])
      self.segments.removeLast()
    }
  }

  private func removeFiles(of segment: Segment<Disk>) throws(StorageError) {
    segment.release()
    try onDisk { () throws(DiskError) in
      for path in segment.paths.reversed() where try self.store.disk.kind(of: path) != nil { try self.store.disk.removeFile(path) }
    }
  }

  private mutating func cutActive(to position: Int64) throws(StorageError) {
    let index = self.activeIndex
    // The indexes first, for an entry must never lead beyond the end.
    try self.withIndexes(of: index) { segment throws(StorageError) in
      try segment.offsetIndex.truncate { $0.position < position }
    }
    let file = try onDisk { () throws(DiskError) in try self.segments[index].file() }
    try onDisk { () throws(DiskError) in
      try file.truncate(to: position)
      // Durable now: a cut that a loss of power undoes would bring back what was replaced since.
      try file.sync()
      try self.store.disk.syncDirectory(self.directory)
    }
    self.segments[index].byteCount = position
    self.segments[index].reservedByteCount = 0
    self.segments[index].syncedByteCount = position
    if position == 0 {
      self.segments[index].timeIndex.reset()
      self.segments[index].offsetIndex.reset()
      self.segments[index].resetTimes()
      self.logEndOffset = self.segments[index].baseOffset
      return
    }
    let last = try self.segments[index].offsetIndex.last()
    try self.segments[index].timeIndex.truncate { last != nil && $0.offset <= last!.offset }
    self.logEndOffset = try self.segments[index].readTail()
  }

  private mutating func finishTruncation() throws(StorageError) {
    self.flushedOffset = min(self.flushedOffset, self.logEndOffset)
    self.recoveryPoint = min(self.recoveryPoint, self.logEndOffset)
    self.logStartOffset = min(self.logStartOffset, self.logEndOffset)
    if self.leaderEpochs.truncate(toEnd: self.logEndOffset) { self.leaderEpochsChanged = true }
    self.pendingSnapshots.removeAll { $0.offset > self.logEndOffset }
    for offset in self.snapshots where offset > self.logEndOffset {
      let path = self.directory + "/" + LogFileName.name(offset, .producerSnapshot)
      try onDisk { () throws(DiskError) in
        if try self.store.disk.kind(of: path) != nil { try self.store.disk.removeFile(path) }
      }
    }
    self.snapshots.removeAll { $0 > self.logEndOffset }
    self.producers = .loaded(try self.rebuildProducers())
  }
}
