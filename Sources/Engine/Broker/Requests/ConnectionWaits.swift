import Synchronization

/// A fetch that waits.
protocol WaitingFetch: Expirable {
  /// What it holds while it waits.
  var partitionCount: Int { get }
  /// The connection is gone: nobody is left to be answered.
  func abandon()
}

/// The fetches that wait, by connection, so that those of a connection that is gone are dropped: a client may ask to wait for weeks.
final class ConnectionWaits: Sendable {
  /// Partitions that the waiting fetches of one connection may watch, all together; one fetch may always wait. A fetch session makes
  /// many partitions of a request of a few bytes, so that the size of the requests is no bound for what they hold.
  static var partitionsMax: Int { 10_000 }

  private struct Waits {
    var fetches: [any WaitingFetch] = []
    var partitionCount = 0
  }
  private let connections = Mutex<[UInt64: Waits]>([:])

  /// Notes that `fetch` waits. False: it must not, for the connection has enough that wait.
  func add(_ fetch: any WaitingFetch, connectionID: UInt64) -> Bool {
    self.connections.withLock { connections in
      let held = connections[connectionID]?.partitionCount ?? 0
      if held > 0, held + fetch.partitionCount > Self.partitionsMax { return false }
      connections[connectionID, default: Waits()].fetches.append(fetch)
      connections[connectionID]?.partitionCount += fetch.partitionCount
      return true
    }
  }

  func remove(_ fetch: any WaitingFetch, connectionID: UInt64) {
    self.connections.withLock { connections in
      guard let index = connections[connectionID]?.fetches.firstIndex(where: { $0 === fetch }) else { return }
      connections[connectionID]?.fetches.remove(at: index)
      connections[connectionID]?.partitionCount -= fetch.partitionCount
      if connections[connectionID]?.fetches.isEmpty == true { connections[connectionID] = nil }
    }
  }

  func take(connectionID: UInt64) -> [any WaitingFetch] {
    self.connections.withLock { $0.removeValue(forKey: connectionID) }?.fetches ?? []
  }

  var count: Int { self.connections.withLock { connections in connections.values.reduce(0) { $0 + $1.fetches.count } } }
}
