import Base
package import Environment
package import Metadata
import Model
import Raft
package import Storage
import Synchronization

/// A node's metadata, and while it leads the quorum the active controller.
///
/// On every node, voter or observer, it reads what the quorum has committed, keeps the image and publishes it. On the one that leads it
/// also decides: decide, append, commit, publish, answer, in this order. Each request is decided on the state with everything appended so
/// far, so that requests need not wait for each other's commit; nobody is told anything of it before it is committed.
///
/// Everything runs on the node's control line (`RaftDriver.perform`); requests come from any thread. Events, changes and answers go out one
/// at a time there, in the order of the log, with no lock held.
///
/// ```
/// standby --the quorum elects this node--> leading --all before its epoch is applied--> active --deposed, handed over--> standby
/// ```
package final class ControllerDriver<Env: Environment>: Sendable {
  /// What a step leaves to do once the state is unlocked, in order.
  typealias Aftermath = [@Sendable () -> Void]

  /// A decision that waits for its records, or for those before it, to be committed.
  struct Pending: Sendable {
    /// Committed when everything below is.
    var endOffset: Offset
    /// Nil where the decision wrote nothing.
    var published: (image: MetadataImage, delta: MetadataDelta)?
    /// Nil: it was committed.
    var answer: @Sendable (ApiError?) -> Void
  }

  /// What only the active controller has.
  struct Active: Sendable {
    let epoch: LeaderEpoch
    /// With everything that was appended.
    var machine: ControllerMachine
    var pending: [Pending] = []
    var upkeep: ControllerUpkeep
    var elections: UncleanElections
    /// Why brokers are being fenced, until it is told.
    var fencingCauses: [NodeID: FencingCause] = [:]
    /// Who waits for an unclean election.
    var electionWaits: [TopicIDPartition: [@Sendable (ApiError?) -> Void]] = [:]
  }

  struct State: Sendable {
    /// With everything that was committed. Nil while this node is active: then `active.machine` is ahead of it.
    var standby: ControllerMachine?
    var active: Active?
    /// This node leads the quorum and is not active yet: not before everything below `from` is applied.
    var leading: (epoch: LeaderEpoch, from: Offset, since: Instant)?
    /// Committed and applied.
    var image: MetadataImage
    /// Everything below is applied.
    var position = Offset.zero
    /// Records applied until the node had caught up.
    var recordCount = 0
    /// Until then nobody is told of any change.
    var isLoaded = false
    var whenLoaded: (@Sendable (Result<MetadataImage, ControllerLoadError>) -> Void)?
    var snapshot = SnapshotState()
    /// Once set, nothing is decided or applied any more.
    var failure: ApiError?
    var whenHandedOver: [@Sendable () -> Void] = []
    var whenDrained: (@Sendable () -> Void)?
    var timer: Env.Timer?
    var armedFor: Instant?
  }

  /// What others may look at at any time.
  private struct Published: Sendable {
    var image: MetadataImage
    var leader = QuorumLeader(node: nil, epoch: .unknown)
  }

  package let quorum: RaftDriver<Env>
  let setup: ControllerSetup
  let environment: Env
  let listener: any MetadataListener
  let seed: UInt64
  let state: Mutex<State>
  private let published: Mutex<Published>

  /// Hands the quorum's events on, since the quorum is made before its driver.
  private final class Relay: QuorumListener {
    let target = Mutex<(@Sendable (QuorumEvent) -> Void)?>(nil)
    func quorumEvent(_ event: QuorumEvent) { self.target.withLock { $0 }?(event) }
  }

  /// Opens the metadata log, or creates it. Nothing is known of the metadata before `start`. Blocks.
  ///
  /// - Parameter seed: of the random choices (elections, topic ids, placement).
  package static func open(
    _ setup: ControllerSetup, environment: Env, store: LogDirectory<Env.Disk>, seed: UInt64, listener: any MetadataListener
  ) throws(ControllerLoadError) -> (controller: ControllerDriver, report: RecoveryReport?) {
    let relay = Relay()
    do throws(MetadataLogError) {
      let (quorum, report) = try RaftDriver.open(
        setup.raft, voters: setup.voters, version: setup.kraftVersion, environment: environment, store: store, broker: setup.broker,
        history: setup.history, seed: seed, listener: relay)
      let controller = ControllerDriver(quorum, setup, environment, seed, listener)
      relay.target.withLock { $0 = { [weak controller] in controller?.handle($0) } }
      return (controller, report)
    } catch { throw .log(error) }
  }

  private init(
    _ quorum: RaftDriver<Env>, _ setup: ControllerSetup, _ environment: Env, _ seed: UInt64, _ listener: any MetadataListener
  ) {
    (self.quorum, self.setup, self.environment, self.seed, self.listener) = (quorum, setup, environment, seed, listener)
    let image = MetadataImage(clusterID: setup.raft.clusterID)
    self.published = Mutex(Published(image: image))
    self.state = Mutex(State(standby: ControllerMachine(image: image, settings: setup.settings, seed: seed), image: image))
  }

  /// Begins to take part in the quorum. `loaded` is called once, on the control line: when this node knows everything that was committed
  /// by then, and where it leads, decides; or with the reason why it cannot go on. Until there is a quorum it waits.
  package func start(_ loaded: @escaping @Sendable (Result<MetadataImage, ControllerLoadError>) -> Void) {
    self.state.withLock { state in
      state.whenLoaded = loaded
      state.snapshot.dueAt = self.setup.snapshots.interval.map { self.environment.now() + $0 }
    }
    self.quorum.start()
  }

  /// The metadata as last committed and published; empty until the node is loaded.
  package var image: MetadataImage { self.published.withLock { $0.image } }
  package var quorumLeader: QuorumLeader { self.published.withLock { $0.leader } }
  /// Whether this node decides.
  package var isActive: Bool { self.state.withLock { $0.active != nil } }

  // MARK: - Steps

  /// One step, on the control line.
  func step(_ body: (inout State, inout Aftermath) -> Void) {
    let aftermath = self.state.withLock { state -> Aftermath in
      var aftermath: Aftermath = []
      body(&state, &aftermath)
      self.arm(&state)
      return aftermath
    }
    for action in aftermath { action() }
  }

  /// Makes `image` the one that everybody sees, and tells the listener.
  func publish(_ image: MetadataImage, _ delta: MetadataDelta) {
    // The old one is released after unlocking: it may be the last to hold much.
    let old = self.published.withLock { published in
      defer { published.image = image }
      return published.image
    }
    _ = old
    self.listener.metadataChanged(image, delta)
  }

  // MARK: - The quorum's events

  private func handle(_ event: QuorumEvent) {
    switch event {
    case .committed(let end): self.step { self.takeCommitted(upTo: end, &$0, &$1) }
    case .loadSnapshot(let end, let epoch): self.step { self.load(snapshotAt: end, epoch, &$0, &$1) }
    case .becameLeader(let epoch):
      self.step { state, aftermath in
        state.leading = (epoch, self.quorum.logEndOffset, self.environment.now())
        self.activateIfReady(&state, &aftermath)
      }
    case .steppedDown: self.step { self.stepDown(&$0, &$1) }
    case .caughtUp: self.step { self.finishLoading(&$0, &$1) }
    case .leaderChanged(let epoch, let node):
      let leader = QuorumLeader(node: node, epoch: epoch)
      self.published.withLock { $0.leader = leader }
      self.listener.controllerEvent(.quorumLeaderChanged(leader))
      self.listener.quorumLeaderChanged(leader)
    case .delayed(let error): self.listener.controllerEvent(.commitDelayed(error))
    case .failed(let error): self.step { self.fail(.log(error), &$0, &$1) }
    case .cleanUpFailed(let error): self.listener.controllerEvent(.cleanUpFailed(error))
    case .shutDownCompleted:
      self.step { state, aftermath in
        aftermath += state.whenHandedOver
        state.whenHandedOver = []
      }
    case .trace: break
    }
  }

  /// Nothing is applied, decided or promised any more.
  func fail(_ error: ControllerLoadError, _ state: inout State, _ aftermath: inout Aftermath) {
    guard state.failure == nil else { return }
    let failure = ApiError(.kafkaStorageError, "The controller of this node has failed and the node must be restarted: \(error)")
    state.failure = failure
    aftermath.append { self.listener.controllerEvent(.failed(error)) }
    self.dismiss(&state, &aftermath, failure)
    if let loaded = state.whenLoaded { aftermath.append { loaded(.failure(error)) } }
    state.whenLoaded = nil
    // A replica whose metadata is not to be trusted must not lead the quorum.
    if case .log = error { return }
    self.quorum.fail(MetadataLogError("\(error)"))
  }

  // MARK: - The end

  /// Hands the quorum's leadership over, if this node has it; `done` is called when it has, or need not be waited for.
  package func handOver(_ done: @escaping @Sendable () -> Void) {
    self.quorum.perform {
      self.step { state, _ in state.whenHandedOver.append(done) }
      self.quorum.shutDown()
    }
  }

  /// Waits for what is under way, for a request's time at the most, and closes the log. Requests that come later are refused.
  /// `completion` is called on the metadata lane.
  package func close(_ completion: @escaping @Sendable (MetadataLogError?) -> Void) {
    self.quorum.perform {
      let close: @Sendable () -> Void = {
        self.quorum.perform {
          self.step { state, aftermath in
            state.whenDrained = nil
            state.timer?.cancel()
            self.dismiss(&state, &aftermath, ApiError(.notController, "The controller is shutting down."))
          }
          self.quorum.close(completion)
        }
      }
      self.step { state, aftermath in
        state.failure = state.failure ?? ApiError(.notController, "The controller is shutting down.")
        guard let active = state.active, !active.pending.isEmpty else { return aftermath.append(close) }
        let once = Once(close)
        state.whenDrained = { once.run() }
        _ = self.environment.schedule(after: self.setup.raft.requestTimeout) { once.run() }
      }
    }
  }
}

/// Runs its body the first time it is told to.
private final class Once: Sendable {
  private let body: Mutex<(@Sendable () -> Void)?>
  init(_ body: @escaping @Sendable () -> Void) { self.body = Mutex(body) }
  func run() {
    let body = self.body.withLock { body in
      defer { body = nil }
      return body
    }
    body?()
  }
}
