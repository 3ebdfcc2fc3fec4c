package import Base
package import Model

/// Finds the longest log where nobody may lead without loss: asks the replicas that are there, and once all have answered, or the time is
/// up, asks for the election of the one whose log ends last by leader epoch and offset.
///
/// Volatile, the active controller's own, like `BrokerSessions`. What it comes to is decided by `ElectUncleanLeader`, which looks at
/// the partition again.
package struct UncleanElections: Sendable, Equatable {
  /// What to ask, and of whom.
  package struct Question: Sendable, Hashable {
    package var partition: TopicIDPartition
    /// With another epoch the answers are of no use any more.
    package var partitionEpoch: PartitionEpoch
    package var replicas: [NodeID]

    /// Nil: there is nobody to ask, or nobody else may lead yet.
    init?(_ id: TopicIDPartition, _ partition: PartitionImage, on state: ControllerMachine) {
      let image = state.image
      let replicas = partition.assignedReplicas.filter { image.isActive($0) && image.hasOnline(partition.directory(of: $0), $0) }
      if replicas.isEmpty || state.someoneMayStillServe(partition) { return nil }
      (self.partition, self.partitionEpoch, self.replicas) = (id, partition.partitionEpoch, replicas)
    }
  }

  /// Where a replica's log ends.
  package struct LogEnd: Sendable, Hashable {
    package var replica: NodeID
    /// Of its last record.
    package var leaderEpoch: LeaderEpoch
    package var endOffset: Offset
    package init(_ replica: NodeID, leaderEpoch: LeaderEpoch, endOffset: Offset) {
      (self.replica, self.leaderEpoch, self.endOffset) = (replica, leaderEpoch, endOffset)
    }
  }

  package enum Input: Sendable {
    /// `isForced`: an administrator wants it, whatever the topic's configuration says.
    case begin(Question, isForced: Bool)
    case answered(TopicIDPartition, PartitionEpoch, LogEnd)
    /// The replica could not be asked.
    case failed(TopicIDPartition, PartitionEpoch, NodeID)
    case timeAdvanced
    /// This node is no longer the active controller.
    case deactivated
  }

  package enum Effect: Sendable, Hashable {
    case ask(NodeID, TopicIDPartition, PartitionEpoch)
    case elect(ElectUncleanLeader)
    /// Nobody answered.
    case gaveUp(TopicIDPartition)
  }

  private struct Inquiry: Sendable, Equatable {
    var question: Question
    var isForced: Bool
    var answers: [LogEnd] = []
    var open: [NodeID]
    var end: Instant
  }

  /// How long a replica has to answer.
  package var answerTimeout: Duration
  /// In the order of their beginnings, and so of their ends.
  private var inquiries: [Inquiry] = []

  package init(answerTimeout: Duration = .milliseconds(500)) { self.answerTimeout = answerTimeout }

  package var nextDeadline: Instant? { self.inquiries.map(\.end).min() }
  package func isAsking(about partition: TopicIDPartition) -> Bool { self.inquiries.contains { $0.question.partition == partition } }

  package mutating func handle(_ input: Input, now: Instant, into effects: inout [Effect]) {
    switch input {
    case .begin(let question, let isForced): self.begin(question, isForced, now, into: &effects)
    case .answered(let partition, let epoch, let end):
      self.close(partition, epoch, end.replica, answer: end)
    case .failed(let partition, let epoch, let replica):
      self.close(partition, epoch, replica, answer: nil)
    case .timeAdvanced: break
    case .deactivated: self.inquiries = []
    }
    self.inquiries.removeAll { inquiry in
      if !inquiry.open.isEmpty && now < inquiry.end { return false }
      if inquiry.answers.isEmpty {
        effects.append(.gaveUp(inquiry.question.partition))
      } else {
        let question = inquiry.question
        effects.append(
          .elect(
            ElectUncleanLeader(
              question.partition, partitionEpoch: question.partitionEpoch, logEnds: inquiry.answers, isForced: inquiry.isForced)))
      }
      return true
    }
  }

  private mutating func begin(_ question: Question, _ isForced: Bool, _ now: Instant, into effects: inout [Effect]) {
    if let place = self.inquiries.firstIndex(where: { $0.question.partition == question.partition }) {
      if self.inquiries[place].question.partitionEpoch == question.partitionEpoch {
        if isForced { self.inquiries[place].isForced = true }
        return
      }
      self.inquiries.remove(at: place)
    }
    self.inquiries.append(
      Inquiry(question: question, isForced: isForced, open: question.replicas, end: now + self.answerTimeout))
    for replica in question.replicas { effects.append(.ask(replica, question.partition, question.partitionEpoch)) }
  }

  private mutating func close(_ partition: TopicIDPartition, _ epoch: PartitionEpoch, _ replica: NodeID, answer: LogEnd?) {
    let place = self.inquiries.firstIndex { $0.question.partition == partition && $0.question.partitionEpoch == epoch }
    // Nobody is heard who was not asked, nor twice.
    guard let place, let open = self.inquiries[place].open.firstIndex(of: replica) else { return }
    self.inquiries[place].open.remove(at: open)
    if let answer { self.inquiries[place].answers.append(answer) }
  }
}

/// Elects the replica with the longest log among those that answered. Records that were acknowledged may be lost.
package struct ElectUncleanLeader: ControllerRequest, Hashable {
  package var partition: TopicIDPartition
  /// At which the replicas were asked.
  package var partitionEpoch: PartitionEpoch
  package var logEnds: [UncleanElections.LogEnd]
  package var isForced: Bool
  package init(
    _ partition: TopicIDPartition, partitionEpoch: PartitionEpoch, logEnds: [UncleanElections.LogEnd], isForced: Bool = false
  ) {
    (self.partition, self.partitionEpoch, self.logEnds, self.isForced) = (partition, partitionEpoch, logEnds, isForced)
  }

  /// The new leader.
  package typealias Response = NodeID

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<NodeID> {
    guard let partition = state.image.partition(self.partition) else { throw ApiError(.unknownTopicOrPartition) }
    if partition.hasLeader { throw ApiError(.electionNotNeeded) }
    if partition.partitionEpoch != self.partitionEpoch {
      throw ApiError(.invalidUpdateVersion, "The partition has changed since the replicas were asked.")
    }
    var planner = PartitionPlanner(state)
    guard self.isForced || planner.rules(self.partition.topicID)?.allowsUnclean == true else {
      throw ApiError(.eligibleLeadersNotAvailable, "\(ControllerConfig.uncleanLeaderElection) is false for the topic.")
    }
    if state.someoneMayStillServe(partition) {
      throw ApiError(.eligibleLeadersNotAvailable, "The last leader may not have stopped yet.")
    }
    guard var plan = planner.plan(self.partition, .election) else { throw ApiError(.unknownTopicOrPartition) }
    if let chosen = self.longest(plan, state) { plan.election = .unclean(chosen) }
    // Somebody may have come who can lead without loss.
    guard let change = plan.change(), let leader = change.leader, leader != .none else { throw ApiError(.eligibleLeadersNotAvailable) }
    return Decision([.partitionChange(self.partition, change)], leader)
  }

  /// Where logs are equal, the one that is preferred more.
  private func longest(_ plan: PartitionPlan, _ state: ControllerMachine) -> NodeID? {
    var best: UncleanElections.LogEnd?
    for replica in plan.assignedReplicas where plan.mayLead(replica) {
      guard let end = self.logEnds.first(where: { $0.replica == replica }) else { continue }
      if mutates(state.mutant, .uncleanTakesTheFirst), best != nil { continue }
      if let known = best, (known.leaderEpoch, known.endOffset) >= (end.leaderEpoch, end.endOffset) { continue }
      best = end
    }
    return best?.replica
  }
}

extension ControllerMachine {
  /// Whether one who led the partition, and leads it no more because it shuts down, may not know of that yet: by its lease it commits
  /// alone what a leader from outside the ISR would not have. (Who is in the ISR or the ELR and may lead is elected anyway.)
  func someoneMayStillServe(_ partition: PartitionImage) -> Bool {
    (partition.inSyncReplicas + partition.eligibleLeaderReplicas + partition.lastKnownEligibleLeaderReplicas).contains { node in
      guard let broker = self.image.broker(node) else { return false }
      return !broker.isFenced && self.sessions.isLive(node, broker.epoch)
    }
  }
}
