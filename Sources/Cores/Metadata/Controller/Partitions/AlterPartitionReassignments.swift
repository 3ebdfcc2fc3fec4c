package import Model

/// Moves partitions to other replicas, or takes a move back (KIP-455). The new replicas are added to the old, and when all are in sync
/// those that are not wanted any more go.
package struct AlterPartitionReassignments: ControllerRequest {
  package struct Partition: Sendable, Hashable {
    package var topic: String
    package var partition: PartitionID
    /// Nil: cancel.
    package var replicas: [NodeID]?
    package init(_ topic: String, _ partition: PartitionID, _ replicas: [NodeID]?) {
      (self.topic, self.partition, self.replicas) = (topic, partition, replicas)
    }
  }
  package struct PartitionResult: Sendable, Hashable {
    package var topic: String
    package var partition: PartitionID
    /// Nil: it is under way, or done where there was nothing to wait for.
    package var error: ApiError?
  }

  package var partitions: [Partition]
  /// Whether a partition may get another number of replicas (KIP-860).
  package var allowsOtherFactor: Bool
  package init(_ partitions: [Partition], allowsOtherFactor: Bool = true) {
    (self.partitions, self.allowsOtherFactor) = (partitions, allowsOtherFactor)
  }

  /// In the order of the request.
  package typealias Response = [PartitionResult]

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<[PartitionResult]> {
    var planner = PartitionPlanner(state)
    var records = BoundedRecords()
    var results: [PartitionResult] = []
    var changed: Set<TopicIDPartition> = []
    for request in self.partitions {
      var result = PartitionResult(topic: request.topic, partition: request.partition, error: nil)
      do throws(ApiError) {
        guard let topicID = state.image.topicID(request.topic) else {
          throw ApiError(.unknownTopicOrPartition, "There is no topic named \(request.topic).")
        }
        let id = TopicIDPartition(topicID, request.partition)
        guard var plan = planner.plan(id, request.replicas == nil ? .reassignmentCancelled : .reassignmentStarted) else {
          throw ApiError(.unknownTopicOrPartition, "There is no partition \(request.topic)-\(request.partition).")
        }
        if !changed.insert(id).inserted { throw ApiError(.invalidRequest, "The partition is named twice in one request.") }
        if let replicas = request.replicas {
          try self.begin(replicas, state.image, &plan)
        } else {
          if !plan.partition.isReassigning { throw ApiError(.noReassignmentInProgress) }
          try self.cancel(&plan, allowsUnclean: planner.rules(topicID)?.allowsUnclean ?? false)
        }
        if let change = plan.change() { try records.append(.partitionChange(id, change)) }
      } catch {
        if error == BoundedRecords.tooMany { throw error }
        result.error = error
      }
      results.append(result)
    }
    return Decision(records.records, results)
  }

  private func cancel(_ plan: inout PartitionPlan, allowsUnclean: Bool) throws(ApiError) {
    if plan.partition.assignedReplicas.allSatisfy({ plan.partition.addingReplicas.contains($0) }) {
      throw ApiError(.invalidReplicaAssignment, "The move cannot be taken back: none of the old replicas is left.")
    }
    if plan.revert() || allowsUnclean { return }
    throw ApiError(
      .invalidReplicaAssignment,
      "The move cannot be taken back: of the old replicas none is in sync, and an unclean election is not allowed.")
  }

  private func begin(_ replicas: [NodeID], _ image: MetadataImage, _ plan: inout PartitionPlan) throws(ApiError) {
    try validateAssignment(replicas, replicationFactor: nil, in: image)
    let current = plan.partition.assignedReplicas
    if !self.allowsOtherFactor {
      let factor = current.count { !plan.partition.removingReplicas.contains($0) }
      if replicas.count != factor {
        throw ApiError(.invalidReplicationFactor, "The replication factor is \(factor), and \(replicas.count) would be another.")
      }
    }
    plan.removingReplicas = current.filter { !replicas.contains($0) }.sorted()
    plan.addingReplicas = replicas.filter { !current.contains($0) }.sorted()
    // A replica that a move under way adds is still being added.
    for node in plan.partition.addingReplicas where replicas.contains(node) && !plan.addingReplicas.contains(node) {
      if !plan.inSyncReplicas.contains(node) { plan.addingReplicas.append(node) }
    }
    plan.assignedReplicas = replicas + plan.removingReplicas
  }
}

/// Which partitions are being moved (KIP-455). Reads only.
package struct ListPartitionReassignments: Sendable {
  package struct Topic: Sendable, Hashable {
    package var name: String
    package var partitions: [PartitionID]
    package init(_ name: String, _ partitions: [PartitionID]) { (self.name, self.partitions) = (name, partitions) }
  }
  package struct Ongoing: Sendable, Hashable {
    package var topic: String
    package var partition: PartitionID
    package var replicas: [NodeID]
    package var addingReplicas: [NodeID]
    package var removingReplicas: [NodeID]
  }

  /// Nil: all. What does not exist or is not moved is left out of the answer.
  package var topics: [Topic]?
  package init(_ topics: [Topic]?) { self.topics = topics }

  package func answer(from state: ControllerMachine) -> [Ongoing] {
    guard let topics = self.topics else {
      let all = state.index.reassigning.compactMap { self.ongoing($0, state.image) }
      return all.sorted { ($0.topic, $0.partition) < ($1.topic, $1.partition) }
    }
    return topics.flatMap { topic -> [Ongoing] in
      guard let id = state.image.topicID(topic.name) else { return [] }
      return topic.partitions.compactMap { self.ongoing(TopicIDPartition(id, $0), state.image) }
    }
  }

  private func ongoing(_ id: TopicIDPartition, _ image: MetadataImage) -> Ongoing? {
    guard let topic = image.topic(id.topicID), let partition = topic[id.partition], partition.isReassigning else { return nil }
    return Ongoing(
      topic: topic.name, partition: id.partition, replicas: partition.assignedReplicas, addingReplicas: partition.addingReplicas,
      removingReplicas: partition.removingReplicas)
  }
}

extension PartitionPlan {
  /// Takes the reassignment back: what was to be added goes, what was to be removed stays.
  ///
  /// - Returns: false if none of the replicas that stay is in sync or eligible: only an unclean election would give a leader.
  mutating func revert() -> Bool {
    let original = self.partition.assignedReplicas.filter { !self.partition.addingReplicas.contains($0) }
    // Everything was to be replaced by what the log knows nothing else of: there is nothing to go back to.
    if original.isEmpty { return false }
    let inSync = self.inSyncReplicas.filter { original.contains($0) }
    let isClean = !inSync.isEmpty || self.partition.eligibleLeaderReplicas.contains { original.contains($0) }
    self.assignedReplicas = original
    self.addingReplicas = []
    self.removingReplicas = []
    self.inSyncReplicas = inSync
    return isClean
  }

  /// No longer waits for replicas that will not come. If a move was to bring some of them the move is taken back, since without them there
  /// would be fewer replicas than were asked for; where going back would lose records it goes on without them.
  mutating func giveUp(_ gone: [NodeID]) {
    if self.addingReplicas.contains(where: { gone.contains($0) }) {
      var reverted = self
      if reverted.revert() || (self.hasNothingElsewhere(than: reverted.assignedReplicas) && !reverted.isReassigning) {
        self = reverted
      } else {
        let rest = self.assignedReplicas.filter { !gone.contains($0) || !self.addingReplicas.contains($0) }
        // If nobody would be left, then nobody goes.
        if !rest.isEmpty { self.assignedReplicas = rest }
        self.addingReplicas.removeAll { gone.contains($0) }
        if self.assignedReplicas.allSatisfy({ self.removingReplicas.contains($0) }) { self.removingReplicas = [] }
      }
    }
    if self.removingReplicas.contains(where: { gone.contains($0) }) {
      self.assignedReplicas.removeAll { gone.contains($0) && self.removingReplicas.contains($0) }
      self.removingReplicas.removeAll { gone.contains($0) }
    }
  }

  private var isReassigning: Bool { !self.addingReplicas.isEmpty || !self.removingReplicas.isEmpty }

  /// Whether none of the other replicas is known to hold anything.
  private func hasNothingElsewhere(than replicas: [NodeID]) -> Bool {
    (self.inSyncReplicas + self.partition.eligibleLeaderReplicas + self.partition.lastKnownEligibleLeaderReplicas)
      .allSatisfy { replicas.contains($0) }
  }
}
