import Base
import Controller
import Environment
import JSON
import Model
import Raft
import Synchronization
import VirtualWorld

/// A quorum whose nodes die, lose power, pause and lose each other while one or the other of them is given work: what is seen from
/// outside must stay right, and once the trouble is over it must go on.
final class QuorumSimulation: QuorumObserver {
  private struct Seen: Sendable {
    var leaders: [LeaderEpoch: NodeID] = [:]
    var committed: [Offset: String] = [:]
    var acknowledged: [Offset: String] = [:]
    /// When each node last cut its log.
    var cuts: [NodeID: Instant] = [:]
    var problems: [String] = []
    var trace: [String] = []
  }

  let world: World
  private let seed: UInt64
  private let ids: [NodeID]
  private let seen = Mutex(Seen())
  private let nodes: Mutex<[QuorumNode?]>
  private let machines: [Int]
  private let disks: [FaultyDisk]
  private let clocks: [ClockError]
  private let nextValue = Mutex(0)

  init(seed: UInt64, nodeCount: Int) {
    self.seed = seed
    self.world = World(seed: seed)
    let world = self.world
    self.ids = (1...nodeCount).map { NodeID(Int32($0)) }
    self.machines = self.ids.map { _ in world.addMachine() }
    self.disks = self.ids.map { FaultyDisk(seed: seed &* 31 &+ UInt64($0.rawValue)) }
    self.clocks = self.ids.map { _ in ClockError(driftPartsPerMillion: world.draw(-200...200)) }
    self.nodes = Mutex(Array(repeating: nil, count: nodeCount))
  }

  // MARK: - What is seen

  func led(by node: NodeID, in epoch: LeaderEpoch) {
    self.seen.withLock { seen in
      seen.trace.append("\(self.world.now.nanoseconds / 1_000_000) ms: node \(node) leads epoch \(epoch)")
      if let other = seen.leaders[epoch] { seen.problems.append("epoch \(epoch) is led by node \(other) and by node \(node)") }
      seen.leaders[epoch] = node
    }
  }

  func stood(_ node: NodeID, in epoch: Int32) {
    let index = Int(node.rawValue) - 1
    // What is in the file was synced with it.
    let text = self.disks[index].contents(of: "data/__cluster_metadata-0/quorum-state").map { String(decoding: $0, as: UTF8.self) } ?? ""
    guard let json = try? JSONParser.parse(text), case .integer(let known)? = json["leaderEpoch"], known >= Int64(epoch) else {
      return self.failed("node \(node) stands in epoch \(epoch), and its disk knows of \(text)")
    }
  }

  func fetched(_ node: NodeID, from offset: Offset) {
    // A fetch may be older than this life, or than a cut of the log.
    guard let alive = self.node(Int(node.rawValue) - 1) else { return }
    let flushed = alive.driver.flushedOffset
    let isOld = max(alive.beganAt, self.seen.withLock { $0.cuts[node] } ?? .origin) + .seconds(3) > self.world.now
    if offset > flushed, !isOld {
      self.failed("node \(node) says that it has everything below \(offset) on disk, and has flushed up to \(flushed)")
    }
  }

  func committed(_ value: String, at offset: Offset, by node: NodeID) {
    self.seen.withLock { seen in
      if let known = seen.committed[offset], known != value {
        seen.problems.append("at offset \(offset) node \(node) has \(value), another had \(known)")
      }
      seen.committed[offset] = value
    }
  }

  func acknowledged(_ value: String, at offset: Offset) { self.seen.withLock { $0.acknowledged[offset] = value } }
  func failed(_ reason: String) { self.seen.withLock { $0.problems.append(reason) } }

  func traced(_ trace: RaftTrace, by node: NodeID) {
    if case .truncated = trace { self.seen.withLock { $0.cuts[node] = self.world.now } }
    self.seen.withLock { $0.trace.append("\(self.world.now.nanoseconds / 1_000_000) ms: node \(node): \(trace)") }
  }

  var problems: [String] { self.seen.withLock { $0.problems } }
  var acknowledgedCount: Int { self.seen.withLock { $0.acknowledged.count } }
  var electionCount: Int { self.seen.withLock { $0.leaders.count } }
  var trace: [String] { self.seen.withLock { $0.trace } }

  // MARK: - What happens

  private func begin(_ index: Int) {
    let environment = WorldNode(
      self.machines[index], host: QuorumNode.host(self.ids[index]), disk: self.disks[index], clock: self.clocks[index], in: self.world)
    do {
      let node = try QuorumNode(self.ids[index], in: environment, voters: QuorumNode.voters(self.ids), observer: self)
      self.nodes.withLock { $0[index] = node }
    } catch { self.failed("node \(self.ids[index]) does not start: \(error)") }
  }

  private func node(_ index: Int) -> QuorumNode? { self.nodes.withLock { $0[index] } }

  private func end(_ index: Int, losingPower: Bool) {
    guard self.node(index) != nil else { return }
    self.nodes.withLock { $0[index] = nil }
    if losingPower {
      self.world.cutPower(self.machines[index])
      self.disks[index].losePower()
    } else {
      self.world.kill(self.machines[index])
      self.disks[index].killProcess()
    }
  }

  private func work() {
    for index in self.ids.indices {
      guard self.world.condition(of: self.machines[index]) == .running, let node = self.node(index), node.isLeading else { continue }
      let number = self.nextValue.withLock { value in
        value += 1
        return value
      }
      node.propose("value \(number)")
    }
  }

  /// One thing goes wrong, and is put right some time later.
  private func trouble() {
    let index = Int(self.world.draw(0...Int64(self.ids.count - 1)))
    let machine = self.machines[index]
    let other = self.machines[Int(self.world.draw(0...Int64(self.ids.count - 1)))]
    let span = Duration.milliseconds(self.world.draw(20...1_500))
    switch self.world.draw(0...6) {
    case 0, 1:
      self.end(index, losingPower: self.world.draw(0...1) == 0)
      self.world.after(span) { if self.node(index) == nil { self.begin(index) } }
    case 2:
      self.world.pause(machine)
      self.world.after(span) { self.world.resume(machine) }
    case 3:
      self.world.net.cut(from: machine, to: other)
      self.world.after(span) { self.world.net.mend(from: machine, to: other, in: self.world) }
    case 4:
      for there in self.machines where there != machine {
        self.world.net.cut(from: machine, to: there)
        self.world.net.cut(from: there, to: machine)
      }
      self.world.after(span) { self.mend(machine) }
    case 5: self.world.net.reset(machine, other, in: self.world)
    default:
      self.node(index)?.environment.setLatency(.slow)
      self.world.after(span) { self.node(index)?.environment.setLatency(.usual) }
    }
  }

  private func mend(_ machine: Int) {
    for there in self.machines where there != machine {
      self.world.net.mend(from: machine, to: there, in: self.world)
      self.world.net.mend(from: there, to: machine, in: self.world)
    }
  }

  // MARK: - Runs

  /// Trouble for a while, then none: everything acknowledged must be there on every node, and new work must get done.
  func run(trouble: Duration) {
    for index in self.ids.indices { self.begin(index) }
    let end = self.world.now + trouble
    while self.world.now < end {
      self.world.run(for: .milliseconds(self.world.draw(5...60)))
      self.work()
      if self.world.draw(0...9) == 0 { self.trouble() }
    }
    // All that was to be put right is by then.
    self.world.run(for: .seconds(2))
    for machine in self.machines {
      self.mend(machine)
      self.world.resume(machine)
    }
    for index in self.ids.indices where self.node(index) == nil { self.begin(index) }
    self.world.run(for: .seconds(6))
    let before = self.acknowledgedCount
    for _ in 0..<20 {
      self.work()
      self.world.run(for: .milliseconds(50))
    }
    self.world.run(for: .seconds(2))
    if self.acknowledgedCount < before + 15 {
      self.failed("once all was well only \(self.acknowledgedCount - before) of 20 proposals were committed")
    }
    self.compare()
  }

  private func compare() {
    let (acknowledged, committed) = self.seen.withLock { ($0.acknowledged, $0.committed) }
    for (offset, value) in acknowledged.sorted(by: { $0.key < $1.key }) where committed[offset] != value {
      self.failed("\(value) was acknowledged at offset \(offset), where \(committed[offset] ?? "nothing") is committed")
    }
    let last = acknowledged.keys.max() ?? .zero
    for index in self.ids.indices {
      guard let node = self.node(index) else { continue }
      if let failure = node.state.withLock({ $0.failure }) { self.failed("node \(node.id) has failed: \(failure)") }
      let end = node.state.withLock { $0.committed }
      if end <= last { self.failed("node \(node.id) knows of commitment up to \(end) only, not beyond \(last)") }
    }
  }
}
