package import Environment
import Synchronization

/// Bounds the open files of a log directory: the least useful of them is closed when one more is opened.
///
/// Files open on demand and close behind the back of those who do not use them just then: whoever got a file from
/// `FileSlot.open` keeps it open for as long as he holds it. "Least useful" is by the clock rule (a second chance for what
/// was used since the hand last passed), so that a use costs no more than a flag.
package final class OpenFileCache<Disk: DiskPort>: Sendable {
  private struct Ring {
    var slots: [FileSlot<Disk>] = []
    var hand = 0
  }
  let disk: Disk
  private let limit: Int
  private let ring = Mutex(Ring())

  package init(disk: Disk, limit: Int) {
    (self.disk, self.limit) = (disk, max(limit, 8))
  }

  package var openCount: Int { self.ring.withLock { $0.slots.count } }

  /// Takes a slot that has just been opened into the ring, and closes another if that is one too many.
  fileprivate func admit(_ slot: FileSlot<Disk>) {
    self.ring.withLock { ring in
      if ring.slots.count < self.limit {
        ring.slots.append(slot)
        return
      }
      // Two rounds at most: the first takes every flag away.
      for _ in 0...(2 * ring.slots.count) {
        ring.hand = ring.hand + 1 < ring.slots.count ? ring.hand + 1 : 0
        if ring.slots[ring.hand].closeUnlessUsed() { break }
      }
      ring.slots[ring.hand].close()
      ring.slots[ring.hand] = slot
    }
  }

  fileprivate func forget(_ slot: FileSlot<Disk>) {
    self.ring.withLock { ring in
      guard let index = ring.slots.firstIndex(where: { $0 === slot }) else { return }
      ring.slots.swapAt(index, ring.slots.count - 1)
      ring.slots.removeLast()
    }
  }
}

/// One file that is opened when it is needed.
package final class FileSlot<Disk: DiskPort>: Sendable {
  private struct State {
    var file: Disk.File?
    var wasUsed = false
    var isAdmitted = false
  }
  private let cache: OpenFileCache<Disk>
  let path: String
  private let state = Mutex(State())

  package init(path: String, cache: OpenFileCache<Disk>) {
    (self.path, self.cache) = (path, cache)
  }

  /// The file, opened for reading and writing if it is not open. With `.create`, made if it is missing.
  func open(_ mode: OpenMode = .readWrite) throws(DiskError) -> Disk.File {
    if let file = self.state.withLock({ state in
      state.wasUsed = true
      return state.file
    }) {
      return file
    }
    let file = try self.cache.disk.open(self.path, mode)
    let isNew = self.state.withLock { state in
      state.wasUsed = true
      // Two may open at one time: either file will do, but only one entry in the ring.
      if state.file == nil { state.file = file }
      defer { state.isAdmitted = true }
      return !state.isAdmitted
    }
    if isNew { self.cache.admit(self) }
    return file
  }

  /// Closes the file for good or until it is needed again.
  func release() {
    let wasAdmitted = self.state.withLock { state in
      state.file = nil
      defer { state.isAdmitted = false }
      return state.isAdmitted
    }
    if wasAdmitted { self.cache.forget(self) }
  }

  /// For the cache, under its lock.
  fileprivate func close() {
    self.state.withLock { state in
      state.file = nil
      state.isAdmitted = false
    }
  }

  /// Takes the flag of use away, or closes the file if it is away already. True if it was closed.
  fileprivate func closeUnlessUsed() -> Bool {
    self.state.withLock { state in
      if state.wasUsed {
        state.wasUsed = false
        return false
      }
      state.file = nil
      state.isAdmitted = false
      return true
    }
  }
}
