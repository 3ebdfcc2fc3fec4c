package import Environment
package import LogCore
package import Model
import Records

/// The log of one partition: segments on a `Disk`, in Kafka's layout and formats.
///
/// A value with one owner at a time (the broker keeps it in a Mutex-guarded box). Its calls return after short work in the page
/// cache, but for those that say "blocks": they sync or walk files and belong on a work lane. What takes long and needs no
/// lock is handed out as a ticket, whose `run` is called without the owner's lock:
///
/// ```
/// owner: beginFlush() -> ticket    lane: ticket.run()    owner: completeFlush(ticket), or takeOffline(error)
/// owner: beginCheckpoint()         lane: ticket.run()    owner: completeCheckpoint(ticket)
/// owner: beginRetention(...)       lane: ticket.run()    owner: completeRetention(ticket), removal.mark()
///                                  lane: after file.delete.delay.ms removal.remove()
/// owner: delete(id)                lane: removal.mark(), after file.delete.delay.ms removal.run()
/// ```
/// Tickets of one log are run in the order in which they were begun.
///
/// Invariants: `logStartOffset <= logEndOffset`, `recoveryPoint <= flushedOffset <= logEndOffset`; segments ascend and the last
/// one is active; every byte below `byteCount` of a segment belongs to a whole batch.
package struct PartitionLog<Disk: DiskPort>: Sendable {
  package enum State: Hashable, Sendable {
    case online
    /// Nothing is appended any more. What is known to be durable can be read.
    case offline(reason: String)
    /// The directory is gone or on its way.
    case deleted
  }

  package let topicPartition: TopicPartition
  package let directory: String
  /// May be changed at any time, from the next append on.
  package var config: LogConfig
  package internal(set) var state: State = .online

  /// The first offset that can be read.
  package internal(set) var logStartOffset: Offset
  /// The offset the next batch gets.
  package internal(set) var logEndOffset: Offset
  /// Everything below is durable (exclusive).
  package internal(set) var flushedOffset: Offset
  /// After an unclean stop, what is below needs no check (exclusive).
  package internal(set) var recoveryPoint: Offset
  package internal(set) var leaderEpochs: LeaderEpochCache

  let store: LogDirectory<Disk>
  /// Ascending by base offset, never empty. The last one is active.
  var segments: [Segment<Disk>]
  var producers: ProducerState
  /// Producer snapshots in the directory, ascending.
  var snapshots: [Offset]
  /// Snapshots taken at a roll that are still to be written.
  var pendingSnapshots: [PendingSnapshot] = []
  var leaderEpochsChanged = false
  /// Directories with names that are not durable yet, innermost first.
  var unsyncedDirectories: [String] = []
  /// Counts the names added, so that a flush knows whether one came after it began.
  var directoryVersion: UInt64 = 0
  /// `partition.metadata` was written and not synced yet.
  var isMetadataUnsynced = false
  /// Counts the truncations: a ticket from before one must not vouch for what came after.
  let gate = SnapshotGate()
  var boundaries = BoundaryCache()
  var pendingNotices: [StorageNotice] = []

  enum ProducerState: Sendable {
    /// A snapshot at the log's end has the table; it is read when somebody asks.
    case stored(at: Offset)
    case loaded(ProducerTable)
  }
  struct PendingSnapshot: Sendable {
    var offset: Offset
    var bytes: [UInt8]
  }

  init(
    topicPartition: TopicPartition, store: LogDirectory<Disk>, config: LogConfig, segments: [Segment<Disk>], logStartOffset: Offset,
    logEndOffset: Offset, leaderEpochs: LeaderEpochCache, producers: ProducerState, snapshots: [Offset]
  ) {
    self.topicPartition = topicPartition
    self.directory = store.directory(of: topicPartition)
    self.store = store
    self.config = config
    self.segments = segments
    self.logStartOffset = logStartOffset
    self.logEndOffset = logEndOffset
    self.flushedOffset = logEndOffset
    self.recoveryPoint = logEndOffset
    self.leaderEpochs = leaderEpochs
    self.producers = producers
    self.snapshots = snapshots
  }

  // MARK: Creation

  /// Makes the directory and an empty log in it. Durable with the first flush that completes.
  ///
  /// Throws `.alreadyExists` if the partition's directory has a log already.
  package static func create(
    in store: LogDirectory<Disk>, topicPartition: TopicPartition, topicID: KafkaUUID?, config: LogConfig, startOffset: Offset = .zero,
    now: Timestamp
  ) throws(StorageError) -> PartitionLog {
    let directory = store.directory(of: topicPartition)
    let disk = store.disk
    if try onDisk({ () throws(DiskError) in try disk.kind(of: directory) }) != nil {
      let names = try onDisk { () throws(DiskError) in try disk.list(directory) }.map { $0.name }
      guard names.allSatisfy({ LogFileName.parse($0) == nil }) else { throw .alreadyExists(path: directory) }
    }
    // If this fails half way, whoever opens what it made must not take it for durable.
    _ = store.beginOpening(topicPartition)
    // An earlier partition of this name must not lend its recovery point to this one.
    try store.checkpoints.forget(topicPartition)
    var log = PartitionLog(
      topicPartition: topicPartition, store: store, config: config, segments: [], logStartOffset: startOffset, logEndOffset: startOffset,
      leaderEpochs: LeaderEpochCache(), producers: .loaded(ProducerTable(endOffset: startOffset)), snapshots: [])
    try onDisk { () throws(DiskError) in
      try disk.createDirectory(directory)
      if let topicID {
        let file = try disk.open(directory + "/" + LogFileName.partitionMetadata, .create)
        try SmallFile.write(Array(PartitionMetadataFile.text(topicID: topicID).utf8), to: file, at: 0)
        log.isMetadataUnsynced = true
      }
    }
    try log.addSegment(now: now)
    log.unsyncedDirectories = [directory, store.path]
    store.endOpening(topicPartition)
    return log
  }

  /// Makes the file of a new active segment at the end of the log. If that fails the log is as before.
  mutating func addSegment(now: Timestamp) throws(StorageError) {
    let segment = Segment(baseOffset: self.logEndOffset, directory: self.directory, files: self.store.files, isNew: true, now: now)
    try onDisk { () throws(DiskError) in
      let file = try segment.log.open(.create)
      // A file of this name can only be what a failed roll or a crash left behind.
      if try file.byteCount() > 0 { try file.truncate(to: 0) }
    }
    self.segments.append(segment)
    self.directoryVersion += 1
    if !self.unsyncedDirectories.contains(self.directory) { self.unsyncedDirectories.append(self.directory) }
  }

  // MARK: What the owner may ask

  /// Bytes of records in all segments.
  /// Of the segments that hold anything at or after `offset`: what is left once everything before is gone.
  package func byteCount(from offset: Offset) -> Int64 {
    let first = self.segments.lastIndex { $0.baseOffset <= offset } ?? 0
    return self.segments[first...].reduce(0) { $0 + $1.byteCount }
  }

  package var byteCount: Int64 { self.segments.reduce(0) { $0 + $1.byteCount } }
  package var segmentCount: Int { self.segments.count }
  package var activeSegmentBaseOffset: Offset { self.segments[self.activeIndex].baseOffset }
  /// Bytes that a flush would make durable.
  package var unflushedByteCount: Int64 { self.segments.reduce(0) { $0 + ($1.byteCount - $1.syncedByteCount) } }
  package var hasUnflushed: Bool { self.flushedOffset < self.logEndOffset || !self.unsyncedDirectories.isEmpty }

  /// What was repaired since the last call: for the operator's log.
  package mutating func takeNotices() -> [StorageNotice] {
    defer { self.pendingNotices = [] }
    return self.pendingNotices
  }

  var activeIndex: Int { self.segments.count - 1 }

  /// The segment that holds `offset` or comes last before it.
  func segmentIndex(for offset: Offset) -> Int {
    var (low, high) = (0, self.segments.count)
    while low < high {
      let middle = (low + high) / 2
      if self.segments[middle].baseOffset <= offset { low = middle + 1 } else { high = middle }
    }
    return max(low - 1, 0)
  }

  // MARK: States

  /// A checkpoint's sync failed: the log is to be taken offline, as after a flush that failed, and refuses whatever would change it.
  package var hasFailedSync: Bool { self.gate.hasFailedSync }

  func requireOnline() throws(StorageError) {
    switch self.state {
    case .online: if self.hasFailedSync { throw .offline(path: self.directory, reason: "a checkpoint could not be synced") }
    case .offline(let reason): throw .offline(path: self.directory, reason: reason)
    case .deleted: throw .notFound(path: self.directory)
    }
  }

  /// Takes the log out of service, after a failed sync for one: what the page cache holds of it can no longer be trusted to
  /// reach the disk, so nothing may be appended, and only what is below `flushedOffset` is read. There is no way back but a
  /// restart, which checks what is there.
  package mutating func takeOffline(_ reason: String) {
    // A log that was closed or deleted meanwhile has nothing left that could fail, and its directory may still be closed cleanly.
    guard case .online = self.state else { return }
    self.state = .offline(reason: reason)
    self.store.noteFailure()
  }

  /// Appends to the batch's leader epoch history: `epoch` begins at the log's end. Called when a replica becomes leader.
  package mutating func beginLeaderEpoch(_ epoch: LeaderEpoch) {
    if self.leaderEpochs.assign(epoch, startOffset: self.logEndOffset) { self.leaderEpochsChanged = true }
  }

  /// OffsetForLeaderEpoch: the largest known epoch not above `epoch` and where it ends; nil where Kafka answers "undefined".
  package func endOffset(for epoch: LeaderEpoch) -> (epoch: LeaderEpoch, endOffset: Offset)? {
    self.leaderEpochs.endOffset(for: epoch, logEndOffset: self.logEndOffset)
  }
}
