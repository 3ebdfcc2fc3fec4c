import Synchronization

/// Counts connections, in all and per address.
final class ConnectionQuota: Sendable {
  private struct Counts {
    var total = 0
    var perAddress: [String: Int] = [:]
  }

  private let counts = Mutex(Counts())

  /// Nil if the connection may stay (it must be released later), else why not.
  func admit(_ address: String, _ limits: ServerLimits) -> String? {
    self.counts.withLock { counts in
      if counts.total >= limits.connectionsMax { return "\(counts.total) connections are open: max.connections" }
      let mine = counts.perAddress[address, default: 0]
      let max = limits.connectionsPerAddressOverrides[address, default: limits.connectionsPerAddressMax]
      if mine >= max { return "\(mine) connections from \(address) are open: max.connections.per.ip" }
      counts.total += 1
      counts.perAddress[address] = mine + 1
      return nil
    }
  }

  func release(_ address: String) {
    self.counts.withLock { counts in
      counts.total -= 1
      let left = counts.perAddress[address, default: 1] - 1
      counts.perAddress[address] = left == 0 ? nil : left
    }
  }

  var total: Int { self.counts.withLock { $0.total } }
}
