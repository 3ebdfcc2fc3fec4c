package import Model

/// Where each broker stands in the cluster's partitions, kept up by `replay`, so that a broker's fencing looks at its partitions only.
///
/// Everything is listed in the order of the partitions, which is the same on every node.
package struct ReplicaIndex: Sendable, Equatable {
  private var inSync: [NodeID: Set<TopicIDPartition>] = [:]
  private var eligible: [NodeID: Set<TopicIDPartition>] = [:]
  private var led: [NodeID: Set<TopicIDPartition>] = [:]
  private var assigned: [NodeID: Set<TopicIDPartition>] = [:]
  private var withoutLeader: Set<TopicIDPartition> = []
  private var withEligible: Set<TopicIDPartition> = []
  private var inReassignment: Set<TopicIDPartition> = []
  private var withOtherLeader: Set<TopicIDPartition> = []

  init() {}

  init(_ image: MetadataImage) {
    for topic in image.topicsByName {
      for (index, partition) in topic.partitions.enumerated() {
        self.replace(nil, by: partition, TopicIDPartition(topic.id, PartitionID(Int32(index))))
      }
    }
  }

  // MARK: Lookups, O(k log k) in what they list

  /// The partitions that the broker leads or is in sync for.
  func inSyncOrLed(_ broker: NodeID) -> [TopicIDPartition] {
    (self.inSync[broker] ?? []).union(self.led[broker] ?? []).sorted()
  }
  func eligible(_ broker: NodeID) -> [TopicIDPartition] { (self.eligible[broker] ?? []).sorted() }
  func assigned(_ broker: NodeID) -> [TopicIDPartition] { (self.assigned[broker] ?? []).sorted() }
  /// Nobody leads them.
  package var leaderless: [TopicIDPartition] { self.withoutLeader.sorted() }
  package var reassigning: [TopicIDPartition] { self.inReassignment.sorted() }
  /// Somebody leads them, but not the preferred leader.
  var imbalanced: [TopicIDPartition] { self.withOtherLeader.sorted() }
  var partitionsWithEligible: [TopicIDPartition] { self.withEligible.sorted() }

  package func ledCount(_ broker: NodeID) -> Int { self.led[broker]?.count ?? 0 }
  package func inSyncCount(_ broker: NodeID) -> Int { self.inSync[broker]?.count ?? 0 }
  package func assignedCount(_ broker: NodeID) -> Int { self.assigned[broker]?.count ?? 0 }
  package var leaderlessCount: Int { self.withoutLeader.count }
  package var imbalancedCount: Int { self.withOtherLeader.count }

  // MARK: Upkeep

  /// `old` is nil for a new partition, `new` for one that is gone.
  mutating func replace(_ old: PartitionImage?, by new: PartitionImage?, _ id: TopicIDPartition) {
    Self.move(id, old?.inSyncReplicas ?? [], new?.inSyncReplicas ?? [], in: &self.inSync)
    Self.move(id, old?.eligibleLeaderReplicas ?? [], new?.eligibleLeaderReplicas ?? [], in: &self.eligible)
    Self.move(id, old?.assignedReplicas ?? [], new?.assignedReplicas ?? [], in: &self.assigned)
    Self.move(id, Self.leaders(old), Self.leaders(new), in: &self.led)
    Self.set(id, new.map { !$0.hasLeader } ?? false, in: &self.withoutLeader)
    Self.set(id, new.map { !$0.eligibleLeaderReplicas.isEmpty } ?? false, in: &self.withEligible)
    Self.set(id, new?.isReassigning ?? false, in: &self.inReassignment)
    Self.set(id, new.map { $0.hasLeader && !$0.hasPreferredLeader } ?? false, in: &self.withOtherLeader)
  }

  private static func leaders(_ partition: PartitionImage?) -> [NodeID] {
    guard let partition, partition.hasLeader else { return [] }
    return [partition.leader]
  }

  private static func move(
    _ id: TopicIDPartition, _ old: [NodeID], _ new: [NodeID], in sets: inout [NodeID: Set<TopicIDPartition>]
  ) {
    if old == new { return }
    for node in old where !new.contains(node) {
      sets[node]?.remove(id)
      if sets[node]?.isEmpty == true { sets[node] = nil }
    }
    for node in new where !old.contains(node) { sets[node, default: []].insert(id) }
  }

  private static func set(_ id: TopicIDPartition, _ isMember: Bool, in set: inout Set<TopicIDPartition>) {
    if isMember { set.insert(id) } else { set.remove(id) }
  }
}
