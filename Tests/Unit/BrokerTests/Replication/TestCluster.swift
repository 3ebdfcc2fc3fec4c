import Base
import Broker
import Environment
import Metadata
import Model
import NIOCore
import Peers
import Replication
import Synchronization
import Testing
import VirtualWorld
import Wire

/// The controller as brokers see it, without a quorum: it commits what the test says, and what leaders propose if it fits.
final class FakeController: ControllerChannel {
  private struct State: Sendable {
    var image = MetadataImage(clusterID: "test")
    var log: [MetadataChange] = []
    var isSilent = false
    var proposalCount = 0
  }
  private let world: World
  private let state = Mutex(State())
  /// Told of every commit.
  private let listener = Mutex<(@Sendable () -> Void)?>(nil)

  init(_ world: World) { self.world = world }

  var log: [MetadataChange] { self.state.withLock { $0.log } }
  var image: MetadataImage { self.state.withLock { $0.image } }
  var proposalCount: Int { self.state.withLock { $0.proposalCount } }
  func onCommit(_ body: @escaping @Sendable () -> Void) { self.listener.withLock { $0 = body } }
  /// While it is silent no request is answered.
  func setSilent(_ isSilent: Bool) { self.state.withLock { $0.isSilent = isSilent } }

  /// Commits without telling anybody.
  func commit(_ changes: [MetadataChange]) throws {
    try self.state.withLock { state in
      var delta = MetadataDelta()
      for change in changes {
        try state.image.apply(change, at: Offset(Int64(state.log.count)), into: &delta)
        state.log.append(change)
      }
    }
  }

  func call<Request: ApiRequest>(
    _ request: Request, timeout: Duration, _ complete: @escaping @Sendable (Result<Request.Response, PeerError>) -> Void
  ) {
    guard let asked = request as? AlterPartitionRequest else { return complete(.failure(.unsupported(Request.apiKey))) }
    self.world.after(.milliseconds(1)) {
      if self.state.withLock({ $0.isSilent }) {
        self.world.after(timeout) { complete(.failure(.timedOut)) }
        return
      }
      let response = self.alter(asked)
      self.world.after(.milliseconds(1)) {
        self.listener.withLock { $0 }?()
        complete(.success(response as! Request.Response))
      }
    }
  }

  private func alter(_ request: AlterPartitionRequest) -> AlterPartitionResponse {
    self.state.withLock { state in
      state.proposalCount += 1
      var response = AlterPartitionResponse()
      for topic in request.topics {
        let partitions = topic.partitions.map { asked -> AlterPartitionResponse.PartitionData in
          let id = TopicIDPartition(topic.topicId, PartitionID(asked.partitionIndex))
          guard let partition = state.image.partition(id) else {
            return .init(partitionIndex: asked.partitionIndex, errorCode: .unknownTopicId)
          }
          if partition.leaderEpoch.rawValue != asked.leaderEpoch || partition.leader.rawValue != request.brokerId {
            return .init(partitionIndex: asked.partitionIndex, errorCode: .fencedLeaderEpoch)
          }
          if partition.partitionEpoch.rawValue != asked.partitionEpoch {
            return .init(partitionIndex: asked.partitionIndex, errorCode: .invalidUpdateVersion)
          }
          for member in asked.newIsrWithEpochs {
            let broker = state.image.broker(NodeID(member.brokerId))
            if broker?.isActive != true || (member.brokerEpoch != -1 && broker?.epoch.rawValue != member.brokerEpoch) {
              return .init(partitionIndex: asked.partitionIndex, errorCode: .ineligibleReplica)
            }
          }
          var change = PartitionChange()
          change.inSyncReplicas = asked.newIsrWithEpochs.map { NodeID($0.brokerId) }
          var delta = MetadataDelta()
          try? state.image.apply(.partitionChange(id, change), at: Offset(Int64(state.log.count)), into: &delta)
          state.log.append(.partitionChange(id, change))
          let now = state.image.partition(id)!
          return .init(
            partitionIndex: asked.partitionIndex, leaderId: now.leader.rawValue, leaderEpoch: now.leaderEpoch.rawValue,
            isr: now.inSyncReplicas.map(\.rawValue), partitionEpoch: now.partitionEpoch.rawValue)
        }
        response.topics.append(.init(topicId: topic.topicId, partitions: partitions))
      }
      return response
    }
  }
}

/// Brokers in one world, and the metadata that they follow.
final class TestCluster {
  let world: World
  let controller: FakeController
  private(set) var nodes: [ClusterNode] = []
  private var disks: [FaultyDisk] = []
  private var settings: [[String: String]] = []
  private var nextEpoch: Int64 = 100
  /// Brokers that hear nothing new of the metadata.
  private let deaf = Mutex<Set<NodeID>>([])

  /// - Parameter settings: of each broker; their ids count from 1.
  init(_ settings: [[String: String]] = [[:], [:], [:]], seed: UInt64 = 1) throws {
    self.world = World(seed: seed)
    self.controller = FakeController(self.world)
    self.settings = settings
    for index in settings.indices {
      self.disks.append(FaultyDisk(seed: seed &+ UInt64(index)))
      _ = self.world.addMachine()
      self.nodes.append(try self.life(index))
    }
    self.tellAtCommit()
    try self.commit(self.nodes.map { self.registration($0) })
  }

  private func life(_ index: Int) throws -> ClusterNode {
    self.nextEpoch += 1
    let node = try ClusterNode(
      Int32(index + 1), machine: index, disk: self.disks[index], epoch: BrokerEpoch(self.nextEpoch), settings: self.settings[index],
      events: EventList(), in: self.world)
    node.broker.connect(to: self.controller)
    return node
  }

  private func tellAtCommit() {
    let (nodes, controller) = (self.nodes, self.controller)
    self.controller.onCommit { [deaf = DeafBrokers(self.deaf.withLock { $0 })] in
      for node in nodes where !deaf.ids.contains(node.id) { try? node.follow(controller.log) }
    }
  }

  private struct DeafBrokers: Sendable {
    var ids: Set<NodeID>
    init(_ ids: Set<NodeID>) { self.ids = ids }
  }

  func setDeaf(_ id: Int32, _ isDeaf: Bool) {
    self.deaf.withLock { deaf in
      if isDeaf { deaf.insert(NodeID(id)) } else { deaf.remove(NodeID(id)) }
    }
    self.tellAtCommit()
    try? self.tell()
  }

  private func registration(_ node: ClusterNode) -> MetadataChange {
    .registerBroker(
      BrokerRegistration(
        nodeID: node.id, incarnationID: KafkaUUID(high: 1, low: UInt64(node.epoch.rawValue)), epoch: node.epoch,
        endpoints: [Listener(name: "PLAINTEXT", host: "n\(node.id)", port: 9092)],
        rack: self.settings[Int(node.id.rawValue) - 1]["broker.rack"], isFenced: false))
  }

  subscript(_ id: Int32) -> ClusterNode { self.nodes[Int(id) - 1] }

  func run(_ duration: Duration) { self.world.run(for: duration) }

  // MARK: - Metadata

  /// Commits the changes and tells the brokers that live.
  func commit(_ changes: [MetadataChange]) throws {
    try self.controller.commit(changes)
    try self.tell()
  }

  private func tell() throws {
    let deaf = self.deaf.withLock { $0 }
    for (index, node) in self.nodes.enumerated() where self.world.condition(of: index) == .running && !deaf.contains(node.id) {
      try node.follow(self.controller.log)
    }
  }

  static func topicID(_ number: UInt64 = 1) -> KafkaUUID { KafkaUUID(high: 7, low: number) }

  @discardableResult
  func createTopic(
    _ name: String = "t", number: UInt64 = 1, partitions: Int = 1, replicas: [Int32] = [1, 2, 3], configs: [String: String] = [:]
  ) throws -> KafkaUUID {
    let id = Self.topicID(number)
    var changes: [MetadataChange] = [.topic(name: name, id: id)]
    changes += configs.sorted { $0.key < $1.key }.map { .config(.topic(name), name: $0.key, value: $0.value) }
    let nodes = replicas.map { NodeID($0) }
    for index in 0..<partitions {
      let image = PartitionImage(assignedReplicas: nodes, inSyncReplicas: nodes, leader: nodes[0])
      changes.append(.partition(TopicIDPartition(id, PartitionID(Int32(index))), image))
    }
    try self.commit(changes)
    return id
  }

  func partition(_ index: Int32 = 0, number: UInt64 = 1) -> PartitionImage? {
    self.controller.image.partition(TopicIDPartition(Self.topicID(number), PartitionID(index)))
  }

  /// Another leader; the ISR is as said, or as it was.
  func elect(_ leader: Int32, inSync: [Int32]? = nil, partition: Int32 = 0, number: UInt64 = 1) throws {
    var change = PartitionChange()
    change.leader = NodeID(leader)
    change.inSyncReplicas = inSync?.map { NodeID($0) }
    try self.commit([.partitionChange(TopicIDPartition(Self.topicID(number), PartitionID(partition)), change)])
  }

  var inSync: [Int32] { self.partition()?.inSyncReplicas.map(\.rawValue) ?? [] }

  // MARK: - Lives

  func kill(_ id: Int32, losingPower: Bool = false) {
    let index = Int(id) - 1
    if losingPower {
      self.world.cutPower(index)
      self.disks[index].losePower()
    } else {
      self.world.kill(index)
      self.disks[index].killProcess()
    }
  }

  func restart(_ id: Int32) throws {
    self.nodes[Int(id) - 1] = try self.life(Int(id) - 1)
    self.tellAtCommit()
    try self.commit([self.registration(self[id])])
  }

  // MARK: - Clients

  /// Produces and runs the world until there is an answer, or `patience` is over.
  func produce(
    _ values: [String], to id: Int32 = 1, topic: String = "t", partition: Int32 = 0, acks: Int16 = -1, patience: Duration = .seconds(2),
    timeoutMs: Int32 = 30_000
  ) throws -> ProduceResponse.PartitionProduceResponse? {
    let request = produceRequest(topic, partition: partition, try batch(values), acks: acks, timeoutMs: timeoutMs)
    return try self.wait(self[id].send(request, version: 12), patience)?.responses.first?.partitionResponses.first
  }

  func wait<Response>(_ pending: Pending<Response>, _ patience: Duration = .seconds(2)) throws -> Response? {
    let end = self.world.now + patience
    while !pending.isAnswered, self.world.now < end { self.world.run(for: .milliseconds(1)) }
    return try pending.response()
  }

  /// Everything a consumer sees of the partition at one broker.
  func consume(
    from id: Int32, topic: String = "t", partition: Int32 = 0, offset: Int64 = 0, version: Int16 = 12
  ) throws -> (values: [String], data: FetchResponse.PartitionData) {
    let pending = self[id].send(fetchRequest(topic, partition: partition, from: offset), version: version)
    let data = try #require(try self.wait(pending)?.onlyPartition)
    return (try data.values(), data)
  }
}
