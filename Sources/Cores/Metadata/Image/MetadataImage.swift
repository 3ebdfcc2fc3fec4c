import HashTreeCollections
package import Model

/// The cluster's metadata up to one offset of the metadata log: immutable once published, cheap to copy (structure is shared).
///
/// Lookups are O(log n) at most. Whatever is listed comes in a defined order, since two nodes must say the same.
package struct MetadataImage: Sendable, Hashable {
  package var clusterID: String
  /// Of the last record in it; -1 before the first.
  package internal(set) var offset = Offset(-1)

  private var topics: TreeDictionary<KafkaUUID, TopicImage> = [:]
  private var topicIDs: TreeDictionary<String, KafkaUUID> = [:]
  /// The topics whose names hold `.` or `_`, by their name with every `.` made a `_`.
  private var collisions: TreeDictionary<String, [String]> = [:]
  private var configs: TreeDictionary<ConfigResource, ConfigValues> = [:]
  package private(set) var partitionCount = 0
  /// In the order of their ids.
  package private(set) var brokers: [BrokerRegistration] = []
  /// In the order of their names.
  package private(set) var features: [FeatureLevel] = []
  /// The first producer id not given out yet.
  package private(set) var nextProducerID = ProducerID(0)

  package struct FeatureLevel: Sendable, Hashable {
    package var name: String
    package var level: Int16
  }

  package init(clusterID: String) { self.clusterID = clusterID }

  // MARK: Lookups

  package var topicCount: Int { self.topics.count }
  package func topic(_ name: String) -> TopicImage? { self.topicIDs[name].flatMap { self.topics[$0] } }
  package func topic(_ id: KafkaUUID) -> TopicImage? { self.topics[id] }
  package func topicID(_ name: String) -> KafkaUUID? { self.topicIDs[name] }
  package func partition(_ partition: TopicIDPartition) -> PartitionImage? { self.topics[partition.topicID]?[partition.partition] }

  /// All topics in the order of their names: O(n log n), for answers that list them all.
  package var topicsByName: [TopicImage] { self.topics.values.sorted { $0.name < $1.name } }

  package func broker(_ id: NodeID) -> BrokerRegistration? { self.place(of: id).flatMap { self.brokers[$0] } }
  /// Whether the broker may be in an ISR and lead.
  package func isActive(_ id: NodeID) -> Bool { self.broker(id)?.isActive ?? false }

  package func configs(of resource: ConfigResource) -> ConfigValues { self.configs[resource] ?? [:] }
  /// In the order of kind and name.
  package var configuredResources: [ConfigResource] { self.configs.keys.sorted() }

  package func featureLevel(_ name: String) -> Int16? { self.features.first { $0.name == name }?.level }
  package var metadataVersion: Int16 { self.featureLevel(MetadataVersion.feature) ?? 0 }

  /// A topic that metric names could not tell from `name`, since they have `_` for `.`.
  package func topicColliding(with name: String) -> String? {
    guard TopicName.canCollide(name) else { return nil }
    return self.collisions[TopicName.unified(name)]?.first { $0 != name }
  }

  // MARK: Replay

  /// Applies one record of the log. Deterministic: the same records give equal images, on every node and in every process.
  ///
  /// - Throws: if the record does not fit the image, which means that the log was not written by a correct controller.
  ///   The image is then as it was.
  package mutating func apply(_ change: MetadataChange, at offset: Offset, into delta: inout MetadataDelta) throws(ReplayError) {
    switch change {
    case .topic(let name, let id): try self.addTopic(name, id, &delta)
    case .partition(let partition, let image): try self.addPartition(partition, image, &delta)
    case .partitionChange(let partition, let change):
      guard self.partition(partition) != nil else { throw .unknownPartition(partition) }
      self.changePartition(partition, change, &delta)
    case .removeTopic(let id): try self.removeTopic(id, &delta)
    case .registerBroker(let registration):
      if let place = self.place(of: registration.nodeID) {
        self.brokers[place] = registration
      } else {
        let place = self.brokers.firstIndex { $0.nodeID > registration.nodeID } ?? self.brokers.endIndex
        self.brokers.insert(registration, at: place)
      }
      delta.changedBrokers.insert(registration.nodeID)
    case .unregisterBroker(let id, let epoch): self.brokers.remove(at: try self.place(of: id, epoch, &delta))
    case .brokerRegistrationChange(let change):
      let place = try self.place(of: change.nodeID, change.epoch, &delta)
      if let isFenced = change.isFenced { self.brokers[place].isFenced = isFenced }
      if change.beginsControlledShutdown { self.brokers[place].isInControlledShutdown = true }
      if let directories = change.logDirectories { self.brokers[place].logDirectories = directories }
    case .fenceBroker(let id, let epoch): self.brokers[try self.place(of: id, epoch, &delta)].isFenced = true
    case .unfenceBroker(let id, let epoch): self.brokers[try self.place(of: id, epoch, &delta)].isFenced = false
    case .config(let resource, let name, let value): self.setConfig(resource, name, value, &delta)
    case .featureLevel(let name, let level): self.setFeature(name, level, &delta)
    case .producerIDs(_, _, let next):
      guard next >= self.nextProducerID else { throw .producerIDsWentBack(next) }
      self.nextProducerID = next
    case .clearEligibleLeaderReplicas(let name): try self.clearEligibleLeaderReplicas(name, &delta)
    case .noOp: break
    }
    self.offset = offset
  }

  private mutating func changePartition(_ partition: TopicIDPartition, _ change: PartitionChange, _ delta: inout MetadataDelta) {
    let index = Int(partition.partition.rawValue)
    // The old value is a copy of one partition; its topic stays where it is.
    let before = self.topics[partition.topicID]!.partitions[index]
    var after = before
    after.apply(change)
    self.topics[partition.topicID]!.partitions[index] = after
    delta.changedPartitions.insert(partition)
    delta.transitions.append(PartitionTransition(partition: partition, reason: change.reason, before: before, after: after))
  }

  private mutating func clearEligibleLeaderReplicas(_ name: String?, _ delta: inout MetadataDelta) throws(ReplayError) {
    let topics: [TopicImage]
    if let name {
      guard let topic = self.topic(name) else { throw .unknownTopicName(name) }
      topics = [topic]
    } else {
      topics = self.topicsByName
    }
    var change = PartitionChange()
    change.eligibleLeaderReplicas = []
    change.lastKnownEligibleLeaderReplicas = []
    change.reason = .minInSyncReplicasChanged
    for topic in topics {
      for (index, partition) in topic.partitions.enumerated()
      where !partition.eligibleLeaderReplicas.isEmpty || !partition.lastKnownEligibleLeaderReplicas.isEmpty {
        self.changePartition(TopicIDPartition(topic.id, PartitionID(Int32(index))), change, &delta)
      }
    }
  }

  private mutating func addTopic(_ name: String, _ id: KafkaUUID, _ delta: inout MetadataDelta) throws(ReplayError) {
    guard self.topics[id] == nil, self.topicIDs[name] == nil else { throw .topicExists(name: name, id: id) }
    self.topics[id] = TopicImage(name: name, id: id)
    self.topicIDs[name] = id
    if TopicName.canCollide(name) {
      // In the order of the names, so that the image does not depend on how it came to be.
      let place = self.collisions[TopicName.unified(name)]?.firstIndex { $0 > name }
      self.collisions[TopicName.unified(name), default: []].insert(name, at: place ?? self.collisions[TopicName.unified(name)]?.count ?? 0)
    }
    delta.createdTopics.insert(id)
  }

  private mutating func addPartition(
    _ partition: TopicIDPartition, _ image: PartitionImage, _ delta: inout MetadataDelta
  ) throws(ReplayError) {
    // The count alone: a copy of the topic held here would make the append below copy all its partitions.
    guard let count = self.topics[partition.topicID]?.partitions.count else { throw .unknownTopic(partition.topicID) }
    guard Int(partition.partition.rawValue) == count else { throw .partitionOutOfOrder(partition, expected: count) }
    self.topics[partition.topicID]!.partitions.append(image)
    self.partitionCount += 1
    delta.changedPartitions.insert(partition)
    delta.transitions.append(PartitionTransition(partition: partition, reason: image.reason, before: nil, after: image))
  }

  private mutating func removeTopic(_ id: KafkaUUID, _ delta: inout MetadataDelta) throws(ReplayError) {
    guard let topic = self.topics.removeValue(forKey: id) else { throw .unknownTopic(id) }
    self.topicIDs[topic.name] = nil
    self.configs[.topic(topic.name)] = nil
    self.partitionCount -= topic.partitions.count
    if TopicName.canCollide(topic.name) {
      let unified = TopicName.unified(topic.name)
      self.collisions[unified, default: []].removeAll { $0 == topic.name }
      if self.collisions[unified] == [] { self.collisions[unified] = nil }
    }
    delta.remove(topic)
  }

  private mutating func setConfig(_ resource: ConfigResource, _ name: String, _ value: String?, _ delta: inout MetadataDelta) {
    self.configs[resource, default: [:]][name] = value
    if self.configs[resource] == [:] { self.configs[resource] = nil }
    delta.changedConfigs.insert(resource)
  }

  private mutating func setFeature(_ name: String, _ level: Int16, _ delta: inout MetadataDelta) {
    self.features.removeAll { $0.name == name }
    // Level 0 is how the log says that a feature is off.
    if level != 0 {
      let place = self.features.firstIndex { $0.name > name } ?? self.features.endIndex
      self.features.insert(FeatureLevel(name: name, level: level), at: place)
    }
    delta.featuresChanged = true
  }

  private func place(of id: NodeID) -> Int? { self.brokers.firstIndex { $0.nodeID == id } }

  private func place(of id: NodeID, _ epoch: BrokerEpoch, _ delta: inout MetadataDelta) throws(ReplayError) -> Int {
    guard let place = self.place(of: id), self.brokers[place].epoch == epoch else { throw .unknownBroker(id, epoch) }
    delta.changedBrokers.insert(id)
    return place
  }
}

/// A record that does not fit the records before it.
package enum ReplayError: Error, Sendable, Hashable, CustomStringConvertible {
  case topicExists(name: String, id: KafkaUUID)
  case unknownTopic(KafkaUUID)
  case unknownTopicName(String)
  case unknownPartition(TopicIDPartition)
  case partitionOutOfOrder(TopicIDPartition, expected: Int)
  case unknownBroker(NodeID, BrokerEpoch)
  case producerIDsWentBack(ProducerID)

  package var description: String {
    switch self {
    case .topicExists(let name, let id): "a topic named \(name) or with id \(id) exists already"
    case .unknownTopic(let id): "there is no topic with id \(id)"
    case .unknownTopicName(let name): "there is no topic named \(name)"
    case .unknownPartition(let partition): "there is no partition \(partition)"
    case .partitionOutOfOrder(let partition, let expected): "partition \(partition) comes where \(expected) is the next"
    case .unknownBroker(let id, let epoch): "broker \(id) is not registered with epoch \(epoch)"
    case .producerIDsWentBack(let next): "producer ids would go back to \(next)"
    }
  }
}
