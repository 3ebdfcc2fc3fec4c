package import Model

/// A broker with several log directories says in which of them it keeps replicas (KIP-858). What it keeps in a directory that is not among
/// its registration's has failed, and leaves the ISR.
package struct AssignReplicasToDirectories: ControllerRequest {
  package struct Assignment: Sendable, Hashable {
    package var partition: TopicIDPartition
    package var directory: KafkaUUID
    package init(_ partition: TopicIDPartition, _ directory: KafkaUUID) { (self.partition, self.directory) = (partition, directory) }
  }
  package struct PartitionResult: Sendable, Hashable {
    package var partition: TopicIDPartition
    package var directory: KafkaUUID
    package var error: ErrorCode
  }

  package var nodeID: NodeID
  package var epoch: BrokerEpoch
  package var assignments: [Assignment]
  package init(nodeID: NodeID, epoch: BrokerEpoch, _ assignments: [Assignment]) {
    (self.nodeID, self.epoch, self.assignments) = (nodeID, epoch, assignments)
  }

  /// In the order of the request.
  package typealias Response = [PartitionResult]

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<[PartitionResult]> {
    let broker = try checkedBroker(self.nodeID, self.epoch, in: state.image)
    var planner = PartitionPlanner(state)
    var records: [MetadataChange] = []
    var results: [PartitionResult] = []
    var changed: Set<TopicIDPartition> = []
    for assignment in self.assignments {
      var error = ErrorCode.none
      if state.image.topic(assignment.partition.topicID) == nil {
        error = .unknownTopicId
      } else if let partition = state.image.partition(assignment.partition) {
        if !partition.isReplica(self.nodeID) {
          error = .notLeaderOrFollower
        } else if !changed.insert(assignment.partition).inserted {
          error = .invalidRequest
        } else if let change = self.change(assignment, broker, &planner) {
          records.append(.partitionChange(assignment.partition, change))
        }
      } else {
        error = .unknownTopicOrPartition
      }
      results.append(PartitionResult(partition: assignment.partition, directory: assignment.directory, error: error))
    }
    return Decision(records, results, isDivisible: true)
  }

  private func change(_ assignment: Assignment, _ broker: BrokerRegistration, _ planner: inout PartitionPlanner) -> PartitionChange? {
    let isOffline = !broker.logDirectories.contains(assignment.directory)
    let isThere = planner.mayLead
    if isOffline { planner.mayLead = { $0 != self.nodeID && isThere($0) } }
    defer { planner.mayLead = isThere }
    guard var plan = planner.plan(assignment.partition, isOffline ? .logDirectoryFailed : .directoryAssigned) else { return nil }
    plan.directories = [(self.nodeID, assignment.directory)]
    if isOffline { plan.inSyncReplicas.removeAll { $0 == self.nodeID } }
    return plan.change()
  }
}
