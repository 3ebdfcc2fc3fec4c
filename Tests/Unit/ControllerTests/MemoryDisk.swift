import Environment
import Synchronization

/// A disk in memory that keeps apart what was written and what would survive a loss of power.
final class MemoryDisk: DiskPort {
  final class Node: Sendable {
    struct Content {
      var written: [UInt8] = []
      var synced: [UInt8] = []
    }
    let content = Mutex(Content())
  }
  struct Held: Sendable {}

  private struct State {
    var files: [String: Node] = [:]
    var directories: Set<String> = [""]
    /// The names as the last `syncDirectory` of each directory left them.
    var durableFiles: [String: Node] = [:]
    var durableDirectories: Set<String> = [""]
    var failsWrites = false
    var failsSyncs = false
    var syncCount = 0
  }
  private let state = Mutex(State())

  var syncCount: Int { self.state.withLock { $0.syncCount } }
  func failWrites(_ fails: Bool) { self.state.withLock { $0.failsWrites = fails } }
  func failSyncs(_ fails: Bool) { self.state.withLock { $0.failsSyncs = fails } }
  func content(of path: String) -> [UInt8]? { self.state.withLock { $0.files[path] }?.content.withLock { $0.written } }
  func overwrite(_ path: String, _ change: (inout [UInt8]) -> Void) {
    self.state.withLock { $0.files[path] }?.content.withLock { content in
      change(&content.written)
      content.synced = content.written
    }
  }

  /// What is left after a loss of power: of each file a piece of what was not synced may have made it, `torn` says how much.
  func afterPowerLoss(torn: (Int) -> Int = { _ in 0 }) -> MemoryDisk {
    let (files, directories) = self.state.withLock { ($0.durableFiles, $0.durableDirectories) }
    let disk = MemoryDisk()
    for (path, node) in files.sorted(by: { $0.key < $1.key }) {
      var bytes = node.content.withLock { content -> [UInt8] in
        let rest = content.written.dropFirst(content.synced.count)
        return content.synced + rest.prefix(torn(rest.count))
      }
      if bytes.isEmpty { bytes = [] }
      let copy = Node()
      copy.content.withLock { $0 = Node.Content(written: bytes, synced: bytes) }
      disk.state.withLock { $0.files[path] = copy; $0.durableFiles[path] = copy }
    }
    disk.state.withLock { $0.directories = directories; $0.durableDirectories = directories }
    return disk
  }

  func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> MemoryFile {
    let node: Node? = self.state.withLock { state in
      if let node = state.files[path] { return mode == .createNew ? nil : node }
      guard mode == .create || mode == .createNew else { return nil }
      let node = Node()
      state.files[path] = node
      return node
    }
    guard let node else { throw DiskError(mode == .createNew ? .alreadyExists : .notFound, operation: "open", path: path) }
    return MemoryFile(node: node, path: path, disk: self)
  }

  func list(_ directory: String) throws(DiskError) -> [DirectoryEntry] {
    let prefix = directory + "/"
    func own(_ path: String) -> String? {
      guard path.hasPrefix(prefix), !path.dropFirst(prefix.count).contains("/") else { return nil }
      return String(path.dropFirst(prefix.count))
    }
    return self.state.withLock { state in
      state.files.keys.compactMap(own).map { DirectoryEntry(name: $0, kind: .file) }
        + state.directories.compactMap(own).map { DirectoryEntry(name: $0, kind: .directory) }
    }
  }

  func kind(of path: String) throws(DiskError) -> EntryKind? {
    self.state.withLock { $0.files[path] != nil ? .file : $0.directories.contains(path) ? .directory : nil }
  }
  func byteCount(of path: String) throws(DiskError) -> Int64 {
    guard let node = self.state.withLock({ $0.files[path] }) else { throw DiskError(.notFound, operation: "stat", path: path) }
    return Int64(node.content.withLock { $0.written.count })
  }
  func createDirectory(_ path: String) throws(DiskError) { self.state.withLock { _ = $0.directories.insert(path) } }
  func rename(_ from: String, to: String) throws(DiskError) {
    let isThere = self.state.withLock { state -> Bool in
      guard let node = state.files.removeValue(forKey: from) else { return false }
      state.files[to] = node
      return true
    }
    if !isThere { throw DiskError(.notFound, operation: "rename", path: from) }
  }
  func removeFile(_ path: String) throws(DiskError) { self.state.withLock { $0.files[path] = nil } }
  func removeTree(_ path: String) throws(DiskError) {
    self.state.withLock { state in
      state.files = state.files.filter { !$0.key.hasPrefix(path + "/") }
      state.directories = state.directories.filter { $0 != path && !$0.hasPrefix(path + "/") }
    }
  }
  func syncDirectory(_ path: String) throws(DiskError) {
    self.state.withLock { state in
      func isIn(_ name: String) -> Bool { name.hasPrefix(path + "/") && !name.dropFirst(path.count + 1).contains("/") }
      state.durableFiles = state.durableFiles.filter { !isIn($0.key) }
      for (name, node) in state.files where isIn(name) { state.durableFiles[name] = node }
      state.durableDirectories.insert(path)
      for name in state.directories where isIn(name) { state.durableDirectories.insert(name) }
    }
  }
  func syncFileSystem(of path: String) throws(DiskError) {
    self.state.withLock { state in
      for node in state.files.values { node.content.withLock { $0.synced = $0.written } }
      (state.durableFiles, state.durableDirectories) = (state.files, state.directories)
    }
  }
  func lock(_ path: String) throws(DiskError) -> Held { Held() }
  func space(at path: String) throws(DiskError) -> DiskSpace { DiskSpace(totalByteCount: 1 << 40, usableByteCount: 1 << 40) }

  fileprivate func checkWrite(_ path: String) throws(DiskError) {
    if self.state.withLock({ $0.failsWrites }) { throw DiskError(.noSpace, operation: "write", path: path) }
  }
  fileprivate func checkSync(_ path: String) throws(DiskError) {
    let fails = self.state.withLock { state in
      state.syncCount += 1
      return state.failsSyncs
    }
    if fails { throw DiskError(.io, operation: "sync", path: path) }
  }
}

final class MemoryFile: DiskFile {
  private let node: MemoryDisk.Node
  private let path: String
  private let disk: MemoryDisk
  init(node: MemoryDisk.Node, path: String, disk: MemoryDisk) { (self.node, self.path, self.disk) = (node, path, disk) }

  var descriptor: CInt? { nil }
  func byteCount() throws(DiskError) -> Int64 { Int64(self.node.content.withLock { $0.written.count }) }

  func write(_ bytes: UnsafeRawBufferPointer, at position: Int64) throws(DiskError) {
    try self.disk.checkWrite(self.path)
    let copy = Array(bytes)
    self.node.content.withLock { content in
      let end = Int(position) + copy.count
      if content.written.count < end { content.written += Array(repeating: 0, count: end - content.written.count) }
      content.written.replaceSubrange(Int(position)..<end, with: copy)
    }
  }
  func write(_ head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer, at position: Int64) throws(DiskError) {
    try self.write(head, at: position)
    try self.write(body, at: position + Int64(head.count))
  }
  func read(into buffer: UnsafeMutableRawBufferPointer, at position: Int64) throws(DiskError) -> Int {
    let bytes = self.node.content.withLock { content in Array(content.written.dropFirst(Int(position)).prefix(buffer.count)) }
    buffer.copyBytes(from: bytes)
    return bytes.count
  }
  func truncate(to byteCount: Int64) throws(DiskError) {
    self.node.content.withLock { $0.written = Array($0.written.prefix(Int(byteCount))) }
  }
  func reserve(upTo byteCount: Int64) throws(DiskError) {}
  func sync() throws(DiskError) {
    try self.disk.checkSync(self.path)
    self.node.content.withLock { $0.synced = $0.written }
  }
}
