package import Model

/// A broker says that it is there, with a new incarnation or with new facts about the present one. It is fenced until `UnfenceBroker`.
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
    features: [BrokerRegistration.FeatureRange] = [MetadataVersion.supported],
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
    // The registration comes first: its offset is the broker's epoch.
    var records: [MetadataChange] = [.registerBroker(registration)]
    if let existing {
      let isClean = self.previousEpoch == existing.epoch
      records += self.leadershipChanges(in: state.image, afterCleanShutdown: isClean)
    }
    return Decision(records, registration.epoch)
  }

  private func validate(on state: ControllerMachine) throws(ApiError) {
    if self.clusterID != state.image.clusterID {
      throw ApiError(.inconsistentClusterId, "This is cluster \(state.image.clusterID); the broker belongs to cluster \(self.clusterID).")
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
  }

  /// What becomes of the partitions that the previous incarnation led.
  ///
  /// Where another replica in sync is alive it takes over. Where none is, the broker goes on leading: after a clean shutdown in the same
  /// leader epoch, else in a new one, by which clients learn that records after the last sync may be gone.
  private func leadershipChanges(in image: MetadataImage, afterCleanShutdown isClean: Bool) -> [MetadataChange] {
    var records: [MetadataChange] = []
    for topic in image.topicsByName {
      for (index, partition) in topic.partitions.enumerated() where partition.leader == self.nodeID {
        var change = PartitionChange()
        let heir = partition.assignedReplicas.first {
          $0 != self.nodeID && partition.inSyncReplicas.contains($0) && image.isActive($0)
        }
        if let heir {
          change.leader = heir
          change.inSyncReplicas = partition.inSyncReplicas.filter { $0 != self.nodeID }
        } else if !isClean {
          change.leader = self.nodeID
        } else {
          continue
        }
        records.append(.partitionChange(TopicIDPartition(topic.id, PartitionID(Int32(index))), change))
      }
    }
    return records
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
    var change = BrokerRegistrationChange(self.nodeID, epoch: self.epoch)
    change.isFenced = false
    var records: [MetadataChange] = [.brokerRegistrationChange(change)]
    for topic in state.image.topicsByName {
      for (index, partition) in topic.partitions.enumerated()
      where partition.leader == .none && partition.inSyncReplicas.contains(self.nodeID) {
        var change = PartitionChange()
        change.leader = self.nodeID
        records.append(.partitionChange(TopicIDPartition(topic.id, PartitionID(Int32(index))), change))
      }
    }
    return Decision(records, ())
  }
}

/// The registration of the broker that claims `epoch`, if that is its present one.
func checkedBroker(_ id: NodeID, _ epoch: BrokerEpoch, in image: MetadataImage) throws(ApiError) -> BrokerRegistration {
  guard let registration = image.broker(id) else {
    throw ApiError(.brokerIdNotRegistered, "Broker \(id) is not registered.")
  }
  if registration.epoch != epoch {
    throw ApiError(.staleBrokerEpoch, "Broker \(id) has epoch \(registration.epoch) now, and \(epoch) is another.")
  }
  return registration
}
