import Base
import Environment
import Metadata
import Model
import Peers
import Replication
import Synchronization
import Wire

// Produce while this broker hands its leaderships over: sent on to the new leaders. The answer names them even though nothing failed,
// which is enough for librdkafka to go there with what comes next (KIP-951's fields; other clients look at them with errors only).
extension Broker {
  /// A request waits here for so long at most, for its partitions to be led by somebody else.
  private static var handoverPatience: Duration { .seconds(2) }
  /// A new leader may know of it a moment later than this broker.
  private static var newLeaderPatience: Duration { .milliseconds(200) }
  fileprivate static var newLeaderPause: Duration { .milliseconds(2) }

  func handOver(_ exchange: Exchange<Env.Disk.File>, _ request: ProduceRequest) {
    let patience = min(Self.handoverPatience, .milliseconds(Int64(max(0, request.timeoutMs))))
    self.handover.append(.init(exchange: exchange, request: request, deadline: self.environment.now() + patience))
    self.pumpHandover(exchange.client.connectionID)
  }

  /// Other leaders are known than before.
  func handoverChanged() {
    guard self.handover.isActive else { return }
    for connectionID in self.handover.changed() { self.pumpHandover(connectionID) }
  }

  private func pumpHandover(_ connectionID: UInt64) {
    while let (taken, changeCount) = self.handover.next(connectionID) {
      var item = taken
      let mayWait = !self.handover.isOver && self.environment.now() < item.deadline
      switch self.destination(of: item.request, item.exchange.version) {
      case .here where mayWait:
        let mustTime = !item.isTimed
        item.isTimed = true
        if mustTime {
          _ = self.environment.schedule(after: max(.zero, item.deadline - self.environment.now())) { self.pumpHandover(connectionID) }
        }
        if !self.handover.putBack(item, changeCount: changeCount) { return }
      case .elsewhere(let leaders) where !self.handover.isOver:
        self.handover.noteSent(self.environment.now())
        RelayedProduce(broker: self, exchange: item.exchange, request: item.request, until: self.environment.now() + Self.newLeaderPatience) {
          self.handover.finished(connectionID)
          self.pumpHandover(connectionID)
        }.send(to: leaders)
        return
      case .here, .elsewhere, .unknown:
        self.serveProduce(item.exchange, item.request)
        self.handover.finished(connectionID)
      }
    }
  }

  private enum ProduceDestination {
    /// This broker leads some of it still.
    case here
    /// Others lead all of it: for each partition of the request, in its order.
    case elsewhere([NodeID])
    /// There is no leader of some of it, or it is to be refused.
    case unknown
  }

  private func destination(of request: ProduceRequest, _ version: Int16) -> ProduceDestination {
    guard (-1...1).contains(request.acks) else { return .unknown }
    var leaders: [NodeID] = []
    for topic in request.topicData {
      let reference: TopicReference = version >= 13 ? .id(topic.topicId) : .name(topic.name)
      for partition in topic.partitionData {
        guard let hint = self.leaderHint(reference, PartitionID(partition.index)), hint.node != .none else { return .unknown }
        leaders.append(hint.node)
      }
    }
    if leaders.isEmpty { return .unknown }
    return leaders.contains(self.config.nodeID) ? .here : .elsewhere(leaders)
  }

  /// Where a new leader takes what is sent on to it.
  fileprivate func handoverPeer(_ leader: NodeID) -> Peer<Env>? {
    self.handover.peer(leader) {
      guard let endpoint = self.catalog.image.broker(leader)?.endpoint(self.config.interBrokerListenerName) else { return nil }
      return Peer(
        NodeAddress(host: endpoint.host, port: endpoint.port), for: .data, clientID: "broker-\(self.config.nodeID)-handover",
        environment: self.environment)
    }
  }

  fileprivate func leader(of place: RelayedProduce<Env>.Place) -> NodeID? {
    self.leaderHint(place.topic, place.partition).flatMap { $0.node == .none || $0.node == self.config.nodeID ? nil : $0.node }
  }

  // MARK: - The course of it

  private static var drainMax: Duration { .milliseconds(50) }
  private static var drainPause: Duration { .milliseconds(1) }
  private static var quietTime: Duration { .milliseconds(30) }
  private static var relayMax: Duration { .milliseconds(300) }

  /// From now on produce requests wait for the new leaders. `ready` is called once what was written before is acknowledged, as it would
  /// be refused if the leaders changed before; or when that takes too long.
  func beginHandover(_ ready: @escaping @Sendable () -> Void) {
    self.handover.begin()
    self.drain(until: self.environment.now() + Self.drainMax, ready)
  }

  private func drain(until deadline: Instant, _ ready: @escaping @Sendable () -> Void) {
    let isDrained = !self.catalog.hostedPartitions.contains { $0.isAwaitingCommit }
    if isDrained || self.environment.now() >= deadline { return ready() }
    _ = self.environment.schedule(after: Self.drainPause) { self.drain(until: deadline, ready) }
  }

  /// Waits for the clients to have gone to the new leaders, those that stay here being told so with errors in the end.
  func finishHandover(_ done: @escaping @Sendable () -> Void) {
    guard self.handover.isActive else { return done() }
    self.awaitQuiet(until: self.environment.now() + Self.relayMax) {
      self.handover.end()
      self.handoverChanged()
      self.awaitQuiet(until: self.environment.now() + Self.relayMax) {
        self.handover.close()
        done()
      }
    }
  }

  private func awaitQuiet(until deadline: Instant, _ done: @escaping @Sendable () -> Void) {
    let now = self.environment.now()
    if now >= deadline || self.handover.isQuiet(for: Self.quietTime, now) { return done() }
    _ = self.environment.schedule(after: Self.drainPause * 5) { self.awaitQuiet(until: deadline, done) }
  }
}

/// One produce request on its way to the leaders of its partitions, and back.
private final class RelayedProduce<Env: Environment>: Sendable {
  struct Place: Sendable {
    var topic: TopicReference
    var partition: PartitionID
    var topicIndex: Int
    var partitionIndex: Int
  }
  private struct State: Sendable {
    var response: ProduceResponse
    /// Requests without an answer.
    var openCount = 0
    /// To be sent once more: who leads did not know of it yet.
    var again: [Place] = []
  }

  private let broker: Broker<Env>
  private let exchange: Exchange<Env.Disk.File>
  private let request: ProduceRequest
  private let places: [Place]
  private let deadline: Instant
  private let finished: @Sendable () -> Void
  private let state: Mutex<State>

  init(
    broker: Broker<Env>, exchange: Exchange<Env.Disk.File>, request: ProduceRequest, until deadline: Instant,
    _ finished: @escaping @Sendable () -> Void
  ) {
    (self.broker, self.exchange, self.request, self.deadline, self.finished) = (broker, exchange, request, deadline, finished)
    var (places, response): ([Place], ProduceResponse) = ([], ProduceResponse())
    for (topicIndex, topic) in request.topicData.enumerated() {
      let reference: TopicReference = exchange.version >= 13 ? .id(topic.topicId) : .name(topic.name)
      var answered = ProduceResponse.TopicProduceResponse(name: topic.name, topicId: topic.topicId)
      for (partitionIndex, partition) in topic.partitionData.enumerated() {
        places.append(
          Place(
            topic: reference, partition: PartitionID(partition.index), topicIndex: topicIndex, partitionIndex: partitionIndex))
        answered.partitionResponses.append(.init(index: partition.index, errorCode: .notLeaderOrFollower, baseOffset: -1))
      }
      response.responses.append(answered)
    }
    self.places = places
    self.state = Mutex(State(response: response))
  }

  /// - Parameter leaders: of each partition, in the request's order.
  func send(to leaders: [NodeID]) { self.send(Array(zip(self.places, leaders))) }

  private func send(_ places: [(Place, NodeID)]) {
    let groups = Dictionary(grouping: places, by: \.1).sorted { $0.key < $1.key }
    self.state.withLock { $0.openCount = groups.count }
    for (leader, group) in groups { self.send(group.map(\.0), to: leader) }
  }

  private func send(_ places: [Place], to leader: NodeID) {
    guard let peer = self.broker.handoverPeer(leader) else { return self.conclude(places, nil) }
    // What asks for no answer is still to be known to have arrived.
    var request = ProduceRequest(acks: self.request.acks == 0 ? 1 : self.request.acks, timeoutMs: self.request.timeoutMs)
    let image = self.broker.catalog.image
    for place in places {
      let data = self.request.topicData[place.topicIndex].partitionData[place.partitionIndex]
      let topic =
        switch place.topic {
        case .id(let id): image.topic(id)
        case .name(let name): image.topic(name)
        }
      guard let topic else { continue }
      if request.topicData.last?.topicId != topic.id { request.topicData.append(.init(name: topic.name, topicId: topic.id)) }
      request.topicData[request.topicData.count - 1].partitionData.append(data)
    }
    let patience = Duration.milliseconds(Int64(max(0, self.request.timeoutMs))) + .seconds(1)
    peer.call(request, timeout: patience) { result in self.conclude(places, try? result.get()) }
  }

  private func conclude(_ places: [Place], _ response: ProduceResponse?) {
    let isComplete = self.state.withLock { state in
      if let response { self.note(response, places, &state) }
      state.openCount -= 1
      return state.openCount == 0
    }
    if isComplete { self.goOn() }
  }

  private func note(_ response: ProduceResponse, _ places: [Place], _ state: inout State) {
    // In the order in which they were asked for.
    let answers = response.responses.flatMap(\.partitionResponses)
    guard answers.count == places.count else { return }
    for (place, answer) in zip(places, answers) where answer.index == place.partition.rawValue {
      switch answer.errorCode {
      case .notLeaderOrFollower, .unknownTopicOrPartition, .unknownTopicId, .leaderNotAvailable: state.again.append(place)
      default: break
      }
      var own = answer
      own.currentLeader = .init()
      state.response.responses[place.topicIndex].partitionResponses[place.partitionIndex] = own
    }
  }

  private func goOn() {
    let again = self.state.withLock { state in
      defer { state.again = [] }
      return state.again
    }
    let leaders = again.map { self.broker.leader(of: $0) }
    if again.isEmpty || leaders.contains(nil) || self.broker.environment.now() >= self.deadline { return self.end() }
    _ = self.broker.environment.schedule(after: Broker<Env>.newLeaderPause) { self.send(Array(zip(again, leaders.compactMap { $0 }))) }
  }

  private func end() {
    var response = self.state.withLock { $0.response }
    for place in self.places {
      var answer = response.responses[place.topicIndex].partitionResponses[place.partitionIndex]
      self.broker.nameLeader(of: place.topic, place.partition, self.exchange, &answer, &response)
      response.responses[place.topicIndex].partitionResponses[place.partitionIndex] = answer
    }
    if self.request.acks == 0 { self.broker.endUnacknowledged(self.exchange, response) } else { self.exchange.respond(response) }
    self.finished()
  }
}
