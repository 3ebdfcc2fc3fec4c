package import Base
import Model

/// What the active controller does of its own accord, and when: preferred leaders, unclean elections where they are allowed, and
/// reassignments whose targets are gone. Volatile, like `BrokerSessions`.
package struct ControllerUpkeep: Sendable {
  package enum Work: Sendable {
    case balance(BalanceLeaders)
    case giveUpTargets(GiveUpReassignmentTargets)
    /// Begin an unclean election of each.
    case ask([UncleanElections.Question])
  }

  package struct Settings: Sendable {
    /// `leader.imbalance.check.interval.seconds`; nil: `auto.leader.rebalance.enable` is false.
    package var balanceInterval: Duration? = .seconds(300)
    /// Between two rounds of which the first left something to do.
    package var balancePause: Duration = .seconds(1)
    package var balance = BalanceLeaders()
    /// `unclean.leader.election.interval.ms`.
    package var uncleanInterval: Duration = .seconds(300)
    /// How many partitions are asked about at once.
    package var uncleanCountMax = 1_000
    /// For how long a reassignment waits for a target that is gone.
    package var targetTimeout: Duration = .seconds(600)
    package init() {}
  }

  package var settings: Settings
  private var balanceAt: Instant?
  private var uncleanAt: Instant?
  private var targetsAt: Instant?
  /// Targets of reassignments that are not there, and since when.
  private var goneSince: [NodeID: Instant] = [:]

  package init(_ settings: Settings = Settings()) { self.settings = settings }

  package var nextDeadline: Instant? { [self.balanceAt, self.uncleanAt, self.targetsAt].compactMap { $0 }.min() }

  package mutating func activate(now: Instant) {
    self.goneSince = [:]
    self.balanceAt = self.settings.balanceInterval.map { now + $0 }
    // A partition without a leader does not wait for the interval once there is a controller.
    self.uncleanAt = now
    self.targetsAt = now + self.targetCheckInterval
  }

  package mutating func deactivate() {
    (self.balanceAt, self.uncleanAt, self.targetsAt) = (nil, nil, nil)
    self.goneSince = [:]
  }

  /// A partition lost its last leader, or a topic now allows an unclean election: no use in waiting.
  package mutating func leaderLost(now: Instant) { if let due = self.uncleanAt { self.uncleanAt = min(due, now) } }

  /// The outcome of `balance`.
  package mutating func balanced(_ answer: BalanceLeaders.Answer, now: Instant) {
    if answer.hasMore, let due = self.balanceAt { self.balanceAt = min(due, now + self.settings.balancePause) }
  }

  /// What is due. To be called at `nextDeadline`.
  package mutating func due(on state: ControllerMachine, now: Instant) -> [Work] {
    var tasks: [Work] = []
    if let due = self.balanceAt, due <= now, let interval = self.settings.balanceInterval {
      self.balanceAt = now + interval
      if state.index.imbalancedCount > 0 { tasks.append(.balance(self.settings.balance)) }
    }
    if let due = self.uncleanAt, due <= now {
      self.uncleanAt = now + self.settings.uncleanInterval
      let questions = state.uncleanQuestions(countMax: self.settings.uncleanCountMax)
      if !questions.isEmpty { tasks.append(.ask(questions)) }
    }
    if let due = self.targetsAt, due <= now {
      self.targetsAt = now + self.targetCheckInterval
      let gone = self.goneTargets(state, now)
      if !gone.isEmpty { tasks.append(.giveUpTargets(GiveUpReassignmentTargets(gone))) }
    }
    return tasks
  }

  private var targetCheckInterval: Duration { self.settings.targetTimeout / 10 }

  private mutating func goneTargets(_ state: ControllerMachine, _ now: Instant) -> [NodeID] {
    var absent: Set<NodeID> = []
    for id in state.index.reassigning {
      guard let partition = state.image.partition(id) else { continue }
      absent.formUnion(partition.addingReplicas.filter { !state.image.isActive($0) })
    }
    var since: [NodeID: Instant] = [:]
    for node in absent.sorted() { since[node] = self.goneSince[node] ?? now }
    self.goneSince = since
    return since.keys.sorted().filter { now - since[$0]! >= self.settings.targetTimeout }
  }
}

extension ControllerMachine {
  /// The partitions that may be led only uncleanly, and are configured to be.
  package func uncleanQuestions(countMax: Int) -> [UncleanElections.Question] {
    var planner = PartitionPlanner(self)
    var questions: [UncleanElections.Question] = []
    for id in self.index.leaderless where questions.count < countMax {
      guard planner.rules(id.topicID)?.allowsUnclean == true, let partition = self.image.partition(id),
        let question = UncleanElections.Question(id, partition, on: self)
      else { continue }
      questions.append(question)
    }
    return questions
  }
}
