import LogCore
import Model
import NIOCore
import Records

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The metadata log as it lies in a node's directory, whether the node runs or not: the newest snapshot whose records the log no longer
/// has, and the segments behind it. Nothing is changed.
///
/// A running node appends while this reads. A batch that is not whole at the end is taken for one that is being written, and left out. What
/// the disk has may be more than what is committed: the end of the log may yet be cut on a node that did not lead.
struct MetadataLogFiles {
  private static let snapshotByteCountMax = 1 << 30
  private let directory: String
  private var segments: [(base: Int64, path: String)] = []
  private var snapshots: [(endOffset: Int64, path: String)] = []

  /// - Parameter path: a node's log directory, or its `__cluster_metadata-0` itself.
  init(_ path: String) throws(CommandFailure) {
    var path = path
    while path.count > 1, path.last == "/" { path.removeLast() }
    let inside = path + "/__cluster_metadata-0"
    self.directory = Descriptor.isDirectory(inside) ? inside : path
    guard let names = Self.names(in: self.directory) else {
      throw CommandFailure("\(path) is no directory that can be read; give the node's data directory, as log.dirs has it")
    }
    for name in names {
      if let (offset, kind) = LogFileName.parse(name), kind == .log {
        self.segments.append((offset.rawValue, self.directory + "/" + name))
      } else if let end = Self.snapshotEnd(name) {
        self.snapshots.append((end, self.directory + "/" + name))
      }
    }
    self.segments.sort { $0.base < $1.base }
    self.snapshots.sort { $0.endOffset < $1.endOffset }
    if self.segments.isEmpty, self.snapshots.isEmpty {
      throw CommandFailure("there is no metadata log in \(path); give the node's data directory, which has __cluster_metadata-0 in it")
    }
  }

  /// Replays all there is. `body` hears of every event after the snapshot.
  func replay(into history: inout ClusterHistory, _ body: (ClusterHistory.Entry) -> Void) throws(CommandFailure) {
    // The whole log tells more than a snapshot of it.
    if self.segments.first.map({ $0.base > 0 }) ?? true {
      guard let snapshot = self.snapshots.first(where: { $0.endOffset >= self.segments.first?.base ?? 0 }) else {
        let start = self.segments.first?.base ?? 0
        throw CommandFailure("the metadata log in \(self.directory) begins at offset \(start), and no snapshot of what was before is there")
      }
      try self.load(snapshot.path, endOffset: snapshot.endOffset, into: &history)
    }
    for (index, segment) in self.segments.enumerated() {
      let next = index + 1 < self.segments.count ? self.segments[index + 1].base : Int64.max
      if next <= history.endOffset { continue }
      try self.replay(segment.path, isLast: index + 1 == self.segments.count, into: &history, body)
    }
  }

  private func load(_ path: String, endOffset: Int64, into history: inout ClusterHistory) throws(CommandFailure) {
    do {
      let bytes = try Descriptor.readAll(path, byteCountMax: Self.snapshotByteCountMax)
      var sequence = BatchSequence(ByteBuffer(bytes: bytes))
      var batches: [RecordBatchView] = []
      while let batch = try sequence.next() { batches.append(batch) }
      guard sequence.remainingByteCount == 0 else { throw CommandFailure("it ends in the middle of a batch") }
      try history.load(snapshot: batches, endOffset: endOffset)
    } catch { throw CommandFailure("\(path) cannot be read: \(error)") }
  }

  private func replay(
    _ path: String, isLast: Bool, into history: inout ClusterHistory, _ body: (ClusterHistory.Entry) -> Void
  ) throws(CommandFailure) {
    do {
      var reader = try BatchReader(path)
      while true {
        let next: (position: Int64, bytes: ByteBuffer)?
        do throws(DumpFailure) { next = try reader.next() } catch {
          if isLast, error.kind == .corrupt { return }
          throw error
        }
        guard let next else { return }
        let batch = try RecordBatchView(frontOf: next.bytes)
        do throws(RecordError) { try batch.checkChecksum() } catch {
          if isLast { return }
          throw error
        }
        if batch.header.nextOffset.rawValue <= history.endOffset { continue }
        try history.take(batch, body)
      }
    } catch let error as DumpFailure {
      throw CommandFailure("\(path) cannot be read\(error.position.map { " at position \($0)" } ?? ""): \(error.reason)")
    } catch { throw CommandFailure("\(path) cannot be read: \(error)") }
  }

  /// `<end offset>-<epoch>.checkpoint` (KIP-630).
  static func snapshotEnd(_ name: String) -> Int64? {
    let suffix = ".checkpoint"
    guard name.hasSuffix(suffix) else { return nil }
    let parts = name.dropLast(suffix.count).split(separator: "-", omittingEmptySubsequences: false)
    guard parts.count == 2, parts[0].utf8.count == 20, parts[1].utf8.count == 10, Int32(parts[1]) != nil else { return nil }
    return Int64(parts[0])
  }

  private static func names(in directory: String) -> [String]? {
    guard let stream = opendir(directory) else { return nil }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      names.append(
        withUnsafePointer(to: &entry.pointee.d_name) { name in
          name.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: name.pointee)) { String(cString: $0) }
        })
    }
    return names
  }
}
