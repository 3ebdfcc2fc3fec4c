import Base
import Environment
import Metadata
package import Model
import Peers
import Raft
import Synchronization
import Wire

// What the active controller does of its own accord: sessions and probes, balance, unclean elections; and the timer of all of it.
extension ControllerDriver {
  // MARK: - Time

  func arm(_ state: inout State) {
    var next = state.snapshotDeadline
    if let active = state.active {
      next = [next, active.machine.sessions.nextDeadline, active.upkeep.nextDeadline, active.elections.nextDeadline].compactMap { $0 }.min()
    }
    guard let next, state.failure == nil else {
      state.timer?.cancel()
      (state.timer, state.armedFor) = (nil, nil)
      return
    }
    // A timer that is too early costs one needless step.
    if let armed = state.armedFor, armed <= next { return }
    state.timer?.cancel()
    state.armedFor = next
    state.timer = self.environment.schedule(after: max(.zero, next - self.environment.now())) { [weak self] in
      guard let self else { return }
      self.quorum.perform { self.timerFired() }
    }
  }

  private func timerFired() {
    self.step { state, aftermath in
      state.armedFor = nil
      guard state.failure == nil else { return }
      self.passTime(&state, &aftermath)
      self.tellElections(.timeAdvanced, &state, &aftermath)
      self.keepUp(&state, &aftermath)
      self.takeSnapshotIfDue(&state)
    }
  }

  /// Sessions end by time, and decisions take the time for now that sessions were last told of.
  func passTime(_ state: inout State, _ aftermath: inout Aftermath) { self.tell(.timeAdvanced, &state, &aftermath) }

  private func keepUp(_ state: inout State, _ aftermath: inout Aftermath) {
    let now = self.environment.now()
    guard let machine = state.active?.machine, let work = state.active?.upkeep.due(on: machine, now: now) else { return }
    for work in work {
      switch work {
      case .balance(let balance):
        self.decide(balance, &state, &aftermath) { result in
          guard case .success(let answer) = result else { return }
          self.quorum.perform { self.step { state, _ in state.active?.upkeep.balanced(answer, now: self.environment.now()) } }
        }
      case .giveUpTargets(let request): self.decide(request, &state, &aftermath) { _ in }
      case .ask(let questions):
        var effects: [UncleanElections.Effect] = []
        for question in questions { state.active?.elections.handle(.begin(question, isForced: false), now: now, into: &effects) }
        self.carryOut(effects, &state, &aftermath)
      }
    }
  }

  // MARK: - Sessions

  /// A connection with the broker ended. That proves nothing; it is a reason to probe. On any node: if it becomes the active controller
  /// it asks then.
  package func brokerConnectionLost(_ id: NodeID) {
    self.quorum.perform {
      self.step { state, aftermath in
        if state.active != nil { return self.tell(.connectionLost(id), &state, &aftermath) }
        // Who is not registered cannot be probed, and would only be remembered.
        guard state.image.broker(id) != nil else { return }
        var effects: [BrokerSessions.Effect] = []
        state.standby?.sessions.handle(.connectionLost(id), now: self.environment.now(), into: &effects)
      }
    }
  }

  func tell(_ input: BrokerSessions.Input, _ state: inout State, _ aftermath: inout Aftermath) {
    var effects: [BrokerSessions.Effect] = []
    state.active?.machine.sessions.handle(input, now: self.environment.now(), into: &effects)
    self.carryOut(effects, &state, &aftermath)
  }

  func carryOut(_ effects: [BrokerSessions.Effect], _ state: inout State, _ aftermath: inout Aftermath) {
    for effect in effects {
      switch effect {
      case .fence(let id, let epoch, let cause):
        self.decide(FenceBroker(nodeID: id, epoch: epoch, cause: cause), &state, &aftermath) { _ in }
      case .probe(let id, let epoch, _):
        guard let active = state.active else { continue }
        let address = self.address(of: id, active.machine.image)
        aftermath.append { self.probe(id, epoch, at: address, attemptsLeft: Self.probeAttempts) }
      }
    }
  }

  /// Where other brokers reach this one.
  private func address(of id: NodeID, _ image: MetadataImage) -> NodeAddress? {
    guard let broker = image.broker(id) else { return nil }
    let endpoint = broker.endpoints.first { $0.name == self.setup.interBrokerListener } ?? broker.endpoints.first
    return endpoint.map { NodeAddress(host: $0.host, port: $0.port) }
  }

  private static var probeAttempts: Int { 3 }
  /// A process that dies may still take a connection that ends with it. So soon after, nothing listens there any more.
  private static var probePause: Duration { .milliseconds(5) }

  /// Connects anew, since an old connection says nothing of now, and asks which incarnation answers.
  private func probe(_ id: NodeID, _ epoch: BrokerEpoch, at address: NodeAddress?, attemptsLeft: Int) {
    guard let address else { return self.told(.probeFailed(id, epoch, .unanswered)) }
    let peer = self.peer(address)
    peer.call(ApiVersionsRequest(clientSoftwareName: Self.softwareName, clientSoftwareVersion: "0"), timeout: self.setup.probeTimeout) {
      result in
      peer.close()
      switch result {
      case .success(let response) where response.brokerIncarnationId != .zero:
        self.told(.probeAnswered(id, epoch, incarnationID: response.brokerIncarnationId))
      case .failure(.disconnected(.refused)): self.told(.probeFailed(id, epoch, .refused))
      case .failure(.disconnected(.closedByPeer)) where attemptsLeft > 1:
        _ = self.environment.schedule(after: Self.probePause) {
          self.probe(id, epoch, at: address, attemptsLeft: attemptsLeft - 1)
        }
      case .success, .failure: self.told(.probeFailed(id, epoch, .unanswered))
      }
    }
  }

  /// By which a broker knows that another node of Apus asks, and tells its incarnation.
  package static var softwareName: String { "apus" }

  private func peer(_ address: NodeAddress) -> Peer<Env> {
    Peer(address, for: .control, clientID: "controller-\(self.setup.raft.local.node)", environment: self.environment)
  }

  private func told(_ input: BrokerSessions.Input) { self.quorum.perform { self.step { self.tell(input, &$0, &$1) } } }

  // MARK: - Unclean elections

  /// Elections that an administrator asked for.
  func begin(
    _ questions: [(place: Int, question: UncleanElections.Question)], _ gathering: ElectionGathering, _ state: inout State,
    _ aftermath: inout Aftermath
  ) {
    var effects: [UncleanElections.Effect] = []
    for (place, question) in questions {
      guard state.active != nil else {
        aftermath.append { gathering.note(ApiError(.notController), at: place) }
        continue
      }
      state.active?.electionWaits[question.partition, default: []].append { gathering.note($0, at: place) }
      state.active?.elections.handle(.begin(question, isForced: true), now: self.environment.now(), into: &effects)
    }
    self.carryOut(effects, &state, &aftermath)
  }

  private func tellElections(_ input: UncleanElections.Input, _ state: inout State, _ aftermath: inout Aftermath) {
    var effects: [UncleanElections.Effect] = []
    state.active?.elections.handle(input, now: self.environment.now(), into: &effects)
    self.carryOut(effects, &state, &aftermath)
  }

  private func carryOut(_ effects: [UncleanElections.Effect], _ state: inout State, _ aftermath: inout Aftermath) {
    var asked: [NodeID: [LogQuestion]] = [:]
    for effect in effects {
      switch effect {
      case .ask(let replica, let partition, let epoch): asked[replica, default: []].append(LogQuestion(partition: partition, epoch: epoch))
      case .elect(let request):
        let waits = state.active?.electionWaits.removeValue(forKey: request.partition) ?? []
        self.decide(request, &state, &aftermath) { result in
          let error: ApiError? = if case .failure(let error) = result { error } else { nil }
          for wait in waits { wait(error) }
        }
      case .gaveUp(let partition):
        let waits = state.active?.electionWaits.removeValue(forKey: partition) ?? []
        aftermath.append {
          self.listener.controllerEvent(.uncleanElectionGaveUp(partition))
          for wait in waits { wait(ApiError(.eligibleLeadersNotAvailable, "None of the replicas said where its log ends.")) }
        }
      }
    }
    guard let image = state.active?.machine.image else { return }
    for (replica, questions) in asked.sorted(by: { $0.key < $1.key }) {
      let (address, epoch) = (self.address(of: replica, image), image.broker(replica)?.epoch)
      aftermath.append { self.ask(replica, epoch, at: address, questions) }
    }
  }

  /// Kafka answers for so many partitions in one GetReplicaLogInfo (KIP-966).
  private static var questionsMax: Int { 1_000 }

  /// Asks a replica for the ends of its logs. It need not lead, so that of Kafka's requests only GetReplicaLogInfo will do.
  private func ask(_ replica: NodeID, _ epoch: BrokerEpoch?, at address: NodeAddress?, _ questions: [LogQuestion]) {
    guard let address else { return self.hear([:], of: replica, questions) }
    let now = questions.prefix(Self.questionsMax), later = Array(questions.dropFirst(Self.questionsMax))
    let byTopic = Dictionary(grouping: now, by: \.partition.topicID).sorted { $0.key < $1.key }
    let request = GetReplicaLogInfoRequest(
      topicPartitions: byTopic.map { .init(topicId: $0.key, partitions: $0.value.map(\.partition.partition.rawValue)) })
    let peer = self.peer(address)
    peer.call(request, timeout: self.setup.probeTimeout) { result in
      peer.close()
      var ends: [TopicIDPartition: UncleanElections.LogEnd] = [:]
      // Another incarnation than the one that was asked may have lost its logs' ends, and is asked anew once it is registered.
      if case .success(let response) = result, BrokerEpoch(response.brokerEpoch) == epoch {
        for topic in response.topicPartitionLogInfoList {
          for info in topic.partitionLogInfo where info.errorCode == .none {
            ends[TopicIDPartition(topic.topicId, PartitionID(info.partition))] = UncleanElections.LogEnd(
              replica, leaderEpoch: LeaderEpoch(info.lastWrittenLeaderEpoch), endOffset: Offset(info.logEndOffset))
          }
        }
      }
      self.hear(ends, of: replica, Array(now))
      if !later.isEmpty { self.ask(replica, epoch, at: address, later) }
    }
  }

  private func hear(_ ends: [TopicIDPartition: UncleanElections.LogEnd], of replica: NodeID, _ questions: [LogQuestion]) {
    self.quorum.perform {
      self.step { state, aftermath in
        for question in questions {
          let input: UncleanElections.Input =
            if let end = ends[question.partition] { .answered(question.partition, question.epoch, end) } else {
              .failed(question.partition, question.epoch, replica)
            }
          self.tellElections(input, &state, &aftermath)
        }
      }
    }
  }
}

private struct LogQuestion: Sendable {
  var partition: TopicIDPartition
  var epoch: PartitionEpoch
}

/// The answer to ElectLeaders while some of its partitions are not settled.
final class ElectionGathering: Sendable {
  private struct State: Sendable {
    var results: [ElectLeaders.PartitionResult]
    var openCount: Int
  }
  private let state: Mutex<State>
  private let completion: @Sendable (Result<[ElectLeaders.PartitionResult], ApiError>) -> Void

  init(
    _ results: [ElectLeaders.PartitionResult], openCount: Int,
    _ completion: @escaping @Sendable (Result<[ElectLeaders.PartitionResult], ApiError>) -> Void
  ) {
    self.state = Mutex(State(results: results, openCount: openCount))
    self.completion = completion
  }

  /// Nil: a leader was elected.
  func note(_ error: ApiError?, at place: Int) {
    let results = self.state.withLock { state -> [ElectLeaders.PartitionResult]? in
      state.results[place].outcome = error.map { .refused($0) } ?? .elected
      state.openCount -= 1
      return state.openCount == 0 ? state.results : nil
    }
    if let results { self.completion(.success(results)) }
  }
}
