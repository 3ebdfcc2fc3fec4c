import Base
import Environment
import Model
import Peers
import Synchronization
import VirtualWorld
import Wire

/// What every client has: connections to the nodes, and a view of the cluster that it renews when something shows that it is old.
///
/// Written against the wire, apart from the client library, so that a mistake which both sides of one library make is seen here.
final class SimClient: Sendable {
  private struct State: Sendable {
    var view = ClusterView()
    var peers: [NodeAddress: Peer<WorldNode>] = [:]
    var nextBootstrap: Int
    var isAsking = false
    var isPlanned = false
    /// Answers of no use in a row.
    var failureCount = 0
    var onNews: (@Sendable () -> Void)?
    var generator: SeededGenerator
  }

  let name: String
  let environment: WorldNode
  let board: Board
  private let topics: [String]
  private let bootstrap: [NodeAddress]
  private let state: Mutex<State>

  init(_ name: String, _ environment: WorldNode, bootstrap: [NodeAddress], topics: [String], seed: UInt64, board: Board) {
    self.name = name
    self.environment = environment
    self.bootstrap = bootstrap
    self.topics = topics
    self.board = board
    self.state = Mutex(State(nextBootstrap: Int(seed % UInt64(bootstrap.count)), generator: SeededGenerator(seed: seed)))
  }

  var subject: Trace.Subject { .client(self.name) }
  var view: ClusterView { self.state.withLock { $0.view } }

  /// `onNews` runs whenever the view may have changed.
  func start(onNews: @escaping @Sendable () -> Void) {
    self.state.withLock { $0.onNews = onNews }
    self.askForMetadata()
  }

  func random(_ range: ClosedRange<Int64>) -> Int64 { self.state.withLock { Int64.random(in: range, using: &$0.generator) } }

  // MARK: - Connections

  func peer(at address: NodeAddress) -> Peer<WorldNode> {
    self.state.withLock { state in
      if let peer = state.peers[address] { return peer }
      let board = self.board
      let peer = Peer(address, for: .data, clientID: self.name, environment: self.environment) { _ in board.count(.disconnected) }
      state.peers[address] = peer
      return peer
    }
  }

  func peer(of node: NodeID) -> Peer<WorldNode>? { self.view.addresses[node].map { self.peer(at: $0) } }

  /// Any node: each time the next.
  func anyPeer() -> Peer<WorldNode> {
    let address = self.state.withLock { state in
      defer { state.nextBootstrap = (state.nextBootstrap + 1) % self.bootstrap.count }
      return self.bootstrap[state.nextBootstrap]
    }
    return self.peer(at: address)
  }

  // MARK: - Metadata

  /// Asks soon, and the later the more often it has been of no use.
  func askForMetadata() {
    let delay: Int64? = self.state.withLock { state in
      if state.isAsking || state.isPlanned { return nil }
      state.isPlanned = true
      let base = Int64(min(state.failureCount, 5)) * 60
      return Int64.random(in: base...base + 10, using: &state.generator)
    }
    guard let delay else { return }
    _ = self.environment.schedule(after: .milliseconds(delay)) { self.ask() }
  }

  private func ask() {
    self.state.withLock { state in (state.isPlanned, state.isAsking) = (false, true) }
    let request = MetadataRequest(
      topics: self.topics.map { .init(name: $0) }, allowAutoTopicCreation: false, includeTopicAuthorizedOperations: false)
    self.anyPeer().call(request, timeout: .seconds(1)) { result in
      let (onNews, isComplete) = self.state.withLock { state -> ((@Sendable () -> Void)?, Bool) in
        state.isAsking = false
        var isComplete = false
        if case .success(let response) = result {
          state.view.merge(response)
          isComplete = self.topics.allSatisfy { topic in
            state.view.topics[topic]?.partitions.allSatisfy { $0.leader != .none } ?? false
          }
        }
        state.failureCount = isComplete ? 0 : state.failureCount + 1
        return (state.onNews, isComplete)
      }
      if !isComplete { self.askForMetadata() }
      onNews?()
    }
  }

  /// Takes the new leader from a refusal that names it. True if it did, and the leader can be asked at once.
  func follow(leader: Int32, epoch: Int32, of partition: TopicPartition) -> Bool {
    let isNews = self.state.withLock { $0.view.follow(leader: leader, epoch: epoch, of: partition) }
    if isNews { self.board.count(.followedHint) }
    return isNews
  }

  func note(_ node: Int32, _ host: String, _ port: Int32) { self.state.withLock { $0.view.note(node, host, port) } }
}
