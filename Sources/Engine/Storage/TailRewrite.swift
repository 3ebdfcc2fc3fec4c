import Environment
import LogCore
import Model
import Records

/// Writes what an earlier process left of a partition above its recovery point in place once more: the same bytes, so that the system
/// takes their pages for dirty again.
///
/// After a sync that failed the system takes the pages for clean. They can be read like any others, a later sync passes them over and
/// returns, and with the power they are gone. So nothing that is read after an unclean stop may count as durable before it was written
/// anew and synced. What lies below the recovery point was synced by one that returned.
struct TailRewrite<Disk: DiskPort> {
  private static var chunkByteCount: Int { 1 << 20 }
  private let disk: Disk
  private let files: OpenFileCache<Disk>
  private var chunk: [UInt8] = []

  init(disk: Disk, files: OpenFileCache<Disk>) { (self.disk, self.files) = (disk, files) }

  /// Rewrites a partition's files. Blocks.
  /// - Parameter synced: syncs each file, and the directory. Otherwise the caller syncs all of the file system.
  mutating func run(_ directory: String, recoveryPoint: Offset, synced: Bool) throws(StorageError) {
    let entries = try onDisk { () throws(DiskError) in try self.disk.list(directory) }
    let named = entries.compactMap { entry in LogFileName.parse(entry.name).map { (offset: $0.offset, kind: $0.kind, name: entry.name) } }
    let bases = named.filter { $0.kind == .log }.map { $0.offset }.sorted()
    let first = bases.last { $0 <= recoveryPoint } ?? bases.first ?? .zero
    // A name is as much in doubt as the bytes behind it.
    var mustTouch = bases.isEmpty || bases.last! >= recoveryPoint
    for (offset, kind, name) in named.sorted(by: { $0.name < $1.name }) {
      let path = directory + "/" + name
      switch kind {
      case .log where offset >= first:
        let start = offset < recoveryPoint ? try self.position(of: recoveryPoint, in: offset, directory) : 0
        if try self.rewrite(path, from: start, synced: synced) > 0 { mustTouch = true }
      case .producerSnapshot where offset >= recoveryPoint:
        _ = try self.rewrite(path, from: 0, synced: synced)
        mustTouch = true
      case .offsetIndex where offset >= first, .timeIndex where offset >= first:
        // Entries above the point are made anew from the log, but a cut must not be undone.
        try self.rewrite(path, from: .max, synced: synced)
      default: continue
      }
    }
    // Synced by the flush before the first checkpoint, and never written to afterwards.
    if recoveryPoint == .zero, entries.contains(where: { $0.name == LogFileName.partitionMetadata }) {
      try self.rewrite(directory + "/" + LogFileName.partitionMetadata, from: 0, synced: synced)
    }
    guard mustTouch else { return }
    try onDisk { () throws(DiskError) in
      try Self.touch(directory, on: self.disk)
      if synced { try self.disk.syncDirectory(directory) }
    }
  }

  /// Changes a directory and changes it back, so that a sync writes it, with whatever names an earlier one may have lost.
  static func touch(_ directory: String, on disk: Disk) throws(DiskError) {
    // Found by the next start, it is removed.
    let path = directory + "/touch" + LogFileName.temporarySuffix
    _ = try disk.open(path, .create)
    try disk.removeFile(path)
  }

  /// Returns how many bytes it rewrote. The size is set once more too: the cut that made it may be lost.
  @discardableResult
  private mutating func rewrite(_ path: String, from start: Int64, synced: Bool) throws(StorageError) -> Int64 {
    do throws(DiskError) {
      let file = try self.disk.open(path, .readWrite)
      let end = try file.byteCount()
      if self.chunk.isEmpty, start < end { self.chunk = [UInt8](repeating: 0, count: Self.chunkByteCount) }
      var position = min(start, end)
      while position < end {
        let count = Int(min(Int64(Self.chunkByteCount), end - position))
        let done = try self.copy(count, at: position, of: file)
        // It is shorter than it was a moment ago: not ours alone, whatever the lock says.
        guard done > 0 else { throw DiskError(.io, operation: "read the whole of", path: path) }
        position += Int64(done)
      }
      try file.truncate(to: end)
      if synced { try file.sync() }
      return max(0, end - start)
    } catch { throw .disk(error) }
  }

  private mutating func copy(_ count: Int, at position: Int64, of file: Disk.File) throws(DiskError) -> Int {
    var failure: DiskError?
    let done = self.chunk.withUnsafeMutableBytes { buffer in
      do throws(DiskError) {
        let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
        let done = try file.read(into: piece, at: position)
        try file.write(UnsafeRawBufferPointer(rebasing: piece[..<done]), at: position)
        return done
      } catch {
        failure = error
        return 0
      }
    }
    if let failure { throw failure }
    return done
  }

  /// Where the first batch at or above the recovery point begins in a segment, or where the headers before it end: everything in front of
  /// that is durable. The file's end where nothing is above the point.
  private func position(of point: Offset, in base: Offset, _ directory: String) throws(StorageError) -> Int64 {
    var segment = Segment(baseOffset: base, directory: directory, files: self.files, isNew: false, now: Timestamp(0))
    defer { segment.release() }
    segment.byteCount = try onDisk { () throws(DiskError) in try segment.log.open().byteCount() }
    var cursor = try segment.cursor(from: 0)
    if let entry = try Self.unlessCorrupt({ () throws(StorageError) in try segment.offsetIndex.last { $0.offset < point } }) ?? nil,
      entry.position < segment.byteCount
    {
      // The index is a short cut that has to show that it leads somewhere.
      var ahead = try segment.cursor(from: entry.position)
      if let header = try Self.unlessCorrupt({ () throws(StorageError) in try ahead.peek() }) ?? nil, header.lastOffset == entry.offset {
        cursor = ahead
      }
    }
    while let header = try Self.unlessCorrupt({ () throws(StorageError) in try cursor.peek() }) ?? nil, header.baseOffset < point {
      _ = try cursor.next()
    }
    return cursor.position
  }

  private static func unlessCorrupt<Result>(_ body: () throws(StorageError) -> Result) throws(StorageError) -> Result? {
    do { return try body() } catch {
      guard case .corrupt = error else { throw error }
      return nil
    }
  }
}
