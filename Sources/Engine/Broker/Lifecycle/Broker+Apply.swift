import Base
import Environment
import LogCore
package import Metadata
import Model
import Replication
import Storage
import Synchronization

// Follows the metadata: partitions come, change and go as the committed image says. One change at a time, on the control line or the
// lane of partitions (`MetadataSubscription`).
extension Broker {
  package func apply(_ image: MetadataImage, _ delta: MetadataDelta) {
    self.changing.withLock { _ in self.change(to: image, delta) }
    self.handoverChanged()
    self.retryOfflinePartitions()
  }

  /// What did not change costs nothing, but for a change of a broker, which every partition is told of.
  private func change(to image: MetadataImage, _ delta: MetadataDelta) {
    let catalog = self.catalog
    if !delta.changedBrokers.isEmpty { self.fetchers.update(image.brokers, listener: self.config.interBrokerListenerName) }
    if delta.changedConfigs.contains(where: { self.concernsThisBroker($0) }) { self.limitReplication(image) }
    var changes: [KafkaUUID: [PartitionID]] = [:]
    for partition in delta.changedPartitions { changes[partition.topicID, default: []].append(partition.partition) }
    let reconfigured = self.reconfiguredTopics(image, delta)
    let defaults = self.topicDefaults(image)
    let touched = Set(changes.keys).union(delta.createdTopics).union(reconfigured)
    let topics = touched.compactMap { image.topic($0) }.sorted { $0.name < $1.name }
    var hosted: [HostedTopic<Env>] = []
    // What followers ask for because of this goes out together.
    self.fetchers.inOneTurn {
      self.tellStandings(of: delta.changedBrokers, image, catalog.hostedPartitions)
      // What goes makes room first: a new topic may have the name of an old one.
      for topic in delta.removedTopics { self.delete(topic, catalog) }
      for topic in topics {
        let existing = catalog.topic(.id(topic.id))
        let isReconfigured = existing == nil || reconfigured.contains(topic.id)
        let config = isReconfigured ? self.topicConfig(topic.name, image, defaults) : existing?.config ?? defaults
        if let topic = self.host(topic, image, config, existing, changes[topic.id] ?? []) { hosted.append(topic) }
      }
    }
    var lingering = catalog.lingering
    lingering.follow(
      delta.changedBrokers, from: catalog.image, to: image, now: self.environment.now(), linger: self.config.cluster.fencedBrokerLinger)
    self.publish(catalog.updated(image: image, removing: delta.removedTopics, adding: hosted, lingering: lingering))
    self.doubts.settled(delta.changedBrokers)
  }

  /// Topics whose configuration may be another now.
  private func reconfiguredTopics(_ image: MetadataImage, _ delta: MetadataDelta) -> Set<KafkaUUID> {
    var topics: Set<KafkaUUID> = []
    for resource in delta.changedConfigs {
      switch resource.kind {
      case .topic:
        if let id = image.topicID(resource.name) { topics.insert(id) }
      case .broker where self.concernsThisBroker(resource):
        // Any topic may inherit it.
        topics.formUnion(image.topicsByName.map(\.id))
      case .broker, .brokerLogger, .clientMetrics, .group: break
      }
    }
    return topics
  }

  private func concernsThisBroker(_ resource: ConfigResource) -> Bool {
    resource.kind == .broker && (resource.name.isEmpty || Int32(resource.name) == self.config.nodeID.rawValue)
  }

  /// Carries out the changes of the topic's partitions. Returns the topic as it is now if another object has to stand for it.
  private func host(
    _ topic: TopicImage, _ image: MetadataImage, _ config: TopicConfig, _ existing: HostedTopic<Env>?, _ changed: [PartitionID]
  ) -> HostedTopic<Env>? {
    let isReconfigured = existing.map { $0.config != config } ?? true
    if let existing, isReconfigured { for partition in existing.hostedPartitions { partition.configure(self.settings(config)) } }
    var slots: [HostedTopic<Env>.Slot] = existing?.slots ?? []
    var hasOtherSlots = existing == nil
    for id in changed.sorted() {
      guard let partition = topic[id] else { continue }
      let index = Int(id.rawValue)
      let old = index < slots.count ? slots[index] : nil
      guard let slot = self.change(TopicPartition(topic.name, id), topic.id, old, to: partition, image, config) else { continue }
      if index < slots.count { slots[index] = slot } else { slots.append(slot) }
      hasOtherSlots = true
    }
    if existing != nil, isReconfigured { self.events.record(.topicConfigChanged(topic: topic.name)) }
    return isReconfigured || hasOtherSlots ? HostedTopic(name: topic.name, id: topic.id, slots: slots, config: config) : nil
  }

  /// Makes the partition what its image says. Returns what stands in its place from now on; nil: the same as before.
  private func change(
    _ name: TopicPartition, _ topicID: KafkaUUID, _ slot: HostedTopic<Env>.Slot?, to partition: PartitionImage, _ image: MetadataImage,
    _ config: TopicConfig
  ) -> HostedTopic<Env>.Slot? {
    let isHere = partition.isReplica(self.config.nodeID)
    switch slot {
    case .hosted(let hosted):
      if isHere {
        hosted.apply(partition) { self.standings(of: partition, image) }
        return nil
      }
      // Reassigned to others, who have all of it: nobody needs what is here.
      self.delete(hosted)
      return .elsewhere
    case .offline:
      if isHere { return nil }
      if self.reopening.withLock({ $0 != name }) { self.deleteUnopened(name, topicID, config) }
      return .elsewhere
    case .elsewhere, nil:
      if isHere { return self.create(name, topicID, partition, image, config) }
      return slot == nil ? .elsewhere : nil
    }
  }

  // MARK: - Brokers

  /// Where the brokers with a replica of the partition stand, for its leader.
  func standings(of partition: PartitionImage, _ image: MetadataImage) -> [BrokerStanding] {
    partition.assignedReplicas.compactMap { image.broker($0) }.map { BrokerStanding($0) }
  }

  func tellStandings(of brokers: some Sequence<NodeID>, _ image: MetadataImage, _ partitions: [Partition<Env>]) {
    for node in brokers where node != self.config.nodeID {
      // One that is not registered any more is as good as fenced.
      let standing = image.broker(node).map { BrokerStanding($0) } ?? BrokerStanding(node: node, brokerEpoch: .unknown, isFenced: true)
      for partition in partitions { partition.standingChanged(standing) }
    }
  }

  // MARK: - Partitions

  func create(
    _ partition: TopicPartition, _ topicID: KafkaUUID, _ image: PartitionImage, _ metadata: MetadataImage, _ config: TopicConfig
  ) -> HostedTopic<Env>.Slot {
    // An earlier topic's partition of this name is being opened, and goes when that has ended: this one is made with the next try.
    if self.reopening.withLock({ $0 == partition }) { return .offline(canPass: true) }
    return self.slot(of: partition) { () throws(StorageError) in try self.createLog(partition, topicID, image, metadata, config) }
  }

  /// The partition that `open` puts into service, or the place of one that is out of it.
  func slot(of partition: TopicPartition, _ open: () throws(StorageError) -> Partition<Env>) -> HostedTopic<Env>.Slot {
    do throws(StorageError) { return .hosted(try open()) } catch {
      self.events.record(.partitionOffline(partition, cause: error))
      return .offline(canPass: error.canPass)
    }
  }

  /// Makes a partition's log and begins to serve it. What an earlier topic of this name left is set aside.
  func createLog(
    _ partition: TopicPartition, _ topicID: KafkaUUID, _ image: PartitionImage, _ metadata: MetadataImage, _ config: TopicConfig
  ) throws(StorageError) -> Partition<Env> {
    let settings = self.settings(config)
    func create() throws(StorageError) -> PartitionLog<Env.Disk> {
      try PartitionLog.create(
        in: self.logDirectory, topicPartition: partition, topicID: topicID, config: settings.log, now: self.environment.wallClock())
    }
    let log: PartitionLog<Env.Disk>
    do throws(StorageError) { log = try create() } catch {
      guard case .alreadyExists = error else { throw error }
      guard let objection = try self.objection(to: partition, of: topicID) else {
        // Its own: the replica was here before, and its log goes on.
        return try self.loadLog(partition, topicID, image, metadata, config)
      }
      do throws(DiskError) { try self.setAside(partition, reason: objection) } catch { throw .disk(error) }
      log = try create()
    }
    self.events.record(.partitionCreated(partition, topicID: topicID))
    return self.serve(log, topicID, image, metadata, settings, highWatermark: nil)
  }

  /// Puts a log into service as the image says.
  func serve(
    _ log: PartitionLog<Env.Disk>, _ topicID: KafkaUUID, _ image: PartitionImage, _ metadata: MetadataImage,
    _ settings: PartitionSettings, highWatermark: Offset?
  ) -> Partition<Env> {
    let partition = Partition(
      topicID: topicID, log: log, image: image, settings: settings, checkpointedHighWatermark: highWatermark,
      surroundings: self.surroundings)
    partition.apply(image) { self.standings(of: image, metadata) }
    return partition
  }

  private var surroundings: PartitionSurroundings<Env> {
    PartitionSurroundings(
      node: self.config.nodeID, environment: self.environment, syncer: self.syncer, deadlines: self.deadlines, lease: self.lease,
      leaseWaits: self.leaseWaits, proposals: self.proposals, fetchers: self.fetchers, leaderThrottle: self.leaderThrottle,
      directoryHealth: self.directoryHealth, events: self.events)
  }

  private func delete(_ topic: TopicImage, _ catalog: Catalog<Env>) {
    guard let hosted = catalog.topic(.id(topic.id)) else { return }
    for (index, slot) in hosted.slots.enumerated() {
      let name = TopicPartition(topic.name, PartitionID(Int32(index)))
      switch slot {
      case .elsewhere: continue
      case .hosted(let partition): self.delete(partition)
      // What is being opened is deleted by whoever opens it.
      case .offline: if self.reopening.withLock({ $0 != name }) { self.deleteUnopened(name, topic.id, hosted.config) }
      }
    }
  }

  func delete(_ partition: Partition<Env>) {
    self.delete(partition.topicPartition, partition.topicID) { () throws(StorageError) in try partition.delete(id: self.randomID()) }
  }

  /// Deletes a partition whose log could not be opened, if what lies there is the topic's.
  func deleteUnopened(_ name: TopicPartition, _ topicID: KafkaUUID, _ config: TopicConfig) {
    self.delete(name, topicID) { () throws(StorageError) in
      do throws(DiskError) {
        if try self.environment.disk.kind(of: self.logDirectory.directory(of: name)) == nil { return nil }
      } catch {
        throw .disk(error)
      }
      if let stored = try self.logDirectory.topicID(of: name), stored != topicID { return nil }
      let removal = self.logDirectory.removal(of: name, id: self.randomID(), delay: config.fileDeleteDelay)
      if let error = try removal.mark() {
        self.events.record(.backgroundWorkFailed(what: "forgetting the checkpoints of \(name)", cause: error))
      }
      return removal
    }
  }

  private func delete(
    _ name: TopicPartition, _ topicID: KafkaUUID, _ mark: () throws(StorageError) -> DirectoryRemoval<Env.Disk>?
  ) {
    do throws(StorageError) {
      guard let removal = try mark() else { return }
      self.events.record(.partitionDeleted(name, topicID: topicID))
      self.remove(removal)
    } catch {
      // A directory that belongs to no topic is set aside by the next start, or when one of this name is made.
      self.events.record(.backgroundWorkFailed(what: "deleting \(name)", cause: error))
    }
  }

  // MARK: - Configuration

  /// What topics without overrides get. Values set while running were checked by the controller, those of the start by `open`.
  func topicDefaults(_ image: MetadataImage) -> TopicConfig {
    (try? self.configLayers(image).topicDefaults()) ?? self.config.topicDefaults
  }

  func topicConfig(_ name: String, _ image: MetadataImage, _ defaults: TopicConfig) -> TopicConfig {
    let overrides = image.configs(of: .topic(name))
    if overrides.isEmpty { return defaults }
    var problems: [ConfigError] = []
    let config = TopicConfig(overrides: overrides, over: defaults, problems: &problems)
    for problem in problems { self.events.record(.topicConfigIgnored(topic: name, problem)) }
    return config
  }

  func settings(_ config: TopicConfig) -> PartitionSettings {
    let jitterMax = min(config.segmentJitter, config.segmentAge).wholeMilliseconds
    let jitter = jitterMax > 0 ? Int64(self.environment.entropy() % UInt64(jitterMax)) : 0
    return PartitionSettings(
      log: LogConfig(
        segmentBytes: config.segmentBytes, segmentAge: config.segmentAge, segmentJitter: .milliseconds(jitter),
        segmentIndexBytes: config.segmentIndexBytes, indexIntervalBytes: config.indexIntervalBytes,
        retentionBytes: config.cleanupPolicy.contains(.delete) ? config.retentionBytes : nil,
        retentionAge: config.cleanupPolicy.contains(.delete) ? config.retention : nil, fileDeleteDelay: config.fileDeleteDelay,
        producerIDExpiration: self.config.producerIDExpiration, holdsUnsyncedFiles: config.flushPolicy == .fsync),
      leader: self.leaderSettings(config), follower: self.followerSettings(config), flushInterval: config.flushInterval,
      throttledLeaders: config.throttledLeaders, throttledFollowers: config.throttledFollowers)
  }

  func randomID() -> KafkaUUID {
    var generator = SeededGenerator(seed: self.environment.entropy())
    return KafkaUUID.random(using: &generator)
  }
}
