import Base
import Model
import Replication

/// What a simulated cluster is like, drawn from its seed. Some seeds have every fault, most have a few, so that each gets its chance
/// (swarm).
struct Profile {
  enum Fault: CaseIterable, Sendable {
    case crash, pause, cut, oneWayCut, loss, duplicate, longDelay, slowFlush, drift, move, delete, evictSessions, throttle
  }

  var nodeCount = 3
  var partitionCount = 1
  var replicationFactor = 3
  var durability = FlushPolicy.Durability.flushed
  var minInSync = 2
  var fetcherCount = 1
  var faults: [Fault] = []
  var faultTime: Int64 = 2_000_000_000
  /// Between two faults, on average.
  var faultInterval: Int64 = 150_000_000
  var produceInterval: Int64 = 12_000_000
  var producersPerPartition = 2
  /// Of a producer's turns, those that are followed by a silence.
  var silencePercent = 1
  /// Between two writes of `replication-offset-checkpoint`.
  var checkpointInterval = Duration.milliseconds(100)
  var mutant: Mutant?

  static let session = Duration.milliseconds(400)
  /// Parts per million; the margin of the lease is made for it.
  static let driftMax = 50_000
  static let leaseRule = LeaseRule(session: session, driftMaxPerMille: Int64(driftMax / 1000))
  static let lagTimeMax = Duration.milliseconds(500)
  static let requestTimeout = Duration.milliseconds(300)
  /// A request that comes later than this was dropped on the way.
  static let lateMax: Int64 = 250_000_000

  init() {}

  init(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    self.nodeCount = Int.random(in: 3...5, using: &random)
    self.partitionCount = Int.random(in: 1...3, using: &random)
    self.replicationFactor = Int.random(in: 2...min(4, self.nodeCount), using: &random)
    self.durability = Bool.random(using: &random) ? .flushed : .written
    self.minInSync = Int.random(in: 1...2, using: &random)
    self.fetcherCount = Int.random(in: 1...2, using: &random)
    let likelihood = [2, 4, 8].randomElement(using: &random)!
    self.faults = Fault.allCases.filter { _ in Int.random(in: 0..<10, using: &random) < likelihood }
    self.faultInterval = [60_000_000, 150_000_000, 400_000_000].randomElement(using: &random)!
    self.checkpointInterval = .milliseconds([20, 100, 500].randomElement(using: &random)!)
    self.produceInterval = [3_000_000, 12_000_000, 50_000_000].randomElement(using: &random)!
  }
}

/// Virtual time, the network, and what goes wrong with both. One thread; everything follows from the seed.
final class World {
  struct Event {
    var time: Int64
    var order: UInt64
    var body: () -> Void
  }

  let profile: Profile
  var random: SeededGenerator
  private(set) var time: Int64 = 0
  private var events: [Event] = []
  private var lastOrder: UInt64 = 0
  var nodes: [Node] = []
  var controller: Controller! = nil
  var checker: Checker! = nil
  /// Pairs that cannot reach each other, in this direction. The controller is -1.
  private var cuts: Set<Link> = []
  var lossPercent = 0
  /// Set when the faults are over.
  var isCalm = false
  var trace: [String] = []
  var isTracing = false
  private(set) var eventCount = 0

  struct Link: Hashable { var from: Int, to: Int }

  init(seed: UInt64, profile: Profile) {
    self.profile = profile
    self.random = SeededGenerator(seed: seed &+ 0x5EED)
    self.checker = Checker(world: self)
    self.controller = Controller(world: self)
    self.nodes = (0..<profile.nodeCount).map { Node(id: $0, world: self) }
  }

  func has(_ fault: Profile.Fault) -> Bool { self.profile.faults.contains(fault) }
  func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self.random) < percent }
  func pick(_ range: ClosedRange<Int64>) -> Int64 { Int64.random(in: range, using: &self.random) }

  // The trace is told only while somebody listens, since most runs have nothing to tell.
  func log(_ text: @autoclosure () -> String) {
    if self.isTracing { self.trace.append("\(self.time / 1000)us \(text())") }
  }

  // MARK: - Time

  func schedule(at time: Int64, _ body: @escaping () -> Void) {
    self.lastOrder += 1
    self.events.append(Event(time: max(time, self.time), order: self.lastOrder, body: body))
    var child = self.events.count - 1
    while child > 0, Self.isBefore(self.events[child], self.events[(child - 1) / 2]) {
      self.events.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  func schedule(after delay: Int64, _ body: @escaping () -> Void) { self.schedule(at: self.time + delay, body) }

  private static func isBefore(_ a: Event, _ b: Event) -> Bool { (a.time, a.order) < (b.time, b.order) }

  private func next() -> Event? {
    guard let first = self.events.first else { return nil }
    let last = self.events.removeLast()
    if self.events.isEmpty { return first }
    self.events[0] = last
    var parent = 0
    while true {
      var child = 2 * parent + 1
      if child >= self.events.count { break }
      if child + 1 < self.events.count, Self.isBefore(self.events[child + 1], self.events[child]) { child += 1 }
      if !Self.isBefore(self.events[child], self.events[parent]) { break }
      self.events.swapAt(child, parent)
      parent = child
    }
    return first
  }

  func run(until end: Int64) {
    while self.checker.violation == nil, let first = self.events.first, first.time <= end {
      let event = self.next()!
      self.time = event.time
      self.eventCount += 1
      event.body()
    }
    self.time = max(self.time, end)
  }

  /// Lets go of what refers to this world, which then goes away.
  func end() {
    self.events = []
    for node in self.nodes { node.waiters = [:] }
    self.nodes = []
  }

  // MARK: - The network

  func cut(_ from: Int, _ to: Int) { self.cuts.insert(Link(from: from, to: to)) }
  func heal(_ from: Int, _ to: Int) { self.cuts.remove(Link(from: from, to: to)) }

  /// Carries `body` from one node to another. What is sent may be lost, late, twice, and out of order; `body` runs at the receiver.
  ///
  /// - Parameter once: the connection drops copies, as TCP does; the receiver of anything else has to.
  func send(from: Int, to: Int, once: Bool = false, _ body: @escaping () -> Void) {
    if self.cuts.contains(Link(from: from, to: to)) { return }
    if self.lossPercent > 0, self.chance(self.lossPercent) { return }
    let copies = !once && !self.isCalm && self.has(.duplicate) && self.chance(3) ? 2 : 1
    for _ in 0..<copies {
      var delay = self.pick(100_000...600_000)
      if !self.isCalm, self.has(.longDelay), self.chance(2) { delay += self.pick(0...Self.longDelayMax) }
      self.schedule(after: delay) { [self] in
        if self.cuts.contains(Link(from: from, to: to)) { return }
        if to < 0 { return body() }
        self.nodes[to].whenRunning(body)
      }
    }
  }

  static let longDelayMax: Int64 = Profile.lateMax - 600_000
}
