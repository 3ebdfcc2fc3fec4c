import Base
import Environment
import Synchronization

/// The wires between the machines of a `World`, seen by whoever runs it: cut, slow down, reset.
///
/// Connections behave as TCP's: in order, without loss while they last. What a cut wire carries waits until it is mended, or until the
/// connection is reset. Different connections are not ordered among each other.
package final class WorldNet: Sendable {
  struct Direction: Hashable, Sendable {
    var from: Int
    var to: Int
  }
  private struct State: Sendable {
    var generator: SeededGenerator
    var usual: ClosedRange<Int64> = 30_000...300_000
    var slow: [Direction: ClosedRange<Int64>] = [:]
    var cut: Set<Direction> = []
    var listeners: [NodeAddress: Listener] = [:]
    var hosts: [String: Int] = [:]
    /// In the order of their making.
    var connections: [WorldConnection] = []
  }
  struct Listener: Sendable {
    var owner: World.Owner
    var accept: @Sendable (WorldLink) -> @Sendable (LinkEvent) -> Void
  }
  private let state: Mutex<State>

  init(seed: UInt64) { self.state = Mutex(State(generator: SeededGenerator(seed: seed))) }

  // MARK: - Trouble

  /// How long a frame takes where nothing else is said.
  package func setLatency(_ range: ClosedRange<Duration>) {
    self.state.withLock { $0.usual = range.lowerBound.wholeNanoseconds...range.upperBound.wholeNanoseconds }
  }

  /// How long a frame takes from one machine to another; nil: as usual.
  package func setLatency(from: Int, to: Int, _ range: ClosedRange<Duration>?) {
    self.state.withLock {
      $0.slow[Direction(from: from, to: to)] = range.map { $0.lowerBound.wholeNanoseconds...$0.upperBound.wholeNanoseconds }
    }
  }

  /// Nothing arrives in this direction any more. The other direction is not concerned.
  package func cut(from: Int, to: Int) { self.state.withLock { _ = $0.cut.insert(Direction(from: from, to: to)) } }

  package func mend(from: Int, to: Int, in world: World) {
    let direction = Direction(from: from, to: to)
    let connections = self.state.withLock { state in
      state.cut.remove(direction)
      return state.connections
    }
    for connection in connections { connection.release(direction, in: world) }
  }

  /// Ends every connection between the two machines, as a firewall that forgets does; both sides hear of it.
  package func reset(_ a: Int, _ b: Int, in world: World) {
    for connection in self.connections where connection.joins(a, b) { connection.reset(in: world) }
  }

  /// Forgets everybody.
  func end() {
    let left = self.state.withLock { state in
      defer { (state.listeners, state.connections) = ([:], []) }
      return (state.listeners, state.connections)
    }
    _ = left
  }

  private var connections: [WorldConnection] { self.state.withLock { $0.connections } }

  // MARK: - What the world and its links ask

  func isCut(_ direction: Direction) -> Bool { self.state.withLock { $0.cut.contains(direction) } }

  func latency(_ direction: Direction) -> Int64 {
    if direction.from == direction.to { return 10_000 }
    return self.state.withLock { state in
      Int64.random(in: state.slow[direction] ?? state.usual, using: &state.generator)
    }
  }

  func name(_ machine: Int, _ host: String) { self.state.withLock { $0.hosts[host] = machine } }
  func machine(of host: String) -> Int? { self.state.withLock { $0.hosts[host] } }
  func listen(_ address: NodeAddress, _ listener: Listener) { self.state.withLock { $0.listeners[address] = listener } }
  func listener(at address: NodeAddress) -> Listener? { self.state.withLock { $0.listeners[address] } }
  func add(_ connection: WorldConnection) { self.state.withLock { $0.connections.append(connection) } }
  func remove(_ connection: WorldConnection) { self.state.withLock { $0.connections.removeAll { $0 === connection } } }

  func processDied(_ node: Int, in world: World) {
    self.forgetListeners(of: node)
    for connection in self.connections where connection.touches(node) { connection.endDied(node, in: world) }
  }

  func machineVanished(_ node: Int) { self.forgetListeners(of: node) }

  func stopListening(_ owner: World.Owner) {
    self.state.withLock { state in state.listeners = state.listeners.filter { $0.value.owner != owner } }
  }

  private func forgetListeners(of node: Int) {
    self.state.withLock { state in state.listeners = state.listeners.filter { $0.value.owner.node != node } }
  }
}
