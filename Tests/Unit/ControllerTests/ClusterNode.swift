import Base
import Environment
import LogCore
import Metadata
import Model
import NIOCore
import Raft
import Storage
import Synchronization
import Testing
import VirtualWorld
import Wire

@testable import Controller

/// One life of a node in a world: its controller, behind a listener for the quorum, and an address at which a broker of it answers.
final class ClusterNode: Sendable {
  static let brokerPort: UInt16 = 9092

  let id: NodeID
  let incarnation: UInt64
  let environment: WorldNode
  let controller: ControllerDriver<WorldNode>
  let journal = Journal()
  let loaded = Answer<Result<MetadataImage, ControllerLoadError>>()
  /// Where the logs of the broker's replicas end, as it says.
  let logEnds = Mutex<[TopicIDPartition: (epoch: Int32, end: Int64)]>([:])

  init(
    _ id: NodeID, voters: [NodeID], incarnation: UInt64 = 1, in environment: WorldNode, adjust: (inout ControllerSetup) -> Void = { _ in }
  ) throws {
    (self.id, self.environment, self.incarnation) = (id, environment, incarnation)
    var generator = SeededGenerator(seed: environment.entropy())
    let store = try LogDirectory.open(
      disk: environment.disk, path: "data", nodeID: id, clusterID: nil, newClusterID: testClusterID, generator: &generator)
    let isVoter = voters.contains(id)
    var raft = RaftConfig(
      local: ReplicaKey(id, store.metaProperties.directoryID),
      endpoints: isVoter ? [Endpoint(listener: QuorumNode.listenerName, address: QuorumNode.address(id))] : [],
      isController: isVoter, listener: QuorumNode.listenerName, clusterID: testClusterID)
    raft.bootstrapServers = voters.map { QuorumNode.address($0) }
    var staticConfig = StaticConfig()
    try staticConfig.set("node.id", "\(id)")
    let config = try BrokerConfig(BrokerConfigLayers(staticConfig: staticConfig))
    var setup = ControllerSetup(
      raft: raft, voters: QuorumNode.voters(voters), settings: ControllerSettings(config, staticConfig: staticConfig), broker: config)
    adjust(&setup)
    (self.controller, _) = try ControllerDriver.open(
      setup, environment: environment, store: store, seed: environment.entropy(), listener: self.journal)
    self.listen()
    let loaded = self.loaded
    self.controller.start { loaded.put($0) }
  }

  var image: MetadataImage { self.controller.image }

  func run<Request: ControllerRequest>(_ request: Request) -> Answer<Result<Request.Response, ApiError>> {
    let answer = Answer<Result<Request.Response, ApiError>>()
    self.controller.submit(request) { answer.put($0) }
    return answer
  }

  // MARK: - What others ask

  private func listen() {
    for port in [QuorumNode.port, Self.brokerPort] {
      self.environment.network.listen(port) { link in
        let answers = QuorumNode.Answers(link)
        return { [weak self] event in if case .received(let body) = event { self?.serve(body, answers) } }
      }
    }
  }

  private func serve(_ body: ByteBuffer, _ answers: QuorumNode.Answers) {
    do {
      var reader = WireReader(body)
      let header = try RequestHeader(from: &reader)
      let slot = answers.reserve()
      let (version, id) = (header.apiVersion, header.correlationId)
      let put: @Sendable (any WireMessage) -> Void = { answers.put(QuorumNode.frame($0, version, id), at: slot) }
      let key = try #require(ApiKey(rawValue: header.apiKey))
      switch key {
      case .apiVersions:
        var response = QuorumNode.versions
        response.apiKeys.append(.init(apiKey: ApiKey.getReplicaLogInfo.rawValue, minVersion: 0, maxVersion: 0))
        response.brokerIncarnationId = KafkaUUID(high: UInt64(self.id.rawValue), low: self.incarnation)
        put(response)
      case .getReplicaLogInfo: put(self.logInfo(try GetReplicaLogInfoRequest(from: &reader, version: version)))
      default: #expect(try QuorumNode.serve(key, &reader, version, by: self.controller.quorum, put))
      }
    } catch { Issue.record("node \(self.id) was sent what it cannot read: \(error)") }
  }

  private func logInfo(_ request: GetReplicaLogInfoRequest) -> GetReplicaLogInfoResponse {
    let ends = self.logEnds.withLock { $0 }
    var response = GetReplicaLogInfoResponse(brokerEpoch: self.image.broker(self.id)?.epoch.rawValue ?? -1)
    for topic in request.topicPartitions ?? [] {
      let infos = topic.partitions.map { number -> GetReplicaLogInfoResponse.PartitionLogInfo in
        guard let end = ends[TopicIDPartition(topic.topicId, PartitionID(number))] else {
          return .init(partition: number, errorCode: .unknownTopicOrPartition)
        }
        return .init(partition: number, lastWrittenLeaderEpoch: end.epoch, logEndOffset: end.end)
      }
      response.topicPartitionLogInfoList.append(.init(topicId: topic.topicId, partitionLogInfo: infos))
    }
    return response
  }
}

/// Controllers, and nodes that only observe, in one world.
final class Cluster {
  let world: World
  let voters: [NodeID]
  let adjust: (inout ControllerSetup) -> Void
  private(set) var nodes: [NodeID: ClusterNode] = [:]
  private var machines: [NodeID: Int] = [:]
  private var disks: [NodeID: FaultyDisk] = [:]
  private var lives: [NodeID: UInt64] = [:]

  init(seed: UInt64, voters count: Int32, adjust: @escaping (inout ControllerSetup) -> Void = { _ in }) throws {
    self.world = World(seed: seed)
    self.voters = (1...count).map { NodeID($0) }
    self.adjust = adjust
    for id in self.voters { try self.start(id) }
  }

  @discardableResult
  func start(_ id: NodeID) throws -> ClusterNode {
    let machine = self.machines[id] ?? self.world.addMachine()
    self.machines[id] = machine
    let disk = self.disks[id] ?? FaultyDisk(seed: UInt64(id.rawValue))
    self.disks[id] = disk
    self.lives[id, default: 0] += 1
    let node = try ClusterNode(
      id, voters: self.voters, incarnation: self.lives[id]!, in: WorldNode(machine, host: QuorumNode.host(id), disk: disk, in: self.world),
      adjust: self.adjust)
    self.nodes[id] = node
    return node
  }

  func kill(_ id: NodeID) {
    self.nodes[id] = nil
    self.world.kill(self.machines[id]!)
    self.disks[id]!.killProcess()
  }

  func machine(_ id: NodeID) -> Int { self.machines[id]! }

  /// Nothing passes between this node and the others.
  func isolate(_ id: NodeID) {
    for other in self.machines.values where other != self.machine(id) {
      self.world.net.cut(from: self.machine(id), to: other)
      self.world.net.cut(from: other, to: self.machine(id))
    }
  }
  func reconnect(_ id: NodeID) {
    for other in self.machines.values where other != self.machine(id) {
      self.world.net.mend(from: self.machine(id), to: other, in: self.world)
      self.world.net.mend(from: other, to: self.machine(id), in: self.world)
    }
  }

  var active: ClusterNode? { self.nodes.values.first { $0.controller.isActive } }

  /// Lets time pass until `isDone`, and says how much it was.
  @discardableResult
  func wait(
    _ limit: Duration = .seconds(10), for what: String = "it", sourceLocation: SourceLocation = #_sourceLocation, _ isDone: () -> Bool
  ) throws -> Duration {
    let began = self.world.now
    while !isDone() {
      try #require(self.world.now - began < limit, "\(what) did not come within \(limit)", sourceLocation: sourceLocation)
      self.world.run(for: .milliseconds(1))
    }
    return self.world.now - began
  }

  func waitForActive(sourceLocation: SourceLocation = #_sourceLocation) throws -> ClusterNode {
    try self.wait(for: "a controller", sourceLocation: sourceLocation) { self.active != nil }
    return self.active!
  }

  /// Asks the active controller, whoever it is by then, and waits for the answer.
  @discardableResult
  func ask<Request: ControllerRequest>(_ request: Request, sourceLocation: SourceLocation = #_sourceLocation) throws -> Request.Response {
    let answer = try self.waitForActive(sourceLocation: sourceLocation).run(request)
    try self.wait(for: "an answer", sourceLocation: sourceLocation) { answer.value != nil }
    return try answer.value!.get()
  }

  /// Registers the broker of a node that runs, and unfences it.
  @discardableResult
  func addBroker(_ id: NodeID) throws -> BrokerEpoch {
    let epoch = try self.ask(registration(node: id.rawValue, incarnation: self.lives[id]!))
    try self.ask(UnfenceBroker(nodeID: id, epoch: epoch))
    return epoch
  }

  /// Every broker that is registered and whose node runs says that it lives.
  func heartbeats(except silent: NodeID? = nil) {
    guard let active = self.active else { return }
    for broker in active.image.brokers where broker.nodeID != silent {
      guard let node = self.nodes[broker.nodeID] else { continue }
      active.controller.heartbeat(BrokerHeartbeat(nodeID: broker.nodeID, epoch: broker.epoch, metadataOffset: node.image.offset)) { _ in }
    }
  }

  /// All nodes come to one image.
  func expectAgreement(sourceLocation: SourceLocation = #_sourceLocation) throws {
    try self.wait(for: "agreement", sourceLocation: sourceLocation) { Set(self.nodes.values.map(\.image)).count == 1 }
  }
}
