import Base
import Environment
import Model
import Peers
import Synchronization
import Wire

/// Produce requests that come while this broker hands its leaderships over, so that none of them fails: they wait for the new leader to be
/// known, go on to it, and their answers come back by the way they came.
///
/// The requests of one connection go one after the other, as the sequence numbers of an idempotent producer ask for. What is decided and
/// sent is in `Broker+ProduceHandover`; this keeps the lines.
final class ProduceHandover<Env: Environment>: Sendable {
  /// A request of a client.
  struct Item: Sendable {
    var exchange: Exchange<Env.Disk.File>
    var request: ProduceRequest
    /// After that it is served here, whatever comes of it.
    var deadline: Instant
    var isTimed = false
  }
  private struct Line: Sendable {
    var items: [Item] = []
    /// One of them is on its way.
    var isBusy = false
  }
  private struct State: Sendable {
    var lines: [UInt64: Line] = [:]
    var peers: [NodeID: Peer<Env>] = [:]
    /// Counts the changes of the metadata, so that one that comes while a request is looked at is not missed.
    var changeCount = 0
    var lastSent: Instant?
  }
  private enum Phase: Int, AtomicRepresentable {
    /// Nothing is handed over.
    case none
    /// What comes goes to the new leaders.
    case relaying
    /// What comes is answered here, with the new leaders' names.
    case over
  }

  private let phase = Atomic(Phase.none)
  private let state = Mutex(State())

  /// Whether produce requests take this way. Read for each of them.
  var isActive: Bool { self.phase.load(ordering: .relaxed) != .none }
  var isOver: Bool { self.phase.load(ordering: .acquiring) == .over }
  func begin() { self.phase.store(.relaying, ordering: .releasing) }
  func end() { self.phase.store(.over, ordering: .releasing) }

  func append(_ item: Item) {
    self.state.withLock { $0.lines[item.exchange.client.connectionID, default: Line()].items.append(item) }
  }

  /// The line's first request, which nobody else gets until `finished` or `putBack`; nil if there is none, or one is on its way.
  func next(_ connectionID: UInt64) -> (item: Item, changeCount: Int)? {
    self.state.withLock { state in
      guard var line = state.lines[connectionID], !line.isBusy, !line.items.isEmpty else { return nil }
      line.isBusy = true
      let item = line.items.removeFirst()
      state.lines[connectionID] = line
      return (item, state.changeCount)
    }
  }

  func finished(_ connectionID: UInt64) {
    self.state.withLock { state in
      state.lines[connectionID]?.isBusy = false
      if state.lines[connectionID]?.items.isEmpty == true { state.lines[connectionID] = nil }
    }
  }

  /// - Returns: whether the metadata have changed since the request was taken: it is to be looked at again.
  func putBack(_ item: Item, changeCount: Int) -> Bool {
    self.state.withLock { state in
      let connectionID = item.exchange.client.connectionID
      state.lines[connectionID, default: Line()].items.insert(item, at: 0)
      state.lines[connectionID]?.isBusy = false
      return state.changeCount != changeCount
    }
  }

  /// The lines, after a change of the metadata.
  func changed() -> [UInt64] {
    self.state.withLock { state in
      state.changeCount += 1
      return state.lines.keys.sorted()
    }
  }

  /// The way to the leader.
  func peer(_ leader: NodeID, _ make: () -> Peer<Env>?) -> Peer<Env>? {
    self.state.withLock { state in
      if let peer = state.peers[leader] { return peer }
      let peer = make()
      state.peers[leader] = peer
      return peer
    }
  }

  func noteSent(_ now: Instant) { self.state.withLock { $0.lastSent = now } }

  /// Whether no request is here, and none was sent on for `time`.
  func isQuiet(for time: Duration, _ now: Instant) -> Bool {
    self.state.withLock { state in state.lines.isEmpty && state.lastSent.map { $0 + time <= now } ?? true }
  }

  func close() {
    let peers = self.state.withLock { state in
      defer { state.peers = [:] }
      return state.peers.sorted { $0.key < $1.key }.map(\.value)
    }
    for peer in peers { peer.close() }
  }
}
