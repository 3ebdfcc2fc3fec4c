package import Base
package import Model

/// Everything a node needs from outside itself: a disk, a network, clocks, timers, threads for blocking work, and
/// randomness.
///
/// Production is real files, NIO's sockets, timers and threads; the simulator is one thread, virtual time and a seeded generator.
/// Engine code is generic over it (`Environment`), never existential, so that the hot path is specialised.
package protocol Environment: Sendable {
  associatedtype Disk: DiskPort
  associatedtype Network: NetworkPort
  associatedtype Timer: TimerHandle

  var disk: Disk { get }
  var network: Network { get }

  /// The node's monotonic clock.
  func now() -> Instant
  /// The node's wall clock, for record timestamps and retention only: never for ordering or deadlines.
  func wallClock() -> Timestamp

  /// Runs `body` once, `delay` from now, on some thread of the node. A cancelled timer does not run, unless it had begun to.
  func schedule(after delay: Duration, _ body: @escaping @Sendable () -> Void) -> Timer

  /// Runs `body` on a thread where blocking is allowed. Work submitted to one lane runs in order, one at a time.
  func submit(to lane: WorkLane, _ body: @escaping @Sendable () -> Void)

  /// 64 random bits: for ids and seeds of cores' own generators.
  func entropy() -> UInt64

  #if APUS_MUTANTS
    /// The deliberate bug that this node has, by its name. Only a simulation gives one, to see that it is found.
    var mutant: String? { get }
  #endif
}

#if APUS_MUTANTS
  extension Environment {
    package var mutant: String? { nil }
  }
#endif

/// A timer that was set.
package protocol TimerHandle: Sendable {
  func cancel()
}

/// A queue for blocking work.
package enum WorkLane: Hashable, Sendable {
  /// fsync of one log directory (index into `log.dirs`). Nothing else may delay it.
  case sync(logDirectory: Int)
  /// fsync of the metadata log.
  case metadata
  /// Opening of partition logs at start, several workers at once. Unused afterwards.
  case loading(worker: Int)
  /// Making and removing partitions by the hundred, as the metadata says.
  case partitions
  /// Deletion, truncation, retention, checkpoints: work nobody waits for.
  case background
}
