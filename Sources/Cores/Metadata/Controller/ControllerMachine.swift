import Base
package import Model

/// The active controller's state: the image, and what decisions need besides it.
///
/// A request is decided on it without changing it (`ControllerRequest.decide`); the records decided are appended to the metadata
/// log, and `replay` of those records is the only way the state changes. So every node that replays the log comes to the same state.
package struct ControllerMachine: Sendable {
  package private(set) var image: MetadataImage
  package var settings: ControllerSettings
  /// With the log's next offset it gives the entropy of one decision, so that a run with the same seed decides the same.
  private let seed: UInt64

  package init(image: MetadataImage, settings: ControllerSettings, seed: UInt64) {
    self.image = image
    self.settings = settings
    self.seed = seed
  }

  /// Applies one record of the log. `image` may be inspected before and after; `delta` collects what changed.
  package mutating func replay(_ change: MetadataChange, at offset: Offset, into delta: inout MetadataDelta) throws(ReplayError) {
    try self.image.apply(change, at: offset, into: &delta)
  }

  /// The records a new cluster's log begins with.
  package static func bootstrapRecords() -> [MetadataChange] {
    [.featureLevel(name: MetadataVersion.feature, level: MetadataVersion.latest)]
  }

  /// The random choices of the decision whose first record will be at `offset`.
  func generator(at offset: Offset) -> SeededGenerator {
    SeededGenerator(seed: self.seed ^ UInt64(bitPattern: offset.rawValue) &* 0x9E37_79B9_7F4A_7C15)
  }

  /// The broker configuration's layers with those that the log holds.
  package var layers: BrokerConfigLayers { self.layers(nodeConfigs: self.image.configs(of: .broker(self.settings.nodeID))) }

  func layers(nodeConfigs: ConfigValues) -> BrokerConfigLayers {
    BrokerConfigLayers(
      staticConfig: self.settings.staticConfig, dynamicDefault: self.image.configs(of: .defaultBroker), dynamicBroker: nodeConfigs)
  }

  /// What a topic without overrides gets. Dynamic values were checked when they were set, the static ones at start.
  func topicDefaults() -> TopicConfig { (try? self.layers.topicDefaults()) ?? TopicConfig() }
}

/// What the controller takes from its node's own configuration.
package struct ControllerSettings: Sendable {
  package var nodeID: NodeID
  package var staticConfig: StaticConfig
  package var numPartitions: Int32
  package var defaultReplicationFactor: Int16
  package var deleteTopicsEnabled: Bool

  package init(_ config: BrokerConfig, staticConfig: StaticConfig) {
    self.nodeID = config.nodeID
    self.staticConfig = staticConfig
    self.numPartitions = config.numPartitions
    self.defaultReplicationFactor = config.defaultReplicationFactor
    self.deleteTopicsEnabled = config.deleteTopicsEnabled
  }
}

/// Something the controller is asked to do. One type per request, each saying what it writes and what it answers.
package protocol ControllerRequest: Sendable {
  associatedtype Response: Sendable
  /// Reads `state` and writes nothing. `nextOffset` is where the first of the records will be.
  ///
  /// - Throws: the answer to a request that is refused as a whole. Refusals of single topics or resources are in the response.
  func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<Response>
}

/// Records to append as one batch, all or none, and the answer once they are committed. Without records the answer
/// holds as soon as everything decided before is committed.
package struct Decision<Response: Sendable>: Sendable {
  package var records: [MetadataChange]
  package var response: Response
  init(_ records: [MetadataChange], _ response: Response) { (self.records, self.response) = (records, response) }
}

/// The records of one client's request, bounded as in Kafka so that one request cannot occupy the log.
struct BoundedRecords {
  static let countMax = 10_000
  private(set) var records: [MetadataChange] = []

  mutating func append(_ record: MetadataChange) throws(ApiError) {
    if self.records.count >= Self.countMax { throw Self.tooMany }
    self.records.append(record)
  }
  mutating func append(contentsOf more: [MetadataChange]) throws(ApiError) {
    for record in more { try self.append(record) }
  }

  static let tooMany = ApiError(
    .policyViolation, "The request is too large: it would write more than \(countMax) metadata records. Split it into several.")
}
