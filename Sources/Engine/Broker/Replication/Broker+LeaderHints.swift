import Environment
import Metadata
import Model
import Replication

// Who leads instead, for answers that refuse because this broker does not (KIP-951).
extension Broker {
  /// What the partition itself has heard or what the catalog says, whichever is newer: the catalog of a change is published when all
  /// partitions have heard of it. Nil if nobody is known to lead.
  func leaderHint(_ topic: TopicReference, _ id: PartitionID) -> LeaderHint? {
    let catalog = self.catalog
    var hint = catalog.leader(topic, id).map { LeaderHint(node: $0.0, epoch: $0.1) }
    if case .success(let partition) = catalog.partition(topic, id), let successor = partition.successor,
      successor.epoch > hint?.epoch ?? .unknown
    {
      hint = successor
    }
    return hint
  }
}
