import Base
import Environment
import Metadata
import Model
import Peers
import Replication
import Synchronization
import Wire

/// Fetches from one broker: drives `ReplicaFetcherMachine` over a connection of its own.
///
/// Every call may come from any thread. Answers are taken to the partitions on the network's thread, and their records appended there.
final class ReplicaFetcher<Env: Environment>: Expirable {
  private typealias Machine = ReplicaFetcherMachine<TopicIDPartition>
  private struct Asked: Sendable {
    var position: FetchPosition
    /// The request that said so: an answer to an earlier one is to another position.
    var number: UInt64
  }
  private struct State: Sendable {
    var machine: Machine
    var partitions: [TopicIDPartition: Partition<Env>] = [:]
    /// What the leader knows of each partition.
    var asked: [TopicIDPartition: Asked] = [:]
    /// Nil while the leader's address is not known.
    var peer: Peer<Env>?
    var place: LeaderPlace?
    var brokerEpoch: BrokerEpoch
    var outbox: [Replication.FetchPlan<TopicIDPartition>] = []
    var isSending = false
    var armedFor: Instant?
    var isClosed = false
  }

  let leader: NodeID
  let index: Int
  private let owner: ReplicaFetchers<Env>
  private let environment: Env
  private let settings: ReplicaFetcherSettings
  private let node: NodeID
  private let state: Mutex<State>

  init(leader: NodeID, index: Int, place: LeaderPlace?, brokerEpoch: BrokerEpoch, owner: ReplicaFetchers<Env>) {
    self.leader = leader
    self.index = index
    self.owner = owner
    self.environment = owner.environment
    self.settings = owner.settings
    self.node = owner.node
    let settings = Machine.Settings(backoff: owner.settings.backoff, backoffMax: owner.settings.backoffMax, overtakes: true)
    var state = State(machine: Machine(settings: settings, now: owner.environment.now()), brokerEpoch: brokerEpoch)
    state.place = place
    var none: [Machine.Effect] = []
    state.machine.handle(.quotaExceeded(owner.throttle.isExceeded), now: owner.environment.now(), into: &none)
    self.state = Mutex(state)
  }

  var hasNoPartitions: Bool { self.state.withLock { $0.partitions.isEmpty } }

  // MARK: - Inputs

  /// - Returns: false if the fetcher is closed and takes nothing any more.
  func ready(
    _ partition: Partition<Env>, _ position: FetchPosition, notBefore: Instant?, isThrottled: Bool, isInTurn: Bool
  ) -> Bool {
    self.step { state in
      state.partitions[partition.key] = partition
      self.handle(.ready(partition.key, position, notBefore: notBefore), &state)
      if isThrottled || state.machine.hasThrottled { self.handle(.throttled(partition.key, isThrottled), &state) }
      if !isInTurn { self.handle(.turnEnded, &state) }
    }
  }

  func remove(_ key: TopicIDPartition) {
    self.step { state in
      state.partitions[key] = nil
      state.asked[key] = nil
      self.handle(.removed(key), &state)
    }
  }

  func throttle(_ key: TopicIDPartition, _ isThrottled: Bool) {
    self.step { state in
      self.handle(.throttled(key, isThrottled), &state)
      self.handle(.turnEnded, &state)
    }
  }

  /// The quota as it is when the machine hears of it: news of it may overtake each other.
  func quotaChanged() {
    self.step { state in
      self.handle(.quotaExceeded(self.owner.throttle.isExceeded), &state)
      self.handle(.turnEnded, &state)
    }
  }

  func turnEnded() { self.step { self.handle(.turnEnded, &$0) } }

  func expire() {
    self.step { state in
      state.armedFor = nil
      self.handle(.timerFired, &state)
    }
  }

  func registered(_ epoch: BrokerEpoch) {
    self.step { state in
      state.brokerEpoch = epoch
      self.handle(.turnEnded, &state)
    }
  }

  /// The leader is reached elsewhere, or is another process than before. A connection to the one before may seem to stand for as long as
  /// nothing is sent on it: a fetch that waits there would be waited for until it times out.
  func move(to place: LeaderPlace?) {
    let old: Peer<Env>? = self.state.withLock { state in
      guard place != state.place else { return nil }
      state.place = place
      defer { state.peer = nil }
      return state.peer
    }
    // Its requests fail, and the next go to the new place.
    old?.close()
    self.turnEnded()
  }

  func close() {
    let peer = self.state.withLock { state in
      state.isClosed = true
      defer { state.peer = nil }
      return state.peer
    }
    peer?.close()
  }

  // MARK: - Stepping

  @discardableResult
  private func step(_ body: (inout State) -> Void) -> Bool {
    let (isOpen, mustSend) = self.state.withLock { state in
      if state.isClosed { return (false, false) }
      body(&state)
      if Self.canSend(state), let deadline = state.machine.nextDeadline, state.armedFor.map({ deadline < $0 }) ?? true {
        state.armedFor = deadline
        _ = self.owner.deadlines.add(self, deadline: deadline)
      }
      defer { state.isSending = state.isSending || !state.outbox.isEmpty }
      return (true, !state.isSending && !state.outbox.isEmpty)
    }
    if mustSend { self.sendAll() }
    return isOpen
  }

  /// There is somewhere to send to, and somebody to send as.
  private static func canSend(_ state: State) -> Bool { state.place != nil && state.brokerEpoch != .unknown }

  private func handle(_ input: Machine.Input, _ state: inout State) {
    switch input {
    case .turnEnded, .timerFired: if !Self.canSend(state) { return }
    default: break
    }
    var effects: [Machine.Effect] = []
    state.machine.handle(input, now: self.environment.now(), into: &effects)
    for effect in effects {
      switch effect {
      case .send(let plan):
        if plan.sessionEpoch == 0 { state.asked.removeAll(keepingCapacity: true) }
        for key in plan.forgotten { state.asked[key] = nil }
        for item in plan.positions { state.asked[item.key] = Asked(position: item.position, number: plan.number) }
        state.outbox.append(plan)
      case .sessionLost(let error): self.owner.events.record(.fetchSessionLost(leader: self.leader, error))
      }
    }
  }

  /// Sends in the order in which the machine decided, whichever threads it did so on.
  private func sendAll() {
    while true {
      let next = self.state.withLock { state -> (Peer<Env>?, Replication.FetchPlan<TopicIDPartition>, BrokerEpoch)? in
        guard !state.outbox.isEmpty, !state.isClosed else {
          state.outbox = []
          state.isSending = false
          return nil
        }
        return (self.peer(&state), state.outbox.removeFirst(), state.brokerEpoch)
      }
      guard let (peer, plan, epoch) = next else { return }
      guard let peer else {
        self.conclude(plan.number, .failure(.disconnected(.closedHere)))
        continue
      }
      let request = self.request(plan, epoch)
      peer.call(request, timeout: self.settings.timeout) { self.conclude(plan.number, $0) }
    }
  }

  private func peer(_ state: inout State) -> Peer<Env>? {
    if let peer = state.peer { return peer }
    guard let address = state.place?.address else { return nil }
    let name = "broker-\(self.node)-fetcher-\(self.index)"
    let (doubts, leader) = (self.owner.doubts, self.leader)
    let peer = Peer(address, for: .data, clientID: name, environment: self.environment) { _ in doubts.connectionEnded(with: leader) }
    state.peer = peer
    return peer
  }

  // MARK: - Requests

  private func request(_ plan: Replication.FetchPlan<TopicIDPartition>, _ epoch: BrokerEpoch) -> FetchRequest {
    var request = FetchRequest(
      maxWaitMs: Int32(clamping: self.settings.maxWait.wholeMilliseconds), minBytes: Int32(clamping: self.settings.minBytes),
      maxBytes: Int32(clamping: self.settings.maxBytes), sessionId: plan.sessionID, sessionEpoch: plan.sessionEpoch)
    request.replicaState = .init(replicaId: self.node.rawValue, replicaEpoch: epoch.rawValue)
    var places: [KafkaUUID: Int] = [:]
    for item in plan.positions {
      let position = item.position
      let partition = FetchRequest.FetchPartition(
        partition: item.key.partition.rawValue, currentLeaderEpoch: position.currentLeaderEpoch.rawValue,
        fetchOffset: position.fetchOffset.rawValue, lastFetchedEpoch: position.lastFetchedEpoch.rawValue,
        logStartOffset: position.logStartOffset.rawValue, partitionMaxBytes: Int32(clamping: self.settings.partitionBytesMax))
      if let place = places[item.key.topicID] {
        request.topics[place].partitions.append(partition)
      } else {
        places[item.key.topicID] = request.topics.count
        request.topics.append(.init(topicId: item.key.topicID, partitions: [partition]))
      }
    }
    places.removeAll()
    for key in plan.forgotten {
      if let place = places[key.topicID] {
        request.forgottenTopicsData[place].partitions.append(key.partition.rawValue)
      } else {
        places[key.topicID] = request.forgottenTopicsData.count
        request.forgottenTopicsData.append(.init(topicId: key.topicID, partitions: [key.partition.rawValue]))
      }
    }
    return request
  }

  // MARK: - Answers

  private struct Told: Sendable {
    var partition: Partition<Env>
    var position: FetchPosition
    var data: FetchResponse.PartitionData
  }

  private func conclude(_ number: UInt64, _ result: Result<FetchResponse, PeerError>) {
    guard case .success(let response) = result else {
      self.step { state in
        self.handle(.failed(number: number), &state)
        self.handle(.turnEnded, &state)
      }
      return
    }
    self.owner.doubts.settled(CollectionOfOne(self.leader))
    var told: [Told] = []
    self.step { state in
      guard state.machine.awaits(number) else { return }
      if response.errorCode == .none { told = self.told(response, number, state) }
      self.handle(
        .answered(number: number, sessionID: response.sessionId, error: response.errorCode, keys: told.map { $0.partition.key }), &state)
      if told.isEmpty { self.handle(.turnEnded, &state) }
    }
    if told.isEmpty { return }
    self.owner.inOneTurn {
      for told in told { told.partition.answered(told.data, to: told.position) }
    }
  }

  private func told(_ response: FetchResponse, _ number: UInt64, _ state: State) -> [Told] {
    var told: [Told] = []
    for topic in response.responses {
      for data in topic.partitions {
        let key = TopicIDPartition(topic.topicId, PartitionID(data.partitionIndex))
        guard let partition = state.partitions[key], let asked = state.asked[key], asked.number <= number else { continue }
        told.append(Told(partition: partition, position: asked.position, data: data))
      }
    }
    return told
  }

  // MARK: - Where the leader's log begins and ends

  /// Over a connection of its own, for on the other a fetch may wait for long. Rare.
  func askOffsets(for partition: Partition<Env>, _ epoch: LeaderEpoch) {
    guard let address = self.state.withLock({ $0.isClosed ? nil : $0.place?.address }) else {
      return partition.leaderOffsetsLearned(Self.offsets(epoch, .networkException))
    }
    let peer = Peer(address, for: .data, clientID: "broker-\(self.node)-offsets", environment: self.environment)
    self.ask(-2, partition, epoch, peer) { earliest in
      guard case .success(let start) = earliest else {
        peer.close()
        return partition.leaderOffsetsLearned(Self.offsets(epoch, earliest.code))
      }
      self.ask(-1, partition, epoch, peer) { latest in
        peer.close()
        guard case .success(let end) = latest else { return partition.leaderOffsetsLearned(Self.offsets(epoch, latest.code)) }
        partition.leaderOffsetsLearned(LeaderOffsets(leaderEpoch: epoch, logStartOffset: start, logEndOffset: end))
      }
    }
  }

  private static func offsets(_ epoch: LeaderEpoch, _ error: ErrorCode) -> LeaderOffsets {
    LeaderOffsets(leaderEpoch: epoch, error: error, logStartOffset: .unknown, logEndOffset: .unknown)
  }

  private func ask(
    _ timestamp: Int64, _ partition: Partition<Env>, _ epoch: LeaderEpoch, _ peer: Peer<Env>,
    _ complete: @escaping @Sendable (Result<Offset, ErrorCode.Refusal>) -> Void
  ) {
    let name = partition.topicPartition
    let asked = ListOffsetsRequest.ListOffsetsPartition(
      partitionIndex: name.partition.rawValue, currentLeaderEpoch: epoch.rawValue, timestamp: timestamp)
    let request = ListOffsetsRequest(replicaId: self.node.rawValue, topics: [.init(name: name.topic, partitions: [asked])])
    peer.call(request, timeout: self.settings.timeout) { result in
      guard case .success(let response) = result, let answer = response.topics.first?.partitions.first else {
        return complete(.failure(.init(code: .networkException)))
      }
      complete(answer.errorCode == .none ? .success(Offset(answer.offset)) : .failure(.init(code: answer.errorCode)))
    }
  }
}

extension Result where Failure == ErrorCode.Refusal {
  fileprivate var code: ErrorCode { if case .failure(let refusal) = self { refusal.code } else { .none } }
}
