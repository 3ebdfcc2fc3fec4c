import Records
import Synchronization

/// Codecs' contexts and scratch memory for whoever validates a batch, one user at a time each.
final class WorkspacePool: Sendable {
  private final class Slot: Sendable {
    let workspace = Mutex(RecordWorkspace())
  }
  private let slots: [Slot]

  init(count: Int) { self.slots = (0..<count).map { _ in Slot() } }

  /// Runs `body` with a workspace of its own. Connections keep to one as long as it is free.
  func withWorkspace<Result, E: Error>(
    near connectionID: UInt64, _ body: (RecordWorkspace) throws(E) -> sending Result
  ) throws(E) -> Result {
    let slot = self.slots[Int(connectionID % UInt64(self.slots.count))]
    return try slot.workspace.withLock { workspace throws(E) in try body(workspace) }
  }
}
