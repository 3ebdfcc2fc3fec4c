import Controller
import Environment
import Model
import NIOCore
import Peers
import Raft
import Synchronization
import Wire

/// Requests of this broker to whoever leads the quorum: to this very process without a socket, to another over a connection for each kind
/// of request, so that heartbeats wait for nothing.
final class QuorumChannel<Env: Environment>: ControllerChannel {
  /// Answers leave in the order of requests: what may take long must not stand before what must not.
  private enum Line: Hashable, CaseIterable { case heartbeats, changes, forwards }
  private struct State: Sendable {
    var leader = QuorumLeader(node: nil, epoch: .unknown)
    var peers: [Line: Peer<Env>] = [:]
    var isClosed = false
    /// In an order that is the same in every process, as they are closed in it.
    var orderedPeers: [Peer<Env>] { Line.allCases.compactMap { self.peers[$0] } }
  }

  private let node: NodeID
  private let environment: Env
  /// Where the controller of that id is reached, as the quorum knows it.
  private let address: @Sendable (NodeID) -> NodeAddress?
  /// Serves a request of this process to itself.
  private let serve: @Sendable (ByteBuffer, Reply<Env.Disk.File>) -> Void
  private let state = Mutex(State())

  init(
    node: NodeID, environment: Env, address: @escaping @Sendable (NodeID) -> NodeAddress?,
    serve: @escaping @Sendable (ByteBuffer, Reply<Env.Disk.File>) -> Void
  ) {
    (self.node, self.environment, self.address, self.serve) = (node, environment, address, serve)
  }

  /// - Returns: another node that led until now and leads no more, as far as this one knows.
  func leaderChanged(_ leader: QuorumLeader) -> NodeID? {
    let (old, former) = self.state.withLock { state -> ([Peer<Env>], NodeID?) in
      let known = state.leader.node == self.node ? nil : state.leader.node
      // Nobody known is no reason to give up a connection that works.
      guard let node = leader.node else {
        state.leader.epoch = leader.epoch
        return ([], known)
      }
      defer { state.leader = leader }
      if node == state.leader.node { return ([], nil) }
      defer { state.peers = [:] }
      return (state.orderedPeers, known)
    }
    // What waits there would wait in vain; whoever asked asks again.
    for peer in old { peer.close() }
    return former
  }

  func close() {
    let peers = self.state.withLock { state in
      state.isClosed = true
      defer { state.peers = [:] }
      return state.orderedPeers
    }
    for peer in peers { peer.close() }
  }

  private enum Way: Sendable {
    case here
    case there(Peer<Env>)
    case none(PeerError)
  }

  private func way(_ line: Line) -> Way {
    let leader: NodeID? = self.state.withLock { $0.isClosed ? nil : $0.leader.node }
    guard let leader else { return .none(.disconnected(.unreachable(reason: "no active controller is known"))) }
    if leader == self.node { return .here }
    guard let address = self.address(leader) else {
      return .none(.disconnected(.unreachable(reason: "it is not known where controller \(leader) is reached")))
    }
    return self.state.withLock { state in
      if state.isClosed || state.leader.node != leader { return .none(.disconnected(.closedHere)) }
      // A voter may say that it is reached elsewhere now (UpdateRaftVoter).
      if let peer = state.peers[line], peer.address == address { return .there(peer) }
      let peer = Peer(address, for: .control, clientID: "broker-\(self.node)", environment: self.environment)
      state.peers[line] = peer
      return .there(peer)
    }
  }

  func call<Request: ApiRequest>(
    _ request: Request, timeout: Duration, _ complete: @escaping @Sendable (Result<Request.Response, PeerError>) -> Void
  ) {
    let line: Line =
      switch Request.apiKey {
      case .brokerHeartbeat, .brokerRegistration: .heartbeats
      case .envelope: .forwards
      default: .changes
      }
    switch self.way(line) {
    case .none(let error): complete(.failure(error))
    case .there(let peer): peer.call(request, timeout: timeout, complete)
    case .here: self.ask(request, timeout, complete)
    }
  }

  private func ask<Request: ApiRequest>(
    _ request: Request, _ timeout: Duration, _ complete: @escaping @Sendable (Result<Request.Response, PeerError>) -> Void
  ) {
    let version = Request.supportedVersions.upperBound
    var frame = Frame.request(request, version: version, correlationId: 0, clientId: "broker-\(self.node)").buffer
    frame.moveReaderIndex(forwardBy: Frame.prefixByteCount)
    let once = FirstOutcome<Result<Request.Response, PeerError>, Env.Timer>(complete)
    once.setTimer(self.environment.schedule(after: timeout) { once.end(.failure(.timedOut)) })
    let sink = CapturedReply<Env.Disk.File> { outcome in
      switch outcome {
      case .frame(let bytes):
        do throws(WireError) {
          once.end(.success(try RequestFrame.decodeAnswer(to: Request.self, version: version, from: bytes)))
        } catch { once.end(.failure(.malformed(error))) }
      case .notController: once.end(.failure(.disconnected(.unreachable(reason: "this node is not the active controller yet"))))
      case .refused(let reason): once.end(.failure(.disconnected(.malformed(reason: reason))))
      }
    }
    self.serve(frame.slice(), Reply(sink: sink, slot: 0))
  }
}

/// Passes the first outcome on and forgets the others.
final class FirstOutcome<Value: Sendable, Timer: TimerHandle>: Sendable {
  private struct State: Sendable {
    var complete: (@Sendable (Value) -> Void)?
    var timer: Timer?
  }
  private let state: Mutex<State>

  init(_ complete: @escaping @Sendable (Value) -> Void) { self.state = Mutex(State(complete: complete)) }

  func setTimer(_ timer: Timer) {
    let isOver = self.state.withLock { state in
      state.timer = timer
      return state.complete == nil
    }
    if isOver { timer.cancel() }
  }

  func end(_ value: Value) {
    let (complete, timer) = self.state.withLock { state in
      defer { (state.complete, state.timer) = (nil, nil) }
      return (state.complete, state.timer)
    }
    timer?.cancel()
    complete?(value)
  }
}
