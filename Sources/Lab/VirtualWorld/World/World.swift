package import Base
import Environment
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

  private struct Node: Sendable {
    var life: UInt64 = 0
    var condition = Condition.off
    /// What a stop of the process holds back, in order; whatever comes before all of it has happened queues up behind it.
    var held: [Body] = []
    var heldPosition = 0
    var isHolding: Bool { self.heldPosition < self.held.count }
  }
  private struct State: Sendable {
    var now: Int64 = 0
    var generator: SeededGenerator
    var queue = EventQueue()
    var nodes: [Node] = []
    /// Whose machine the event that is happening concerns.
    var actor: Int?
    var eventCount: UInt64 = 0
    var digest: UInt64 = 0xCBF2_9CE4_8422_2325

    mutating func fold(_ part: UInt64) { self.digest = (self.digest ^ part) &* 0x0000_0100_0000_01B3 }

    /// Whether something of `owner` may happen now; what its process is stopped for waits.
    mutating func admit(_ owner: Owner, _ body: @escaping Body) -> Bool {
      guard self.nodes[owner.node].life == owner.life else { return false }
      switch self.nodes[owner.node].condition {
      case .dead, .off: return false
      case .running where !self.nodes[owner.node].isHolding:
        self.actor = owner.node
        return true
      case .running, .paused:
        self.nodes[owner.node].held.append(body)
        return false
      }
    }
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

  /// A checksum of which events happened when, and of what was sent: two runs of one seed that differ in anything differ in it.
  package var digest: UInt64 { self.state.withLock { $0.digest } }

  /// Lets everything happen that is due until `end`, and moves the clock there.
  ///
  /// - Parameter observer: is told after each event that concerned a node which machine that was.
  package func run(until end: Instant, observer: ((_ machine: Int) -> Void)? = nil) {
    while let body = self.next(upTo: end) {
      body()
      if let observer, let actor = self.state.withLock({ $0.actor }) { observer(actor) }
    }
    self.state.withLock { $0.now = max($0.now, end.nanoseconds) }
  }

  package func run(for span: Duration, observer: ((_ machine: Int) -> Void)? = nil) { self.run(until: self.now + span, observer: observer) }

  private func next(upTo end: Instant) -> Body? {
    self.state.withLock { state in
      while let event = state.queue.next(upTo: end.nanoseconds) {
        state.now = max(state.now, event.time)
        state.actor = nil
        if let owner = event.owner, !state.admit(owner, event.body) { continue }
        state.eventCount += 1
        state.fold(UInt64(bitPattern: event.time))
        state.fold(event.order << 8 ^ UInt64(UInt8(truncatingIfNeeded: event.owner?.node ?? -1)))
        return event.body
      }
      return nil
    }
  }

  /// Plans `body` for `delay` of true time from now, on behalf of the world itself.
  package func after(_ delay: Duration, _ body: @escaping Body) { _ = self.plan(after: delay.wholeNanoseconds, owner: nil, body) }

  @discardableResult
  func plan(after delay: Int64, owner: Owner?, _ body: @escaping Body) -> EventQueue.Ticket {
    self.state.withLock { state in state.queue.add(state.now + max(0, delay), owner, body) }
  }

  func cancel(_ ticket: EventQueue.Ticket) {
    // The body is released after unlocking, as what it holds may run code.
    let body = self.state.withLock { $0.queue.cancel(ticket) }
    _ = body
  }

  /// Does something of `owner` within the event that is happening, or when its process goes on. Not at all if it is gone.
  func act(for owner: Owner, _ body: @escaping Body) {
    let mayRun = self.state.withLock { $0.admit(owner, body) }
    if mayRun { body() }
  }

  /// Makes `part` a part of the digest.
  package func fold(_ part: UInt64) { self.state.withLock { $0.fold(part) } }

  /// A number from `range`, by the world's seed.
  package func draw(_ range: ClosedRange<Int64>) -> Int64 {
    self.state.withLock { Int64.random(in: range, using: &$0.generator) }
  }

  func drawBits() -> UInt64 { self.state.withLock { $0.generator.next() } }

  /// The end: nothing happens any more, and nobody is held in memory by what was to happen.
  package func end() {
    let left = self.state.withLock { state in
      defer { state.queue = EventQueue() }
      let held = state.nodes.map(\.held)
      for index in state.nodes.indices { (state.nodes[index].held, state.nodes[index].heldPosition) = ([], 0) }
      return (state.queue, held)
    }
    _ = left
    self.net.end()
  }

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
      defer { (state.nodes[node].held, state.nodes[node].heldPosition) = ([], 0) }
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
    let owner: Owner? = self.state.withLock { state in
      guard state.nodes[node].condition == .paused else { return nil }
      state.nodes[node].condition = .running
      return state.nodes[node].isHolding ? Owner(node: node, life: state.nodes[node].life) : nil
    }
    if let owner { self.plan(after: 0, owner: nil) { self.catchUp(owner) } }
  }

  /// Does the first of what was held back, and plans the next.
  private func catchUp(_ owner: Owner) {
    let (body, isLast) = self.state.withLock { state -> (Body?, Bool) in
      let place = owner.node
      guard state.nodes[place].life == owner.life, state.nodes[place].condition == .running, state.nodes[place].isHolding else {
        return (nil, true)
      }
      let body = state.nodes[place].held[state.nodes[place].heldPosition]
      state.nodes[place].heldPosition += 1
      state.fold(UInt64(place))
      state.actor = place
      if state.nodes[place].isHolding { return (body, false) }
      (state.nodes[place].held, state.nodes[place].heldPosition) = ([], 0)
      return (body, true)
    }
    body?()
    if !isLast { self.plan(after: 0, owner: nil) { self.catchUp(owner) } }
  }
}
