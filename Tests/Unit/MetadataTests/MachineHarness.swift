import Base
import Model

@testable import Metadata

/// A controller's machine with its log in memory: what was decided is replayed at once.
struct MachineHarness {
  var machine: ControllerMachine
  var log: [MetadataChange] = []
  var delta = MetadataDelta()

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
