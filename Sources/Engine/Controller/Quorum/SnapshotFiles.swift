import Environment
import LogCore
import Model
import NIOCore
import Raft
import Records
import Storage
import Wire

/// A snapshot that cannot be put in the log's place: the disk failed, or it is not what it should be.
enum SnapshotFileError: Error, Hashable {
  case disk(DiskError)
  case unusable(reason: String)
}

/// The snapshots of the metadata log: `<end offset>-<epoch>.checkpoint` in the log's directory, record batches as the log has them between
/// a header and a footer (KIP-630). A download grows as `<name>.part`, and is a snapshot once it is whole, checked and synced.
struct SnapshotFiles<Disk: DiskPort>: Sendable {
  static var suffix: String { LogFileName.metadataSnapshotSuffix }
  static var partSuffix: String { LogFileName.metadataDownloadSuffix }
  let disk: Disk
  /// The metadata log's directory.
  let directory: String

  static func name(_ id: LogEnd) -> String {
    func padded(_ value: some BinaryInteger, _ width: Int) -> String {
      let digits = String(value)
      return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
    return "\(padded(id.index.rawValue, 20))-\(padded(id.term.rawValue, 10))"
  }

  /// The snapshot that a file of this name holds, or nil if it holds none.
  static func parse(_ name: String) -> LogEnd? {
    guard name.hasSuffix(Self.suffix) else { return nil }
    let stem = name.dropLast(Self.suffix.count)
    let parts = stem.split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0].utf8.count == 20, parts[1].utf8.count == 10, let index = Int64(parts[0]), let term = Int32(parts[1]),
      index >= 0, term >= 0
    else { return nil }
    return LogEnd(term: Term(term), index: LogIndex(index))
  }

  private func path(_ id: LogEnd) -> String { self.directory + "/" + Self.name(id) + Self.suffix }
  private func partPath(_ id: LogEnd) -> String { self.directory + "/" + Self.name(id) + Self.partSuffix }

  /// Those on the disk, oldest first.
  func list() throws(DiskError) -> [LogEnd] { try self.disk.list(self.directory).compactMap { Self.parse($0.name) }.sorted() }

  /// Removes downloads that a crash interrupted. Only before the replica is set to work.
  func removeDownloads() throws(DiskError) {
    for entry in try self.disk.list(self.directory) where entry.name.hasSuffix(Self.partSuffix) {
      try self.disk.removeFile(self.directory + "/" + entry.name)
    }
  }

  // MARK: - Downloads

  /// Adds a chunk; the first, at 0, begins anew.
  func write(_ bytes: ByteBuffer, at position: Int64, of id: LogEnd) throws(DiskError) {
    let file = try self.disk.open(self.partPath(id), .create)
    if position == 0 { try file.truncate(to: 0) }
    try SmallFile.write(Array(bytes.readableBytesView), to: file, at: position)
  }

  func discardDownload(of id: LogEnd) throws(DiskError) {
    if try self.disk.kind(of: self.partPath(id)) != nil { try self.disk.removeFile(self.partPath(id)) }
  }

  /// Checks a whole download, makes it durable under its name, and says what it says of the quorum. Blocks.
  func install(_ info: SnapshotInfo) throws(SnapshotFileError) -> SnapshotSummary {
    let summary: SnapshotSummary
    do throws(SnapshotFileError) {
      summary = try self.summary(info.id, at: self.partPath(info.id))
      guard summary.info == info else {
        throw .unusable(reason: "it has \(summary.info.byteCount) bytes, not \(info.byteCount)")
      }
    } catch {
      if case .unusable = error { try onDisk { () throws(DiskError) in try self.discardDownload(of: info.id) } }
      throw error
    }
    try onDisk { () throws(DiskError) in
      try self.disk.open(self.partPath(info.id), .readWrite).sync()
      try self.disk.rename(self.partPath(info.id), to: self.path(info.id))
      try self.disk.syncDirectory(self.directory)
    }
    return summary
  }

  // MARK: - Whole ones

  /// Writes a snapshot made here; durable when it returns. Blocks.
  func write(_ contents: ByteBuffer, as id: LogEnd) throws(DiskError) -> SnapshotInfo {
    try SmallFile.replace(self.path(id), with: Array(contents.readableBytesView), on: self.disk)
    try self.disk.syncDirectory(self.directory)
    return SnapshotInfo(id: id, byteCount: Int64(contents.readableBytes))
  }

  /// A part of a snapshot, at least one byte if there is one at `position`.
  func read(_ info: SnapshotInfo, from position: Int64, byteCountMax: Int) throws(DiskError) -> ByteBuffer {
    let file = try self.disk.open(self.path(info.id), .read)
    let count = Int(clamping: min(info.byteCount - position, Int64(byteCountMax)))
    return ByteBuffer(bytes: try SmallFile.bytes(of: file, at: position, count: max(0, count)))
  }

  /// Everything in a snapshot.
  func contents(of id: LogEnd) throws(DiskError) -> ByteBuffer {
    guard let bytes = try SmallFile.read(self.path(id), on: self.disk) else {
      throw DiskError(.notFound, operation: "read", path: self.path(id))
    }
    return ByteBuffer(bytes: bytes)
  }

  /// What a snapshot says of the quorum. Every batch of it is checked.
  func summary(of id: LogEnd) throws(SnapshotFileError) -> SnapshotSummary { try self.summary(id, at: self.path(id)) }

  private func summary(_ id: LogEnd, at path: String) throws(SnapshotFileError) -> SnapshotSummary {
    let bytes = try onDisk { () throws(DiskError) -> [UInt8] in
      guard let bytes = try SmallFile.read(path, on: self.disk) else { throw DiskError(.notFound, operation: "read", path: path) }
      return bytes
    }
    var voters: VoterSet?
    var version = KRaftVersion.staticVoters
    var hasHeader = false
    var hasFooter = false
    do {
      var batches = BatchSequence(ByteBuffer(bytes: bytes))
      while let batch = try batches.next() {
        if hasFooter { throw QuorumMessageError("records follow its footer") }
        guard batch.header.attributes.isControl else { continue }
        let contents = try EntryScan.contents(of: batch)
        hasHeader = hasHeader || contents.hasSnapshotHeader
        hasFooter = contents.hasSnapshotFooter
        for control in contents.controls {
          switch control.entry {
          case .voters(let set): voters = set
          case .kraftVersion(let level): version = level
          case .leaderChange: throw QuorumMessageError("a leader change in a snapshot")
          }
        }
      }
      if batches.remainingByteCount > 0 { throw QuorumMessageError("\(batches.remainingByteCount) bytes are left at its end") }
    } catch { throw .unusable(reason: "\(path): \(error)") }
    guard hasHeader, hasFooter else { throw .unusable(reason: "\(path): it has no \(hasHeader ? "footer" : "header")") }
    return SnapshotSummary(info: SnapshotInfo(id: id, byteCount: Int64(bytes.count)), voters: voters, version: version)
  }

  func byteCount(of id: LogEnd) throws(DiskError) -> Int64 { try self.disk.byteCount(of: self.path(id)) }

  /// When the snapshot was taken; nil if its beginning makes no sense.
  func timestamp(of id: LogEnd) throws(DiskError) -> Timestamp? {
    let bytes = try SmallFile.bytes(of: try self.disk.open(self.path(id), .read), at: 0, count: BatchHeader.byteCount)
    return ByteBuffer(bytes: bytes).withUnsafeReadableBytes { BatchHeader(reading: $0) }?.maxTimestamp
  }

  /// Removes the snapshots that are older than `id`.
  func removeOlder(than id: LogEnd) throws(DiskError) {
    for old in try self.list() where old < id { try self.disk.removeFile(self.path(old)) }
  }

  private func onDisk<Value>(_ body: () throws(DiskError) -> Value) throws(SnapshotFileError) -> Value {
    do throws(DiskError) { return try body() } catch { throw .disk(error) }
  }
}
