package import Replication
import Synchronization

/// Until when this broker may act as a leader: one for all its partitions, read at each of their steps and renewed by the broker's
/// heartbeats.
package final class ServingLease: Sendable {
  private let lease: Mutex<BrokerLease>

  package init(_ initial: BrokerLease) { self.lease = Mutex(initial) }

  package var current: BrokerLease { self.lease.withLock { $0 } }

  /// Changes the lease; returns what it is afterwards.
  @discardableResult
  package func update(_ body: (inout BrokerLease) -> Void) -> BrokerLease {
    self.lease.withLock { lease in
      body(&lease)
      return lease
    }
  }
}
