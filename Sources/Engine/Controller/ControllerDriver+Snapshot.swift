import Base
import Environment
import Metadata
import Model

/// Where a node stands with its snapshots.
struct SnapshotState: Sendable {
  /// Of the records since the last one.
  var bytes: Int64 = 0
  /// Of the last one.
  var end = Offset.zero
  /// When there is one by time, if there is anything new; nil: never.
  var dueAt: Instant?
  var isUnderWay = false
}

extension ControllerDriver.State {
  /// Where a snapshot of the image ends: behind its last record, which is the end of a batch. Records of the log's own may follow; a node
  /// that starts from the snapshot has the same image, its offset included.
  var snapshotEnd: Offset { self.image.offset + 1 }

  var snapshotDeadline: Instant? {
    self.isLoaded && !self.snapshot.isUnderWay && self.snapshotEnd > self.snapshot.end ? self.snapshot.dueAt : nil
  }
}

extension ControllerDriver {
  /// After a failure: how long until the next try.
  private static var snapshotRetryInterval: Duration { .seconds(60) }

  func takeSnapshotIfDue(_ state: inout State) {
    guard state.failure == nil, state.isLoaded, !state.snapshot.isUnderWay, state.snapshotEnd > state.snapshot.end else { return }
    let began = self.environment.now()
    guard state.snapshot.bytes >= self.setup.snapshots.bytes || state.snapshot.dueAt.map({ $0 <= began }) ?? false else { return }
    let (image, end, bytes) = (state.image, state.snapshotEnd, state.snapshot.bytes)
    state.snapshot.isUnderWay = true
    // Behind the present step, which may hold the state.
    self.quorum.perform {
      self.quorum.takeSnapshot(endOffset: end, records: { MetadataSnapshot(image).map(\.encoded) }) { error in
        self.quorum.perform { self.snapshotEnded(at: end, of: bytes, began, error) }
      }
    }
  }

  private func snapshotEnded(at end: Offset, of bytes: Int64, _ began: Instant, _ error: MetadataLogError?) {
    let now = self.environment.now()
    self.step { state, aftermath in
      state.snapshot.isUnderWay = false
      // The leader's may have come in between, and is newer.
      guard state.snapshot.end < end else { return }
      if let error {
        // As many bytes must come again as made this one due, or the time.
        state.snapshot.bytes -= bytes
        state.snapshot.dueAt = now + Self.snapshotRetryInterval
        return aftermath.append { self.listener.controllerEvent(.snapshotFailed(error)) }
      }
      state.snapshot.bytes -= bytes
      state.snapshot.end = end
      state.snapshot.dueAt = self.setup.snapshots.interval.map { now + $0 }
      aftermath.append { self.listener.controllerEvent(.snapshotTaken(endOffset: end, took: now - began)) }
    }
  }
}
