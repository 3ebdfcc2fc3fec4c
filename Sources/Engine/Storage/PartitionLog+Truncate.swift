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
    guard offset > self.segments[0].baseOffset else {
      return try self.truncateFully(to: max(offset, self.segments[0].baseOffset), now: now)
    }
    var index = self.segmentIndex(for: offset)
    var position = try self.position(of: offset, in: index)
    var cursor = try self.segments[index].cursor(from: position)
    // Where the log will end, or beyond it, if compaction left a gap there.
    let end = min(offset, try cursor.peek()?.baseOffset ?? offset)
    if position == 0, index > 0 {
      // The segment would be empty: the one before it becomes the active one, whole.
      index -= 1
      position = self.segments[index].byteCount
    }
    self.logStartOffset = min(self.logStartOffset, end)
    self.leaderEpochsChanged = true
    try self.store.checkpoints.lower(self.topicPartition, recoveryPoint: end, logStartOffset: self.logStartOffset)
    self.beginTruncation()
    do {
      // Before the directory is synced: a snapshot that comes back would tell of batches that are gone.
      try self.removeSnapshots { $0 > end }
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
    try self.store.checkpoints.lower(self.topicPartition, recoveryPoint: .zero, logStartOffset: min(self.logStartOffset, offset))
    self.beginTruncation()
    do {
      try self.removeSnapshots { _ in true }
      let old = self.segments
      self.segments = []
      for segment in old.reversed() { try self.removeFiles(of: segment) }
      self.logEndOffset = offset
      try self.addSegment(now: now)
      // The new segment may have the name of an old one, which a loss of power must not bring back.
      try onDisk { () throws(DiskError) in try self.store.disk.syncDirectory(self.directory) }
    } catch {
      if self.segments.isEmpty {
        self.segments = [Segment(baseOffset: offset, directory: self.directory, files: self.store.files, isNew: true, now: now)]
      }
      self.logEndOffset = offset
      self.logStartOffset = offset
      self.flushedOffset = offset
      self.takeOffline("it could not be emptied: \(error)")
      throw error
    }
    self.logStartOffset = offset
    self.store.checkpoints.setLogStartOffset(offset, of: self.topicPartition)
    self.pendingSnapshots = []
    try self.finishTruncation()
  }

  private mutating func beginTruncation() {
    self.gate.close()
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
    if self.leaderEpochs.truncate(toEnd: self.logEndOffset) { self.leaderEpochsChanged = true }
    let end = self.logEndOffset
    if self.logStartOffset > end {
      self.logStartOffset = end
      self.store.checkpoints.setLogStartOffset(end, of: self.topicPartition)
    }
    self.pendingSnapshots.removeAll { $0.offset > end }
    try self.removeSnapshots { $0 > end }
    self.producers = .loaded(try self.rebuildProducers())
  }

  /// Removes the snapshot files at such offsets.
  mutating func removeSnapshots(where isObsolete: (Offset) -> Bool) throws(StorageError) {
    for offset in self.snapshots where isObsolete(offset) {
      let path = self.directory + "/" + LogFileName.name(offset, .producerSnapshot)
      try onDisk { () throws(DiskError) in
        if try self.store.disk.kind(of: path) != nil { try self.store.disk.removeFile(path) }
      }
    }
    self.snapshots.removeAll(where: isObsolete)
  }
}
