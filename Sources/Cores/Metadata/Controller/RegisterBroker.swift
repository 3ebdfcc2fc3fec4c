package import Model

/// A broker says that it is there, with a new incarnation or with new facts about the present one. A new incarnation is fenced until it
/// has read its own registration (`BrokerHeartbeat`).
///
/// As long as the incarnation that is registered may be alive, no other is taken under its id. A broker that comes back leaves every ISR,
/// since it has to catch up; without proof of an orderly stop (the broker epoch it stopped with) it leaves the ELR too (KIP-966).
package struct RegisterBroker: ControllerRequest {
  package var clusterID: String
  package var nodeID: NodeID
  package var incarnationID: KafkaUUID
  package var endpoints: [Listener]
  package var features: [BrokerRegistration.FeatureRange]
  package var rack: String?
  package var logDirectories: [KafkaUUID]
  /// The epoch the broker had when it last shut down cleanly; `.unknown` if it did not. If it is the epoch of its last
  /// registration, then nothing it ever acknowledged can be missing from its logs (KIP-966).
  package var previousEpoch: BrokerEpoch

  package init(
    clusterID: String, nodeID: NodeID, incarnationID: KafkaUUID, endpoints: [Listener],
    features: [BrokerRegistration.FeatureRange] = SupportedFeatures.all,
    rack: String? = nil, logDirectories: [KafkaUUID], previousEpoch: BrokerEpoch
  ) {
    self.clusterID = clusterID
    self.nodeID = nodeID
    self.incarnationID = incarnationID
    self.endpoints = endpoints
    self.features = features
    self.rack = rack
    self.logDirectories = logDirectories
    self.previousEpoch = previousEpoch
  }

  /// The broker's epoch, which it must name in everything it asks of the controller.
  package typealias Response = BrokerEpoch

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<BrokerEpoch> {
    try self.validate(on: state)
    let existing = state.image.broker(self.nodeID)
    let isSameIncarnation = existing?.incarnationID == self.incarnationID
    var registration = BrokerRegistration(
      nodeID: self.nodeID, incarnationID: self.incarnationID, epoch: BrokerEpoch(nextOffset.rawValue), endpoints: self.endpoints,
      features: self.features, rack: self.rack, logDirectories: self.logDirectories)
    if let existing, isSameIncarnation {
      registration.epoch = existing.epoch
      registration.isFenced = existing.isFenced
      registration.isInControlledShutdown = existing.isInControlledShutdown
      return Decision([.registerBroker(registration)], existing.epoch)
    }
    // The registration comes last: a controller that finds only a part of this has the rest still to do. Its epoch is the offset of the
    // first record, which is greater than any before.
    var records: [MetadataChange] = []
    if let existing, !mutates(state.mutant, .registrationKeepsSync) {
      records = self.leave(existing, isClean: self.previousEpoch == existing.epoch, on: state)
    }
    return Decision(records + [.registerBroker(registration)], registration.epoch, isDivisible: true)
  }

  private func validate(on state: ControllerMachine) throws(ApiError) {
    if self.clusterID != state.image.clusterID {
      throw ApiError(.inconsistentClusterId, "This is cluster \(state.image.clusterID); the broker belongs to cluster \(self.clusterID).")
    }
    if let existing = state.image.broker(self.nodeID), existing.incarnationID != self.incarnationID,
      state.sessions.isLive(self.nodeID, existing.epoch), !mutates(state.mutant, .duplicateBrokerIsTaken)
    {
      throw ApiError(.duplicateBrokerRegistration, "Broker \(self.nodeID) is registered by another process, which may be alive.")
    }
    if self.nodeID < NodeID(0) { throw ApiError(.invalidRegistration, "A broker's id cannot be negative, as \(self.nodeID) is.") }
    if self.endpoints.isEmpty { throw ApiError(.invalidRegistration, "A broker needs at least one listener.") }
    if self.logDirectories.isEmpty { throw ApiError(.invalidRegistration, "A broker needs at least one log directory.") }
    for (index, directory) in self.logDirectories.enumerated() {
      // Kafka keeps the first hundred ids for itself; of them 0, 1 and 2 mean "unassigned", "lost" and "migrating".
      if directory.high == 0 && directory.low < 100 { throw ApiError(.invalidRegistration, "Log directory id \(directory) is reserved.") }
      if self.logDirectories[..<index].contains(directory) {
        throw ApiError(.invalidRegistration, "Log directory id \(directory) is given twice.")
      }
      if let owner = state.image.brokers.first(where: { $0.nodeID != self.nodeID && $0.logDirectories.contains(directory) }) {
        throw ApiError(.invalidRegistration, "Log directory \(directory) belongs to broker \(owner.nodeID).")
      }
    }
    for feature in state.image.features {
      guard let range = self.features.first(where: { $0.name == feature.name }), range.versions.contains(feature.level) else {
        throw ApiError(
          .unsupportedVersion, "The cluster runs with \(feature.name) at level \(feature.level), which this broker does not support.")
      }
    }
    // A feature that is off is at level 0. The level of kraft.version is not in the metadata.
    for range in self.features where range.name != KRaftVersion.feature && state.image.featureLevel(range.name) == nil {
      if !range.versions.contains(0) {
        throw ApiError(.unsupportedVersion, "The cluster runs without \(range.name), and this broker cannot do without.")
      }
    }
  }

  /// What becomes of the partitions of the previous incarnation.
  ///
  /// Where it is the only replica nobody else can have anything: it goes on leading, after an orderly stop in the same leader epoch, else
  /// in a new one, by which clients learn that records after the last sync may be gone.
  private func leave(_ existing: BrokerRegistration, isClean: Bool, on state: ControllerMachine) -> [MetadataChange] {
    var records: [MetadataChange] = []
    var others: [TopicIDPartition] = []
    for id in state.index.inSyncOrLed(self.nodeID) {
      guard let partition = state.image.partition(id) else { continue }
      if partition.assignedReplicas != [self.nodeID] || partition.leader != self.nodeID {
        others.append(id)
      } else if !isClean {
        var change = PartitionChange()
        change.leader = self.nodeID
        change.reason = .uncleanShutdown
        records.append(.partitionChange(id, change))
      }
    }
    var planner = PartitionPlanner(state)
    if isClean { return records + planner.remove(self.nodeID, from: others, .brokerRestarted) }
    others += state.index.eligible(self.nodeID)
    return records + planner.remove(self.nodeID, from: others, .uncleanShutdown, isUnclean: true)
  }
}

/// A broker has caught up with the metadata and may lead and be shown to clients.
package struct UnfenceBroker: ControllerRequest {
  package var nodeID: NodeID
  package var epoch: BrokerEpoch
  package init(nodeID: NodeID, epoch: BrokerEpoch) { (self.nodeID, self.epoch) = (nodeID, epoch) }
  package typealias Response = Void

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<Void> {
    let registration = try checkedBroker(self.nodeID, self.epoch, in: state.image)
    if !registration.isFenced { return Decision([], ()) }
    return Decision(unfencing(registration, on: state), (), isDivisible: true)
  }
}

/// The registration of the broker that claims `epoch`, if that is its present one. As Kafka says it, the epoch of a broker that was
/// forgotten is stale too: it must register anew.
func checkedBroker(_ id: NodeID, _ epoch: BrokerEpoch, in image: MetadataImage) throws(ApiError) -> BrokerRegistration {
  guard let registration = image.broker(id) else {
    throw ApiError(.staleBrokerEpoch, "Broker \(id) is not registered.")
  }
  if registration.epoch != epoch {
    throw ApiError(.staleBrokerEpoch, "Broker \(id) has epoch \(registration.epoch) now, and \(epoch) is another.")
  }
  return registration
}
