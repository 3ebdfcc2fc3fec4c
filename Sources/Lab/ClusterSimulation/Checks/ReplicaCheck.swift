import Base
import Metadata
import Model
import VirtualWorld

/// What the replicas of the partitions hold, read from the disks.
struct ReplicaCheck: Sendable {
  let cluster: SimCluster

  /// Everybody in the committed ISR has all that is committed, whatever happens to everybody else: on disk, where the topic asks for that.
  func checkInSync(_ image: MetadataImage) {
    for topic in self.cluster.plan.topics {
      guard let registered = image.topic(topic.name) else { continue }
      for (index, partition) in registered.partitions.enumerated() {
        let name = TopicPartition(topic.name, PartitionID(Int32(index)))
        let end = self.cluster.ledger.committedEnd(of: name)
        var inSync = Ledger.InSync(epoch: partition.partitionEpoch, replicas: partition.inSyncReplicas)
        if let known = self.cluster.ledger.inSync(of: name), known.epoch > inSync.epoch { inSync = known }
        for replica in inSync.replicas {
          guard let node = self.cluster.node(replica) else { continue }
          let log = DiskLog(name, on: node.disk, durable: topic.flushPolicy == "fsync", lastSegmentOnly: true)
          if log.endOffset < end {
            return self.cluster.board.violate(
              .inSync,
              "node \(replica) is in sync for \(name) (\(inSync.replicas), epoch \(inSync.epoch)) and has it up to "
                + "\(log.endOffset) on its disk; committed is everything below \(end)")
          }
        }
      }
    }
  }

  /// All replicas that are in sync hold the same bytes, up to where everything is committed.
  func compare(_ image: MetadataImage) {
    for topic in self.cluster.plan.topics {
      guard let registered = image.topic(topic.name) else { continue }
      for (index, partition) in registered.partitions.enumerated() {
        let name = TopicPartition(topic.name, PartitionID(Int32(index)))
        let end = topic.isUnclean ? self.commonEnd(of: name, partition) : self.cluster.ledger.committedEnd(of: name)
        var reference: (node: NodeID, batches: [DiskLog.Batch])?
        for replica in partition.inSyncReplicas {
          guard let node = self.cluster.node(replica) else { continue }
          let batches = DiskLog(name, on: node.disk, durable: false).batches.filter { $0.nextOffset <= end }
          guard let known = reference else {
            reference = (replica, batches)
            continue
          }
          if known.batches != batches {
            let place = zip(known.batches, batches).first { $0 != $1 }.map { " at \($0.0.baseOffset)" } ?? ", one of them is shorter"
            return self.cluster.board.violate(.sameReplicas, "nodes \(known.node) and \(replica) differ in \(name)\(place)")
          }
        }
      }
    }
  }

  private func commonEnd(of name: TopicPartition, _ partition: PartitionImage) -> Offset {
    let ends = partition.inSyncReplicas.compactMap { self.cluster.node($0) }.map { DiskLog(name, on: $0.disk, durable: false).endOffset }
    return ends.min() ?? .zero
  }
}
