import Base
import Controller
import Environment
import LogCore
package import Metadata
import Model
import Storage
import Synchronization

extension Broker {
  /// Takes the log directory and reads the metadata. Blocks.
  ///
  /// - Parameters:
  ///   - endpoints: where clients reach this broker, with the ports that were really bound; `config.advertisedListeners` otherwise.
  ///   - clusterID: the cluster this node must belong to; nil takes what the log directory says, and makes one up for a new directory.
  ///   - logLevels: what clients may see and change of the process's log.
  package static func open(
    environment: Env, staticConfig: StaticConfig, endpoints: [Listener]? = nil, clusterID: String? = nil, events: any BrokerEvents,
    logLevels: (any LogLevels)? = nil
  ) throws(BrokerStartError) -> Broker {
    let config: BrokerConfig
    do { config = try BrokerConfig(BrokerConfigLayers(staticConfig: staticConfig)) } catch { throw .config(error) }
    var generator = SeededGenerator(seed: environment.entropy())
    let directory: LogDirectory<Env.Disk>
    do throws(StorageError) {
      directory = try LogDirectory.open(
        disk: environment.disk, path: config.logDirectories[0], nodeID: config.nodeID, clusterID: clusterID,
        newClusterID: KafkaUUID.random(using: &generator).description, generator: &generator)
    } catch {
      throw .storage(error)
    }
    for notice in directory.notices { events.record(.storageNotice(notice)) }
    let metadata = MetadataSubscription(events: events)
    let controller: ControllerDriver
    do throws(ControllerLoadError) {
      let log = try Self.openMetadataLog(environment, config, directory, events)
      controller = try ControllerDriver(
        log: log, initial: MetadataImage(clusterID: directory.metaProperties.clusterID),
        settings: ControllerSettings(config, staticConfig: staticConfig), seed: generator.next(), listener: metadata)
    } catch {
      directory.unlock()
      throw .controller(error)
    }
    return Broker(
      environment: environment, config: config, staticConfig: staticConfig, endpoints: endpoints ?? config.advertisedListeners,
      logDirectory: directory, controller: controller, metadata: metadata, incarnationID: KafkaUUID.random(using: &generator),
      events: events, logLevels: logLevels)
  }

  private static func openMetadataLog(
    _ environment: Env, _ config: BrokerConfig, _ directory: LogDirectory<Env.Disk>, _ events: any BrokerEvents
  ) throws(ControllerLoadError) -> LocalMetadataLog<Env> {
    do throws(MetadataLogError) {
      let (log, report) = try LocalMetadataLog.open(environment: environment, store: directory, config: config)
      if let report, report.isWorthTelling { events.record(.logRecovered(report)) }
      return log
    } catch {
      throw .log(error)
    }
  }

  /// Loads the partitions, several at a time, registers with the controller and begins to serve. `done` is called once, from any thread.
  package func start(_ done: @escaping @Sendable (Result<Void, BrokerStartError>) -> Void) {
    let began = self.environment.now()
    let image = self.controller.image
    let found: LogDirectory<Env.Disk>.Listing
    do throws(StorageError) { found = try self.logDirectory.list() } catch { return done(.failure(.storage(error))) }
    for notice in found.notices { self.events.record(.storageNotice(notice)) }
    self.removeLeftovers(found.deleted)
    let (present, unreadable) = self.setStraysAside(found.partitions, image)
    self.events.record(
      .logDirectoryOpened(
        path: self.logDirectory.path, partitionCount: present.count, wasClosedCleanly: self.logDirectory.wasClosedCleanly))
    self.fetchers.update(image.brokers, listener: self.config.interBrokerListenerName)
    PartitionLoading(broker: self, image: image, present: present, unreadable: unreadable).start { topics in
      self.publish(self.catalog.updated(image: image, removing: [], adding: topics))
      self.metadata.attach(after: image.offset) { self.apply($0, $1) }
      self.register { result in
        if case .success = result {
          self.enter(.serving)
          self.startBackgroundWork()
          self.events.record(
            .started(
              node: self.config.nodeID, clusterID: self.clusterID, partitionCount: image.partitionCount,
              took: self.environment.now() - began))
        }
        done(result)
      }
    }
  }

  /// Makes the broker known and available for leadership; every partition here is led by it when `done` is called.
  private func register(_ done: @escaping @Sendable (Result<Void, BrokerStartError>) -> Void) {
    let registration = RegisterBroker(
      clusterID: self.clusterID, nodeID: self.config.nodeID, incarnationID: self.incarnationID, endpoints: self.endpoints,
      rack: self.config.rack, logDirectories: [self.logDirectory.metaProperties.directoryID],
      previousEpoch: self.logDirectory.cleanShutdownBrokerEpoch ?? .unknown)
    self.controller.submit(registration) { result in
      switch result {
      case .failure(let error): done(.failure(.registration(error)))
      case .success(let epoch):
        self.noteRegistration(epoch)
        self.controller.submit(UnfenceBroker(nodeID: self.config.nodeID, epoch: epoch)) { done($0.mapError { .registration($0) }) }
      }
    }
  }

  /// Directories of deleted partitions that an earlier process did not get to remove.
  private func removeLeftovers(_ paths: [String]) {
    for path in paths {
      self.background.soon {
        do throws(DiskError) { try self.environment.disk.removeTree(path) } catch {
          self.events.record(.backgroundWorkFailed(what: "removing \(path)", cause: .disk(error)))
        }
      }
    }
  }

  /// Which of the partitions found belong here. A directory of a topic that is no more, or that another of the same name has replaced, is
  /// renamed so that nothing is written into it, and kept: if the metadata is wrong about it, the records are still there.
  ///
  /// `unreadable` are those of which it cannot be told: they stay as they are and out of service.
  private func setStraysAside(
    _ found: [TopicPartition], _ image: MetadataImage
  ) -> (present: Set<TopicPartition>, unreadable: [TopicPartition: StorageError]) {
    var present: Set<TopicPartition> = []
    var unreadable: [TopicPartition: StorageError] = [:]
    for partition in found where partition.topic != TopicName.clusterMetadata {
      let registered = image.topic(partition.topic).flatMap { topic in topic[partition.partition].map { (topic.id, $0) } }
      var reason = "the metadata has no such partition"
      if let (id, assignment) = registered {
        do throws(StorageError) {
          let stored = try self.logDirectory.topicID(of: partition)
          if stored == id || stored == nil, assignment.isReplica(self.config.nodeID) {
            present.insert(partition)
            continue
          }
          reason =
            stored == id || stored == nil
            ? "this broker is not one of its replicas" : "it belongs to another topic of this name, \(stored!)"
        } catch {
          // Whose it is cannot be told just now, which is no reason to begin anew in its place.
          self.events.record(.partitionOffline(partition, cause: error))
          unreadable[partition] = error
          continue
        }
      }
      do throws(DiskError) { try self.setAside(partition, reason: reason) } catch {
        let path = self.logDirectory.directory(of: partition)
        self.events.record(.backgroundWorkFailed(what: "setting \(path) aside (\(reason))", cause: .disk(error)))
      }
    }
    return (present, unreadable)
  }

  /// Renames a partition's directory so that nothing is written into it any more. Blocks.
  func setAside(_ partition: TopicPartition, reason: String) throws(DiskError) {
    let path = self.logDirectory.directory(of: partition)
    let aside = "\(path).\(String(self.environment.entropy(), radix: 16))-stray"
    try self.environment.disk.rename(path, to: aside)
    self.events.record(.strayPartition(path: aside, reason: reason))
    try self.environment.disk.syncDirectory(self.logDirectory.path)
  }
}

/// The loading of all partitions at start: workers take the next topic in turn, each on a lane of its own.
private final class PartitionLoading<Env: Environment>: Sendable {
  private struct State: Sendable {
    var next = 0
    var workersLeft: Int
    var topics: [HostedTopic<Env>?]
  }
  private let broker: Broker<Env>
  private let image: MetadataImage
  private let defaults: TopicConfig
  private let topics: [TopicImage]
  private let present: Set<TopicPartition>
  private let unreadable: [TopicPartition: StorageError]
  private let state: Mutex<State>

  init(broker: Broker<Env>, image: MetadataImage, present: Set<TopicPartition>, unreadable: [TopicPartition: StorageError]) {
    self.broker = broker
    self.image = image
    self.defaults = broker.topicDefaults(image)
    self.topics = image.topicsByName
    self.present = present
    self.unreadable = unreadable
    self.state = Mutex(State(workersLeft: broker.config.recoveryThreads, topics: Array(repeating: nil, count: self.topics.count)))
  }

  func start(_ done: @escaping @Sendable ([HostedTopic<Env>]) -> Void) {
    for worker in 0..<self.broker.config.recoveryThreads {
      self.broker.environment.submit(to: .loading(worker: worker)) {
        self.work()
        let loaded: [HostedTopic<Env>]? = self.state.withLock { state in
          state.workersLeft -= 1
          return state.workersLeft == 0 ? state.topics.compactMap { $0 } : nil
        }
        if let loaded { done(loaded) }
      }
    }
  }

  private func work() {
    while true {
      let index: Int? = self.state.withLock { state in
        guard state.next < self.topics.count else { return nil }
        defer { state.next += 1 }
        return state.next
      }
      guard let index else { return }
      let topic = self.load(self.topics[index])
      self.state.withLock { $0.topics[index] = topic }
    }
  }

  private func load(_ topic: TopicImage) -> HostedTopic<Env> {
    let config = self.broker.topicConfig(topic.name, self.image, self.defaults)
    let slots = topic.partitions.enumerated().map { index, partition -> HostedTopic<Env>.Slot in
      guard partition.isReplica(self.broker.config.nodeID) else { return .elsewhere }
      let name = TopicPartition(topic.name, PartitionID(Int32(index)))
      if let error = self.unreadable[name] { return .offline(canPass: error.canPass) }
      guard self.present.contains(name) else { return self.broker.create(name, topic.id, partition, self.image, config) }
      return self.broker.slot(of: name) { () throws(StorageError) in
        try self.broker.loadLog(name, topic.id, partition, self.image, config)
      }
    }
    return HostedTopic(name: topic.name, id: topic.id, slots: slots, config: config)
  }
}

extension Broker {
  /// Opens a partition's log and begins to serve it.
  func loadLog(
    _ partition: TopicPartition, _ topicID: KafkaUUID, _ image: PartitionImage, _ metadata: MetadataImage, _ config: TopicConfig
  ) throws(StorageError) -> Partition<Env> {
    let settings = self.settings(config)
    var report = RecoveryReport(topicPartition: partition, wasClean: true, recoveryPoint: .zero)
    let log: PartitionLog<Env.Disk>
    do throws(StorageError) {
      log = try PartitionLog.open(
        in: self.logDirectory, topicPartition: partition, config: settings.log, now: self.environment.wallClock(), report: &report)
    } catch {
      // What was cut is cut, and the next try does not find it any more.
      if report.removedByteCount > 0 || !report.notices.isEmpty { self.events.record(.logRecovered(report)) }
      throw error
    }
    if report.isWorthTelling { self.events.record(.logRecovered(report)) }
    let highWatermark = self.logDirectory.checkpointedHighWatermark(of: partition)
    return self.serve(log, topicID, image, metadata, settings, highWatermark: highWatermark)
  }
}
