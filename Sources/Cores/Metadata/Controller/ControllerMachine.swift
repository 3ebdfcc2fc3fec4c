import Base
package import Model

/// The active controller's state: the image, and what decisions need besides it.
///
/// A request is decided on it without changing it (`ControllerRequest.decide`); the records decided are appended to the metadata
/// log, and `replay` of those records is the only way the state changes. So every node that replays the log comes to the same state.
package struct ControllerMachine: Sendable {
  package private(set) var image: MetadataImage
  package var settings: ControllerSettings
  /// Where each broker stands in the partitions of `image`.
  package private(set) var index: ReplicaIndex
  /// What only the active controller knows: who was heard of, and when. Not in the log, and nothing that is replayed rests on it.
  package var sessions = BrokerSessions()
  /// Of the record with which each broker registered or was last fenced, to know when a broker has seen itself as it is.
  private var catchUpOffsets: [NodeID: Offset] = [:]
  /// Of the last record by which a broker in controlled shutdown lost a partition.
  private var shutdownOffsets: [NodeID: Offset] = [:]
  package var mutant: ControllerMutant? {
    didSet { self.sessions.mutant = self.mutant }
  }
  /// With the log's next offset it gives the entropy of one decision, so that a run with the same seed decides the same.
  private let seed: UInt64

  package init(image: MetadataImage, settings: ControllerSettings, seed: UInt64) {
    self.image = image
    self.settings = settings
    self.index = ReplicaIndex(image)
    self.seed = seed
    // The records behind the image are not known one by one; they all are at or before its offset.
    for broker in image.brokers {
      self.catchUpOffsets[broker.nodeID] = image.offset
      if broker.isInControlledShutdown { self.shutdownOffsets[broker.nodeID] = image.offset }
    }
  }

  /// Applies one record of the log. `image` may be inspected before and after; `delta` collects what changed.
  package mutating func replay(_ change: MetadataChange, at offset: Offset, into delta: inout MetadataDelta) throws(ReplayError) {
    let transitionCount = delta.transitions.count
    let removed: TopicImage? = if case .removeTopic(let id) = change { self.image.topic(id) } else { nil }
    try self.image.apply(change, at: offset, into: &delta)
    if let removed {
      for (number, partition) in removed.partitions.enumerated() {
        self.index.replace(partition, by: nil, TopicIDPartition(removed.id, PartitionID(Int32(number))))
      }
      return
    }
    for transition in delta.transitions[transitionCount...] {
      self.index.replace(transition.before, by: transition.after, transition.partition)
      if let loser = transition.before?.leader, loser != transition.after.leader, self.shutdownOffsets[loser] != nil {
        self.shutdownOffsets[loser] = offset
      }
    }
    switch change {
    case .registerBroker(let registration):
      self.catchUpOffsets[registration.nodeID] = offset
      if !registration.isInControlledShutdown { self.shutdownOffsets[registration.nodeID] = nil }
      self.sessions.registered(registration)
    case .unregisterBroker(let id, _):
      self.catchUpOffsets[id] = nil
      self.shutdownOffsets[id] = nil
      self.sessions.unregistered(id)
    case .brokerRegistrationChange(let change):
      if change.beginsControlledShutdown { self.shutdownOffsets[change.nodeID] = offset }
      if let isFenced = change.isFenced { self.noteFencing(change.nodeID, change.epoch, isFenced, offset) }
    case .fenceBroker(let id, let epoch): self.noteFencing(id, epoch, true, offset)
    case .unfenceBroker(let id, let epoch): self.noteFencing(id, epoch, false, offset)
    case .topic, .partition, .partitionChange, .removeTopic, .config, .featureLevel, .producerIDs, .clearEligibleLeaderReplicas, .noOp:
      break
    }
  }

  private mutating func noteFencing(_ id: NodeID, _ epoch: BrokerEpoch, _ isFenced: Bool, _ offset: Offset) {
    guard isFenced else { return self.sessions.unfenced(id, epoch) }
    self.sessions.fenced(id, epoch)
    // With its lease back it would go on leading what it lost here, unless it has read of it.
    if !mutates(self.mutant, .unfencedWithoutMetadata) { self.catchUpOffsets[id] = max(self.catchUpOffsets[id] ?? offset, offset) }
  }

  /// The records a new cluster's log begins with. `min.insync.replicas` is set for the cluster, since with an ELR all nodes must mean
  /// the same by it.
  ///
  /// - Parameter minInSyncReplicas: what the controller's own configuration says.
  package static func bootstrapRecords(minInSyncReplicas: String = "1") -> [MetadataChange] {
    [
      .featureLevel(name: MetadataVersion.feature, level: MetadataVersion.latest),
      .featureLevel(name: EligibleLeaderReplicasVersion.feature, level: EligibleLeaderReplicasVersion.latest),
      .config(.defaultBroker, name: ControllerConfig.minInSyncReplicas, value: minInSyncReplicas),
    ]
  }

  /// Nobody is heard of any more: this node is not active from now on.
  package mutating func forgetSessions() {
    self.sessions = BrokerSessions()
    self.sessions.mutant = self.mutant
  }

  /// The offset of the metadata from which on the broker knows of its own registration and of its last fencing.
  package func catchUpOffset(of broker: NodeID) -> Offset { self.catchUpOffsets[broker] ?? self.image.offset }

  /// What everybody must have read before a broker in controlled shutdown may go; nil if it is in none.
  package func shutdownOffset(of broker: NodeID) -> Offset? { self.shutdownOffsets[broker] }

  /// Whether partitions have an ELR.
  package var keepsEligible: Bool { (self.image.featureLevel(EligibleLeaderReplicasVersion.feature) ?? 0) >= 1 }

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
  /// What a new cluster's `min.insync.replicas` is, as text.
  package var minInSyncReplicas: String { self.staticConfig[ControllerConfig.minInSyncReplicas] ?? "1" }

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

/// Records to append, and the answer once they are committed. Without records the answer holds as soon as everything decided before
/// is committed.
package struct Decision<Response: Sendable>: Sendable {
  /// As Kafka bounds a batch of its metadata log.
  package static var batchCountMax: Int { BoundedRecords.countMax }

  package var records: [MetadataChange]
  package var response: Response
  /// Each prefix of the records is a state the cluster may be left in, so that they need not be one batch.
  package var isDivisible: Bool
  /// That many of the last records are one batch in any case.
  private var atomicTail: Int

  init(_ records: [MetadataChange], _ response: Response, isDivisible: Bool = false, atomicTail: Int = 0) {
    (self.records, self.response, self.isDivisible, self.atomicTail) = (records, response, isDivisible, atomicTail)
    let atomic = isDivisible ? atomicTail : records.count
    invariant(atomic <= Self.batchCountMax, "\(atomic) records in one batch")
  }

  /// The records by batch, to be appended in this order, each all or none.
  package var batches: [[MetadataChange]] {
    if self.records.count <= Self.batchCountMax { return self.records.isEmpty ? [] : [self.records] }
    let head = self.records.count - self.atomicTail
    var batches = stride(from: 0, to: head, by: Self.batchCountMax).map {
      Array(self.records[$0..<min($0 + Self.batchCountMax, head)])
    }
    if self.atomicTail > 0 { batches.append(Array(self.records[head...])) }
    return batches
  }
}

/// The names of configs that decide over partitions.
enum ControllerConfig {
  static let minInSyncReplicas = "min.insync.replicas"
  static let uncleanLeaderElection = "unclean.leader.election.enable"
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
