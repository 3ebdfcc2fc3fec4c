import Base
import Environment

/// The state of a faulty disk: what programs see, and what a loss of power would leave of it. A value, for its owner to guard.
struct VirtualFileSystem: Sendable {
  enum Change: Sendable {
    case write(position: Int, bytes: [UInt8])
    case truncate(Int)

    func apply(to contents: inout [UInt8]) {
      switch self {
      case .write(let position, let bytes):
        if contents.count < position { contents += [UInt8](repeating: 0, count: position - contents.count) }
        let overlap = min(contents.count - position, bytes.count)
        contents.replaceSubrange(position..<position + overlap, with: bytes)
      case .truncate(let count):
        if count < contents.count {
          contents.removeLast(contents.count - count)
        } else {
          contents += [UInt8](repeating: 0, count: count - contents.count)
        }
      }
    }
  }
  struct FileNode: Sendable {
    var contents: [UInt8] = []
    var durable: [UInt8] = []
    /// Changes since the last good sync, in order.
    var pending: [Change] = []

    mutating func change(_ change: Change) {
      change.apply(to: &self.contents)
      self.pending.append(change)
    }
  }
  enum NameChange: Sendable {
    case set(String, Int)
    case remove(String)
    /// The node that moves is named too: where its old name is lost, the new one is not.
    case move(String, String, Int)

    func apply(to names: inout [String: Int]) {
      switch self {
      case .set(let name, let node): names[name] = node
      case .remove(let name): names[name] = nil
      case .move(let from, let to, let node):
        names[from] = nil
        names[to] = node
      }
    }
  }
  struct DirectoryNode: Sendable {
    var names: [String: Int] = [:]
    var durable: [String: Int] = [:]
    var pending: [NameChange] = []

    mutating func change(_ change: NameChange) {
      change.apply(to: &self.names)
      self.pending.append(change)
    }
  }
  enum Node: Sendable { case file(FileNode), directory(DirectoryNode) }

  private static let root = 0
  private(set) var nodes: [Int: Node] = [0: .directory(DirectoryNode())]
  private var nextNode = 1
  var usedByteCount = 0

  // MARK: Names

  static func parts(_ path: String) -> [String] { path.split(separator: "/").map { String($0) }.filter { $0 != "." } }

  func find(_ path: String) -> Int? {
    var node = Self.root
    for part in Self.parts(path) {
      guard case .directory(let directory)? = self.nodes[node], let next = directory.names[part] else { return nil }
      node = next
    }
    return node
  }

  /// The directory that holds `path`, and the name in it.
  func parent(of path: String) -> (node: Int, name: String)? {
    var parts = Self.parts(path)
    guard let name = parts.popLast(), let node = self.find(parts.joined(separator: "/")), self.directory(node) != nil else { return nil }
    return (node, name)
  }

  /// The contents as a loss of everything that was not synced would leave them; nil if the file could not be found then.
  func durableContents(of path: String) -> [UInt8]? {
    var node = Self.root
    for part in Self.parts(path) {
      guard case .directory(let directory)? = self.nodes[node], let next = directory.durable[part] else { return nil }
      node = next
    }
    return self.file(node)?.durable
  }

  func file(_ node: Int) -> FileNode? {
    guard case .file(let file)? = self.nodes[node] else { return nil }
    return file
  }
  func directory(_ node: Int) -> DirectoryNode? {
    guard case .directory(let directory)? = self.nodes[node] else { return nil }
    return directory
  }

  mutating func addFile(_ name: String, in parent: Int) -> Int { self.add(.file(FileNode()), name, in: parent) }
  mutating func addDirectory(_ name: String, in parent: Int) -> Int { self.add(.directory(DirectoryNode()), name, in: parent) }

  private mutating func add(_ node: Node, _ name: String, in parent: Int) -> Int {
    let number = self.nextNode
    self.nextNode += 1
    self.nodes[number] = node
    self.changeNames(of: parent, .set(name, number))
    return number
  }

  mutating func changeNames(of node: Int, _ change: NameChange) {
    guard case .directory(var directory)? = self.nodes[node] else { return }
    directory.change(change)
    self.nodes[node] = .directory(directory)
  }

  // MARK: Contents

  mutating func change(_ node: Int, _ change: Change) {
    guard case .file(var file)? = self.nodes[node] else { return }
    // Moved out and back, so that the contents are not copied at every write.
    self.nodes[node] = .file(FileNode())
    let before = file.contents.count
    file.change(change)
    self.usedByteCount += file.contents.count - before
    self.nodes[node] = .file(file)
  }

  /// Changes contents behind everybody's back, durably: a device that rots.
  mutating func corrupt(_ node: Int, at position: Int, flipping mask: UInt8) {
    guard case .file(var file)? = self.nodes[node] else { return }
    if position < file.contents.count { file.contents[position] ^= mask }
    if position < file.durable.count { file.durable[position] ^= mask }
    self.nodes[node] = .file(file)
  }

  func isUnsynced(_ node: Int) -> Bool {
    switch self.nodes[node] {
    case .file(let file)?: !file.pending.isEmpty
    case .directory(let directory)?: !directory.pending.isEmpty
    case nil: false
    }
  }

  /// Everything written to the node so far survives. With `failing`, what was not synced does not, though it can be read: the system
  /// takes the pages for clean. Bytes of a file are lost until they are written again. A directory is a block that is written as a whole:
  /// the next sync after any change to it makes good what an earlier one lost.
  mutating func sync(_ node: Int, failing: Bool = false) {
    switch self.nodes[node] {
    case .file(var file)?:
      self.nodes[node] = .file(FileNode())
      if !failing { for change in file.pending { change.apply(to: &file.durable) } }
      file.pending = []
      self.nodes[node] = .file(file)
    case .directory(var directory)?:
      if !failing, !directory.pending.isEmpty { directory.durable = directory.names }
      directory.pending = []
      self.nodes[node] = .directory(directory)
    case nil: break
    }
  }

  // MARK: Loss of power

  /// Flips a bit of one write in each log and index that has any which was not synced. Other files are replaced as a whole, synced before
  /// their names are changed.
  mutating func flipBits(_ generator: inout SeededGenerator) {
    let names = self.nodes.keys.sorted().flatMap { node in (self.directory(node)?.names ?? [:]).sorted { $0.key < $1.key } }
    for (name, number) in names where [".log", "index", ".snapshot"].contains(where: name.hasSuffix) {
      guard case .file(var file)? = self.nodes[number], let index = file.pending.indices.randomElement(using: &generator),
        case .write(let position, var bytes) = file.pending[index], position + bytes.count > file.durable.count
      else { continue }
      // What was synced before and is written over with the same bytes holds them, whichever of the two writes survives.
      let first = max(0, file.durable.count - position)
      let place = Int.random(in: first..<bytes.count, using: &generator)
      if name.hasSuffix(".log"), Self.isLeaderEpoch(place, of: bytes) { continue }
      bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      file.pending[index] = .write(position: position, bytes: bytes)
      self.nodes[number] = .file(file)
    }
  }

  /// Whether a byte of a write of whole batches belongs to a batch's leader epoch: the one field of Kafka's format that no checksum covers
  /// and that follows from nothing else, so that nobody can tell when it is wrong.
  private static func isLeaderEpoch(_ place: Int, of bytes: [UInt8]) -> Bool {
    var start = 0
    while start + 16 <= bytes.count, place >= start + 12 {
      if place < start + 16 { return true }
      start += 12 + bytes[start + 8..<start + 12].reduce(0) { $0 << 8 | Int($1) }
    }
    return false
  }

  /// What was not synced is lost, in part or whole, as the generator has it.
  mutating func losePower(_ generator: inout SeededGenerator, modes: [LossMode]) {
    for number in self.nodes.keys.sorted() {
      switch self.nodes[number]! {
      case .file(var file):
        let mode = modes.randomElement(using: &generator)!
        Self.applySurvivors(of: file.pending, to: &file.durable, mode, &generator)
        self.nodes[number] = .file(FileNode(contents: file.durable, durable: file.durable, pending: []))
      case .directory(var directory):
        // File systems keep the order of changes to names (they log them), but not how many of them reached the disk.
        let kept =
          modes == [.all] ? 0 : modes == [.none] ? directory.pending.count : Int.random(in: 0...directory.pending.count, using: &generator)
        for change in directory.pending.prefix(kept) { change.apply(to: &directory.durable) }
        self.nodes[number] = .directory(DirectoryNode(names: directory.durable, durable: directory.durable, pending: []))
      }
    }
    self.removeUnreachable()
  }

  private static func applySurvivors(
    of pending: [Change], to durable: inout [UInt8], _ mode: LossMode, _ generator: inout SeededGenerator
  ) {
    switch mode {
    case .all: return
    case .none: for change in pending { change.apply(to: &durable) }
    case .torn:
      guard !pending.isEmpty else { return }
      let kept = Int.random(in: 0...pending.count, using: &generator)
      for change in pending.prefix(kept) { change.apply(to: &durable) }
      if kept < pending.count, case .write(let position, let bytes) = pending[kept] {
        let count = Int.random(in: 0...bytes.count, using: &generator)
        if count > 0 { Change.write(position: position, bytes: Array(bytes.prefix(count))).apply(to: &durable) }
      }
    case .scattered:
      for change in pending {
        guard case .write(let position, let bytes) = change else {
          change.apply(to: &durable)
          continue
        }
        var start = 0
        while start < bytes.count {
          // Up to the next multiple of a sector in the file.
          let end = min(bytes.count, ((position + start) / 512 + 1) * 512 - position)
          if Bool.random(using: &generator) {
            Change.write(position: position + start, bytes: Array(bytes[start..<end])).apply(to: &durable)
          }
          start = end
        }
      }
    }
  }

  private mutating func removeUnreachable() {
    var reachable: Set<Int> = []
    var open = [Self.root]
    while let node = open.popLast() {
      guard reachable.insert(node).inserted else { continue }
      if case .directory(let directory)? = self.nodes[node] { open += directory.names.values }
    }
    self.nodes = self.nodes.filter { reachable.contains($0.key) }
    self.usedByteCount = self.nodes.values.reduce(0) { sum, node in
      if case .file(let file) = node { sum + file.contents.count } else { sum }
    }
  }
}
