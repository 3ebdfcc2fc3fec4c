import Base
import Environment
import NIOCore
import Synchronization

/// A connection between two processes of a `World`.
final class WorldConnection: Sendable {
  enum Side: Int, Sendable {
    case client, server
    var other: Side { self == .client ? .server : .client }
  }
  private struct End: Sendable {
    var owner: World.Owner?
    var handler: (@Sendable (LinkEvent) -> Void)?
    /// It was told that the connection is over, or said so itself.
    var isEnded = false
    /// When the last of what is on its way to it arrives, in true nanoseconds.
    var lastArrival: Int64 = 0
    /// Arrived at a cut wire, in order.
    var stalled: [LinkEvent] = []
  }
  private struct State: Sendable {
    var ends: [End]
    /// Sent by the client before the connection stood.
    var early: [ByteBuffer] = []
    var isOpen = false
  }
  private let state: Mutex<State>

  init(client: World.Owner, _ handler: @escaping @Sendable (LinkEvent) -> Void) {
    self.state = Mutex(State(ends: [End(owner: client, handler: handler), End()]))
  }

  func touches(_ node: Int) -> Bool { self.state.withLock { $0.ends.contains { $0.owner?.node == node } } }

  func joins(_ a: Int, _ b: Int) -> Bool {
    self.state.withLock { state in
      let nodes = state.ends.map { $0.owner?.node }
      return nodes == [a, b] || nodes == [b, a]
    }
  }

  // MARK: - What the two sides do

  func accept(_ listener: WorldNet.Listener, in world: World) {
    let isWanted = self.state.withLock { state in
      state.ends[Side.server.rawValue].owner = listener.owner
      return !state.ends[Side.client.rawValue].isEnded
    }
    guard isWanted else { return }
    let link = WorldLink(self, .server, world)
    world.plan(after: 0, owner: listener.owner) {
      let handler = listener.accept(link)
      self.state.withLock { $0.ends[Side.server.rawValue].handler = handler }
    }
    self.carry(.opened, to: .client, in: world)
  }

  func send(_ frame: ByteBuffer, from side: Side, in world: World) {
    var body = frame
    // The receiver gets the frame without its length.
    body.moveReaderIndex(forwardBy: 4)
    body.withUnsafeReadableBytes { world.fold(UInt64(CRC32C.checksum($0))) }
    let sender = self.state.withLock { $0.ends[side.rawValue].owner }
    // Who died in the middle of what it did says nothing more.
    guard let sender, world.isCurrent(sender) else { return }
    let mayGo = self.state.withLock { state in
      if state.ends[side.rawValue].isEnded { return false }
      if side == .client, !state.isOpen {
        state.early.append(body)
        return false
      }
      return true
    }
    if mayGo { self.carry(.received(body), to: side.other, in: world) }
  }

  func close(_ side: Side, in world: World) {
    guard self.end(side, .closedHere, after: 0, in: world) else { return }
    self.carry(.closed(.closedByPeer), to: side.other, in: world)
  }

  // MARK: - What happens to them

  /// The process at one of the ends died; its system says so to the other.
  func endDied(_ node: Int, in world: World) {
    let side: Side? = self.state.withLock { state in
      guard let index = state.ends.firstIndex(where: { $0.owner?.node == node && !$0.isEnded }) else { return nil }
      state.ends[index].isEnded = true
      return Side(rawValue: index)
    }
    if let side { self.carry(.closed(.closedByPeer), to: side.other, in: world) }
  }

  func reset(in world: World) {
    for side in [Side.client, .server] { self.end(side, .unreachable(reason: "connection reset"), after: 0, in: world) }
  }

  /// Tells one side that the connection is over, and nothing else any more. False if it knew.
  @discardableResult
  func end(_ side: Side, _ failure: LinkFailure, after delay: Int64, in world: World) -> Bool {
    let (isNews, owner) = self.state.withLock { state -> (Bool, World.Owner?) in
      defer { state.ends[side.rawValue].isEnded = true }
      return (!state.ends[side.rawValue].isEnded, state.ends[side.rawValue].owner)
    }
    guard isNews else { return false }
    if let owner {
      // The handler is looked up when it is needed: a server's side may be about to get its own.
      world.plan(after: delay, owner: owner) {
        let handler = self.state.withLock { $0.ends[side.rawValue].handler }
        handler?(.closed(failure))
      }
    }
    let isOver = self.state.withLock { $0.ends.allSatisfy { $0.isEnded || $0.owner == nil } }
    if isOver { world.net.remove(self) }
    return true
  }

  // MARK: - The wire

  /// Puts an event on the wire: it arrives after everything that was put there before.
  private func carry(_ event: LinkEvent, to side: Side, in world: World) {
    guard let direction = self.direction(to: side) else { return }
    let latency = world.net.latency(direction)
    let now = world.now.nanoseconds
    let arrival = self.state.withLock { state in
      let arrival = max(now + latency, state.ends[side.rawValue].lastArrival)
      state.ends[side.rawValue].lastArrival = arrival
      return arrival
    }
    world.plan(after: arrival - now, owner: nil) { self.arrive(event, at: side, in: world) }
  }

  private func direction(to side: Side) -> WorldNet.Direction? {
    self.state.withLock { state in
      guard let to = state.ends[side.rawValue].owner, let from = state.ends[side.other.rawValue].owner else { return nil }
      return WorldNet.Direction(from: from.node, to: to.node)
    }
  }

  private func arrive(_ event: LinkEvent, at side: Side, in world: World) {
    guard let direction = self.direction(to: side) else { return }
    let isCut = world.net.isCut(direction)
    let isStalled = self.state.withLock { state in
      guard isCut || !state.ends[side.rawValue].stalled.isEmpty else { return false }
      state.ends[side.rawValue].stalled.append(event)
      return true
    }
    if !isStalled { self.hand(event, to: side, in: world) }
  }

  /// The wire was mended: what waited at it goes on, as after a retransmission.
  func release(_ direction: WorldNet.Direction, in world: World) {
    for side in [Side.client, .server] where self.direction(to: side) == direction {
      let count = self.state.withLock { $0.ends[side.rawValue].stalled.count }
      guard count > 0 else { continue }
      world.plan(after: world.draw(1_000_000...200_000_000), owner: nil) {
        let events = self.state.withLock { state in
          defer { state.ends[side.rawValue].stalled = [] }
          return state.ends[side.rawValue].stalled
        }
        // Cut again meanwhile: they wait on.
        for event in events { self.arrive(event, at: side, in: world) }
      }
    }
  }

  private func hand(_ event: LinkEvent, to side: Side, in world: World) {
    guard let owner = self.state.withLock({ state in state.ends[side.rawValue].isEnded ? nil : state.ends[side.rawValue].owner }) else {
      return
    }
    if case .closed(let failure) = event {
      self.end(side, failure, after: 0, in: world)
      return
    }
    guard world.isCurrent(owner) else {
      // The machine is back without the process that had the connection: its system knows nothing of it and says so.
      if world.condition(of: owner.node) != .off { self.end(side.other, .closedByPeer, after: 0, in: world) }
      return
    }
    if case .opened = event { self.open(in: world) }
    world.act(for: owner) {
      let handler = self.state.withLock { state in state.ends[side.rawValue].handler }
      handler?(event)
    }
  }

  private func open(in world: World) {
    let early = self.state.withLock { state in
      state.isOpen = true
      defer { state.early = [] }
      return state.early
    }
    for body in early { self.carry(.received(body), to: .server, in: world) }
  }
}
