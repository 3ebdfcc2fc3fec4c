package import Model

/// What one committed batch changed, for those who act on it: each thing once, in the order of its first change.
package struct MetadataDelta: Sendable, Hashable {
  /// In the new image.
  package var createdTopics: UniqueList<KafkaUUID> = []
  /// As they were; not in the new image.
  package var removedTopics: [TopicImage] = []
  /// New or changed, of topics in the new image.
  package var changedPartitions: UniqueList<TopicIDPartition> = []
  /// Every single change of a partition, in the order of the log: what is told to people, not what is acted on.
  package var transitions: [PartitionTransition] = []
  /// A removed topic's configs go with it and are not listed.
  package var changedConfigs: UniqueList<ConfigResource> = []
  package var changedBrokers: UniqueList<NodeID> = []
  package var featuresChanged = false

  package init() {}

  /// Everything in `image`, as if it had just come to be: for whoever starts.
  package init(everythingIn image: MetadataImage) {
    for topic in image.topicsByName {
      self.createdTopics.insert(topic.id)
      for index in topic.partitions.indices { self.changedPartitions.insert(TopicIDPartition(topic.id, PartitionID(Int32(index)))) }
    }
    for resource in image.configuredResources { self.changedConfigs.insert(resource) }
    for broker in image.brokers { self.changedBrokers.insert(broker.nodeID) }
    self.featuresChanged = true
  }

  package var isEmpty: Bool {
    self.createdTopics.isEmpty && self.removedTopics.isEmpty && self.changedPartitions.isEmpty && self.changedConfigs.isEmpty
      && self.changedBrokers.isEmpty && !self.featuresChanged
  }

  mutating func remove(_ topic: TopicImage) {
    self.changedPartitions.removeAll { $0.topicID == topic.id }
    self.transitions.removeAll { $0.partition.topicID == topic.id }
    _ = self.changedConfigs.remove(.topic(topic.name))
    // A topic that came and went within the delta was never seen by anyone.
    if !self.createdTopics.remove(topic.id) { self.removedTopics.append(topic) }
  }
}
