import Synchronization

/// Keeps a checkpoint that was begun before a truncation from leaving files behind that tell of what was cut off.
///
/// A ticket writes its files inside of the gate and only if no truncation began since; a truncation raises the generation, and
/// finds every file that was written before in its place when it has passed.
final class SnapshotGate: Sendable {
  private let passing = Mutex<Void>(())
  /// Read by those who hold a partition's lock, who must not wait for files that are being written.
  private let current = Atomic<UInt64>(0)
  private let failed = Atomic<Bool>(false)

  var generation: UInt64 { self.current.load(ordering: .acquiring) }
  func close() { self.passing.withLock { _ in _ = self.current.add(1, ordering: .acquiringAndReleasing) } }

  /// A ticket could not sync: the log is not to go on.
  func noteFailedSync() { self.failed.store(true, ordering: .releasing) }
  var hasFailedSync: Bool { self.failed.load(ordering: .acquiring) }

  /// Runs `body` unless the generation has moved on. Truncations wait for it.
  func pass<Failure: Error>(_ generation: UInt64, _ body: () throws(Failure) -> Void) throws(Failure) {
    let result = self.passing.withLock { _ in
      Result { () throws(Failure) in if self.generation == generation { try body() } }
    }
    try result.get()
  }
}
