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

/// What retention is about to remove, and what must be durable before.
package struct RetentionTicket<Disk: DiskPort>: Sendable {
  let generation: UInt64
  let segments: [(baseOffset: Offset, reason: RetentionRule.Reason)]
  let checkpoint: CheckpointTicket<Disk>?

  /// Writes the producers of what goes. Blocks: on the background lane. False if the disk is full: space counts for more, and
  /// without the snapshot a restart merely knows fewer producers of long ago.
  package func run() throws(DiskError) -> Bool {
    do throws(DiskError) {
      try self.checkpoint?.run()
      return true
    } catch {
      guard error.kind == .noSpace else { throw error }
      return false
    }
  }
}

/// A log that was deleted, and whose directory is to go.
package struct DirectoryRemoval<Disk: DiskPort>: Sendable {
  /// Where the directory is once it is marked.
  package let path: String
  /// How long to wait between `mark` and `run` (`file.delete.delay.ms`).
  package let delay: Duration
  let topicPartition: TopicPartition
  let store: LogDirectory<Disk>
  let gate: SnapshotGate

  /// Renames the log's directory, so that one of the same name can be made, and forgets its checkpoints. Blocks, and is to be called
  /// without the lock under which the log was deleted.
  ///
  /// Checkpoints that cannot be written are no failure of the deletion: the next `writeCheckpoints` tries again, and a log of the same
  /// name is not made before they are. Returns why they were not, for the operator's log.
  @discardableResult
  package func mark() throws(StorageError) -> StorageError? {
    // A checkpoint that was begun before must not write into a directory that takes the place of this one.
    self.gate.close()
    let directory = self.store.directory(of: self.topicPartition)
    try onDisk { () throws(DiskError) in try self.store.disk.rename(directory, to: self.path) }
    do throws(StorageError) { try self.store.checkpoints.forget(self.topicPartition) } catch { return error }
    return nil
  }

  /// Removes the directory and what is in it. On the background lane.
  package func run() throws(DiskError) { try self.store.disk.removeTree(self.path) }
}

extension PartitionLog {
  /// Decides which segments retention no longer keeps. Nil if there are none. May read the time indexes of segments for the first
  /// time, and may roll the active segment: on the background lane. The ticket's `run` comes next, without the owner's lock.
  ///
  /// - Parameter highWatermark: nothing at or above it goes.
  package mutating func beginRetention(highWatermark: Offset, now: Timestamp) throws(StorageError) -> RetentionTicket<Disk>? {
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
    // The producers of what goes are known from the snapshot at the first segment that stays, so that should be there first.
    var checkpoint: CheckpointTicket<Disk>?
    if !self.pendingSnapshots.isEmpty {
      do throws(StorageError) { checkpoint = try self.beginCheckpoint(snapshotAtEnd: false) } catch {
        guard case .disk(let cause) = error, cause.kind == .noSpace else { throw error }
      }
    }
    return RetentionTicket(
      generation: self.gate.generation, segments: zip(self.segments, decision.reasons).map { ($0.baseOffset, $1) }, checkpoint: checkpoint)
  }

  /// Takes the segments of a ticket out of the log whose `run` returned `isCheckpointed`. Nil if they are no longer there: the log was
  /// truncated or ended meanwhile.
  package mutating func completeRetention(
    _ ticket: RetentionTicket<Disk>, isCheckpointed: Bool
  ) throws(StorageError) -> SegmentRemoval<Disk>? {
    guard case .online = self.state, ticket.generation == self.gate.generation else { return nil }
    if let checkpoint = ticket.checkpoint { self.completeCheckpoint(checkpoint, failed: !isCheckpointed) }
    let count = ticket.segments.count
    guard count < self.segments.count, zip(self.segments, ticket.segments).allSatisfy({ $0.baseOffset == $1.baseOffset }) else {
      return nil
    }
    let removed = Array(self.segments[..<count])
    self.segments.removeFirst(count)
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
      segments: ticket.segments, byteCount: removed.reduce(0) { $0 + $1.byteCount }, delay: self.config.fileDeleteDelay, paths: paths,
      disk: self.store.disk)
  }

  /// The youngest record's time in a segment; where records carry none, when the segment was last written.
  mutating func largestTimestamp(in index: Int) throws(StorageError) -> Timestamp {
    if !self.segments[index].knowsTimes {
      try self.withIndexes(of: index) { segment throws(StorageError) in _ = try segment.readTail() }
    }
    let largest = self.segments[index].pacing.maxTimestamp
    return largest.rawValue >= 0 ? largest : self.segments[index].lastTouched
  }

  /// DeleteRecords: nothing below `offset` can be read any more. The segments that held it go with the next retention.
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

  /// Ends the log for good. Its files stay where they are until the ticket's `mark`.
  /// - Parameter id: makes the new name of the directory unique.
  package mutating func delete(id: KafkaUUID) throws(StorageError) -> DirectoryRemoval<Disk> {
    if case .deleted = self.state { throw .notFound(path: self.directory) }
    self.state = .deleted
    for segment in self.segments { segment.release() }
    return self.store.removal(of: self.topicPartition, id: id, delay: self.config.fileDeleteDelay, gate: self.gate)
  }
}

extension LogDirectory {
  /// The removal of a partition's directory whose log is not open.
  /// - Parameter id: makes the new name of the directory unique.
  package func removal(of partition: TopicPartition, id: KafkaUUID, delay: Duration) -> DirectoryRemoval<Disk> {
    self.removal(of: partition, id: id, delay: delay, gate: SnapshotGate())
  }

  func removal(of partition: TopicPartition, id: KafkaUUID, delay: Duration, gate: SnapshotGate) -> DirectoryRemoval<Disk> {
    DirectoryRemoval(
      path: self.path + "/" + LogFileName.deletedDirectory(partition, id: id), delay: delay, topicPartition: partition, store: self,
      gate: gate)
  }
}
