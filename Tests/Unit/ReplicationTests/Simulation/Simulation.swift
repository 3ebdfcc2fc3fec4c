import Base
import Model
import Replication

/// What a run came to.
struct Outcome {
  var violation: String?
  var trace: [String]
  var eventCount = 0, acknowledged = 0, committed = 0, read = 0, elections = 0, truncations = 0, restarts = 0, inSyncChanges = 0
}

/// One run: load and faults, then calm, in which everything must become well again.
struct Simulation {
  /// How long after the last fault all replicas must agree.
  static let convergenceTime: Int64 = 2_000_000_000
  static let calmLoadTime: Int64 = 300_000_000

  static func run(seed: UInt64, profile: Profile? = nil, mutant: Mutant? = nil, isTracing: Bool = false) -> Outcome {
    var profile = profile ?? Profile(seed: seed)
    profile.mutant = mutant
    let world = World(seed: seed, profile: profile)
    world.isTracing = isTracing
    let producers = Self.clients(world)
    let chaos = Chaos(world: world)
    chaos.start()
    world.run(until: profile.faultTime)
    let changesUnderFaults = world.controller.changeCount
    chaos.stop()
    world.run(until: world.time + Self.convergenceTime - Self.calmLoadTime)
    let before = producers.map(\.acknowledged)
    world.run(until: world.time + Self.calmLoadTime)
    if world.checker.violation == nil, let stuck = producers.indices.first(where: { producers[$0].acknowledged == before[$0] }) {
      world.checker.fail("producer \(stuck) gets nothing done though all is well")
    }
    for producer in producers { producer.end() }
    // What is on its way arrives.
    world.run(until: world.time + 300_000_000)
    if world.checker.violation == nil { world.checker.checkConverged() }
    if profile.faults.isEmpty, changesUnderFaults > 0 {
      world.checker.fail("the ISR changed \(changesUnderFaults) times with nothing wrong")
    }
    world.end()
    let checker = world.checker!
    var outcome = Outcome(violation: checker.violation, trace: world.trace)
    outcome.eventCount = world.eventCount
    outcome.acknowledged = checker.acknowledgedCount
    outcome.committed = checker.committed.reduce(0) { $0 + $1.count }
    outcome.read = checker.readCount
    outcome.elections = checker.elections
    outcome.truncations = checker.truncations
    outcome.restarts = checker.restarts
    outcome.inSyncChanges = world.controller.changeCount
    return outcome
  }

  private static func clients(_ world: World) -> [Producer] {
    var producers: [Producer] = []
    var consumers: [Consumer] = []
    for partition in 0..<world.profile.partitionCount {
      for _ in 0..<world.profile.producersPerPartition {
        let id = UInt64(producers.count + 1)
        producers.append(Producer(world: world, partition: partition, id: id, needsAll: id % 2 == 1))
      }
      consumers.append(Consumer(world: world, partition: partition))
    }
    for producer in producers { world.schedule(after: world.pick(0...50_000_000)) { producer.run() } }
    for consumer in consumers { world.schedule(after: world.pick(0...50_000_000)) { consumer.run() } }
    return producers
  }
}

/// Makes things go wrong, each for a while, until it is told to stop.
final class Chaos {
  private unowned let world: World
  private var isStopped = false

  init(world: World) { self.world = world }

  func start() {
    // Some seeds begin calmly, others with a cluster that never was well.
    self.world.schedule(after: self.world.pick(0...400_000_000)) { [self] in self.step() }
  }

  /// Everything that is broken is mended.
  func stop() {
    self.isStopped = true
    self.world.isCalm = true
    self.world.log("calm")
    self.world.lossPercent = 0
    for a in -1..<self.world.nodes.count { for b in -1..<self.world.nodes.count { self.world.heal(a, b) } }
    for node in self.world.nodes {
      node.flushSlowness = 1
      node.restart()
      self.setQuota(node, false)
    }
  }

  private func step() {
    if self.isStopped { return }
    if let fault = self.world.profile.faults.randomElement(using: &self.world.random) { self.inject(fault) }
    self.world.schedule(after: self.world.pick(0...2 * self.world.profile.faultInterval)) { [self] in self.step() }
  }

  private func anyone() -> Node { self.world.nodes[Int.random(in: 0..<self.world.nodes.count, using: &self.world.random)] }

  private func later(_ range: ClosedRange<Int64>, _ body: @escaping () -> Void) {
    self.world.schedule(after: self.world.pick(range)) { [self] in
      if !self.isStopped { body() }
    }
  }

  private func inject(_ fault: Profile.Fault) {
    let world = self.world
    let node = self.anyone()
    let partition = Int.random(in: 0..<world.profile.partitionCount, using: &world.random)
    switch fault {
    case .crash:
      node.crash()
      self.later(20_000_000...700_000_000) { node.restart() }
    case .pause: node.pause(for: world.pick(20_000_000...800_000_000))
    case .cut, .oneWayCut:
      let other = Int.random(in: -1..<world.nodes.count, using: &world.random)
      world.log("cut \(node.id) - \(other)")
      world.cut(node.id, other)
      if fault == .cut { world.cut(other, node.id) }
      self.later(30_000_000...700_000_000) {
        world.heal(node.id, other)
        world.heal(other, node.id)
      }
    case .loss:
      world.lossPercent = 10
      self.later(50_000_000...300_000_000) { world.lossPercent = 0 }
    case .slowFlush:
      node.flushSlowness = world.pick(10...200)
      self.later(50_000_000...500_000_000) { node.flushSlowness = 1 }
    case .move: world.controller.move(partition)
    case .delete:
      guard let replica = node.replicas[partition], let leader = replica.leader, leader.resignation == nil else { return }
      // Often nearly all, so that a follower that was away finds nothing to go on with.
      let lowest = world.chance(50) ? replica.log.startOffset : max(replica.log.startOffset, replica.highWatermark - 3)
      let start = world.pick(lowest...max(lowest, replica.highWatermark))
      replica.log.advanceStart(to: start)
      node.stepLeader(replica, .logStartAdvanced(to: Offset(start)))
    case .throttle:
      self.setQuota(node, true)
      self.later(20_000_000...300_000_000) { self.setQuota(node, false) }
    case .duplicate, .longDelay, .drift, .evictSessions: break
    }
  }

  private func setQuota(_ node: Node, _ isExceeded: Bool) {
    guard node.isUp else { return }
    for fetcher in node.fetchers {
      for partition in 0..<self.world.profile.partitionCount where partition % 2 == 0 {
        node.step(fetcher, .throttled(partition, isExceeded))
      }
      node.step(fetcher, .quotaExceeded(isExceeded))
      node.step(fetcher, .turnEnded)
    }
  }
}
