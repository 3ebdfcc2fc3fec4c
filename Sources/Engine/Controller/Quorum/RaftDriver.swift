import Base
import Election
package import Environment
import LogCore
import Metadata
package import Model
package import NIOCore
import Peers
package import Raft
import Records
import Storage
import Synchronization

/// Runs the Raft machine of one node on its metadata log, its disk and its network: does what the effects say, in their order, and brings
/// back what became of it. No decision of Raft is made here.
///
/// Every step runs on the node's control line (`SerialWork`). Appends go to the page cache in the step; syncs of the log and of the hard
/// state run on the metadata lane, and each covers everything before it. A disk that fails stops the replica for good.
package final class RaftDriver<Env: Environment>: Sendable {
  package static var topicPartition: TopicPartition { TopicPartition(TopicName.clusterMetadata, PartitionID(0)) }

  /// Something that must not leave before a state is on disk.
  struct Held: Sendable {
    var after: PersistToken
    var send: @Sendable () -> Void
  }
  /// An append or truncation that is not on disk yet.
  struct Unsynced: Sendable {
    var token: PersistToken
    var end: Offset
  }
  struct State: Sendable {
    var machine: RaftMachine
    var log: PartitionLog<Env.Disk>
    /// Kept between steps so that it is allocated once.
    var effects: [RaftEffect] = []
    /// What the machine knows by a name only.
    var payloads: [PayloadID: Payload] = [:]
    var nextPayload: UInt64 = 1
    var requests: [RequestID: @Sendable (OutgoingAnswer, ByteBuffer?) -> Void] = [:]
    var nextRequest: UInt64 = 1
    var reads: [ReadID: @Sendable (Result<Offset, ApiError>) -> Void] = [:]
    var nextRead: UInt64 = 1
    /// In the order in which they came.
    var committedWaits: [CommittedWait] = []
    var nextCommittedWait: UInt64 = 1
    /// Set while a proposal is being handed in, to tell its author what became of it.
    var refusal: ErrorCode?

    var unsavedState: (HardState, PersistToken)?
    var isSaving = false
    var savedToken = PersistToken.none
    var held: [Held] = []
    var unsynced: [Unsynced] = []
    var isFlushing = false
    /// The last flush had to be put off.
    var isFlushDelayed = false
    var bytesSinceCheckpoint = 0
    var hasCaughtUp = false

    var peers: [PeerKey: Peer<Env>] = [:]
    var timer: Env.Timer?
    var armedFor: Instant?
    var hasFailed = false
    var isClosed = false
  }
  /// Fetches wait at the leader, and answers leave in the order of their requests: nothing else may wait behind them.
  struct PeerKey: Hashable, Sendable {
    var address: Address
    var isForFetches: Bool
  }
  enum Payload: Sendable {
    /// Whole batches, as fetched.
    case batches(ByteBuffer)
    /// The values of records that were proposed.
    case records([ByteBuffer])
    /// A part of a snapshot.
    case chunk(ByteBuffer)
  }
  /// What a step leaves to do once the state is unlocked, in order.
  typealias Aftermath = [@Sendable () -> Void]

  let environment: Env
  let stateFile: QuorumStateFile<Env.Disk>
  let snapshots: SnapshotFiles<Env.Disk>
  let config: RaftConfig
  /// Nil: what snapshots replace goes at once.
  let history: MetadataHistory?
  private let clientID: String
  let listener: any QuorumListener
  let work = SerialWork()
  let state: Mutex<State>

  init(
    machine: RaftMachine, log: PartitionLog<Env.Disk>, snapshots: SnapshotFiles<Env.Disk>, environment: Env,
    history: MetadataHistory?, listener: any QuorumListener
  ) {
    self.environment = environment
    self.config = machine.config
    self.history = history
    self.clientID = "node-\(machine.config.local.node)"
    self.listener = listener
    self.snapshots = snapshots
    self.stateFile = QuorumStateFile(
      disk: environment.disk, directory: log.directory, isSynced: !environment.makes(.leavesQuorumStateUnsynced))
    self.state = Mutex(State(machine: machine, log: log))
  }

  /// Begins to take part in the quorum.
  package func start() { self.step(.timerFired) }

  // MARK: - Steps

  func step(_ input: RaftInput) { self.work.add { self.runStep(input) } }

  /// On the control line.
  func runStep(_ input: RaftInput) {
    let aftermath = self.state.withLock { state -> Aftermath in
      var aftermath: Aftermath = []
      self.take(input, &state, &aftermath)
      return aftermath
    }
    for action in aftermath { action() }
  }

  func take(_ input: RaftInput, _ state: inout State, _ aftermath: inout Aftermath) {
    if state.hasFailed || state.isClosed { return }
    var effects = state.effects
    state.effects = []
    state.machine.handle(input, now: self.environment.now(), into: &effects)
    do throws(MetadataLogError) {
      for effect in effects { try self.perform(effect, &state, &aftermath) }
    } catch {
      self.fail(error, &state, &aftermath)
    }
    effects.removeAll(keepingCapacity: true)
    state.effects = effects
    if !state.hasCaughtUp, state.machine.hasCaughtUp, !state.hasFailed {
      state.hasCaughtUp = true
      aftermath.append { self.listener.quorumEvent(.caughtUp) }
    }
    self.arm(&state)
  }

  /// The disk cannot be trusted any more: no promise can be kept, so none is made.
  func fail(_ error: MetadataLogError, _ state: inout State, _ aftermath: inout Aftermath) {
    if state.hasFailed { return }
    state.hasFailed = true
    state.log.takeOffline(error.reason)
    state.held = []
    self.wakeReaders(&state, &aftermath)
    aftermath.append { self.listener.quorumEvent(.failed(error)) }
  }

  func fail(_ error: MetadataLogError) {
    self.work.add {
      let aftermath = self.state.withLock { state -> Aftermath in
        var aftermath: Aftermath = []
        self.fail(error, &state, &aftermath)
        return aftermath
      }
      for action in aftermath { action() }
    }
  }

  private func arm(_ state: inout State) {
    guard let deadline = state.machine.nextDeadline, !state.hasFailed else {
      state.timer?.cancel()
      (state.timer, state.armedFor) = (nil, nil)
      return
    }
    // A timer that is too early costs one needless step.
    if let armed = state.armedFor, armed <= deadline { return }
    state.timer?.cancel()
    state.armedFor = deadline
    state.timer = self.environment.schedule(after: max(.zero, deadline - self.environment.now())) { [weak self] in
      guard let self else { return }
      self.work.add {
        self.state.withLock { $0.armedFor = nil }
        self.runStep(.timerFired)
      }
    }
  }

  // MARK: - Asking the replica

  /// The state of the machine, to look at.
  package var machine: RaftMachine { self.state.withLock { $0.machine } }
  package var logEndOffset: Offset { self.state.withLock { $0.log.logEndOffset } }
  /// Everything below is on this node's disk.
  package var flushedOffset: Offset { self.state.withLock { $0.log.flushedOffset } }
  package var logStartOffset: Offset { self.state.withLock { $0.log.logStartOffset } }

  /// Runs `body` on the control line, where nothing else of the quorum happens meanwhile.
  package func perform(_ body: @escaping @Sendable () -> Void) { self.work.add(body) }

  /// Appends the records as one batch at the log's end, if this node leads in `epoch`. On the control line only, so that the end is known
  /// beforehand. Throws why not; that the records are committed is an event.
  ///
  /// - Returns: the offset of the first record.
  package func propose(_ records: [ByteBuffer], in epoch: LeaderEpoch) throws(MetadataLogError) -> Offset {
    let (result, aftermath) = self.state.withLock { state -> (Result<Offset, MetadataLogError>, Aftermath) in
      var aftermath: Aftermath = []
      if state.hasFailed || state.isClosed { return (.failure(MetadataLogError("the metadata log is closed", code: .notController)), []) }
      let start = state.log.logEndOffset
      let payload = Self.keep(.records(records), &state)
      state.refusal = nil
      self.take(.propose(payload, count: Int64(records.count), term: Term(epoch.rawValue)), &state, &aftermath)
      if let refusal = state.refusal {
        let reason = "this node does not lead the quorum in epoch \(epoch), or too much waits"
        return (.failure(MetadataLogError(reason, code: refusal)), aftermath)
      }
      if state.hasFailed { return (.failure(MetadataLogError("the metadata log has failed")), aftermath) }
      return (.success(start), aftermath)
    }
    // Behind what runs now, so that whoever proposed has noted it before it hears of it.
    for action in aftermath { self.work.add(action) }
    return try result.get()
  }

  /// Asks for an offset such that whoever has applied everything below it reads nothing stale; refused unless this node leads.
  package func confirmRead(_ completion: @escaping @Sendable (Result<Offset, ApiError>) -> Void) {
    self.work.add {
      let id = self.state.withLock { state in
        let id = ReadID(rawValue: state.nextRead)
        state.nextRead += 1
        state.reads[id] = completion
        return id
      }
      self.runStep(.read(id))
    }
  }

  /// Hands the leadership over, if this node has it; `.shutDownCompleted` says that the process may end.
  package func shutDown() { self.step(.shutDown) }

  static func keep(_ payload: Payload, _ state: inout State) -> PayloadID {
    let id = PayloadID(rawValue: state.nextPayload)
    state.nextPayload += 1
    state.payloads[id] = payload
    return id
  }

  /// The link to a node.
  func peer(at address: Address, for request: RaftRequest, _ state: inout State) -> Peer<Env> {
    let key = PeerKey(address: address, isForFetches: request.kind == .fetch)
    if let peer = state.peers[key] { return peer }
    let peer = Peer(
      NodeAddress(host: address.host, port: address.port), for: .control, clientID: self.clientID, environment: self.environment)
    state.peers[key] = peer
    return peer
  }
}
