import Environment
package import LogCore
package import Model
import Records

extension PartitionLog {
  /// Opens a partition's log.
  ///
  /// After a clean stop of the process this lists the directory and reads the tail of the last segment; no file stays open and
  /// the indexes stay on disk. After an unclean one (or if the tail is not as it should be) every batch from the recovery point
  /// on is checked, the log is cut before the first bad one, and the indexes behind the recovery point are made anew. Blocks.
  package static func open(
    in store: LogDirectory<Disk>, topicPartition: TopicPartition, config: LogConfig, now: Timestamp
  ) throws(StorageError) -> (log: PartitionLog, report: RecoveryReport) {
    var report = RecoveryReport(topicPartition: topicPartition, wasClean: store.wasClosedCleanly, recoveryPoint: .zero)
    let log = try self.open(in: store, topicPartition: topicPartition, config: config, now: now, report: &report)
    return (log, report)
  }

  /// Opens a partition's log as above. `report` tells what was found and cut even if this throws: it is cut for good.
  ///
  /// - Parameter topicID: of the topic it belongs to, written where the log's making did not come to it, or was never made durable.
  package static func open(
    in store: LogDirectory<Disk>, topicPartition: TopicPartition, topicID: KafkaUUID? = nil, config: LogConfig, now: Timestamp,
    report: inout RecoveryReport
  ) throws(StorageError) -> PartitionLog {
    let isRetry = store.beginOpening(topicPartition)
    let recoveryPoint = store.checkpoints.recoveryPoint(of: topicPartition)
    report = RecoveryReport(topicPartition: topicPartition, wasClean: store.wasClosedCleanly, recoveryPoint: recoveryPoint)
    let directory = store.directory(of: topicPartition)
    let files = try DirectoryContents(of: directory, on: store.disk, report: &report)
    if isRetry {
      var rewrite = TailRewrite(disk: store.disk, files: store.files)
      try rewrite.run(directory, recoveryPoint: recoveryPoint, synced: true)
    }
    var segments: [Segment<Disk>] = []
    for base in files.logs {
      var segment = Segment(baseOffset: base, directory: directory, files: store.files, isNew: false, now: now)
      segment.byteCount = try onDisk { () throws(DiskError) in try store.disk.byteCount(of: segment.log.path) }
      segments.append(segment)
    }
    let checkpointedStart = store.checkpoints.logStartOffset(of: topicPartition)
    let epochs = try Self.readLeaderEpochs(directory, store.disk, &report)
    var log = PartitionLog(
      topicPartition: topicPartition, store: store, config: config, segments: segments, logStartOffset: checkpointedStart,
      logEndOffset: segments.last?.baseOffset ?? checkpointedStart, leaderEpochs: epochs ?? LeaderEpochCache(),
      producers: .loaded(ProducerTable()), snapshots: files.snapshots)
    if segments.isEmpty {
      // The directory was made, and the process stopped before the log was.
      try log.addSegment(now: now)
      log.unsyncedDirectories = [directory, store.path]
    }
    var wasClean = store.wasClosedCleanly && epochs != nil
    if wasClean {
      do { try log.readCleanTail() } catch {
        guard case .corrupt(let path, _, let reason) = error else { throw error }
        report.notices.append(.indexRebuilt(path: path, reason: reason))
        wasClean = false
      }
    }
    if !wasClean { try log.recover(rebuildingEpochs: epochs == nil, report: &report) }
    report.wasClean = wasClean
    if isRetry { try log.syncRetried() }
    log.logStartOffset = max(checkpointedStart, log.segments[0].baseOffset)
    if log.logStartOffset > log.logEndOffset {
      // The records up to there were deleted, and some of them lost besides: their offsets are not given again.
      try log.truncateFully(to: log.logStartOffset, now: now)
    }
    try log.openProducers(wasClean: wasClean)
    if log.leaderEpochs.truncate(toEnd: log.logEndOffset) { log.leaderEpochsChanged = true }
    // If what was synced is missing: were the point left beyond the end, it would vouch for what is appended there next. Asked of the
    // file and not of the table in memory, which an attempt before this one may have changed without coming to write it.
    try store.checkpoints.lower(topicPartition, recoveryPoint: log.logEndOffset, logStartOffset: log.logStartOffset)
    log.finishOpening()
    if let topicID { try log.completeMetadata(topicID) }
    report.notices += log.takeNotices()
    report.logEndOffset = log.logEndOffset
    store.endOpening(topicPartition)
    return log
  }

  /// Writes `partition.metadata` where there is no whole one. Under another name first: a log with records must not come to look like one
  /// that was never finished.
  private mutating func completeMetadata(_ topicID: KafkaUUID) throws(StorageError) {
    if case .topic = try self.store.owner(of: self.topicPartition) { return }
    try onDisk { () throws(DiskError) in
      try SmallFile.replace(
        self.directory + "/" + LogFileName.partitionMetadata, with: PartitionMetadataFile.text(topicID: topicID), on: self.store.disk)
    }
    self.directoryVersion += 1
    self.unsyncedDirectories = [self.directory, self.store.path]
  }

  private static func readLeaderEpochs(
    _ directory: String, _ disk: Disk, _ report: inout RecoveryReport
  ) throws(StorageError) -> LeaderEpochCache? {
    let path = directory + "/" + LogFileName.leaderEpochCheckpoint
    guard let text = try onDisk({ () throws(DiskError) in try SmallFile.readText(path, on: disk) }) else { return LeaderEpochCache() }
    if let cache = LeaderEpochCache(checkpointText: text) { return cache }
    report.notices.append(.fileRebuilt(path: path, reason: "it is not a leader epoch checkpoint of version 0"))
    return nil
  }

  /// Finds the log's end behind the last entry of the last segment's index.
  private mutating func readCleanTail() throws(StorageError) {
    let index = self.activeIndex
    guard self.segments[index].byteCount > 0 else {
      self.segments[index].offsetIndex.reset()
      self.segments[index].timeIndex.reset()
      self.segments[index].resetTimes()
      self.logEndOffset = self.segments[index].baseOffset
      return
    }
    self.logEndOffset = try self.segments[index].readTail()
  }

  private mutating func openProducers(wasClean: Bool) throws(StorageError) {
    if wasClean, self.snapshots.last == self.logEndOffset {
      self.producers = .stored(at: self.logEndOffset)
    } else {
      self.producers = .loaded(try self.rebuildProducers())
    }
  }

  private mutating func finishOpening() {
    for index in self.segments.indices {
      self.segments[index].syncedByteCount = self.segments[index].byteCount
      self.segments[index].release()
    }
    self.flushedOffset = self.logEndOffset
    self.recoveryPoint = min(max(self.recoveryPoint, self.logStartOffset), self.logEndOffset)
  }
}

/// The files of a partition's directory that count.
struct DirectoryContents {
  /// Base offsets of the segments, ascending.
  var logs: [Offset] = []
  /// Offsets of the producer snapshots, ascending.
  var snapshots: [Offset] = []

  /// Lists the directory, and removes what an interrupted deletion or replacement left.
  init(of directory: String, on disk: some DiskPort, report: inout RecoveryReport) throws(StorageError) {
    let entries: [DirectoryEntry]
    do throws(DiskError) { entries = try disk.list(directory) } catch {
      throw error.kind == .notFound ? .notFound(path: directory) : .disk(error)
    }
    for entry in entries where entry.kind == .file {
      if let (offset, kind) = LogFileName.parse(entry.name) {
        switch kind {
        case .log: self.logs.append(offset)
        case .producerSnapshot: self.snapshots.append(offset)
        case .offsetIndex, .timeIndex, .transactionIndex: break
        }
      } else if entry.name.hasSuffix(LogFileName.deletedSuffix) || entry.name.hasSuffix(LogFileName.temporarySuffix) {
        try onDisk { () throws(DiskError) in try disk.removeFile(directory + "/" + entry.name) }
      } else if entry.name != LogFileName.leaderEpochCheckpoint, entry.name != LogFileName.partitionMetadata,
        !LogFileName.isOfQuorum(entry.name)
      {
        report.notices.append(.strangeEntry(path: directory + "/" + entry.name, reason: "it is no file of a partition's log"))
      }
    }
    self.logs.sort()
    self.snapshots.sort()
  }
}
