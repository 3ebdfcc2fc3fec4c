import Base
import Model

@testable import Metadata

/// A controller's machine with its log in memory: what was decided is replayed at once.
struct MachineHarness {
  var machine: ControllerMachine
  var log: [MetadataChange] = []
  var delta = MetadataDelta()
  /// What the sessions asked for.
  var effects: [BrokerSessions.Effect] = []
  var now = Instant.origin

  static let clusterID = "test-cluster-id-abcdef"

  init(settings text: String = "", seed: UInt64 = 1) {
    self.machine = Self.machine(settings: text, seed: seed)
    self.commit(ControllerMachine.bootstrapRecords())
  }

  static func machine(settings text: String = "", seed: UInt64 = 1) -> ControllerMachine {
    do {
      let staticConfig = try StaticConfig(file: ("test", text))
      let config = try BrokerConfig(BrokerConfigLayers(staticConfig: staticConfig))
      return ControllerMachine(
        image: MetadataImage(clusterID: Self.clusterID), settings: ControllerSettings(config, staticConfig: staticConfig), seed: seed)
    } catch { fatalError("\(error)") }
  }

  var image: MetadataImage { self.machine.image }
  var nextOffset: Offset { Offset(Int64(self.log.count)) }

  mutating func commit(_ records: [MetadataChange]) {
    self.delta = MetadataDelta()
    for record in records {
      do { try self.machine.replay(record, at: self.nextOffset, into: &self.delta) } catch { fatalError("\(error)") }
      self.log.append(record)
    }
  }

  @discardableResult
  mutating func run<Request: ControllerRequest>(_ request: Request) throws(ApiError) -> Request.Response {
    let decision = try request.decide(on: self.machine, nextOffset: self.nextOffset)
    self.commit(decision.records)
    return decision.response
  }

  // MARK: Sessions

  mutating func session(_ input: BrokerSessions.Input, after time: Duration = .zero) -> [BrokerSessions.Effect] {
    self.now = self.now + time
    var effects: [BrokerSessions.Effect] = []
    self.machine.sessions.handle(input, now: self.now, into: &effects)
    return effects
  }

  mutating func activate() { _ = self.session(.activated(self.image.brokers)) }

  /// Heard of and decided, as the driver does. The broker has read everything unless told otherwise.
  @discardableResult
  mutating func heartbeat(
    _ id: Int32, _ epoch: BrokerEpoch, offset: Offset? = nil, fence: Bool = false, shutdown: Bool = false, offline: [KafkaUUID] = []
  ) throws(ApiError) -> BrokerHeartbeat.Answer {
    let request = BrokerHeartbeat(
      nodeID: NodeID(id), epoch: epoch, metadataOffset: offset ?? self.image.offset, wantsFence: fence, wantsShutdown: shutdown,
      offlineDirectories: offline)
    self.machine.heard(request, now: self.now, into: &self.effects)
    return try self.run(request)
  }

  /// A topic of one partition with these replicas, the first of which leads.
  mutating func createTopic(_ name: String, _ replicas: [Int32], minInSync: Int = 1, unclean: Bool = false) throws -> TopicIDPartition {
    let code = try self.create(
      .init(
        name, assignments: [.init(partition: PartitionID(0), replicas: replicas.map { NodeID($0) })],
        configs: [.init(name: "min.insync.replicas", value: String(minInSync))]
          + (unclean ? [.init(name: "unclean.leader.election.enable", value: "true")] : [])))
    guard code == .none, let id = self.image.topicID(name) else { throw ApiError(code, "creating \(name)") }
    return TopicIDPartition(id, PartitionID(0))
  }

  /// The leader asks for this ISR, with the epochs it knows.
  @discardableResult
  mutating func alter(_ id: TopicIDPartition, _ members: [Int32], recovery: Int8 = 0) throws(ApiError) -> ErrorCode {
    let partition = self.image.partition(id)!
    let leader = self.image.broker(partition.leader)!
    let results = try self.run(
      AlterPartition(
        nodeID: leader.nodeID, epoch: leader.epoch,
        [
          .init(
            id, leaderEpoch: partition.leaderEpoch, partitionEpoch: partition.partitionEpoch,
            inSyncReplicas: members.map { .init(NodeID($0), self.image.broker(NodeID($0))?.epoch ?? .unknown) },
            leaderRecoveryState: recovery)
        ]))
    if case .failure(let error) = results[0].outcome { return error.code }
    return .none
  }

  /// The broker is fenced, as if its session had ended.
  mutating func fence(_ id: Int32) throws(ApiError) {
    try self.run(FenceBroker(nodeID: NodeID(id), epoch: self.image.broker(NodeID(id))!.epoch))
  }
  mutating func unfence(_ id: Int32) throws(ApiError) {
    try self.run(UnfenceBroker(nodeID: NodeID(id), epoch: self.image.broker(NodeID(id))!.epoch))
  }

  static func directory(_ id: Int32) -> KafkaUUID { KafkaUUID(high: 7, low: UInt64(1000 + id)) }

  static func registration(
    _ id: Int32, incarnation: UInt64 = 1, rack: String? = nil, previousEpoch: BrokerEpoch = .unknown
  ) -> RegisterBroker {
    RegisterBroker(
      clusterID: Self.clusterID, nodeID: NodeID(id), incarnationID: KafkaUUID(high: UInt64(id), low: incarnation),
      endpoints: [Listener(name: "PLAINTEXT", host: "h\(id)", port: 9092)], rack: rack, logDirectories: [Self.directory(id)],
      previousEpoch: previousEpoch)
  }

  /// Registers and unfences.
  @discardableResult
  mutating func addBroker(
    _ id: Int32, incarnation: UInt64 = 1, rack: String? = nil, previousEpoch: BrokerEpoch = .unknown
  ) throws(ApiError) -> BrokerEpoch {
    let epoch = try self.run(Self.registration(id, incarnation: incarnation, rack: rack, previousEpoch: previousEpoch))
    try self.run(UnfenceBroker(nodeID: NodeID(id), epoch: epoch))
    return epoch
  }

  /// The code of a topic's creation.
  mutating func create(_ topic: CreateTopics.Topic, validateOnly: Bool = false) throws(ApiError) -> ErrorCode {
    switch try self.run(CreateTopics([topic], validateOnly: validateOnly))[0].outcome {
    case .success: .none
    case .failure(let error): error.code
    }
  }
}

extension CreateTopics.TopicResult {
  var code: ErrorCode {
    switch self.outcome {
    case .success: .none
    case .failure(let error): error.code
    }
  }
}

func nodes(_ ids: Int32...) -> [NodeID] { ids.map { NodeID($0) } }
