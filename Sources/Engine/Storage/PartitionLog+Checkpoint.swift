package import Environment
import LogCore
package import Model

/// What must be durable before the recovery point may move up to the flushed offset: indexes, producer snapshots, leader epochs.
package struct CheckpointTicket<Disk: DiskPort>: Sendable {
  /// The recovery point once this is complete.
  package let recoveryPoint: Offset
  let generation: UInt64
  let gate: SnapshotGate
  let directory: String
  let files: [Disk.File]
  let indexes: [IndexMark]
  let snapshots: [(offset: Offset, bytes: [UInt8])]
  let leaderEpochs: String?
  struct IndexMark {
    var segment: Offset
    var offsetIndexChanges: Int
    var timeIndexChanges: Int
  }
  /// Snapshots that newer ones make useless.
  let obsolete: [Offset]
  let disk: Disk

  /// Blocks: on the background lane. An error leaves the recovery point where it is, and the next checkpoint tries again; but where a sync
  /// failed there is none: it would return, and what it stands for be lost. See `PartitionLog.hasFailedSync`.
  package func run() throws(DiskError) {
    try self.orFailed { () throws(DiskError) in for file in self.files { try file.sync() } }
    // These are written anew by whoever tries again.
    try self.gate.pass(self.generation) { () throws(DiskError) in try self.writeFiles() }
    try self.orFailed { () throws(DiskError) in try self.disk.syncDirectory(self.directory) }
  }

  private func orFailed(_ sync: () throws(DiskError) -> Void) throws(DiskError) {
    do throws(DiskError) { try sync() } catch {
      if !error.isTransient { self.gate.noteFailedSync() }
      throw error
    }
  }

  private func writeFiles() throws(DiskError) {
    for (offset, bytes) in self.snapshots { try SmallFile.replace(self.path(offset), with: bytes, on: self.disk) }
    if let leaderEpochs {
      try SmallFile.replace(self.directory + "/" + LogFileName.leaderEpochCheckpoint, with: leaderEpochs, on: self.disk)
    }
    for offset in self.obsolete where try self.disk.kind(of: self.path(offset)) != nil { try self.disk.removeFile(self.path(offset)) }
  }

  private func path(_ offset: Offset) -> String { self.directory + "/" + LogFileName.name(offset, .producerSnapshot) }
}

extension PartitionLog {
  /// Begins to move the recovery point up to the flushed offset. Nil if it is there and nothing else waits to be written.
  ///
  /// To be called every few seconds for logs that were appended to, and after a roll. The point reaches the disk with
  /// `LogDirectory.writeCheckpoints`.
  package mutating func beginCheckpoint() throws(StorageError) -> CheckpointTicket<Disk>? {
    try self.requireOnline()
    return try self.beginCheckpoint(snapshotAtEnd: self.wantsSnapshot)
  }

  /// A table that is not empty is worth a snapshot, for else a recovery reads every header since the last roll.
  private var wantsSnapshot: Bool {
    guard case .loaded(let table) = self.producers else { return false }
    return !table.isEmpty
  }

  mutating func beginCheckpoint(snapshotAtEnd: Bool) throws(StorageError) -> CheckpointTicket<Disk>? {
    let isBehind = self.recoveryPoint < self.flushedOffset
    guard isBehind || self.leaderEpochsChanged || !self.pendingSnapshots.isEmpty || snapshotAtEnd else { return nil }
    var files: [Disk.File] = []
    var indexes: [CheckpointTicket<Disk>.IndexMark] = []
    for index in self.segments.indices {
      let isActive = index == self.activeIndex
      try onDisk { () throws(DiskError) in
        if self.segments[index].offsetIndex.hasUnwritten { try self.segments[index].offsetIndex.write() }
        if self.segments[index].timeIndex.hasUnwritten { try self.segments[index].timeIndex.write() }
        if self.segments[index].offsetIndex.isUnsynced { files.append(try self.segments[index].offsetIndex.slot.open()) }
        if self.segments[index].timeIndex.isUnsynced { files.append(try self.segments[index].timeIndex.slot.open()) }
      }
      if self.segments[index].offsetIndex.isUnsynced || self.segments[index].timeIndex.isUnsynced {
        indexes.append(
          .init(
            segment: self.segments[index].baseOffset, offsetIndexChanges: self.segments[index].offsetIndex.changeCount,
            timeIndexChanges: self.segments[index].timeIndex.changeCount))
      }
      if !isActive {
        self.segments[index].offsetIndex.dropMemory()
        self.segments[index].timeIndex.dropMemory()
      }
    }
    if snapshotAtEnd, let snapshot = try self.producerSnapshotAtEnd() { self.pendingSnapshots.append(snapshot) }
    let snapshots = self.pendingSnapshots.map { (offset: $0.offset, bytes: $0.bytes) }
    // Kept: those at the start of a segment, which truncations go back to, and the two newest.
    let known = (self.snapshots + snapshots.map { $0.offset }).sorted()
    let bases = Set(self.segments.map { $0.baseOffset })
    let obsolete = known.dropLast(2).filter { !bases.contains($0) }
    return CheckpointTicket(
      recoveryPoint: self.store.makes(.checkpointsUnflushed) ? self.logEndOffset : self.flushedOffset, generation: self.gate.generation,
      gate: self.gate, directory: self.directory, files: files, indexes: indexes,
      snapshots: snapshots, leaderEpochs: self.leaderEpochsChanged ? self.leaderEpochs.checkpointText : nil, obsolete: obsolete,
      disk: self.store.disk)
  }

  /// Takes note that a ticket's `run` returned, or `failed`: then the next one does it all again.
  package mutating func completeCheckpoint(_ ticket: CheckpointTicket<Disk>, failed: Bool = false) {
    // What was deleted is forgotten, and must not be remembered again.
    guard !failed, ticket.generation == self.gate.generation, self.state != .deleted else { return }
    for mark in ticket.indexes {
      let index = self.segmentIndex(for: mark.segment)
      guard self.segments[index].baseOffset == mark.segment else { continue }
      self.segments[index].offsetIndex.noteSynced(changeCount: mark.offsetIndexChanges)
      self.segments[index].timeIndex.noteSynced(changeCount: mark.timeIndexChanges)
    }
    let written = Set(ticket.snapshots.map { $0.offset })
    self.pendingSnapshots.removeAll { written.contains($0.offset) }
    let obsolete = Set(ticket.obsolete)
    self.snapshots = Set(self.snapshots).union(written).subtracting(obsolete).sorted()
    if ticket.leaderEpochs == self.leaderEpochs.checkpointText { self.leaderEpochsChanged = false }
    if ticket.recoveryPoint > self.recoveryPoint {
      self.recoveryPoint = min(ticket.recoveryPoint, self.logEndOffset)
      self.store.checkpoints.setRecoveryPoint(self.recoveryPoint, of: self.topicPartition)
    }
  }

  // MARK: Closing

  /// Writes everything that is still in memory, and leaves the files as a clean start expects them. It is durable, and the start
  /// clean, once `LogDirectory.closeCleanly` has returned, which syncs for all logs together. A log that was not touched since its
  /// last checkpoint costs nothing. The log is of no use afterwards. Blocks.
  package mutating func closeCleanly() throws(StorageError) {
    try self.requireOnline()
    if self.recoveryPoint < self.logEndOffset || self.leaderEpochsChanged || !self.pendingSnapshots.isEmpty || self.hasStaleIndexes {
      try self.segments[self.activeIndex].seal()
      for index in self.segments.indices {
        try onDisk { () throws(DiskError) in
          try self.segments[index].offsetIndex.write()
          try self.segments[index].timeIndex.write()
        }
      }
      if self.logEndOffset > self.segments[0].baseOffset, let snapshot = try self.producerSnapshotAtEnd() {
        self.pendingSnapshots.append(snapshot)
      }
      try onDisk { () throws(DiskError) in
        for snapshot in self.pendingSnapshots {
          let path = self.directory + "/" + LogFileName.name(snapshot.offset, .producerSnapshot)
          try SmallFile.replace(path, with: snapshot.bytes, on: self.store.disk, synced: false)
        }
        if self.leaderEpochsChanged {
          // Torn, it would cost the next start a walk through the whole log, so that it is synced where there is something to walk
          // through. An empty log notes its epoch anew at every start, and there may be thousands of those.
          let path = self.directory + "/" + LogFileName.leaderEpochCheckpoint
          let hasRecords = self.logEndOffset > self.segments[0].baseOffset
          try SmallFile.replace(path, with: Array(self.leaderEpochs.checkpointText.utf8), on: self.store.disk, synced: hasRecords)
        }
      }
      self.store.checkpoints.setClosed(self.topicPartition, at: self.logEndOffset)
    }
    self.state = .offline(reason: "it was closed")
    for index in self.segments.indices {
      self.segments[index].unsyncedFile = nil
      self.segments[index].release()
    }
  }

  private var hasStaleIndexes: Bool { self.segments.contains { $0.offsetIndex.hasUnwritten || $0.timeIndex.hasUnwritten } }
}
