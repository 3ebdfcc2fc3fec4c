import Base
import Controller
import Environment
import LogCore
package import Metadata
import Model
import NIOCore
import Peers
import Raft
import Replication
import Storage
import Synchronization

/// How far a broker has come with its partitions.
enum LoadingState: Sendable {
  case notBegun
  /// `whenDone`: what waits for its end.
  case underWay(whenDone: [@Sendable () -> Void])
  case done
}

extension Broker {
  /// Takes the log directory and opens the metadata log. Blocks.
  ///
  /// - Parameters:
  ///   - endpoints: where clients reach this broker, with the ports that were really bound; `config.advertisedListeners` otherwise.
  ///   - controllerEndpoints: the same of the controller's listeners, for other nodes.
  ///   - clusterID: the cluster this node must belong to; nil takes what the log directory says. A new directory without one gets that of
  ///     its static quorum, or one of its own where the cluster begins with this node.
  ///   - isFirst: a new directory begins a cluster of which this node is the only controller so far (`--standalone`).
  ///   - logLevels: what clients may see and change of the process's log.
  package static func open(
    environment: Env, staticConfig: StaticConfig, endpoints: [Listener]? = nil, controllerEndpoints: [Listener]? = nil,
    clusterID: String? = nil, isFirst: Bool = false, events: any BrokerEvents, logLevels: (any LogLevels)? = nil
  ) throws(BrokerStartError) -> Broker {
    let config: BrokerConfig
    do { config = try BrokerConfig(BrokerConfigLayers(staticConfig: staticConfig)) } catch { throw .config(error) }
    let cluster = config.cluster
    var generator = SeededGenerator(seed: environment.entropy())
    let isFirst = isFirst || cluster.isItsOwnBootstrap
    let directory = try Self.openDirectory(environment, config, clusterID: clusterID, isFirst: isFirst, &generator)
    for notice in directory.notices { events.record(.storageNotice(notice)) }
    let metadata = MetadataSubscription(events: events, isBackwards: environment.makes(.actsOnMetadataBackwards)) {
      environment.submit(to: .partitions, $0)
    }
    let properties = directory.metaProperties
    let setup = ControllerSetup(
      config, staticConfig: staticConfig, directoryID: properties.directoryID, clusterID: properties.clusterID,
      endpoints: controllerEndpoints ?? cluster.advertisedControllerListeners, isFirst: isFirst)
    let controller: ControllerDriver<Env>
    do throws(ControllerLoadError) {
      let report: RecoveryReport?
      (controller, report) = try ControllerDriver.open(
        setup, environment: environment, store: directory, seed: generator.next(), listener: metadata)
      if let report, report.isWorthTelling { events.record(.logRecovered(report)) }
    } catch {
      directory.unlock()
      throw .controller(error)
    }
    let incarnationID = KafkaUUID.random(using: &generator)
    let itself = WeakBroker<Env>()
    let channel = QuorumChannel(
      node: config.nodeID, environment: environment,
      address: { Self.address(of: $0, in: controller.quorum.machine, listener: setup.raft.listener) },
      serve: { frame, reply in itself.serve(frame, listener: setup.raft.listener, reply) })
    // Taken away by the start, before there is anything to lead.
    let lease = ServingLease(.unlimited)
    let membership = BrokerMembership(
      BrokerLifecycleSettings(
        session: cluster.session, heartbeatInterval: cluster.heartbeatInterval, registrationTimeout: cluster.registrationTimeout),
      identity: .init(
        clusterID: properties.clusterID, nodeID: config.nodeID, incarnationID: incarnationID,
        endpoints: endpoints ?? config.advertisedListeners, rack: config.rack, logDirectories: [properties.directoryID],
        previousEpoch: directory.cleanShutdownBrokerEpoch ?? .unknown),
      environment: environment, channel: channel, lease: lease)
    let broker = Broker(
      environment: environment, config: config, staticConfig: staticConfig, logDirectory: directory, controller: controller,
      channel: channel, membership: membership, lease: lease, metadata: metadata, incarnationID: incarnationID, events: events,
      logLevels: logLevels)
    itself.set(broker)
    broker.connect(to: channel)
    broker.directoryHealth.onFailure { [weak broker] in broker?.directoryFailed($0) }
    return broker
  }

  private static func openDirectory(
    _ environment: Env, _ config: BrokerConfig, clusterID: String?, isFirst: Bool, _ generator: inout SeededGenerator
  ) throws(BrokerStartError) -> LogDirectory<Env.Disk> {
    let cluster = config.cluster
    let path = config.logDirectories[0]
    var newID = clusterID
    if newID == nil {
      if let derived = cluster.derivedClusterID {
        newID = derived.description
      } else if cluster.isAlone || isFirst {
        newID = KafkaUUID.random(using: &generator).description
      } else {
        // A directory that has been used says to which cluster it belongs.
        let isNew: Bool
        do throws(DiskError) { isNew = try environment.disk.kind(of: path + "/" + LogDirectoryFile.metaProperties) == nil } catch {
          throw .storage(.disk(error))
        }
        if isNew {
          throw .identity(
            "a new node of a dynamic quorum must be told its cluster: start it with --cluster-id, or with --standalone if the cluster "
              + "begins with it")
        }
      }
    }
    do throws(StorageError) {
      return try LogDirectory.open(
        disk: environment.disk, path: path, nodeID: config.nodeID, clusterID: clusterID,
        newClusterID: newID ?? "", generator: &generator, mutant: EngineMutant.allCases.first { environment.makes($0) })
    } catch {
      throw .storage(error)
    }
  }

  private static func address(of node: NodeID, in machine: RaftMachine, listener: String) -> NodeAddress? {
    let known = machine.log.voters[node]?.address(at: listener)
    return known.map { NodeAddress(host: $0.host, port: $0.port) }
  }

  /// Joins the quorum and, as a broker, the cluster: registers with the controller, loads the partitions once the metadata knows of it, is
  /// unfenced and serves. `done` is called once, from any thread; a node that finds no quorum waits for one.
  package func start(_ done: @escaping @Sendable (Result<Void, BrokerStartError>) -> Void) {
    let began = self.environment.now()
    self.enter(.loading)
    self.metadata.listen(
      observe: { self.noteMetadata($0) },
      leaderChanged: { leader in
        // Whoever leads no more may be dead, with the connections that its own heartbeats would have come by.
        if let former = self.channel.leaderChanged(leader) { self.controller.brokerConnectionLost(former) }
        self.membership.tell(.controllerChanged)
      },
      becameActive: { self.membership.tell(.controllerChanged) })
    let outcome = FirstOutcome<Result<Void, BrokerStartError>, Env.Timer>(done)
    // The start waits for as long as it takes; whoever looks should know for what.
    let patience = self.environment.schedule(after: .seconds(5)) { self.events.record(.waitingForQuorum(node: self.config.nodeID)) }
    self.controller.start { loaded in
      patience.cancel()
      switch loaded {
      case .failure(let error): outcome.end(.failure(.controller(error)))
      case .success(let image) where !self.config.cluster.isBroker:
        self.attach(after: .unknown, [], image)
        self.finishStart(image, began)
        outcome.end(.success(()))
      case .success: self.join(began, outcome)
      }
    }
  }

  private func join(_ began: Instant, _ outcome: FirstOutcome<Result<Void, BrokerStartError>, Env.Timer>) {
    self.membership.start(
      .init(
        registered: { epoch in
          self.noteRegistration(epoch)
          self.events.record(.registered(epoch))
        },
        // Off the control line: what comes now blocks.
        load: { self.environment.submit(to: .loading(worker: 0)) { self.load { outcome.end(.failure($0)) } } },
        serving: {
          self.finishStart(self.catalog.image, began)
          outcome.end(.success(()))
        },
        leaseRenewed: { self.leaseRenewed() },
        event: { self.events.record(.membership($0)) },
        left: { self.hasLeft($0) },
        failed: { failure in
          outcome.end(.failure(.membership(failure)))
          self.events.record(.failed(.membership(failure)))
        }))
  }

  private func finishStart(_ image: MetadataImage, _ began: Instant) {
    self.startBackgroundWork()
    self.events.record(
      .started(
        node: self.config.nodeID, clusterID: self.clusterID, partitionCount: image.partitionCount,
        took: self.environment.now() - began))
  }

  /// The membership knows how far the partitions follow the metadata.
  func noteMetadata(_ image: MetadataImage) {
    let voters = self.controller.quorum.machine.log.voters
    let isOnlyController = voters.voters.map(\.key.node) == [self.config.nodeID]
    self.membership.applied(image, isOnlyController: isOnlyController)
  }

  /// Loads the partitions that the metadata, as far as it is known now, has here.
  private func load(_ failed: (BrokerStartError) -> Void) {
    let image = self.controller.image
    let mayBegin = self.loading.withLock { loading in
      guard case .notBegun = loading, !self.isShuttingDown else { return false }
      loading = .underWay(whenDone: [])
      return true
    }
    guard mayBegin else { return }
    let found: LogDirectory<Env.Disk>.Listing
    do throws(StorageError) { found = try self.logDirectory.list() } catch {
      self.finishLoading(.notBegun)
      return failed(.storage(error))
    }
    for notice in found.notices { self.events.record(.storageNotice(notice)) }
    self.removeLeftovers(found.deleted)
    let (present, unreadable) = self.setStraysAside(found.partitions, image)
    self.events.record(
      .logDirectoryOpened(
        path: self.logDirectory.path, partitionCount: present.count, wasClosedCleanly: self.logDirectory.wasClosedCleanly))
    self.fetchers.update(image.brokers, listener: self.config.interBrokerListenerName)
    self.limitReplication(image)
    PartitionLoading(broker: self, image: image, present: present, unreadable: unreadable).start { topics in
      self.attach(after: image.offset, topics, image)
      self.finishLoading(.done)
      self.membership.tell(.partitionsLoaded)
    }
  }

  /// From here on the partitions follow the metadata.
  private func attach(after offset: Offset, _ topics: [HostedTopic<Env>], _ image: MetadataImage) {
    self.publish(self.catalog.updated(image: image, removing: [], adding: topics))
    self.enter(.serving)
    self.metadata.attach(after: offset) { image, delta in
      self.apply(image, delta)
      self.noteMetadata(image)
    }
  }

  private func finishLoading(_ state: LoadingState) {
    let waiting = self.loading.withLock { loading -> [@Sendable () -> Void] in
      defer { loading = state }
      if case .underWay(let waiting) = loading { return waiting }
      return []
    }
    for action in waiting { action() }
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
          let objection = try self.objection(to: partition, of: id)
          if objection == nil, assignment.isReplica(self.config.nodeID) {
            present.insert(partition)
            continue
          }
          reason = objection ?? "this broker is not one of its replicas"
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

  /// Why what lies in a partition's directory is not the log of this topic's partition; nil if it is, or may become it.
  func objection(to partition: TopicPartition, of topicID: KafkaUUID) throws(StorageError) -> String? {
    switch try self.logDirectory.owner(of: partition) {
    case .topic(let stored): stored == topicID ? nil : "it belongs to another topic of this name, \(stored)"
    case .unknown, .unfinished(hasRecords: false): nil
    // They may be another topic's of this name, and whoever wrote them never counted on them.
    case .unfinished(hasRecords: true): "its making was never finished, and no record in it was ever synced"
    }
  }

  /// Renames a partition's directory so that nothing is written into it any more. Blocks.
  func setAside(_ partition: TopicPartition, reason: String) throws(DiskError) {
    let path = self.logDirectory.directory(of: partition)
    let aside = "\(path).\(String(self.environment.entropy(), radix: 16))-stray"
    try self.environment.disk.rename(path, to: aside)
    self.events.record(.strayPartition(path: aside, reason: reason))
    try self.logDirectory.syncNames()
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
        in: self.logDirectory, topicPartition: partition, topicID: topicID, config: settings.log, now: self.environment.wallClock(),
        report: &report)
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
