import Base
import Model

/// Spreads the replicas of new partitions over racks and brokers, as Kafka's striped placer does.
///
/// - The leaders of consecutive partitions are in consecutive racks, and within a rack on consecutive brokers.
/// - A partition's replicas are in as many racks as there are, before any rack gets a second one.
/// - Fenced brokers get replicas only when the others do not suffice, and never lead.
struct ReplicaPlacer {
  private struct Rack {
    var name: String?
    /// Shuffled, so that small topics do not all land on the brokers with the smallest ids.
    var active: [NodeID] = []
    var fenced: [NodeID] = []
  }
  private var racks: [Rack] = []
  private let start: Int
  private let brokerCount: Int

  init(_ brokers: [BrokerRegistration], using generator: inout SeededGenerator) {
    // Who is about to go gets nothing; who is gone may come back.
    let usable = brokers.filter { $0.isFenced || !$0.isInControlledShutdown }
    for broker in usable {
      let place: Int
      if let known = self.racks.firstIndex(where: { $0.name == broker.rack }) {
        place = known
      } else {
        place = self.racks.count
        self.racks.append(Rack(name: broker.rack))
      }
      if broker.isActive { self.racks[place].active.append(broker.nodeID) } else { self.racks[place].fenced.append(broker.nodeID) }
    }
    self.racks.sort { ($0.name ?? "") < ($1.name ?? "") }
    for place in self.racks.indices {
      self.racks[place].active.shuffle(using: &generator)
      self.racks[place].fenced.shuffle(using: &generator)
    }
    // Racks without an active broker cannot hold a leader, so they come after those that the stripes run over.
    self.racks = self.racks.filter { !$0.active.isEmpty } + self.racks.filter { $0.active.isEmpty }
    let leading = self.racks.count { !$0.active.isEmpty }
    self.start = leading == 0 ? 0 : Int(generator.next() % UInt64(leading))
    self.brokerCount = usable.count
  }

  /// The replicas of `count` partitions, the leader first.
  func place(count: Int, replicationFactor: Int) throws(ApiError) -> [[NodeID]] {
    if replicationFactor > self.brokerCount {
      throw ApiError(
        .invalidReplicationFactor,
        "A replication factor of \(replicationFactor) cannot be reached: only \(self.brokerCount) broker(s) can be used.")
    }
    let leading = self.racks.count { !$0.active.isEmpty }
    if leading == 0 {
      throw ApiError(
        .invalidReplicationFactor,
        "Partitions cannot be placed: every registered broker is fenced or shutting down.")
    }
    return (0..<count).map { self.replicas(ofPartition: $0, leading: leading, count: replicationFactor) }
  }

  private func replicas(ofPartition partition: Int, leading: Int, count: Int) -> [NodeID] {
    let first = (self.start + partition) % leading
    // Where the stripe has come round to the same rack, it goes on with the rack's next broker.
    let turn = partition / leading
    var replicas: [NodeID] = []
    replicas.reserveCapacity(count)
    for kind in [\Rack.active, \Rack.fenced] {
      var round = 0
      let deepest = self.racks.map { $0[keyPath: kind].count }.max() ?? 0
      while replicas.count < count && round < deepest {
        for step in self.racks.indices where replicas.count < count {
          let brokers = self.racks[(first + step) % self.racks.count][keyPath: kind]
          if round < brokers.count { replicas.append(brokers[(turn + round) % brokers.count]) }
        }
        round += 1
      }
    }
    return replicas
  }
}

/// A new partition with these replicas: in sync are those that are active, and the first of them leads. Nil if none is.
func newPartition(_ replicas: [NodeID], in image: MetadataImage) -> PartitionImage? {
  let inSync = replicas.filter { image.isActive($0) }
  guard let leader = inSync.first else { return nil }
  return PartitionImage(
    assignedReplicas: replicas, inSyncReplicas: inSync, leader: leader, directories: replicas.map { image.onlyDirectory(of: $0) })
}

/// Checks one partition's replicas as an administrator listed them.
func validateAssignment(_ replicas: [NodeID], replicationFactor: Int?, in image: MetadataImage) throws(ApiError) {
  if replicas.isEmpty {
    throw ApiError(.invalidReplicaAssignment, "The replica list of a partition is empty.")
  }
  for (index, id) in replicas.enumerated() {
    if image.broker(id) == nil {
      throw ApiError(
        .invalidReplicaAssignment, "Broker \(id) of the assignment is not registered.")
    }
    if replicas[..<index].contains(id) {
      throw ApiError(.invalidReplicaAssignment, "Broker \(id) appears more than once among the replicas of one partition.")
    }
  }
  if let replicationFactor, replicas.count != replicationFactor {
    throw ApiError(
      .invalidReplicaAssignment,
      "All partitions of a topic need the same number of replicas: one has \(replicas.count), those before it have \(replicationFactor).")
  }
}
