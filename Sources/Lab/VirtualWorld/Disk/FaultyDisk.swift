import Base
package import Environment
import Synchronization

/// A disk in memory that keeps exactly the promises of `DiskPort`, and breaks where it is told to.
///
/// `losePower` forgets what was not synced, torn at arbitrary bytes; `killProcess` forgets nothing. Everything follows from the
/// seed and the order of the calls, so that a failure can be repeated. Files opened before either of them are dead afterwards.
package final class FaultyDisk: DiskPort {
  fileprivate struct State: Sendable {
    var system = VirtualFileSystem()
    var generator: SeededGenerator
    var faults: [DiskFault] = []
    var capacity = Int.max
    var isReadOnly = false
    /// Counts the lives of the machine: a file or lock of an earlier one is dead.
    var life: UInt64 = 0
    var changesUntilPowerFailure: Int?
    var onPowerFailure: (@Sendable () -> Void)?
    var isOff = false
    var locks: [String: UInt64] = [:]
    var nextLock: UInt64 = 0
    var changeCount = 0
    var bytesWritten = 0
  }
  private let state: Mutex<State>

  package init(seed: UInt64) { self.state = Mutex(State(generator: SeededGenerator(seed: seed))) }

  // MARK: Trouble

  /// The power goes, and comes back.
  ///
  /// - Parameter flippingBits: of the writes to logs and their indexes that were not synced and survive, some have a bit that is wrong.
  package func losePower(modes: [LossMode] = LossMode.allCases, flippingBits: Bool = false) {
    self.state.withLock { state in
      if flippingBits { state.system.flipBits(&state.generator) }
      state.system.losePower(&state.generator, modes: modes)
      state.restart()
    }
  }

  /// Forgets everything, for good: nobody uses it any more.
  package func erase() { self.state.withLock { $0.system = VirtualFileSystem() } }

  /// The process is killed (`kill -9`) and another takes its place: what was written is there, locks are free.
  package func killProcess() { self.state.withLock { $0.restart() } }

  /// The power goes during the `count`-th change from now: that one may be done in part, every later call fails until `losePower`, or
  /// `killProcess` if it was only the process that ended.
  ///
  /// - Parameter then: runs at that moment, in the middle of the call, and must not use the disk.
  package func failPower(afterChanges count: Int, then: (@Sendable () -> Void)? = nil) {
    self.state.withLock { state in (state.changesUntilPowerFailure, state.onPowerFailure) = (count, then) }
  }

  /// Forgets a failure of the power that was to come.
  package func keepPower() { self.state.withLock { state in (state.changesUntilPowerFailure, state.onPowerFailure) = (nil, nil) } }

  /// The changes that were made so far: for choosing a moment to fail in.
  package var changeCount: Int { self.state.withLock { $0.changeCount } }
  /// The bytes that were written to files so far.
  package var bytesWritten: Int { self.state.withLock { $0.bytesWritten } }

  package func inject(_ fault: DiskFault) { self.state.withLock { $0.faults.append(fault) } }

  /// Whether calls of now may fail, or such that come.
  package var isInTrouble: Bool {
    self.state.withLock { state in !state.faults.isEmpty || state.capacity != .max || state.isReadOnly }
  }

  /// What was injected and has not happened yet does not happen.
  package func makeWell() { self.state.withLock { state in (state.faults, state.capacity, state.isReadOnly) = ([], .max, false) } }

  /// Bytes all files together may hold. A write that does not fit is done up to there, and fails.
  package func setCapacity(_ byteCount: Int) { self.state.withLock { $0.capacity = byteCount } }
  package func setReadOnly(_ isReadOnly: Bool) { self.state.withLock { $0.isReadOnly = isReadOnly } }
  package var usedByteCount: Int { self.state.withLock { $0.system.usedByteCount } }

  /// Flips bits of a byte where it lies.
  package func corrupt(_ path: String, at position: Int, flipping mask: UInt8 = 1) {
    self.state.withLock { state in
      if let node = state.system.find(path) { state.system.corrupt(node, at: position, flipping: mask) }
    }
  }

  /// The contents of a file, for a test to look at.
  package func contents(of path: String) -> [UInt8]? {
    self.state.withLock { state in state.system.find(path).flatMap { state.system.file($0)?.contents } }
  }

  /// What would be left of a file if the power went now and nothing that was not synced survived; nil if its name would not.
  package func durableContents(of path: String) -> [UInt8]? {
    self.state.withLock { $0.system.durableContents(of: path) }
  }

  /// The names in a directory, for a test to look at, in their order. Whatever trouble the disk is in.
  package func names(in directory: String) -> [String] {
    self.state.withLock { state in
      state.system.find(directory).flatMap { state.system.directory($0) }.map { $0.names.keys.sorted() } ?? []
    }
  }

  // MARK: DiskPort

  package func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> FaultyFile {
    let (node, life) = try self.locked { state throws(DiskError) in
      try state.check(.open, path, changes: false)
      if let node = state.system.find(path) {
        guard state.system.file(node) != nil else { throw DiskError(.io, operation: "open", path: path) }
        if mode == .createNew { throw DiskError(.alreadyExists, operation: "open", path: path) }
        return (node, state.life)
      }
      guard mode == .create || mode == .createNew, let parent = state.system.parent(of: path) else {
        throw DiskError(.notFound, operation: "open", path: path)
      }
      _ = try state.checkChange("open", path)
      return (state.system.addFile(parent.name, in: parent.node), state.life)
    }
    return FaultyFile(disk: self, node: node, life: life, path: path)
  }

  package func list(_ directory: String) throws(DiskError) -> [DirectoryEntry] {
    try self.locked { state throws(DiskError) in
      try state.checkPower("list", directory)
      guard let node = state.system.find(directory) else { throw DiskError(.notFound, operation: "list", path: directory) }
      guard let names = state.system.directory(node)?.names else { throw DiskError(.notADirectory, operation: "list", path: directory) }
      return names.sorted { $0.key < $1.key }.map { name, node in
        DirectoryEntry(name: name, kind: state.system.file(node) != nil ? .file : .directory)
      }
    }
  }

  package func kind(of path: String) throws(DiskError) -> EntryKind? {
    try self.locked { state throws(DiskError) in
      try state.checkPower("look at", path)
      return state.system.find(path).map { state.system.file($0) != nil ? .file : .directory }
    }
  }

  package func byteCount(of path: String) throws(DiskError) -> Int64 {
    try self.locked { state throws(DiskError) in
      try state.checkPower("get the size of", path)
      guard let node = state.system.find(path), let file = state.system.file(node) else {
        throw DiskError(.notFound, operation: "get the size of", path: path)
      }
      return Int64(file.contents.count)
    }
  }

  package func createDirectory(_ path: String) throws(DiskError) {
    try self.locked { state throws(DiskError) in
      try state.checkPower("create the directory", path)
      var parent = state.system.find("")!
      for part in VirtualFileSystem.parts(path) {
        guard let names = state.system.directory(parent)?.names else {
          throw DiskError(.notADirectory, operation: "create the directory", path: path)
        }
        if let node = names[part] {
          parent = node
        } else {
          _ = try state.checkChange("create the directory", path)
          parent = state.system.addDirectory(part, in: parent)
        }
      }
      if state.system.directory(parent) == nil { throw DiskError(.notADirectory, operation: "create the directory", path: path) }
    }
  }

  package func rename(_ from: String, to: String) throws(DiskError) {
    try self.locked { state throws(DiskError) in
      try state.check(.rename, from, changes: true)
      guard let node = state.system.find(from), let old = state.system.parent(of: from), let new = state.system.parent(of: to) else {
        throw DiskError(.notFound, operation: "rename to \(to) the file", path: from)
      }
      if old.node == new.node {
        state.system.changeNames(of: old.node, .move(old.name, new.name, node))
      } else {
        state.system.changeNames(of: new.node, .set(new.name, node))
        state.system.changeNames(of: old.node, .remove(old.name))
      }
    }
  }

  package func removeFile(_ path: String) throws(DiskError) {
    try self.locked { state throws(DiskError) in
      try state.check(.remove, path, changes: true)
      guard let node = state.system.find(path), let file = state.system.file(node), let parent = state.system.parent(of: path) else {
        throw DiskError(.notFound, operation: "remove", path: path)
      }
      state.system.usedByteCount -= file.contents.count
      state.system.changeNames(of: parent.node, .remove(parent.name))
    }
  }

  package func removeTree(_ path: String) throws(DiskError) {
    for entry in try self.list(path) {
      let child = path + "/" + entry.name
      if entry.kind == .directory { try self.removeTree(child) } else { try self.removeFile(child) }
    }
    try self.locked { state throws(DiskError) in
      try state.check(.remove, path, changes: true)
      if let parent = state.system.parent(of: path) { state.system.changeNames(of: parent.node, .remove(parent.name)) }
    }
  }

  package func syncDirectory(_ path: String) throws(DiskError) {
    try self.locked { state throws(DiskError) in
      guard let node = state.system.find(path), state.system.directory(node) != nil else {
        throw DiskError(.notFound, operation: "sync the directory", path: path)
      }
      do throws(DiskError) { try state.check(.syncDirectory, path, changes: true) } catch {
        // For want of a descriptor nothing was begun; any other failure may have lost what was to be synced.
        if !state.isOff, !error.isTransient { state.system.sync(node, failing: true) }
        throw error
      }
      state.system.sync(node)
    }
  }

  package func syncFileSystem(of path: String) throws(DiskError) {
    try self.locked { state throws(DiskError) in
      // A sync of much is no single moment: the power may go after any part of it.
      for node in state.system.nodes.keys.sorted() {
        guard state.system.isUnsynced(node) else { continue }
        do throws(DiskError) { try state.check(.sync, path, changes: true) } catch {
          if !state.isOff { state.system.sync(node, failing: true) }
          throw error
        }
        state.system.sync(node)
      }
    }
  }

  package func lock(_ path: String) throws(DiskError) -> FaultyLock {
    _ = try self.open(path, .create)
    return try self.locked { state throws(DiskError) in
      if state.locks[path] != nil { throw DiskError(.locked, operation: "lock", path: path) }
      state.nextLock += 1
      state.locks[path] = state.nextLock
      return FaultyLock(disk: self, path: path, number: state.nextLock)
    }
  }

  package func space(at path: String) throws(DiskError) -> DiskSpace {
    self.state.withLock { state in
      DiskSpace(
        totalByteCount: Int64(state.capacity), usableByteCount: max(0, Int64(state.capacity) - Int64(state.system.usedByteCount)))
    }
  }

  // MARK: For files and locks

  fileprivate func unlock(_ path: String, _ number: UInt64) {
    self.state.withLock { state in if state.locks[path] == number { state.locks[path] = nil } }
  }

  fileprivate func size(_ file: FaultyFile) throws(DiskError) -> Int64 {
    try self.locked { state throws(DiskError) in Int64(try state.contents(of: file, "get the size of").count) }
  }

  fileprivate func write(_ bytes: [UInt8], at position: Int64, to file: FaultyFile) throws(DiskError) {
    try self.locked { state throws(DiskError) in
      let size = try state.contents(of: file, "write to").count
      var failure: DiskError?
      var count = bytes.count
      do throws(DiskError) { try state.check(.write, file.path, changes: true) } catch {
        // A read-only disk writes nothing; one that fails, or loses its power just now, a part.
        if error.kind == .readOnly { throw error }
        failure = error
        count = Int.random(in: 0...bytes.count, using: &state.generator)
      }
      let growth = max(0, Int(position) + count - size)
      if state.system.usedByteCount + growth > state.capacity {
        failure = failure ?? DiskError(.noSpace, operation: "write to", path: file.path)
        count = max(0, count - (state.system.usedByteCount + growth - state.capacity))
      }
      state.bytesWritten += count
      if count > 0 { state.system.change(file.node, .write(position: Int(position), bytes: Array(bytes.prefix(count)))) }
      if let failure { throw failure }
    }
  }

  fileprivate func read(into buffer: UnsafeMutableRawBufferPointer, at position: Int64, from file: FaultyFile) throws(DiskError) -> Int {
    let bytes = try self.locked { state throws(DiskError) in
      let contents = try state.contents(of: file, "read")
      let start = min(Int(position), contents.count)
      return contents[start..<min(contents.count, start + buffer.count)]
    }
    buffer.copyBytes(from: bytes)
    return bytes.count
  }

  fileprivate func truncate(_ file: FaultyFile, to byteCount: Int64) throws(DiskError) {
    try self.locked { state throws(DiskError) in
      _ = try state.contents(of: file, "truncate")
      try state.check(.truncate, file.path, changes: true)
      state.system.change(file.node, .truncate(Int(byteCount)))
    }
  }

  fileprivate func sync(_ file: FaultyFile) throws(DiskError) {
    try self.locked { state throws(DiskError) in
      _ = try state.contents(of: file, "sync")
      do throws(DiskError) { try state.check(.sync, file.path, changes: true) } catch {
        if !state.isOff, !error.isTransient { state.system.sync(file.node, failing: true) }
        throw error
      }
      state.system.sync(file.node)
    }
  }

  private func locked<Result: Sendable>(_ body: (inout State) throws(DiskError) -> Result) throws(DiskError) -> Result {
    let result = self.state.withLock { state in
      Swift.Result { () throws(DiskError) -> Result in try body(&state) }
    }
    return try result.get()
  }
}

extension FaultyDisk.State {
  fileprivate mutating func restart() {
    self.life += 1
    self.locks = [:]
    self.isOff = false
    (self.changesUntilPowerFailure, self.onPowerFailure) = (nil, nil)
  }

  fileprivate func checkPower(_ operation: String, _ path: String) throws(DiskError) {
    if self.isOff { throw DiskError(.io, operation: operation, path: path) }
  }

  /// Counts a change. Throws on a read-only disk, and when the power goes with this one.
  fileprivate mutating func checkChange(_ operation: String, _ path: String) throws(DiskError) {
    try self.checkPower(operation, path)
    if self.isReadOnly { throw DiskError(.readOnly, operation: operation, path: path) }
    self.changeCount += 1
    if let left = self.changesUntilPowerFailure {
      guard left > 0 else {
        self.isOff = true
        self.onPowerFailure?()
        throw DiskError(.io, operation: operation, path: path)
      }
      self.changesUntilPowerFailure = left - 1
    }
  }

  /// Throws if a fault was injected for this call, or it cannot be made.
  fileprivate mutating func check(_ operation: DiskFault.Operation, _ path: String, changes: Bool) throws(DiskError) {
    try self.checkPower(operation.rawValue, path)
    if changes { try self.checkChange(operation.rawValue, path) }
    if self.faults.isEmpty { return }
    for index in self.faults.indices where self.faults[index].operation == operation && path.hasSuffix(self.faults[index].pathSuffix) {
      if self.faults[index].after > 0 {
        self.faults[index].after -= 1
      } else {
        let fault = self.faults.remove(at: index)
        throw DiskError(fault.kind, operation: operation.rawValue, path: path)
      }
    }
  }

  fileprivate func contents(of file: FaultyFile, _ operation: String) throws(DiskError) -> [UInt8] {
    try self.checkPower(operation, file.path)
    guard file.life == self.life, let node = self.system.file(file.node) else {
      throw DiskError(.io, operation: operation, path: file.path)
    }
    return node.contents
  }
}

/// An open file of a `FaultyDisk`.
package final class FaultyFile: DiskFile {
  fileprivate let disk: FaultyDisk
  fileprivate let node: Int
  fileprivate let life: UInt64
  fileprivate let path: String

  fileprivate init(disk: FaultyDisk, node: Int, life: UInt64, path: String) {
    (self.disk, self.node, self.life, self.path) = (disk, node, life, path)
  }

  package var descriptor: CInt? { nil }
  package func byteCount() throws(DiskError) -> Int64 { try self.disk.size(self) }
  package func write(_ bytes: UnsafeRawBufferPointer, at position: Int64) throws(DiskError) {
    try self.disk.write(Array(bytes), at: position, to: self)
  }
  package func write(_ head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer, at position: Int64) throws(DiskError) {
    try self.disk.write(Array(head) + Array(body), at: position, to: self)
  }
  package func read(into buffer: UnsafeMutableRawBufferPointer, at position: Int64) throws(DiskError) -> Int {
    try self.disk.read(into: buffer, at: position, from: self)
  }
  package func truncate(to byteCount: Int64) throws(DiskError) { try self.disk.truncate(self, to: byteCount) }
  package func reserve(upTo byteCount: Int64) throws(DiskError) {}
  package func sync() throws(DiskError) { try self.disk.sync(self) }
}

/// A lock on a `FaultyDisk`: free again when the value goes, or the process is killed.
package final class FaultyLock: Sendable {
  private let disk: FaultyDisk
  private let path: String
  private let number: UInt64
  fileprivate init(disk: FaultyDisk, path: String, number: UInt64) { (self.disk, self.path, self.number) = (disk, path, number) }
  deinit { self.disk.unlock(self.path, self.number) }
}
