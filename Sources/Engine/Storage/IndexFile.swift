import Environment
import LogCore
import Model

/// A sparse index of one segment: the entries of this run of the process in memory until they are written, the others in the file.
///
/// Look-ups read the file with a few positioned reads; nothing is mapped, and a segment that nobody reads costs no memory.
struct IndexFile<Entry: IndexEntry, Disk: DiskPort>: Sendable {
  let slot: FileSlot<Disk>
  let baseOffset: Offset
  /// Entries that are in the file. Nil until somebody asks.
  private var writtenCount: Int?
  /// Entry number `memoryStart + i` is `memory[i]`. Goes on to the last entry; `memoryStart <= writtenCount`.
  private var memory: [Entry] = []
  private var memoryStart = 0
  /// How often the file was changed, and how often it had been when what is known to be durable was synced.
  private(set) var changeCount = 0
  private var syncedChangeCount = 0
  /// The file holds entries that count for nothing, and must not outlive this process.
  private var isStale = false

  /// How many entries that are in the file are kept in memory all the same, for the look-ups near the end of a busy log.
  private static var memoryCountMax: Int { 8192 }

  /// - Parameter isNew: there is no file yet, or what there is counts for nothing.
  init(slot: FileSlot<Disk>, baseOffset: Offset, isNew: Bool) {
    (self.slot, self.baseOffset) = (slot, baseOffset)
    self.writtenCount = isNew ? 0 : nil
  }

  /// Finds out how many entries the file has. Throws `.corrupt` if its size is none of an index. A missing file has none.
  private mutating func load() throws(StorageError) -> Int {
    if let count = self.writtenCount { return count }
    let byteCount: Int64
    do throws(DiskError) { byteCount = try self.slot.open().byteCount() } catch {
      guard error.kind == .notFound else { throw .disk(error) }
      throw self.corrupt(0, "it is missing")
    }
    guard byteCount % Int64(Entry.byteCount) == 0 else { throw self.corrupt(byteCount, "its size is no multiple of \(Entry.byteCount)") }
    self.writtenCount = Int(byteCount) / Entry.byteCount
    self.memoryStart = self.writtenCount!
    return self.writtenCount!
  }

  private func corrupt(_ position: Int64, _ reason: String) -> StorageError {
    .corrupt(path: self.slot.path, position: position, reason: reason)
  }

  mutating func count() throws(StorageError) -> Int {
    _ = try self.load()
    return self.memoryStart + self.memory.count
  }

  /// The count without asking the file: only what is known.
  var knownCount: Int { self.memoryStart + self.memory.count }

  mutating func last() throws(StorageError) -> Entry? {
    let count = try self.count()
    return count > 0 ? try self.entry(at: count - 1) : nil
  }

  mutating func entry(at index: Int) throws(StorageError) -> Entry {
    if index >= self.memoryStart { return self.memory[index - self.memoryStart] }
    return try self.entries(index..<index + 1)[0]
  }

  /// Entries that are in the file.
  private func entries(_ range: Range<Int>) throws(StorageError) -> [Entry] {
    let count = range.count * Entry.byteCount
    let bytes = try onDisk { () throws(DiskError) in
      try SmallFile.bytes(of: self.slot.open(), at: Int64(range.lowerBound * Entry.byteCount), count: count)
    }
    guard bytes.count == count else { throw self.corrupt(Int64(range.lowerBound * Entry.byteCount), "it is cut short") }
    return (0..<range.count).map { Entry(decoding: bytes, at: $0 * Entry.byteCount, baseOffset: self.baseOffset) }
  }

  /// The last entry that satisfies `predicate`, which holds for a run of entries from the start and for none after it.
  mutating func last(where predicate: (Entry) -> Bool) throws(StorageError) -> Entry? {
    _ = try self.load()
    if let first = self.memory.first, predicate(first) {
      return self.memory[Self.partitionPoint(self.memory, predicate) - 1]
    }
    // Halve by single entries until what is left is worth one read.
    var (low, high) = (0, self.memoryStart)
    while high - low > 512 {
      let middle = (low + high) / 2
      if predicate(try self.entry(at: middle)) { low = middle } else { high = middle }
    }
    guard low < high else { return nil }
    let window = try self.entries(low..<high)
    let point = Self.partitionPoint(window, predicate)
    return point > 0 ? window[point - 1] : nil
  }

  private static func partitionPoint(_ entries: [Entry], _ predicate: (Entry) -> Bool) -> Int {
    var (low, high) = (0, entries.count)
    while low < high {
      let middle = (low + high) / 2
      if predicate(entries[middle]) { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Reads the whole file and says whether every entry may follow the one in front of it.
  mutating func isAscending() throws(StorageError) -> Bool {
    let count = try self.load()
    var previous: Entry?
    var index = 0
    while index < count {
      let window = try self.entries(index..<min(index + 4096, count))
      for entry in window {
        if let previous, !entry.follows(previous) { return false }
        previous = entry
      }
      index += window.count
    }
    return true
  }

  // MARK: Changes

  /// Adds an entry, in memory for now. The caller has made sure that the count is known.
  mutating func append(_ entry: Entry) {
    self.memory.append(entry)
  }

  var hasUnwritten: Bool { self.isStale || self.writtenCount.map { $0 < self.knownCount } ?? false }

  /// Writes the new entries to the file, making it if it is missing.
  mutating func write(evenIfEmpty: Bool = false) throws(DiskError) {
    guard let written = self.writtenCount, self.hasUnwritten || evenIfEmpty else { return }
    var bytes: [UInt8] = []
    bytes.reserveCapacity((self.knownCount - written) * Entry.byteCount)
    for entry in self.memory[(written - self.memoryStart)...] { entry.encode(baseOffset: self.baseOffset, into: &bytes) }
    let file = try self.slot.open(.create)
    let position = Int64(written * Entry.byteCount)
    // What an earlier life left behind the entries (a file of zeros, say) would be taken for entries by the next.
    if try file.byteCount() > position { try file.truncate(to: position) }
    try SmallFile.write(bytes, to: file, at: position)
    self.writtenCount = self.knownCount
    self.changeCount += 1
    self.isStale = false
    if self.memory.count > Self.memoryCountMax {
      let excess = self.memory.count - Self.memoryCountMax / 2
      self.memory.removeFirst(excess)
      self.memoryStart += excess
    }
  }

  /// Gives the memory back once the segment is sealed and its entries are written.
  mutating func dropMemory() {
    guard let written = self.writtenCount, written == self.knownCount else { return }
    self.memory = []
    self.memoryStart = written
  }

  var isUnsynced: Bool { self.syncedChangeCount < self.changeCount }
  /// A sync that began when the file had been changed `changeCount` times has returned.
  mutating func noteSynced(changeCount: Int) { self.syncedChangeCount = max(self.syncedChangeCount, changeCount) }

  /// Removes the entries from number `count` on.
  mutating func truncate(toCount count: Int) throws(StorageError) {
    let known = try self.count()
    guard count < known else { return }
    if count < self.writtenCount! {
      try onDisk { () throws(DiskError) in try self.slot.open().truncate(to: Int64(count * Entry.byteCount)) }
      self.writtenCount = count
      self.changeCount += 1
    }
    if count < self.memoryStart {
      self.memory = []
      self.memoryStart = count
    } else {
      self.memory.removeLast(known - count)
    }
  }

  /// Removes the entries that do not satisfy `predicate`, which holds for a run of entries from the start.
  mutating func truncate(keepingWhile predicate: (Entry) -> Bool) throws(StorageError) {
    let count = try self.count()
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if predicate(try self.entry(at: middle)) { low = middle + 1 } else { high = middle }
    }
    try self.truncate(toCount: low)
  }

  /// Forgets every entry: the file, whatever is in it, is overwritten by the next write.
  mutating func reset() {
    self.writtenCount = 0
    self.memory = []
    self.memoryStart = 0
    self.isStale = true
  }
}
