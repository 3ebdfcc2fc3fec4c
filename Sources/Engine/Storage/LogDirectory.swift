package import Environment
package import LogCore
package import Model
import Synchronization

/// One of the broker's `log.dirs`: locked, identified, with its checkpoints and the partitions in it.
///
/// All logs of a directory share its bound on open files and register their recovery points here; the owner calls
/// `writeCheckpoints` every few seconds on the background lane and `closeCleanly` when every log is closed.
package final class LogDirectory<Disk: DiskPort>: Sendable {
  package let path: String
  package let disk: Disk
  package let metaProperties: MetaProperties
  /// The last process closed every log: nothing needs to be checked.
  package let wasClosedCleanly: Bool
  /// The broker epoch that the clean shutdown noted, if there was one (KIP-966).
  package let cleanShutdownBrokerEpoch: BrokerEpoch?
  package let files: OpenFileCache<Disk>
  /// What was repaired or passed over while opening.
  package let notices: [StorageNotice]
  let checkpoints: CheckpointStore<Disk>
  let names: DirectoryNames<Disk>
  private let lock: Mutex<Disk.Lock?>
  #if APUS_MUTANTS
    private let mutant: EngineMutant?
  #endif
  /// A log went offline: what it wrote may not be on the disk, though a sync says so.
  private let hasFailed = Mutex(false)
  /// Logs of which what is on the disk is in doubt: their opening or creation began in this process and did not come to its end, or what an
  /// earlier process left of them could not be rewritten.
  private let unfinished = Mutex<Set<TopicPartition>>([])
  /// Logs that were opened or made.
  private let opened = Mutex<Set<TopicPartition>>([])

  /// Opens the directory for this process alone, creating it if it is missing.
  ///
  /// - Parameters:
  ///   - clusterID: the cluster the directory must belong to; nil takes what it says. A new directory gets it.
  ///   - newClusterID: for a new directory when `clusterID` is nil.
  ///   - openFilesMax: how many files of logs and indexes are kept open at one time.
  package static func open(
    disk: Disk, path: String, nodeID: NodeID, clusterID: String?, newClusterID: String, openFilesMax: Int = 4096,
    generator: inout some RandomNumberGenerator, mutant: EngineMutant? = nil
  ) throws(StorageError) -> LogDirectory {
    try onDisk { () throws(DiskError) in try self.createDirectory(path, on: disk) }
    let lock: Disk.Lock
    do throws(DiskError) { lock = try disk.lock(path + "/" + LogDirectoryFile.lock) } catch {
      throw error.kind == .locked ? .directoryInUse(path: path) : .disk(error)
    }
    var notices: [StorageNotice] = []
    let metaProperties = try self.identify(
      disk: disk, path: path, nodeID: nodeID, clusterID: clusterID, newClusterID: newClusterID, generator: &generator)
    let marker = path + "/" + LogDirectoryFile.cleanShutdown
    let markerText = try onDisk { () throws(DiskError) in try SmallFile.readText(marker, on: disk) }
    if markerText != nil {
      // Gone for good before anything is written: else a later loss of power would find a mark that does not hold.
      try onDisk { () throws(DiskError) in
        try disk.removeFile(marker)
        try disk.syncDirectory(path)
      }
    }
    let names = DirectoryNames(path, on: disk)
    let checkpoints = try CheckpointStore(disk: disk, names: names, isInDoubt: markerText == nil, notices: &notices)
    let files = OpenFileCache(disk: disk, limit: openFilesMax)
    let store = LogDirectory(
      path: path, disk: disk, metaProperties: metaProperties, marker: markerText, files: files, checkpoints: checkpoints, names: names,
      lock: lock, notices: notices, mutant: mutant)
    if markerText == nil, !store.makes(.trustsPageCache) { try store.makeDurable() }
    return store
  }

  /// Makes durable what a process left that did not close the directory. It is in the page cache only, and part of it may be so without
  /// being dirty: see `TailRewrite`. Synced once for all of it, for a sync of each log takes minutes for many.
  private func makeDurable() throws(StorageError) {
    var rewrite = TailRewrite(disk: self.disk, files: self.files)
    for partition in try self.list().partitions {
      do throws(StorageError) {
        try rewrite.run(
          self.directory(of: partition), recoveryPoint: self.checkpoints.recoveryPoint(of: partition), synced: false)
      } catch {
        // It is tried again when the log is opened, and one log is no reason to keep the others out of service.
        self.unfinished.withLock { _ = $0.insert(partition) }
      }
    }
    self.names.doubt()
    try onDisk { () throws(DiskError) in
      try self.names.sync()
      try self.disk.syncFileSystem(of: self.path)
    }
  }

  private init(
    path: String, disk: Disk, metaProperties: MetaProperties, marker: String?, files: OpenFileCache<Disk>,
    checkpoints: CheckpointStore<Disk>, names: DirectoryNames<Disk>, lock: sending Disk.Lock, notices: [StorageNotice],
    mutant: EngineMutant?
  ) {
    self.path = path
    self.disk = disk
    self.metaProperties = metaProperties
    self.wasClosedCleanly = marker != nil
    self.cleanShutdownBrokerEpoch = marker.flatMap { LogDirectoryFile.brokerEpoch(ofCleanShutdown: $0) }
    self.files = files
    self.checkpoints = checkpoints
    self.names = names
    self.notices = notices
    self.lock = Mutex(lock)
    #if APUS_MUTANTS
      self.mutant = mutant
    #endif
  }

  /// Whether this directory's logs make the mistake.
  @inline(__always)
  func makes(_ mutant: EngineMutant) -> Bool {
    #if APUS_MUTANTS
      return self.mutant == mutant
    #else
      return false
    #endif
  }

  /// Creates the directory and those above it that are missing, and makes their names durable: else a loss of power could take the
  /// directory as a whole, with all that was synced in it.
  private static func createDirectory(_ path: String, on disk: Disk) throws(DiskError) {
    var missing: [String] = []
    var next = path
    while try disk.kind(of: next) == nil {
      missing.append(next)
      let parent = self.parent(of: next)
      if parent == next { break }
      next = parent
    }
    try disk.createDirectory(path)
    do throws(DiskError) {
      for directory in missing { try disk.syncDirectory(self.parent(of: directory)) }
    } catch {
      // The next start must not find names that a sync has failed to keep: it would have no reason to sync them.
      if let outermost = missing.last { do throws(DiskError) { try disk.removeTree(outermost) } catch {} }
      throw error
    }
  }

  private static func parent(of path: String) -> String {
    let parts = path.split(separator: "/")
    if parts.count <= 1 { return path.hasPrefix("/") ? "/" : "." }
    return (path.hasPrefix("/") ? "/" : "") + parts.dropLast().joined(separator: "/")
  }

  /// Reads `meta.properties` and holds it against what this process is, or writes it into a new directory.
  private static func identify(
    disk: Disk, path: String, nodeID: NodeID, clusterID: String?, newClusterID: String, generator: inout some RandomNumberGenerator
  ) throws(StorageError) -> MetaProperties {
    let file = path + "/" + LogDirectoryFile.metaProperties
    let newDirectoryID = KafkaUUID.random(using: &generator)
    guard let text = try onDisk({ () throws(DiskError) in try SmallFile.readText(file, on: disk) }) else {
      let properties = MetaProperties(clusterID: clusterID ?? newClusterID, nodeID: nodeID, directoryID: newDirectoryID)
      try self.write(properties, disk: disk, path: path)
      return properties
    }
    let properties: MetaProperties
    do { properties = try MetaProperties(text: text, newDirectoryID: newDirectoryID) } catch {
      throw .invalidFile(path: file, reason: "\(error)")
    }
    if let clusterID, clusterID != properties.clusterID {
      throw .wrongCluster(path: path, found: properties.clusterID, expected: clusterID)
    }
    guard nodeID == properties.nodeID else { throw .wrongNode(path: path, found: properties.nodeID, expected: nodeID) }
    if properties.directoryID == newDirectoryID { try self.write(properties, disk: disk, path: path) }
    return properties
  }

  private static func write(_ properties: MetaProperties, disk: Disk, path: String) throws(StorageError) {
    try onDisk { () throws(DiskError) in
      try SmallFile.replace(path + "/" + LogDirectoryFile.metaProperties, with: properties.text, on: disk)
      try disk.syncDirectory(path)
    }
  }

  /// Notes that a log is being opened or made. True if that was tried before in this process and failed.
  func beginOpening(_ partition: TopicPartition) -> Bool { self.unfinished.withLock { !$0.insert(partition).inserted } }
  func endOpening(_ partition: TopicPartition) {
    self.unfinished.withLock { _ = $0.remove(partition) }
    self.opened.withLock { _ = $0.insert(partition) }
  }

  func noteFailure() { self.hasFailed.withLock { $0 = true } }

  // MARK: Checkpoints

  /// Writes the checkpoints that changed. Blocks: on the background lane, every few seconds.
  package func writeCheckpoints() throws(StorageError) { try self.checkpoints.write() }

  /// Makes the names in the directory durable, a partition's that was renamed for one. Blocks.
  package func syncNames() throws(DiskError) { try self.names.sync() }

  /// Where a partition's log began when that was last checkpointed.
  package func checkpointedHighWatermark(of partition: TopicPartition) -> Offset? { self.checkpoints.highWatermark(of: partition) }
  /// Notes a high watermark for the next `writeCheckpoints` (`replication-offset-checkpoint`).
  package func noteHighWatermark(_ offset: Offset, of partition: TopicPartition) {
    self.checkpoints.setHighWatermark(offset, of: partition)
  }

  /// Makes all that the logs wrote durable, writes the checkpoints and the mark of a clean shutdown, and gives the lock back.
  /// Every log must be closed. There is no mark, so that the next start checks what is there, if a log went offline or could not be
  /// opened, or one that an unclean stop left was not opened at all. Blocks.
  package func closeCleanly(brokerEpoch: BrokerEpoch = .unknown) throws(StorageError) {
    if try self.hasUnchecked() {
      try self.checkpoints.write()
      return self.unlock()
    }
    try onDisk { () throws(DiskError) in try self.disk.syncFileSystem(of: self.path) }
    self.checkpoints.commitClosed()
    try self.checkpoints.write()
    try onDisk { () throws(DiskError) in
      try SmallFile.replace(
        self.path + "/" + LogDirectoryFile.cleanShutdown, with: LogDirectoryFile.cleanShutdownText(brokerEpoch: brokerEpoch), on: self.disk)
      try self.names.sync()
    }
    self.unlock()
  }

  private func hasUnchecked() throws(StorageError) -> Bool {
    if self.makes(.closesUnchecked) { return false }
    if self.hasFailed.withLock({ $0 }) { return true }
    let (unfinished, opened) = (self.unfinished.withLock { $0 }, self.opened.withLock { $0 })
    if unfinished.isEmpty, self.wasClosedCleanly { return false }
    // Those that were deleted or set aside need no check.
    return try self.list().partitions.contains { unfinished.contains($0) || !self.wasClosedCleanly && !opened.contains($0) }
  }

  /// Gives the lock back without a clean mark: the next start checks what may be torn.
  package func unlock() { self.lock.withLock { $0 = nil } }

  /// A partition's directory, or this one.
  func syncDirectory(_ path: String) throws(DiskError) {
    if path == self.path { try self.names.sync() } else { try self.disk.syncDirectory(path) }
  }

  // MARK: Partitions

  /// What stands in the directory.
  package struct Listing: Sendable {
    /// In order of their names.
    package var partitions: [TopicPartition] = []
    /// Directories of deleted partitions whose removal a stop of the process interrupted: full paths.
    package var deleted: [String] = []
    package var notices: [StorageNotice] = []
  }

  package func list() throws(StorageError) -> Listing {
    var listing = Listing()
    let entries = try onDisk { () throws(DiskError) in try self.disk.list(self.path) }
    for entry in entries.sorted(by: { $0.name < $1.name }) {
      switch entry.kind {
      case .file: continue
      case .other:
        listing.notices.append(.strangeEntry(path: "\(self.path)/\(entry.name)", reason: "it is neither a file nor a directory"))
      case .directory:
        if entry.name.hasSuffix(LogFileName.deletedDirectorySuffix) {
          listing.deleted.append("\(self.path)/\(entry.name)")
        } else if let partition = LogFileName.partition(ofDirectory: entry.name) {
          listing.partitions.append(partition)
        } else if entry.name != "lost+found" {
          listing.notices.append(.strangeEntry(path: "\(self.path)/\(entry.name)", reason: "its name is not <topic>-<partition>"))
        }
      }
    }
    return listing
  }

  package func directory(of partition: TopicPartition) -> String { "\(self.path)/\(partition)" }

  /// Whose a partition's directory is, by its `partition.metadata`.
  package enum Owner: Hashable, Sendable {
    case topic(KafkaUUID)
    /// There is no such file.
    case unknown
    /// The file is torn. The first flush of a log syncs it, so none was ever completed and nothing in the directory was ever vouched for.
    case unfinished(hasRecords: Bool)
  }

  package func owner(of partition: TopicPartition) throws(StorageError) -> Owner {
    let directory = self.directory(of: partition)
    let path = directory + "/" + LogFileName.partitionMetadata
    return try onDisk { () throws(DiskError) -> Result<Owner, StorageError> in
      guard let bytes = try SmallFile.read(path, on: self.disk) else { return .success(.unknown) }
      if let id = PartitionMetadataFile.topicID(of: String(decoding: bytes, as: UTF8.self)) { return .success(.topic(id)) }
      guard PartitionMetadataFile.isUnfinished(bytes) else {
        return .failure(StorageError.invalidFile(path: path, reason: "it does not say `version: 0` and a topic id"))
      }
      for entry in try self.disk.list(directory) where LogFileName.parse(entry.name)?.kind == .log {
        if try self.disk.byteCount(of: directory + "/" + entry.name) > 0 { return .success(.unfinished(hasRecords: true)) }
      }
      return .success(.unfinished(hasRecords: false))
    }.get()
  }

  /// The topic id in a partition's `partition.metadata`; nil if there is none, or its writing was never finished.
  package func topicID(of partition: TopicPartition) throws(StorageError) -> KafkaUUID? {
    if case .topic(let id) = try self.owner(of: partition) { return id }
    return nil
  }

  /// The room of the volume that the directory is on.
  package func space() throws(StorageError) -> DiskSpace {
    try onDisk { () throws(DiskError) in try self.disk.space(at: self.path) }
  }
}
