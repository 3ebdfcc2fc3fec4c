import Synchronization

/// Keeps a checkpoint that was begun before a truncation from leaving files behind that tell of what was cut off.
///
/// A ticket writes its files inside of the gate and only if no truncation began since; a truncation raises the generation, and
/// finds every file that was written before in its place when it has passed.
final class SnapshotGate: Sendable {
  private let current = Mutex<UInt64>(0)

  var generation: UInt64 { self.current.withLock { $0 } }
  func close() { self.current.withLock { $0 += 1 } }

  /// Runs `body` unless the generation has moved on. Truncations wait for it.
  func pass<Failure: Error>(_ generation: UInt64, _ body: () throws(Failure) -> Void) throws(Failure) {
    let result = self.current.withLock { current in
      Result { () throws(Failure) in if current == generation { try body() } }
    }
    try result.get()
  }
}
