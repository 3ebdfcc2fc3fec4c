import Base
import Environment
import LogCore
import Metadata
import Model
import Storage
import Synchronization

// Follows the metadata: partitions come, change and go as the committed image says. One change at a time, on the metadata log's thread.
extension Broker {
  func apply(_ image: MetadataImage, _ delta: MetadataDelta) {
    self.changing.withLock { _ in self.change(to: image, delta) }
    self.retryOfflinePartitions()
  }

  private func change(to image: MetadataImage, _ delta: MetadataDelta) {
    let catalog = self.catalog
    // What goes makes room first: a new topic may have the name of an old one.
    for topic in delta.removedTopics { self.delete(topic, catalog) }
    let defaults = self.topicDefaults(image)
    var changed = Set(delta.changedPartitions.map(\.topicID)).union(delta.createdTopics)
    for resource in delta.changedConfigs {
      switch resource.kind {
      case .topic:
        if let id = image.topicID(resource.name) { changed.insert(id) }
      case .broker where resource.name.isEmpty || Int32(resource.name) == self.config.nodeID.rawValue:
        // Any topic may inherit it.
        changed.formUnion(image.topicsByName.map(\.id))
      case .broker, .brokerLogger, .clientMetrics, .group: break
      }
    }
    let topics = changed.compactMap { image.topic($0) }.sorted { $0.name < $1.name }
    let hosted = topics.map { self.host($0, image, defaults, catalog.topic(.id($0.id)), delta) }
    self.publish(catalog.updated(image: image, removing: delta.removedTopics, adding: hosted))
  }

  /// The topic as it is now, with the partitions there are and those that must be made.
  private func host(
    _ topic: TopicImage, _ image: MetadataImage, _ defaults: TopicConfig, _ existing: HostedTopic<Env>?, _ delta: MetadataDelta
  ) -> HostedTopic<Env> {
    let config = self.topicConfig(topic.name, image, defaults)
    var slots: [HostedTopic<Env>.Slot] = existing?.slots ?? []
    slots.reserveCapacity(topic.partitions.count)
    for (index, partition) in topic.partitions.enumerated() {
      let id = PartitionID(Int32(index))
      if index < slots.count {
        if case .hosted(let hosted) = slots[index] {
          if config != existing?.config { hosted.configure(self.settings(config)) }
          if delta.changedPartitions.contains(TopicIDPartition(topic.id, id)) { hosted.apply(partition, node: self.config.nodeID) }
        }
      } else if partition.isReplica(self.config.nodeID) {
        slots.append(self.create(TopicPartition(topic.name, id), topic.id, partition, config))
      } else {
        slots.append(.elsewhere)
      }
    }
    if let existing, existing.config != config { self.events.record(.topicConfigChanged(topic: topic.name)) }
    return HostedTopic(name: topic.name, id: topic.id, slots: slots, config: config)
  }

  func create(_ partition: TopicPartition, _ topicID: KafkaUUID, _ image: PartitionImage, _ config: TopicConfig) -> HostedTopic<Env>.Slot
  {
    // An earlier topic's partition of this name is being opened, and goes when that has ended: this one is made with the next try.
    if self.reopening.withLock({ $0 == partition }) { return .offline(canPass: true) }
    return self.slot(of: partition) { () throws(StorageError) in try self.createLog(partition, topicID, image, config) }
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
    _ partition: TopicPartition, _ topicID: KafkaUUID, _ image: PartitionImage, _ config: TopicConfig
  ) throws(StorageError) -> Partition<Env> {
    let settings = self.settings(config)
    func create() throws(StorageError) -> PartitionLog<Env.Disk> {
      try PartitionLog.create(
        in: self.logDirectory, topicPartition: partition, topicID: topicID, config: settings.log, now: self.environment.wallClock())
    }
    let log: PartitionLog<Env.Disk>
    do throws(StorageError) { log = try create() } catch {
      guard case .alreadyExists = error, let stored = try self.logDirectory.topicID(of: partition), stored != topicID else { throw error }
      do throws(DiskError) { try self.setAside(partition, reason: "it belongs to another topic of this name, \(stored)") } catch {
        throw .disk(error)
      }
      log = try create()
    }
    self.events.record(.partitionCreated(partition, topicID: topicID))
    return self.serve(log, topicID, image, settings, highWatermark: nil)
  }

  /// Puts a log into service as the image says.
  func serve(
    _ log: PartitionLog<Env.Disk>, _ topicID: KafkaUUID, _ image: PartitionImage, _ settings: PartitionSettings, highWatermark: Offset?
  ) -> Partition<Env> {
    let partition = Partition(
      topicID: topicID, log: log, node: self.config.nodeID, image: image, settings: settings, checkpointedHighWatermark: highWatermark,
      environment: self.environment, syncer: self.syncer, events: self.events)
    partition.apply(image, node: self.config.nodeID)
    return partition
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
      flushPolicy: config.replicationFlushPolicy, flushInterval: config.flushInterval)
  }

  func randomID() -> KafkaUUID {
    var generator = SeededGenerator(seed: self.environment.entropy())
    return KafkaUUID.random(using: &generator)
  }
}
