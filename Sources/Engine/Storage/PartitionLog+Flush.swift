package import Environment
import LogCore
package import Model

/// The part of a flush that blocks: syncs what was written when it was begun.
package struct FlushTicket<Disk: DiskPort>: Sendable {
  /// What is durable when `run` has returned.
  package let endOffset: Offset
  let generation: UInt64
  let directoryVersion: UInt64
  let boundary: Boundary
  let marks: [(segment: Offset, byteCount: Int64)]
  let files: [Disk.File]
  let directories: [String]
  let store: LogDirectory<Disk>

  /// Blocks: on the sync lane of the log's directory. An error means that the log is to be taken offline, never tried again:
  /// the system has dropped the error, and perhaps the data. Only one for want of a descriptor (`isTransient`) synced nothing: the
  /// ticket is dropped and another begun later.
  package func run() throws(DiskError) {
    for file in self.files { try file.sync() }
    if self.store.makes(.leavesDirectoriesUnsynced) { return }
    for directory in self.directories { try self.store.syncDirectory(directory) }
  }
}

extension PartitionLog {
  /// Begins to make everything appended so far durable, or with `sealedOnly` what lies in closed segments. Nil if that is so
  /// already. The owner has one ticket under way at a time: what is appended meanwhile is the next one's.
  package mutating func beginFlush(sealedOnly: Bool = false) throws(StorageError) -> FlushTicket<Disk>? {
    try self.requireOnline()
    let end = sealedOnly ? self.activeSegmentBaseOffset : self.logEndOffset
    guard end > self.flushedOffset || !self.unsyncedDirectories.isEmpty || self.isMetadataUnsynced else { return nil }
    var files: [Disk.File] = []
    var marks: [(segment: Offset, byteCount: Int64)] = []
    for segment in self.segments where segment.isUnsynced && segment.baseOffset < end {
      files.append(try onDisk { () throws(DiskError) in try segment.file() })
      marks.append((segment.baseOffset, segment.byteCount))
    }
    if self.isMetadataUnsynced {
      let path = self.directory + "/" + LogFileName.partitionMetadata
      files.append(try onDisk { () throws(DiskError) in try self.store.disk.open(path, .readWrite) })
    }
    let active = self.segments[self.activeIndex]
    let boundary = Boundary(offset: end, segmentBaseOffset: active.baseOffset, position: sealedOnly ? 0 : active.byteCount)
    return FlushTicket(
      endOffset: end, generation: self.gate.generation, directoryVersion: self.directoryVersion, boundary: boundary, marks: marks,
      files: files, directories: self.unsyncedDirectories, store: self.store)
  }

  /// Takes note that a ticket's `run` returned. Returns the flushed offset as it is now.
  @discardableResult
  package mutating func completeFlush(_ ticket: FlushTicket<Disk>) -> Offset {
    // What was truncated since may have been written anew, and of that the ticket knows nothing.
    guard ticket.generation == self.gate.generation, case .online = self.state else { return self.flushedOffset }
    for mark in ticket.marks {
      let index = self.segmentIndex(for: mark.segment)
      guard self.segments[index].baseOffset == mark.segment else { continue }
      self.segments[index].syncedByteCount = max(self.segments[index].syncedByteCount, mark.byteCount)
      if !self.segments[index].isUnsynced { self.segments[index].unsyncedFile = nil }
    }
    self.isMetadataUnsynced = false
    if ticket.directoryVersion == self.directoryVersion { self.unsyncedDirectories = [] }
    if ticket.endOffset > self.flushedOffset { self.boundaries.rememberFlush(ticket.boundary) }
    self.flushedOffset = max(self.flushedOffset, min(ticket.endOffset, self.logEndOffset))
    return self.flushedOffset
  }
}
