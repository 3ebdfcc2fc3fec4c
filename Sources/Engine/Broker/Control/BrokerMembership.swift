import Base
import Controller
import Environment
import Metadata
import Model
import Peers
import Replication
import Synchronization
import Wire

/// Runs a broker's `BrokerLifecycleMachine`: takes what it says to the active controller, and its lease to the partitions.
///
/// Inputs come from any thread. The lease changes with the machine's state locked, so that no older one takes a newer one's place; all
/// else happens after unlocking.
final class BrokerMembership<Env: Environment>: Sendable {
  /// What the membership asks of its broker.
  struct Hooks: Sendable {
    var registered: @Sendable (BrokerEpoch) -> Void
    /// To load the partitions, and call `partitionsLoaded`.
    var load: @Sendable () -> Void
    var serving: @Sendable () -> Void
    var leaseRenewed: @Sendable () -> Void
    var event: @Sendable (BrokerLifecycleEvent) -> Void
    var left: @Sendable (BrokerLeaving) -> Void
    var failed: @Sendable (BrokerLifecycleFailure) -> Void
  }
  /// How this broker registers.
  struct Identity: Sendable {
    var clusterID: String
    var nodeID: NodeID
    var incarnationID: KafkaUUID
    var endpoints: [Listener]
    var rack: String?
    var logDirectories: [KafkaUUID]
    /// With which it last stopped in good order; `unknown` if it did not.
    var previousEpoch: BrokerEpoch
  }
  private struct State: Sendable {
    var machine: BrokerLifecycleMachine
    var hooks: Hooks?
    /// Nobody else could lead: there is no other broker, and no other controller.
    var isAlone = false
    var timer: Env.Timer?
    var armedFor: Instant?
  }

  private let environment: Env
  private let channel: any ControllerChannel
  private let identity: Identity
  private let lease: ServingLease
  private let state: Mutex<State>

  /// A registration may have to write about each of the broker's partitions first.
  private static var registrationTimeout: Duration { .seconds(10) }

  init(
    _ settings: BrokerLifecycleSettings, identity: Identity, environment: Env, channel: any ControllerChannel, lease: ServingLease
  ) {
    (self.environment, self.channel, self.identity, self.lease) = (environment, channel, identity, lease)
    self.state = Mutex(State(machine: BrokerLifecycleMachine(settings)))
    #if APUS_MUTANTS
      self.state.withLock { $0.machine.mutant = environment.mutant.flatMap { Mutant(rawValue: $0) } }
    #endif
  }

  var phase: BrokerPhase { self.state.withLock { $0.machine.phase } }

  func start(_ hooks: Hooks) {
    self.state.withLock { $0.hooks = hooks }
    self.tell(.started)
  }

  /// The partitions follow `image` from now on.
  /// - isAlone: see `State.isAlone`.
  func applied(_ image: MetadataImage, isOnlyController: Bool) {
    let own = image.broker(self.identity.nodeID)
    let epoch = own?.incarnationID == self.identity.incarnationID ? own?.epoch : nil
    let isAlone = isOnlyController && image.brokers.allSatisfy { $0.nodeID == self.identity.nodeID }
    self.tell(.metadataApplied(image.offset, knownEpoch: epoch)) { $0.isAlone = isAlone }
  }

  func tell(_ input: BrokerLifecycleInput) { self.tell(input) { _ in } }

  private func tell(_ input: BrokerLifecycleInput, _ prepare: (inout State) -> Void) {
    var isRevived = false
    let (effects, hooks): ([BrokerLifecycleEffect], Hooks?) = self.state.withLock { state in
      prepare(&state)
      let now = self.environment.now()
      var effects: [BrokerLifecycleEffect] = []
      state.machine.handle(input, now: now, into: &effects)
      isRevived = self.updateLease(state, now)
      self.arm(&state, now)
      return (effects, state.hooks)
    }
    guard let hooks else { return }
    if isRevived { hooks.leaseRenewed() }
    for effect in effects { self.perform(effect, hooks) }
  }

  /// A broker that nobody could take anything from needs no answers to go on: slow ones, of a disk that is busy, would only stop it. While
  /// it is alone nobody else is in any ISR, and nobody comes into one before this broker has read of it.
  ///
  /// - Returns: whether the lease was not live, and is now.
  private func updateLease(_ state: State, _ now: Instant) -> Bool {
    let isServing = state.machine.lease != .none
    let lease = state.isAlone && isServing ? BrokerLease.unlimited : state.machine.lease
    let before = self.lease.current
    if lease == before { return false }
    self.lease.update { $0 = lease }
    return !before.isLive(at: now) && lease.isLive(at: now)
  }

  private func arm(_ state: inout State, _ now: Instant) {
    guard let deadline = state.machine.nextDeadline else {
      state.timer?.cancel()
      (state.timer, state.armedFor) = (nil, nil)
      return
    }
    // A timer that is too early costs one needless step.
    if let armed = state.armedFor, armed <= deadline { return }
    state.timer?.cancel()
    state.armedFor = deadline
    state.timer = self.environment.schedule(after: max(.zero, deadline - now)) { [weak self] in
      self?.tell(.timerFired) { $0.armedFor = nil }
    }
  }

  private func perform(_ effect: BrokerLifecycleEffect, _ hooks: Hooks) {
    switch effect {
    case .register(let number): self.register(number)
    case .heartbeat(let heartbeat): self.beat(heartbeat)
    case .registered(let epoch): hooks.registered(epoch)
    case .load: hooks.load()
    case .serving: hooks.serving()
    case .leaseChanged: break  // with the state locked
    case .event(let event): hooks.event(event)
    case .left(let leaving): hooks.left(leaving)
    case .failed(let failure): hooks.failed(failure)
    }
  }

  // MARK: - Requests

  private func register(_ number: UInt64) {
    let identity = self.identity
    var request = BrokerRegistrationRequest(
      brokerId: identity.nodeID.rawValue, clusterId: identity.clusterID, incarnationId: identity.incarnationID)
    request.listeners = identity.endpoints.map {
      .init(name: $0.name, host: $0.host, port: $0.port, securityProtocol: $0.securityProtocol.rawValue)
    }
    request.features = (SupportedFeatures.all + [KRaftVersion.supported]).map {
      .init(name: $0.name, minSupportedVersion: $0.versions.lowerBound, maxSupportedVersion: $0.versions.upperBound)
    }
    request.rack = identity.rack
    request.logDirs = identity.logDirectories
    request.previousBrokerEpoch = identity.previousEpoch.rawValue
    self.channel.call(request, timeout: Self.registrationTimeout) { result in
      let outcome: RegistrationOutcome =
        switch result {
        case .success(let response) where response.errorCode == .none: .registered(BrokerEpoch(response.brokerEpoch))
        case .success(let response): .refused(response.errorCode)
        case .failure: .noAnswer
        }
      self.tell(.registrationEnded(number, outcome))
    }
  }

  private func beat(_ heartbeat: BrokerLifecycleHeartbeat) {
    var request = BrokerHeartbeatRequest(
      brokerId: self.identity.nodeID.rawValue, brokerEpoch: heartbeat.epoch.rawValue,
      currentMetadataOffset: heartbeat.metadataOffset.rawValue, wantFence: heartbeat.wantsFence, wantShutDown: heartbeat.wantsShutdown)
    request.offlineLogDirs = heartbeat.offlineDirectories
    // An answer that comes later than a session is of no use, and its connection may lead nowhere.
    self.channel.call(request, timeout: self.state.withLock { $0.machine.settings.session }) { result in
      let outcome: BeatOutcome =
        switch result {
        case .success(let response) where response.errorCode == .none:
          .answered(
            HeartbeatAnswer(
              isFenced: response.isFenced, shouldShutDown: response.shouldShutDown,
              session: response.sessionTimeoutMs > 0 ? .milliseconds(Int64(response.sessionTimeoutMs)) : nil))
        case .success(let response): .refused(response.errorCode)
        case .failure: .noAnswer
        }
      self.tell(.heartbeatEnded(heartbeat.number, outcome))
    }
  }
}
