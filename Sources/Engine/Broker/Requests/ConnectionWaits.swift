import Environment
import Synchronization

/// The fetches that wait, by connection, so that those of a connection that is gone are dropped: a client may ask to wait for weeks.
final class ConnectionWaits<Env: Environment>: Sendable {
  private let fetches = Mutex<[UInt64: [PendingFetch<Env>]]>([:])

  func add(_ fetch: PendingFetch<Env>, connectionID: UInt64) {
    self.fetches.withLock { $0[connectionID, default: []].append(fetch) }
  }

  func remove(_ fetch: PendingFetch<Env>, connectionID: UInt64) {
    self.fetches.withLock { fetches in
      fetches[connectionID]?.removeAll { $0 === fetch }
      if fetches[connectionID]?.isEmpty == true { fetches[connectionID] = nil }
    }
  }

  func take(connectionID: UInt64) -> [PendingFetch<Env>] { self.fetches.withLock { $0.removeValue(forKey: connectionID) } ?? [] }

  var count: Int { self.fetches.withLock { fetches in fetches.values.reduce(0) { $0 + $1.count } } }
}
