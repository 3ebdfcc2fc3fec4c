import Base
import Environment
import Metadata
import Model
import Replication
import Synchronization
import Wire

/// Takes the proposals of this broker's leaders to the controller (AlterPartition), and the answers back: drives `AlterPartitionMachine`.
final class InSyncProposals<Env: Environment>: Expirable {
  private typealias Machine = AlterPartitionMachine<TopicIDPartition>
  private struct State: Sendable {
    var machine: Machine
    var partitions: [TopicIDPartition: (partition: Partition<Env>, proposal: InSyncProposal)] = [:]
    var brokerEpoch = BrokerEpoch.unknown
    var controller: (any ControllerChannel)?
    var armedFor: Instant?
  }

  /// Not longer than a leader believes that a copy of a request may be under way.
  private static var timeout: Duration { .seconds(2) }

  private let node: NodeID
  private let environment: Env
  private let deadlines: DeadlineQueue<Env>
  private let state: Mutex<State>

  init(node: NodeID, environment: Env, deadlines: DeadlineQueue<Env>) {
    self.node = node
    self.environment = environment
    self.deadlines = deadlines
    self.state = Mutex(State(machine: Machine(brokerEpoch: .unknown)))
  }

  /// What is proposed before there is a way to the controller waits for it.
  func connect(to controller: any ControllerChannel) {
    self.step { state, effects in
      state.controller = controller
      self.handle(.turnEnded, &state, &effects)
    }
  }

  func registered(_ epoch: BrokerEpoch) {
    self.step { state, effects in
      state.brokerEpoch = epoch
      self.handle(.registered(epoch), &state, &effects)
      self.handle(.turnEnded, &state, &effects)
    }
  }

  func propose(_ proposal: InSyncProposal, for partition: Partition<Env>) {
    self.step { state, effects in
      // Two threads may have stepped the partition one after the other and come here the other way round.
      if let known = state.partitions[partition.key]?.proposal,
        (known.leaderEpoch, known.partitionEpoch) > (proposal.leaderEpoch, proposal.partitionEpoch)
      {
        return
      }
      state.partitions[partition.key] = (partition, proposal)
      self.handle(.proposed(partition.key, proposal), &state, &effects)
      self.handle(.turnEnded, &state, &effects)
    }
  }

  /// Nobody waits for an answer to the partition's proposal any more.
  func withdraw(_ key: TopicIDPartition) {
    self.state.withLock { state in
      guard state.partitions.removeValue(forKey: key) != nil else { return }
      var none: [Machine.Effect] = []
      self.handle(.withdrawn(key), &state, &none)
    }
  }

  func expire() {
    self.step { state, effects in
      state.armedFor = nil
      self.handle(.timerFired, &state, &effects)
    }
  }

  // MARK: - Stepping

  private func step(_ body: (inout State, inout [Machine.Effect]) -> Void) {
    let (effects, partitions, controller) = self.state.withLock { state in
      var effects: [Machine.Effect] = []
      body(&state, &effects)
      if let deadline = state.machine.nextDeadline, state.armedFor.map({ deadline < $0 }) ?? true {
        state.armedFor = deadline
        _ = self.deadlines.add(self, deadline: deadline)
      }
      var partitions: [Partition<Env>?] = []
      for effect in effects {
        if case .deliver(let key, _) = effect {
          partitions.append(state.partitions.removeValue(forKey: key)?.partition)
        } else {
          partitions.append(nil)
        }
      }
      return (effects, partitions, state.controller)
    }
    for (effect, partition) in zip(effects, partitions) {
      switch effect {
      case .send(let plan): self.send(plan, controller)
      case .deliver(_, let answer): partition?.proposalAnswered(answer)
      }
    }
  }

  private func handle(_ input: Machine.Input, _ state: inout State, _ effects: inout [Machine.Effect]) {
    // Nothing is asked without a controller, or in the name of no incarnation.
    if case .turnEnded = input, state.controller == nil || state.brokerEpoch == .unknown { return }
    state.machine.handle(input, now: self.environment.now(), into: &effects)
  }

  private func send(_ plan: AlterPartitionPlan<TopicIDPartition>, _ controller: (any ControllerChannel)?) {
    let number = plan.number
    guard let controller else { return self.conclude(.failed(number: number)) }
    controller.call(self.request(plan), timeout: Self.timeout) { result in
      switch result {
      case .failure: self.conclude(.failed(number: number))
      case .success(let response):
        self.conclude(.answered(number: number, error: response.errorCode, answers: Self.answers(in: response)))
      }
    }
  }

  private func conclude(_ input: Machine.Input) {
    self.step { state, effects in
      self.handle(input, &state, &effects)
      self.handle(.turnEnded, &state, &effects)
    }
  }

  private func request(_ plan: AlterPartitionPlan<TopicIDPartition>) -> AlterPartitionRequest {
    var request = AlterPartitionRequest(brokerId: self.node.rawValue, brokerEpoch: plan.brokerEpoch.rawValue)
    var places: [KafkaUUID: Int] = [:]
    for item in plan.items {
      let members = item.proposal.inSyncReplicas
      let partition = AlterPartitionRequest.PartitionData(
        partitionIndex: item.key.partition.rawValue, leaderEpoch: item.proposal.leaderEpoch.rawValue,
        newIsr: members.map { $0.node.rawValue },
        newIsrWithEpochs: members.map { .init(brokerId: $0.node.rawValue, brokerEpoch: $0.brokerEpoch.rawValue) },
        partitionEpoch: item.proposal.partitionEpoch.rawValue)
      if let place = places[item.key.topicID] {
        request.topics[place].partitions.append(partition)
      } else {
        places[item.key.topicID] = request.topics.count
        request.topics.append(.init(topicId: item.key.topicID, partitions: [partition]))
      }
    }
    return request
  }

  private static func answers(in response: AlterPartitionResponse) -> [Machine.Answer] {
    response.topics.flatMap { topic in
      topic.partitions.map { partition in
        Machine.Answer(
          key: TopicIDPartition(topic.topicId, PartitionID(partition.partitionIndex)), error: partition.errorCode,
          leaderEpoch: LeaderEpoch(partition.leaderEpoch), partitionEpoch: PartitionEpoch(partition.partitionEpoch),
          inSyncReplicas: partition.isr.map { NodeID($0) })
      }
    }
  }
}
