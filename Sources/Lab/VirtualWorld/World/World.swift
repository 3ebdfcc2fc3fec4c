package import Base
import Environment
import HeapModule
import Synchronization

/// Several nodes in one thread: one queue of everything that is going to happen, in true time that no node can see.
///
/// A node sees its own clock, disk and network (`WorldNode`). Whoever runs the world decides who dies, pauses, is cut off or slowed
/// down. The same seed and the same decisions give the same run, event by event.
package final class World: Sendable {
  package typealias Body = @Sendable () -> Void

  /// One life of one node: events of an earlier life are dropped.
  struct Owner: Hashable, Sendable {
    var node: Int
    var life: UInt64
  }

  /// What a machine and its process are doing.
  package enum Condition: Hashable, Sendable {
    case running
    /// The process is stopped (SIGSTOP, a long pause of the machine): everything that concerns it waits.
    case paused
    /// The process is gone, and the machine says so to whoever asks.
    case dead
    /// The machine is gone: nobody says anything.
    case off
  }

  private struct Event: Comparable, Sendable {
    /// Nanoseconds of true time.
    var time: Int64
    /// Of events at the same time the one that was planned first happens first.
    var order: UInt64
    var owner: Owner?
    static func < (a: Event, b: Event) -> Bool { (a.time, a.order) < (b.time, b.order) }
  }
  private struct Node: Sendable {
    var life: UInt64 = 0
    var condition = Condition.off
    var held: [Body] = []
  }
  private struct State: Sendable {
    var now: Int64 = 0
    var generator: SeededGenerator
    var queue = Heap<Event>()
    /// By the order of their events; a cancelled event has none.
    var bodies: [UInt64: Body] = [:]
    var nextOrder: UInt64 = 0
    var nodes: [Node] = []
    var eventCount: UInt64 = 0
    var digest: UInt64 = 0xCBF2_9CE4_8422_2325
  }

  private let state: Mutex<State>
  package let net: WorldNet

  package init(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let netSeed = generator.next()
    self.state = Mutex(State(generator: generator))
    self.net = WorldNet(seed: netSeed)
  }

  // MARK: - Running

  /// True time since the world began.
  package var now: Instant { Instant(nanoseconds: self.state.withLock { $0.now }) }

  /// Events that have happened.
  package var eventCount: UInt64 { self.state.withLock { $0.eventCount } }

  /// A checksum of which events happened when: two runs of one seed that differ in anything differ in it.
  package var digest: UInt64 { self.state.withLock { $0.digest } }

  /// Lets everything happen that is due until `end`, and moves the clock there.
  package func run(until end: Instant) {
    while let body = self.next(upTo: end) { body() }
    self.state.withLock { $0.now = max($0.now, end.nanoseconds) }
  }

  package func run(for span: Duration) { self.run(until: self.now + span) }

  private func next(upTo end: Instant) -> Body? {
    self.state.withLock { state in
      while let event = state.queue.min, event.time <= end.nanoseconds {
        state.queue.removeMin()
        guard let body = state.bodies.removeValue(forKey: event.order) else { continue }
        state.now = max(state.now, event.time)
        if let owner = event.owner {
          guard state.nodes[owner.node].life == owner.life else { continue }
          switch state.nodes[owner.node].condition {
          case .dead, .off: continue
          case .paused:
            state.nodes[owner.node].held.append(body)
            continue
          case .running: break
          }
        }
        state.eventCount += 1
        for part in [UInt64(bitPattern: event.time), event.order, UInt64(bitPattern: Int64(event.owner?.node ?? -1))] {
          state.digest = (state.digest ^ part) &* 0x0000_0100_0000_01B3
        }
        return body
      }
      return nil
    }
  }

  /// Plans `body` for `delay` of true time from now, on behalf of the world itself.
  package func after(_ delay: Duration, _ body: @escaping Body) { _ = self.plan(after: delay.wholeNanoseconds, owner: nil, body) }

  @discardableResult
  func plan(after delay: Int64, owner: Owner?, _ body: @escaping Body) -> UInt64 {
    self.state.withLock { state in
      let order = state.nextOrder
      state.nextOrder += 1
      state.bodies[order] = body
      state.queue.insert(Event(time: state.now + max(0, delay), order: order, owner: owner))
      return order
    }
  }

  func cancel(_ order: UInt64) {
    // The body is released after unlocking, as what it holds may run code.
    let body = self.state.withLock { $0.bodies.removeValue(forKey: order) }
    _ = body
  }

  /// A number from `range`, by the world's seed.
  package func draw(_ range: ClosedRange<Int64>) -> Int64 {
    self.state.withLock { Int64.random(in: range, using: &$0.generator) }
  }

  func drawBits() -> UInt64 { self.state.withLock { $0.generator.next() } }

  // MARK: - Nodes

  /// Makes room for one more machine, which is off. Returns its index.
  package func addMachine() -> Int {
    self.state.withLock { state in
      state.nodes.append(Node())
      return state.nodes.count - 1
    }
  }

  /// Begins a new life of the node: its machine is on, its process runs.
  func begin(_ node: Int) -> Owner {
    self.state.withLock { state in
      invariant(state.nodes[node].condition == .dead || state.nodes[node].condition == .off, "node \(node) lives already")
      state.nodes[node].life += 1
      state.nodes[node].condition = .running
      return Owner(node: node, life: state.nodes[node].life)
    }
  }

  package func condition(of node: Int) -> Condition { self.state.withLock { $0.nodes[node].condition } }

  func isCurrent(_ owner: Owner) -> Bool {
    self.state.withLock { state in
      let node = state.nodes[owner.node]
      return node.life == owner.life && node.condition != .dead && node.condition != .off
    }
  }

  /// The process dies (`kill -9`): its connections are closed by its system, and nobody listens any more.
  package func kill(_ node: Int) {
    self.end(node, .dead)
    self.net.processDied(node, in: self)
  }

  /// The machine loses power: silence. What its disk makes of that is the disk's matter.
  package func cutPower(_ node: Int) {
    self.end(node, .off)
    self.net.machineVanished(node)
  }

  private func end(_ node: Int, _ condition: Condition) {
    let held = self.state.withLock { state in
      defer { state.nodes[node].held = [] }
      state.nodes[node].condition = condition
      return state.nodes[node].held
    }
    _ = held
  }

  package func pause(_ node: Int) {
    self.state.withLock { state in
      if state.nodes[node].condition == .running { state.nodes[node].condition = .paused }
    }
  }

  /// What was held back happens now, in its order.
  package func resume(_ node: Int) {
    let (held, owner) = self.state.withLock { state -> ([Body], Owner) in
      let owner = Owner(node: node, life: state.nodes[node].life)
      guard state.nodes[node].condition == .paused else { return ([], owner) }
      state.nodes[node].condition = .running
      defer { state.nodes[node].held = [] }
      return (state.nodes[node].held, owner)
    }
    for body in held { self.plan(after: 0, owner: owner, body) }
  }
}
