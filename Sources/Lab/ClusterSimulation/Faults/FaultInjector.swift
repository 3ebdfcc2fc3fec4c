import Base
import Environment
import Model
import VirtualWorld

/// Does to a cluster what its plan says, and puts it right again when the time has come.
struct FaultInjector: Sendable {
  let cluster: SimCluster

  private var world: World { self.cluster.world }
  private var board: Board { self.cluster.board }

  /// From now on, on the world's own time.
  func begin() {
    for event in self.cluster.plan.faults.events { self.world.after(event.time) { self.perform(event) } }
  }

  private func perform(_ event: FaultPlan.Event) {
    let nodes = self.cluster.nodes
    let node = nodes[Int(event.choice % UInt64(nodes.count))]
    self.board.record(.fault("\(event.kind.rawValue) of node \(node.id) for \(event.length.wholeMilliseconds) ms"), .plan)
    switch event.kind {
    case .kill:
      self.board.count(.kill)
      node.kill()
      self.beginAgain(node, after: event.length)
    case .power:
      self.board.count(.powerLoss)
      node.cutPower()
      self.beginAgain(node, after: event.length)
    case .crashAtWrite, .powerAtWrite:
      let count = Int(event.choice >> 16 % 40)
      node.fail(afterChanges: count, losingPower: event.kind == .powerAtWrite) { self.beginAgain(node, after: event.length) }
    case .restart: node.stop { self.beginAgain(node, after: event.length) }
    case .rolling:
      self.board.count(.rollingRestart)
      self.roll(from: 0, pause: event.length, before: self.world.now + (self.cluster.plan.trouble - event.time))
    case .pause:
      self.board.count(.pause)
      node.pause()
      self.world.after(event.length) { node.resume() }
    case .fullDisk:
      self.board.count(.fullDisk)
      node.setDiskRoom(Int(event.choice >> 16 % 20_000))
      self.world.after(event.length) { node.setDiskRoom(nil) }
    case .slowDisk:
      self.board.count(.slowDisk)
      node.setDiskLatency(.slow)
      self.world.after(event.length) { node.setDiskLatency(nil) }
    case .diskError:
      self.board.count(.diskError)
      node.inject(Self.diskFault(event.choice >> 16))
    case .isolate, .cut, .slowWire, .reset: self.troubleWires(of: node, event)
    case .blackout: self.cutAllPower(event.length)
    case .bitFlip:
      self.board.count(.bitFlip)
      node.cutPower(flippingBits: true)
      self.beginAgain(node, after: event.length)
    case .reassign: _ = self.cluster.admin.reassign(event.choice >> 16, among: nodes.map(\.id))
    case .reassignKill:
      guard let target = self.cluster.admin.reassign(event.choice >> 16, among: nodes.map(\.id)).flatMap(self.cluster.node) else { return }
      self.world.after(.milliseconds(Int64(event.choice >> 40 % 500))) {
        self.board.count(.kill)
        target.kill()
        self.beginAgain(target, after: event.length)
      }
    case .voters: self.cluster.admin.changeVoters(event.choice >> 16)
    case .elect: self.cluster.admin.electPreferred()
    case .topics: self.cluster.admin.changeTopics(event.choice >> 16)
    case .clock, .unclean: break
    }
  }

  private func cutAllPower(_ length: Duration) {
    for node in self.cluster.nodes {
      self.board.count(.powerLoss)
      node.cutPower()
      // They do not come back at the same time.
      self.beginAgain(node, after: .milliseconds(self.world.draw(20...max(21, length.wholeMilliseconds))))
    }
  }

  private func beginAgain(_ node: SimNode, after delay: Duration) { self.world.after(delay) { node.begin() } }

  /// - Parameter end: of all trouble: no node is stopped after it.
  private func roll(from index: Int, pause: Duration, before end: Instant) {
    guard index < self.cluster.nodes.count, self.world.now < end else { return }
    let node = self.cluster.nodes[index]
    node.stop {
      self.world.after(.milliseconds(50)) {
        node.begin()
        self.world.after(pause) { self.roll(from: index + 1, pause: pause, before: end) }
      }
    }
  }

  private static func diskFault(_ choice: UInt64) -> DiskFault {
    let operations: [DiskFault.Operation] = [.sync, .write, .syncDirectory, .rename, .open]
    let operation = operations[Int(choice % UInt64(operations.count))]
    return DiskFault(operation, operation == .open ? .tooManyOpenFiles : .io, after: Int(choice >> 8 % 30))
  }

  // MARK: - Wires

  private func troubleWires(of node: SimNode, _ event: FaultPlan.Event) {
    let others = (self.cluster.nodes.map(\.machine) + self.cluster.clientMachines).filter { $0 != node.machine }
    let other = others[Int(event.choice >> 16 % UInt64(others.count))]
    let net = self.world.net
    switch event.kind {
    case .isolate:
      self.board.count(.isolation)
      // From the other nodes, or from everybody.
      let cut = event.choice >> 32 % 2 == 0 ? others : self.cluster.nodes.map(\.machine).filter { $0 != node.machine }
      self.setCut(true, node.machine, cut)
      self.world.after(event.length) { self.setCut(false, node.machine, cut) }
    case .cut:
      self.board.count(.cutWire)
      let (from, to) = event.choice >> 32 % 2 == 0 ? (node.machine, other) : (other, node.machine)
      net.cut(from: from, to: to)
      self.world.after(event.length) { net.mend(from: from, to: to, in: self.world) }
    case .slowWire:
      self.board.count(.slowWire)
      let range: ClosedRange<Duration> = .milliseconds(1)...(.milliseconds(Int64(5 + event.choice >> 32 % 400)))
      net.setLatency(from: node.machine, to: other, range)
      self.world.after(event.length) { net.setLatency(from: node.machine, to: other, nil) }
    default:
      self.board.count(.reset)
      net.reset(node.machine, other, in: self.world)
    }
  }

  private func setCut(_ isCut: Bool, _ machine: Int, _ others: [Int]) {
    for other in others {
      for (from, to) in [(machine, other), (other, machine)] {
        if isCut { self.world.net.cut(from: from, to: to) } else { self.world.net.mend(from: from, to: to, in: self.world) }
      }
    }
  }

  /// The end of all trouble: every wire mended, every disk well, every node running.
  func makeAllWell() {
    self.board.record(.fault("all is made well"), .plan)
    let machines = self.cluster.nodes.map(\.machine) + self.cluster.clientMachines
    for from in machines {
      for to in machines where from != to {
        self.world.net.mend(from: from, to: to, in: self.world)
        self.world.net.setLatency(from: from, to: to, nil)
      }
    }
    for node in self.cluster.nodes {
      node.disk.makeWell()
      node.disk.keepPower()
      node.setDiskRoom(nil)
      node.setDiskLatency(nil)
      node.resume()
      node.begin()
    }
  }
}
