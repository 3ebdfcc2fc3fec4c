package import Model

/// Elects leaders at an administrator's wish. An unclean election cannot be decided at once: the replicas' logs must be compared first.
/// The answer names the partitions for which that is to be done, and `UncleanElection` carries it out.
package struct ElectLeaders: ControllerRequest {
  package enum ElectionType: Int8, Sendable, Hashable { case preferred = 0, unclean = 1 }
  package struct Topic: Sendable, Hashable {
    package var name: String
    package var partitions: [PartitionID]
    package init(_ name: String, _ partitions: [PartitionID]) { (self.name, self.partitions) = (name, partitions) }
  }
  package struct PartitionResult: Sendable, Hashable {
    package enum Outcome: Sendable, Hashable {
      case elected
      case refused(ApiError)
      /// Nobody may lead without loss. Ask the replicas for their logs and decide by them (`UncleanElections`).
      case needsLogEnds(UncleanElections.Question)
    }
    package var topic: String
    package var partition: PartitionID
    package var outcome: Outcome
  }

  /// As the client wrote it.
  package var electionType: Int8
  /// Nil: all partitions; then those that need no election are left out of the answer.
  package var topics: [Topic]?
  package init(electionType: Int8, _ topics: [Topic]?) { (self.electionType, self.topics) = (electionType, topics) }

  /// In the order of the request, or of names and numbers.
  package typealias Response = [PartitionResult]

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<[PartitionResult]> {
    guard let type = ElectionType(rawValue: self.electionType) else {
      throw ApiError(.invalidRequest, "There is no election type \(self.electionType): 0 is preferred, 1 is unclean.")
    }
    var planner = PartitionPlanner(state)
    var records = BoundedRecords()
    var results: [PartitionResult] = []
    var elected: Set<TopicIDPartition> = []
    let topics = self.topics ?? state.image.topicsByName.map { topic in
      Topic(topic.name, topic.partitions.indices.map { PartitionID(Int32($0)) })
    }
    for topic in topics {
      for partition in topic.partitions {
        var outcome: PartitionResult.Outcome
        do throws(ApiError) {
          outcome = try self.elect(topic.name, partition, type, state, &planner, &records, &elected)
        } catch {
          if error == BoundedRecords.tooMany { throw error }
          if self.topics == nil && error.code == .electionNotNeeded { continue }
          outcome = .refused(error)
        }
        results.append(PartitionResult(topic: topic.name, partition: partition, outcome: outcome))
      }
    }
    return Decision(records.records, results, isDivisible: true)
  }

  private func elect(
    _ topic: String, _ number: PartitionID, _ type: ElectionType, _ state: ControllerMachine, _ planner: inout PartitionPlanner,
    _ records: inout BoundedRecords, _ elected: inout Set<TopicIDPartition>
  ) throws(ApiError) -> PartitionResult.Outcome {
    guard let topicID = state.image.topicID(topic) else { throw ApiError(.unknownTopicOrPartition, "There is no topic named \(topic).") }
    let id = TopicIDPartition(topicID, number)
    guard let partition = state.image.partition(id) else {
      throw ApiError(.unknownTopicOrPartition, "There is no partition \(topic)-\(number).")
    }
    if elected.contains(id) { throw ApiError(.electionNotNeeded, "A leader was elected for another mention of the partition.") }
    switch type {
    case .preferred:
      if partition.hasPreferredLeader { throw ApiError(.electionNotNeeded) }
      var plan = planner.plan(id, .preferredElection)
      plan?.election = .preferred
      guard let change = plan?.change() else { throw ApiError(.preferredLeaderNotAvailable) }
      try records.append(.partitionChange(id, change))
    case .unclean:
      if partition.hasLeader { throw ApiError(.electionNotNeeded) }
      let plan = planner.plan(id, .election)
      guard let change = plan?.change(), let leader = change.leader, leader != .none else {
        guard let question = UncleanElections.Question(id, partition, on: state) else {
          throw ApiError(.eligibleLeadersNotAvailable)
        }
        return .needsLogEnds(question)
      }
      try records.append(.partitionChange(id, change))
    }
    elected.insert(id)
    return .elected
  }
}

/// Elects leaders where nobody leads and somebody may, without loss: what a change that was cut off has left. For a controller that
/// has just become active.
package struct ElectOfflineLeaders: ControllerRequest {
  package init() {}
  /// How many were elected.
  package typealias Response = Int

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<Int> {
    var planner = PartitionPlanner(state)
    let records = electing(state.index.leaderless, .election, &planner, on: state)
    return Decision(records, records.count, isDivisible: true)
  }
}

/// Lets preferred leaders take over, some at a time, and only such as are ready: in sync, heard of for a while, and with nothing left to
/// catch up on. A broker that has just returned is busy enough.
package struct BalanceLeaders: ControllerRequest {
  /// As Kafka bounds one round.
  package static let countMax = 1_000

  package var count: Int
  /// For how long a broker must have been heard of.
  package var warmUp: Duration
  /// After this time a broker counts as warm even if some of its replicas are not in sync: they may never be.
  package var warmUpMax: Duration
  package init(count: Int = Self.countMax, warmUp: Duration = .seconds(10), warmUpMax: Duration = .seconds(300)) {
    (self.count, self.warmUp, self.warmUpMax) = (count, warmUp, warmUpMax)
  }

  package struct Answer: Sendable, Hashable {
    package var moved: Int
    /// Whether another round has something to do at once.
    package var hasMore: Bool
  }
  package typealias Response = Answer

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<Answer> {
    var planner = PartitionPlanner(state)
    var records: [MetadataChange] = []
    let warm = Set(state.image.brokers.filter { self.isWarm($0, state) }.map(\.nodeID))
    for id in state.index.imbalanced {
      guard let partition = state.image.partition(id), warm.contains(partition.preferredLeader) else { continue }
      var plan = planner.plan(id, .preferredElection)
      plan?.election = .preferred
      guard let change = plan?.change(), change.leader == partition.preferredLeader else { continue }
      if records.count == min(max(self.count, 0), Self.countMax) {
        return Decision(records, Answer(moved: records.count, hasMore: true), isDivisible: true)
      }
      records.append(.partitionChange(id, change))
    }
    return Decision(records, Answer(moved: records.count, hasMore: false), isDivisible: true)
  }

  private func isWarm(_ broker: BrokerRegistration, _ state: ControllerMachine) -> Bool {
    guard broker.isActive, let alive = state.sessions.aliveFor(broker.nodeID, broker.epoch), alive >= self.warmUp else { return false }
    return alive >= self.warmUpMax || state.index.inSyncCount(broker.nodeID) == state.index.assignedCount(broker.nodeID)
  }
}
