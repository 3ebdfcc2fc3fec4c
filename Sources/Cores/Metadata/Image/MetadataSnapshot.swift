package import Model

/// An image as records that give it again: the content of a snapshot of the metadata log, one record at a time.
///
/// The order is fixed: features, brokers, topics with their partitions, configs, producer ids; each by name or number. Equal images give
/// equal streams, whatever history they have.
package struct MetadataSnapshot: Sequence, IteratorProtocol, Sendable {
  private enum Stage { case features, brokers, topics, configs, producerIDs, end }

  private let image: MetadataImage
  private let topics: [TopicImage]
  private let resources: [ConfigResource]
  private let mutant: ControllerMutant?
  private var stage = Stage.features
  private var position = 0
  /// The records of a thing that has several.
  private var pending: [MetadataChange] = []
  private var pendingPosition = 0

  package init(_ image: MetadataImage) { self.init(image, mutant: nil) }

  init(_ image: MetadataImage, mutant: ControllerMutant?) {
    self.image = image
    self.topics = image.topicsByName
    self.resources = image.configuredResources
    self.mutant = mutant
  }

  package mutating func next() -> MetadataChange? {
    while true {
      if self.pendingPosition < self.pending.count {
        self.pendingPosition += 1
        return self.pending[self.pendingPosition - 1]
      }
      guard self.fill() else { return nil }
    }
  }

  /// Fills `pending` with the records of the next thing. False at the end.
  private mutating func fill() -> Bool {
    self.pending = []
    self.pendingPosition = 0
    let place = self.position
    self.position += 1
    switch self.stage {
    case .features:
      // metadata.version says how to read the rest, so that it comes first.
      let features = self.image.features.filter { $0.name == MetadataVersion.feature }
        + self.image.features.filter { $0.name != MetadataVersion.feature }
      if place == features.count { return self.advance(to: .brokers) }
      self.pending = [.featureLevel(name: features[place].name, level: features[place].level)]
    case .brokers:
      if place == self.image.brokers.count { return self.advance(to: .topics) }
      self.pending = [.registerBroker(self.image.brokers[place])]
    case .topics:
      if place == self.topics.count { return self.advance(to: .configs) }
      self.pending = self.records(of: self.topics[place])
    case .configs:
      if place == self.resources.count { return self.advance(to: .producerIDs) }
      let resource = self.resources[place]
      self.pending = self.image.configs(of: resource).pairs.map { .config(resource, name: $0.name, value: $0.value) }
    case .producerIDs:
      if self.image.nextProducerID > ProducerID(0) {
        // Who got the last block is of no interest any more.
        self.pending = [.producerIDs(broker: .none, epoch: .unknown, next: self.image.nextProducerID)]
      }
      _ = self.advance(to: .end)
    case .end: return false
    }
    return true
  }

  private mutating func advance(to stage: Stage) -> Bool {
    (self.stage, self.position) = (stage, 0)
    return true
  }

  private func records(of topic: TopicImage) -> [MetadataChange] {
    [.topic(name: topic.name, id: topic.id)]
      + topic.partitions.enumerated().map { index, partition in
        var partition = partition
        if mutates(self.mutant, .snapshotForgetsEpochs) { partition.partitionEpoch = PartitionEpoch(0) }
        return .partition(TopicIDPartition(topic.id, PartitionID(Int32(index))), partition)
      }
  }
}

extension MetadataImage {
  /// The image that a snapshot's records describe.
  ///
  /// - Parameter offset: of the last record that the snapshot stands for.
  package init(clusterID: String, snapshot: some Sequence<MetadataChange>, offset: Offset) throws(ReplayError) {
    self.init(clusterID: clusterID)
    var delta = MetadataDelta()
    for change in snapshot {
      try self.apply(change, at: offset, into: &delta)
      // Nobody looks at it, and it would hold everything twice.
      delta = MetadataDelta()
    }
    self.offset = offset
  }
}

extension MetadataDelta {
  /// What a reader of `new` has to do that knows `old`: for whoever loads a snapshot in place of the records between the two.
  package init(from old: MetadataImage, to new: MetadataImage) {
    self.init()
    for topic in old.topicsByName where new.topic(topic.id) == nil { self.removedTopics.append(topic) }
    for topic in new.topicsByName {
      let before = old.topic(topic.id)
      if before == nil { self.createdTopics.insert(topic.id) }
      // Arrays that are one and the same are equal without looking into them.
      if before == topic { continue }
      for (index, partition) in topic.partitions.enumerated() {
        let id = TopicIDPartition(topic.id, PartitionID(Int32(index)))
        let known = before?[id.partition]
        if known == partition { continue }
        self.changedPartitions.insert(id)
        self.transitions.append(PartitionTransition(partition: id, reason: partition.reason, before: known, after: partition))
      }
    }
    let removed = Set(self.removedTopics.map { ConfigResource.topic($0.name) })
    for resource in Set(old.configuredResources).union(new.configuredResources).sorted() {
      // Where a topic of the same name took the place of the removed one, its configs are new.
      let isGone = removed.contains(resource) && new.topicID(resource.name) == nil
      let isReplaced = removed.contains(resource) && !new.configs(of: resource).isEmpty
      if !isGone && (isReplaced || old.configs(of: resource) != new.configs(of: resource)) { self.changedConfigs.insert(resource) }
    }
    for id in Set(old.brokers.map(\.nodeID)).union(new.brokers.map(\.nodeID)).sorted() where old.broker(id) != new.broker(id) {
      self.changedBrokers.insert(id)
    }
    self.featuresChanged = old.features != new.features
  }
}
