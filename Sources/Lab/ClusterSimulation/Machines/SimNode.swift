import Base
import Broker
import Metadata
import Model
import Replication
import Synchronization
import VirtualWorld

/// One machine of the cluster: its disk stays, its processes come and go.
///
/// A process is the production broker on a `WorldNode`, put together as `apus start` puts it together on sockets and files.
final class SimNode: Sendable {
  typealias NodeBroker = Broker<WorldNode>

  enum Phase: Sendable { case starting, serving, stopping }
  /// One process, from its start to its end.
  struct Life: Sendable {
    var number: Int
    var environment: WorldNode
    var phase = Phase.starting
    var broker: NodeBroker?
    /// Whether the disk of this life has been made to fail, so that failures of the process need no other cause.
    var hadDiskTrouble = false
  }
  private struct State: Sendable {
    var life: Life?
    var lifeCount = 0
    var latency: WorkLatency
    /// Of a shutdown under way: what to do when the process has ended.
    var onStopped: (@Sendable () -> Void)?
    var nextConnection: UInt64 = 1
  }

  let id: NodeID
  let machine: Int
  let disk: FaultyDisk
  let settings: NodeSettings
  let world: World
  let board: Board
  let ledger: Ledger
  let quorumCheck: QuorumCheck
  private let staticConfig: StaticConfig
  private let clock: ClockError
  private let usualLatency: WorkLatency
  private let state: Mutex<State>

  init(_ settings: NodeSettings, seed: UInt64, world: World, board: Board, ledger: Ledger, _ quorumCheck: QuorumCheck) {
    self.id = settings.id
    self.settings = settings
    self.world = world
    self.board = board
    self.ledger = ledger
    self.quorumCheck = quorumCheck
    self.machine = world.addMachine()
    self.disk = FaultyDisk(seed: seed &+ UInt64(settings.id.rawValue) &* 0x9E37_79B9_7F4A_7C15)
    self.clock = settings.plan.clocks[settings.all.firstIndex(of: settings.id) ?? 0]
    self.usualLatency = settings.plan.diskLatency
    do { self.staticConfig = try settings.parse() } catch { fatalError("the configuration of node \(settings.id): \(error)") }
    self.state = Mutex(State(latency: settings.plan.diskLatency))
  }

  var host: String { NodeSettings.host(self.id) }
  var life: Life? { self.state.withLock { $0.life } }
  /// The broker that serves now.
  var servingBroker: NodeBroker? { self.state.withLock { $0.life?.phase == .serving ? $0.life?.broker : nil } }
  var subject: Trace.Subject { .node(Int(self.id.rawValue)) }

  func isCurrent(_ number: Int) -> Bool { self.state.withLock { $0.life?.number == number } }

  /// Whether that process runs, or is stopped: not so in what is left of the moment in which it ended.
  func isAlive(_ number: Int) -> Bool {
    self.state.withLock { $0.life.flatMap { $0.number == number ? $0.environment : nil } }?.isAlive == true
  }

  /// Whether the disk may be at the bottom of what goes wrong in this life.
  func hadDiskTrouble(_ number: Int) -> Bool { self.state.withLock { $0.life?.number == number && $0.life?.hadDiskTrouble == true } }

  // MARK: - Beginning

  /// Starts a process, unless there is one.
  func begin() {
    if self.state.withLock({ $0.life != nil }) { return }
    let latency = self.state.withLock { $0.latency }
    let environment = WorldNode(self.machine, host: self.host, disk: self.disk, clock: self.clock, latency: latency, in: self.world)
    #if APUS_MUTANTS
      environment.mutant = self.settings.mutant
    #endif
    let number = self.state.withLock { state in
      state.lifeCount += 1
      state.life = Life(number: state.lifeCount, environment: environment, hadDiskTrouble: self.disk.isInTrouble)
      return state.lifeCount
    }
    self.board.record(.lifeBegan(number), self.subject)
    self.board.count(.start)
    // A process needs a moment before it does anything.
    _ = environment.schedule(after: .milliseconds(self.world.draw(5...60))) { self.boot(number, environment) }
  }

  private func boot(_ number: Int, _ environment: WorldNode) {
    let broker: NodeBroker
    do throws(BrokerStartError) {
      broker = try NodeBroker.open(
        environment: environment, staticConfig: self.staticConfig, clusterID: self.settings.clusterID, isFirst: self.settings.isFirst,
        events: NodeEvents(node: self, life: number))
    } catch {
      return self.startFailed(error, number)
    }
    // The power may have gone in the middle of it.
    guard self.isAlive(number) else { return }
    self.state.withLock { $0.life?.broker = broker }
    broker.start { result in
      guard self.isAlive(number) else { return }
      switch result {
      case .failure(let error): self.startFailed(error, number)
      case .success:
        self.state.withLock { state in
          if state.life?.phase == .starting { state.life?.phase = .serving }
        }
      }
    }
    // Without answers to other nodes there would be no quorum to start with.
    self.listen(broker, environment)
  }

  private func listen(_ broker: NodeBroker, _ environment: WorldNode) {
    let all =
      broker.config.listeners.map { ($0, ListenerRole.broker) } + broker.config.cluster.controllerListeners.map { ($0, .controller) }
    for (listener, role) in all {
      environment.network.listen(listener.port) { link in
        let connection = self.accept(link, listener.name, role, broker, environment)
        return { connection.receive($0) }
      }
    }
  }

  private func accept(
    _ link: WorldLink, _ listener: String, _ role: ListenerRole, _ broker: NodeBroker, _ environment: WorldNode
  ) -> ServedConnection {
    let number = self.state.withLock { state in
      defer { state.nextConnection += 1 }
      return state.nextConnection
    }
    let client = ClientContext(connectionID: number, listener: listener, host: "client", port: Int(number % 60_000), role: role)
    return ServedConnection(client, broker, link, environment, stallShare: self.settings.plan.stallShare)
  }

  private func startFailed(_ error: BrokerStartError, _ number: Int) {
    guard self.isAlive(number) else { return }
    self.board.count(.failedStart)
    self.board.record(.ended("cannot start: \(error)"), self.subject)
    if !self.hadDiskTrouble(number), !Self.isUnfounded(error) { self.board.violate(.process, "node \(self.id) does not start: \(error)") }
    self.end(losingPower: false)
    // As whoever watches over processes does.
    self.world.after(.milliseconds(500)) { self.begin() }
  }

  /// Whether a node that is alone for now may fail to start with `error`, and is to be started again.
  private static func isUnfounded(_ error: BrokerStartError) -> Bool {
    if case .membership(.registrationTimedOut) = error { return true }
    return false
  }

  // MARK: - Ending

  /// After which whoever asked a process to end kills it.
  private static var stopPatience: Duration { .seconds(20) }

  /// `kill -9`.
  func kill() {
    guard self.life != nil else { return }
    self.board.record(.ended("killed"), self.subject)
    self.end(losingPower: false)
  }

  /// - Parameter flippingBits: what was not synced and is there nevertheless may have a bit that is wrong.
  func cutPower(flippingBits: Bool = false) {
    // Also where no process runs: the disk may hold what is not on it yet.
    self.board.record(.ended("loses power"), self.subject)
    self.end(losingPower: true, flippingBits: flippingBits)
  }

  /// The process ends, or all of the machine, during the `count`-th change of the disk from now. If none comes, nothing happens.
  func fail(afterChanges count: Int, losingPower: Bool, then: @escaping @Sendable () -> Void) {
    guard let life = self.life else { return }
    let number = life.number
    self.disk.failPower(afterChanges: count) {
      // The rest of what happens in this moment has no effect any more; the disk is not to be touched before it is over.
      if losingPower { self.world.cutPower(self.machine) } else { self.world.kill(self.machine) }
      self.world.after(.zero) {
        guard self.isCurrent(number) else { return }
        self.board.record(.ended(losingPower ? "loses power while it writes" : "ends while it writes"), self.subject)
        self.board.count(losingPower ? .powerAtWrite : .crashAtWrite)
        self.end(losingPower: losingPower)
        then()
      }
    }
  }

  private func end(losingPower: Bool, flippingBits: Bool = false) {
    // Released at the end, as its end may run code.
    let (life, onStopped) = self.state.withLock { state -> (Life?, (@Sendable () -> Void)?) in
      defer { (state.life, state.onStopped) = (nil, nil) }
      return (state.life, state.onStopped)
    }
    if losingPower {
      self.world.cutPower(self.machine)
      self.disk.losePower(flippingBits: flippingBits)
    } else {
      self.world.kill(self.machine)
      self.disk.killProcess()
    }
    _ = life
    onStopped?()
  }

  /// SIGTERM. `then` runs when the process has ended, in whatever way.
  func stop(_ then: @escaping @Sendable () -> Void) {
    guard let life = self.life, life.phase != .stopping, let broker = life.broker else {
      // It has not come as far as to have anything to end.
      self.kill()
      return then()
    }
    self.board.record(.note("is told to stop"), self.subject)
    self.state.withLock { state in
      state.life?.phase = .stopping
      state.onStopped = then
    }
    self.world.after(Self.stopPatience) {
      guard self.isCurrent(life.number) else { return }
      self.board.record(.note("does not end and is killed"), self.subject)
      self.kill()
    }
    // Clients are served, and other nodes answered, until others lead.
    broker.shutDown {
      self.world.after(.milliseconds(1)) {
        guard self.isCurrent(life.number) else { return }
        life.environment.network.stopListening()
        self.board.record(.ended("stopped"), self.subject)
        self.board.count(.cleanStop)
        self.end(losingPower: false)
      }
    }
  }

  // MARK: - Trouble that passes

  func pause() { self.world.pause(self.machine) }
  func resume() { self.world.resume(self.machine) }

  func setDiskLatency(_ latency: WorkLatency?) {
    let environment = self.state.withLock { state in
      state.latency = latency ?? self.usualLatency
      return state.life?.environment
    }
    environment?.setLatency(latency ?? self.usualLatency)
  }

  /// Leaves room for so many bytes more; nil: for as many as anybody wants.
  func setDiskRoom(_ byteCount: Int?) {
    if byteCount != nil { self.state.withLock { $0.life?.hadDiskTrouble = true } }
    self.disk.setCapacity(byteCount.map { self.disk.usedByteCount + $0 } ?? .max)
  }

  func inject(_ fault: DiskFault) {
    self.state.withLock { $0.life?.hadDiskTrouble = true }
    self.disk.inject(fault)
  }
}
