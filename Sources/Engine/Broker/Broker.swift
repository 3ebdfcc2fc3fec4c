package import Controller
package import Environment
import LogCore
package import Metadata
package import Model
import Replication
package import Storage
import Synchronization

/// A Kafka broker: takes requests from connections and answers them, on the log and the metadata of its node.
///
/// `open` reads what is on disk, `start` loads the partitions and makes the broker known, `handle` (of `RequestHandler`) serves,
/// `shutDown` ends it. Requests are served on the thread that brings them; nothing on the way of data hops, and what waits holds no
/// thread. Three things are shared by all: the catalog (immutable, replaced as a whole), the partitions (each behind its lock), and the
/// deadlines.
package final class Broker<Env: Environment>: Sendable {
  enum Phase: Int, Sendable, AtomicRepresentable { case opened, loading, serving, shuttingDown }

  package let environment: Env
  /// As the process was started; what topics inherit may be changed while it runs.
  package let config: BrokerConfig
  let staticConfig: StaticConfig
  let events: any BrokerEvents
  /// Nil where nobody logs.
  let logLevels: (any LogLevels)?
  package let logDirectory: LogDirectory<Env.Disk>
  package let controller: ControllerDriver<Env>
  let incarnationID: KafkaUUID

  /// The way to the active controller.
  let channel: QuorumChannel<Env>
  let membership: BrokerMembership<Env>
  /// Until when this broker may act as a leader.
  package let lease: ServingLease
  let heartbeatConnections = HeartbeatConnections<Env>()
  let controlRefusals = ControlRefusals()

  let deadlines: DeadlineQueue<Env>
  let fetchSessions: FetchSessions
  let followerSessions = FollowerSessions<Env>()
  let connectionWaits = ConnectionWaits()
  let producerIDs = ProducerIDBlock<Env>()
  let workspaces: WorkspacePool
  let syncer: LogDirectorySyncer<Env>
  let leaseWaits = LeaseWaits<Env>()
  let proposals: InSyncProposals<Env>
  let fetchers: ReplicaFetchers<Env>
  let doubts: LeaderDoubts<Env>
  let handover = ProduceHandover<Env>()
  /// What this broker's leaders give to replicas that are being moved.
  let leaderThrottle: ReplicationThrottle<Env>
  let metadata: MetadataSubscription
  /// Whether the partitions are loaded, and what waits for it.
  let loading = Mutex(LoadingState.notBegun)
  let departure = Mutex(Departure())
  let background: BackgroundWork<Env>
  let directoryHealth = LogDirectoryHealth()

  /// Requests that wait now, for tests and for whoever wants to know.
  package var waitingFetchCount: Int { self.connectionWaits.count }
  package var deadlineCount: Int { self.deadlines.count }

  /// Held while the catalog is made anew: partitions come and go one change at a time.
  let changing = Mutex<Void>(())
  let offlineRetries = OfflineRetries()
  /// The partition that is being opened once more, without `changing` but while its files belong to nobody else. Set with `changing`.
  let reopening = Mutex<TopicPartition?>(nil)

  private let published: Mutex<Catalog<Env>>
  private let phase = Atomic(Phase.opened)
  private let epoch = Atomic(BrokerEpoch.unknown.rawValue)

  init(
    environment: Env, config: BrokerConfig, staticConfig: StaticConfig, logDirectory: LogDirectory<Env.Disk>,
    controller: ControllerDriver<Env>, channel: QuorumChannel<Env>, membership: BrokerMembership<Env>, lease: ServingLease,
    metadata: MetadataSubscription, incarnationID: KafkaUUID, events: any BrokerEvents, logLevels: (any LogLevels)?
  ) {
    self.environment = environment
    self.config = config
    self.staticConfig = staticConfig
    self.channel = channel
    self.membership = membership
    self.lease = lease
    self.logDirectory = logDirectory
    self.controller = controller
    self.metadata = metadata
    self.incarnationID = incarnationID
    self.events = events
    self.logLevels = logLevels
    self.deadlines = DeadlineQueue(environment: environment)
    self.fetchSessions = FetchSessions(sessionsMax: config.fetchSessionsMax, seed: environment.entropy())
    self.workspaces = WorkspacePool(count: 8)
    self.syncer = LogDirectorySyncer(environment: environment, directory: 0)
    self.background = BackgroundWork(environment: environment)
    self.proposals = InSyncProposals(node: config.nodeID, environment: environment, deadlines: self.deadlines)
    self.doubts = LeaderDoubts(environment: environment, deadlines: self.deadlines, session: config.cluster.session)
    let quota = ReplicationQuota.Settings(windowCount: config.replicationQuotaWindowCount, window: config.replicationQuotaWindow)
    self.leaderThrottle = ReplicationThrottle(environment: environment, deadlines: self.deadlines, settings: quota)
    self.fetchers = ReplicaFetchers(
      node: config.nodeID, environment: environment, deadlines: self.deadlines, settings: ReplicaFetcherSettings(config),
      throttle: ReplicationThrottle(environment: environment, deadlines: self.deadlines, settings: quota), events: events,
      doubts: self.doubts)
    self.published = Mutex(Catalog(image: controller.image))
  }

  package var clusterID: String { self.logDirectory.metaProperties.clusterID }

  /// The metadata as it is now. Take it once per request, so that a request sees one state.
  var catalog: Catalog<Env> { self.published.withLock { $0 } }

  func publish(_ catalog: Catalog<Env>) {
    // The old one is released after unlocking: it may be the last to hold a topic.
    let old = self.published.withLock { current in
      defer { current = catalog }
      return current
    }
    _ = old
  }

  /// This broker's registration; `unknown` before it has one.
  package var brokerEpoch: BrokerEpoch { BrokerEpoch(self.epoch.load(ordering: .acquiring)) }

  /// Every incarnation of this broker's has an epoch of its own, which leaders and the controller tell it by.
  package func noteRegistration(_ epoch: BrokerEpoch) {
    self.epoch.store(epoch.rawValue, ordering: .releasing)
    self.proposals.registered(epoch)
    self.fetchers.registered(epoch)
  }

  /// The way to the controller, for what this broker's leaders propose.
  package func connect(to controller: any ControllerChannel) { self.proposals.connect(to: controller) }

  /// Until its partitions are loaded it has nothing to say to clients.
  var isLoading: Bool { self.phase.load(ordering: .acquiring) == .loading }
  var isShuttingDown: Bool { self.phase.load(ordering: .acquiring) == .shuttingDown }

  func enter(_ phase: Phase) { self.phase.store(phase, ordering: .releasing) }

  /// Whether this was the first to ask for a shutdown.
  func beginShutdown() -> Bool { self.phase.exchange(.shuttingDown, ordering: .acquiringAndReleasing) != .shuttingDown }
}
