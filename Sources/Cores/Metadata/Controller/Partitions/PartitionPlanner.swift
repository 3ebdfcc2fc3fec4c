import Model

/// Plans the changes of one decision: what a partition's topic is configured to is looked up once for each topic.
struct PartitionPlanner {
  private let state: ControllerMachine
  private let keepsEligible: Bool
  /// Which brokers may lead; `init` takes the registrations for it.
  var mayLead: (NodeID) -> Bool
  /// A topic's `min.insync.replicas` where it is about to change.
  var minOverride: ((TopicImage) -> Int)?
  private var topics: [KafkaUUID: TopicRules] = [:]

  struct TopicRules {
    var topic: TopicImage
    var minInSyncReplicas: Int
    var allowsUnclean: Bool
  }

  init(_ state: ControllerMachine) {
    self.state = state
    self.keepsEligible = state.keepsEligible
    let image = state.image
    self.mayLead = { image.isActive($0) }
  }

  mutating func rules(_ id: KafkaUUID) -> TopicRules? {
    if let known = self.topics[id] { return known }
    guard let topic = self.state.image.topic(id) else { return nil }
    let rules = TopicRules(
      topic: topic, minInSyncReplicas: self.minOverride?(topic) ?? self.state.minInSyncReplicas(of: topic),
      allowsUnclean: self.state.allowsUncleanElection(of: topic))
    self.topics[id] = rules
    return rules
  }

  /// Nil if there is no such partition.
  mutating func plan(_ id: TopicIDPartition, _ reason: PartitionChangeReason) -> PartitionPlan? {
    guard let rules = self.rules(id.topicID), let partition = rules.topic[id.partition] else { return nil }
    let image = self.state.image
    let isThere = self.mayLead
    var plan = PartitionPlan(
      partition, reason: reason, minInSyncReplicas: rules.minInSyncReplicas, keepsEligible: self.keepsEligible,
      mayLead: { node in isThere(node) && image.hasOnline(partition.directory(of: node), node) },
      newDirectory: { image.onlyDirectory(of: $0) })
    plan.mutant = self.state.mutant
    return plan
  }

  /// What becomes of `partitions` when a broker leaves their ISR. `isUnclean`: it leaves the ELR too.
  mutating func remove(
    _ broker: NodeID, from partitions: [TopicIDPartition], _ reason: PartitionChangeReason, isUnclean: Bool = false
  ) -> [MetadataChange] {
    let isThere = self.mayLead
    self.mayLead = { $0 != broker && isThere($0) }
    defer { self.mayLead = isThere }
    return partitions.compactMap { id in
      guard var plan = self.plan(id, reason) else { return nil }
      if isUnclean { plan.uncleanReplica = broker }
      if !mutates(self.state.mutant, .fencedStaysInSync) { plan.inSyncReplicas.removeAll { $0 == broker } }
      return plan.change().map { .partitionChange(id, $0) }
    }
  }
}

extension ControllerMachine {
  /// `min.insync.replicas` of the topic as the controller sees it: the topic's own value, else the cluster's.
  func minInSyncReplicas(of topic: TopicImage) -> Int { self.minInSyncReplicas(override: self.image.configs(of: .topic(topic.name))) }

  func minInSyncReplicas(override: ConfigValues) -> Int {
    let text = override[ControllerConfig.minInSyncReplicas] ?? self.layers.value(ControllerConfig.minInSyncReplicas)
    return max(1, text.flatMap { Int($0) } ?? 1)
  }

  func allowsUncleanElection(of topic: TopicImage) -> Bool {
    let name = ControllerConfig.uncleanLeaderElection
    return (self.image.configs(of: .topic(topic.name))[name] ?? self.layers.value(name)) == "true"
  }
}

extension MetadataImage {
  /// Kafka's reserved directory ids (KIP-858): 0 "not assigned yet", 1 "lost", 2 "being migrated".
  private static let lostDirectory = KafkaUUID(high: 0, low: 1)

  /// Whether the broker can reach what it keeps in the directory. Where it is not known which one that is, it is taken to be fine.
  func hasOnline(_ directory: KafkaUUID, _ broker: NodeID) -> Bool {
    if directory.high == 0 && directory.low < 100 { return directory != Self.lostDirectory }
    return self.broker(broker)?.logDirectories.contains(directory) ?? false
  }

  /// The directory of a new replica. A broker with several chooses one itself and reports it.
  func onlyDirectory(of broker: NodeID) -> KafkaUUID {
    guard let directories = self.broker(broker)?.logDirectories, directories.count == 1 else { return .zero }
    return directories[0]
  }
}
