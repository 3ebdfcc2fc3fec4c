import Environment
import LogCore
import Model
import Replication
import Storage
import Synchronization

/// Hears of the first failure of the log directory's disk. What partitions share of it: they do not know the broker.
final class LogDirectoryHealth: Sendable {
  private struct State: Sendable {
    var failure: StorageError?
    var tell: (@Sendable (StorageError) -> Void)?
  }
  private let state = Mutex(State())

  var hasFailed: Bool { self.state.withLock { $0.failure != nil } }

  /// - Parameter tell: called once at most, on the thread that found the failure, with no lock held.
  func onFailure(_ tell: @escaping @Sendable (StorageError) -> Void) { self.state.withLock { $0.tell = tell } }

  /// A log went out of service. Where the disk is to blame all that it holds is in doubt: a call for want of a descriptor did nothing, and
  /// bytes that are not what was written are one log's own trouble.
  func report(_ error: StorageError) {
    guard case .disk(let cause) = error, !cause.isTransient else { return }
    let tell = self.state.withLock { state -> (@Sendable (StorageError) -> Void)? in
      if state.failure != nil { return nil }
      state.failure = error
      return state.tell
    }
    tell?(error)
  }
}

// The only log directory failed. Kafka ends the process then; so does this broker, once the controller knows and others can lead.
extension Broker {
  func directoryFailed(_ cause: StorageError) {
    self.events.record(.logDirectoryFailed(path: self.logDirectory.path, cause: cause))
    // Nothing is acknowledged on top of what may be lost, in any log.
    for partition in self.catalog.hostedPartitions { partition.fail(cause, isToldOfAll: true) }
    self.membership.tell(.directoriesFailed([self.logDirectory.metaProperties.directoryID]))
  }
}
