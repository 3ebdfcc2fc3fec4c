package import Model

/// The leader of partitions asks for another ISR: a compare-and-set on leader epoch and partition epoch, whose members must be brokers
/// that may be in an ISR (KIP-841) in the incarnation the leader knows (KIP-903).
package struct AlterPartition: ControllerRequest {
  /// A member of the ISR. With an unknown epoch its incarnation is not checked, as with version 2 of the API.
  package struct Member: Sendable, Hashable {
    package var nodeID: NodeID
    package var epoch: BrokerEpoch
    package init(_ nodeID: NodeID, _ epoch: BrokerEpoch = .unknown) { (self.nodeID, self.epoch) = (nodeID, epoch) }
  }
  package struct Partition: Sendable, Hashable {
    package var id: TopicIDPartition
    package var leaderEpoch: LeaderEpoch
    package var partitionEpoch: PartitionEpoch
    package var inSyncReplicas: [Member]
    /// As the leader sent it.
    package var leaderRecoveryState: Int8
    package init(
      _ id: TopicIDPartition, leaderEpoch: LeaderEpoch, partitionEpoch: PartitionEpoch, inSyncReplicas: [Member],
      leaderRecoveryState: Int8 = 0
    ) {
      self.id = id
      self.leaderEpoch = leaderEpoch
      self.partitionEpoch = partitionEpoch
      self.inSyncReplicas = inSyncReplicas
      self.leaderRecoveryState = leaderRecoveryState
    }
  }
  package struct PartitionResult: Sendable, Hashable {
    package var id: TopicIDPartition
    /// The partition as it is with the change.
    package var outcome: Result<PartitionImage, ApiError>
  }

  package var nodeID: NodeID
  package var epoch: BrokerEpoch
  package var partitions: [Partition]
  package init(nodeID: NodeID, epoch: BrokerEpoch, _ partitions: [Partition]) {
    (self.nodeID, self.epoch, self.partitions) = (nodeID, epoch, partitions)
  }

  /// In the order of the request.
  package typealias Response = [PartitionResult]

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<[PartitionResult]> {
    _ = try checkedBroker(self.nodeID, self.epoch, in: state.image)
    var planner = PartitionPlanner(state)
    var records: [MetadataChange] = []
    var results: [PartitionResult] = []
    var changed: Set<TopicIDPartition> = []
    for partition in self.partitions {
      do throws(ApiError) {
        if changed.contains(partition.id) { throw ApiError(.invalidUpdateVersion, "The partition is changed twice in one request.") }
        let image = try self.alter(partition, state, &planner, &records)
        if image.1 { changed.insert(partition.id) }
        results.append(PartitionResult(id: partition.id, outcome: .success(image.0)))
      } catch {
        // A reassignment that this completes may have brought another leader: then there is an error and a record.
        if error.code == .newLeaderElected { changed.insert(partition.id) }
        results.append(PartitionResult(id: partition.id, outcome: .failure(error)))
      }
    }
    return Decision(records, results, isDivisible: true)
  }

  private func alter(
    _ request: Partition, _ state: ControllerMachine, _ planner: inout PartitionPlanner, _ records: inout [MetadataChange]
  ) throws(ApiError) -> (PartitionImage, Bool) {
    if state.image.topic(request.id.topicID) == nil { throw ApiError(.unknownTopicId) }
    guard let partition = state.image.partition(request.id) else { throw ApiError(.unknownTopicOrPartition) }
    let recoveryState = try self.validate(request, partition, state)
    let members = request.inSyncReplicas.map(\.nodeID)
    let reason: PartitionChangeReason
    if !partition.inSyncReplicas.allSatisfy({ members.contains($0) }) {
      reason = .isrShrink
    } else if !members.allSatisfy({ partition.inSyncReplicas.contains($0) }) {
      reason = .isrExpand
    } else {
      reason = .leaderRecovered
    }
    guard var plan = planner.plan(request.id, reason) else { throw ApiError(.unknownTopicOrPartition) }
    plan.inSyncReplicas = members
    plan.leaderRecoveryState = recoveryState
    guard let change = plan.change() else { return (partition, false) }
    records.append(.partitionChange(request.id, change))
    var changed = partition
    changed.apply(change)
    if let leader = change.leader, leader != self.nodeID {
      throw ApiError(.newLeaderElected, "The change completed a reassignment, and broker \(leader) leads now.")
    }
    return (changed, true)
  }

  /// In Kafka's order, which decides what a leader is told that is wrong in several ways.
  private func validate(
    _ request: Partition, _ partition: PartitionImage, _ state: ControllerMachine
  ) throws(ApiError) -> PartitionImage.LeaderRecoveryState {
    // Whoever knows a later epoch heard it from a later controller.
    if request.leaderEpoch > partition.leaderEpoch || request.partitionEpoch > partition.partitionEpoch {
      throw ApiError(.notController, "The leader knows a later epoch than this controller.")
    }
    if request.leaderEpoch < partition.leaderEpoch {
      throw ApiError(.fencedLeaderEpoch, "The leader epoch is \(partition.leaderEpoch), not \(request.leaderEpoch).")
    }
    if self.nodeID != partition.leader {
      throw ApiError(.invalidRequest, "Broker \(self.nodeID) does not lead the partition; \(partition.leader) does.")
    }
    if request.partitionEpoch < partition.partitionEpoch && !mutates(state.mutant, .staleAlterPartitionIsTaken) {
      throw ApiError(.invalidUpdateVersion, "The partition epoch is \(partition.partitionEpoch), not \(request.partitionEpoch).")
    }
    let members = request.inSyncReplicas.map(\.nodeID)
    if members.isEmpty || Set(members).count != members.count || !members.allSatisfy({ partition.isReplica($0) }) {
      throw ApiError(.invalidRequest, "The ISR \(members) is not made of different replicas of the partition.")
    }
    if !members.contains(partition.leader) {
      throw ApiError(.invalidRequest, "The ISR \(members) does not have its leader, \(partition.leader).")
    }
    guard let recoveryState = PartitionImage.LeaderRecoveryState(rawValue: request.leaderRecoveryState) else {
      throw ApiError(.invalidRequest, "There is no leader recovery state \(request.leaderRecoveryState).")
    }
    if recoveryState == .recovering && members.count > 1 {
      throw ApiError(.invalidRequest, "While the leader recovers from an unclean election it alone is in sync.")
    }
    if recoveryState == .recovering && partition.leaderRecoveryState == .recovered {
      throw ApiError(.invalidRequest, "A leader that has recovered does not begin to recover.")
    }
    for member in request.inSyncReplicas { try self.checkEligible(member, state) }
    return recoveryState
  }

  private func checkEligible(_ member: Member, _ state: ControllerMachine) throws(ApiError) {
    let problem: String
    if let broker = state.image.broker(member.nodeID) {
      if broker.isInControlledShutdown {
        problem = "shuts down"
      } else if broker.isFenced {
        problem = "is fenced"
      } else if member.epoch != .unknown && member.epoch != broker.epoch && !mutates(state.mutant, .brokerEpochsAreNotChecked) {
        problem = "has epoch \(broker.epoch), not \(member.epoch)"
      } else {
        return
      }
    } else {
      problem = "is not registered"
    }
    throw ApiError(.ineligibleReplica, "Broker \(member.nodeID) cannot be in the ISR: it \(problem).")
  }
}
