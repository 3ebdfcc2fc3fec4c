import Environment
import Synchronization

/// The partitions that wait for the broker's lease to live again. Nobody does as long as heartbeats come through.
final class LeaseWaits<Env: Environment>: Sendable {
  private let partitions = Mutex<[Partition<Env>]>([])

  func add(_ partition: Partition<Env>) { self.partitions.withLock { $0.append(partition) } }

  func leaseRenewed() {
    let waiting = self.partitions.withLock { partitions in
      defer { partitions = [] }
      return partitions
    }
    for partition in waiting { partition.leaseRenewed() }
  }
}

extension Broker {
  /// The lease reaches further than before: partitions that stopped acknowledging may go on. Cheap where none did.
  package func leaseRenewed() { self.leaseWaits.leaseRenewed() }
}
