import Base
import Election
import Model
import Raft

/// What can go wrong, or is asked for, at a moment.
enum SimTrouble {
  case partition([(Int, Int)], for: Duration)
  case slowLinks([(Int, Int)], by: Duration, for: Duration)
  case crash(Int, down: Duration)
  case pause(Int, for: Duration)
  case clockJump(Int, by: Duration)
  case slowDisk(Int, for: Duration)
  case shutDown(Int)
  case snapshot(Int)
  case dropPrefix(Int)
  case voterChange
  case loseDisk(Int)
  case deposeLeader
}

extension SimWorld {
  func planTroubles() {
    func plan(_ perSecond: Double, _ make: () -> SimTrouble) {
      let seconds = Double(self.plan.faultTime.wholeMilliseconds) / 1000
      let expected = perSecond * seconds
      let count = Int(expected) + (Double.random(in: 0..<1, using: &self.generator) < expected - expected.rounded(.down) ? 1 : 0)
      for _ in 0..<count { self.queue.add(.trouble(make()), at: .origin + self.duration(upTo: self.plan.faultTime)) }
    }
    plan(self.plan.partitionsPerSecond) { .partition(self.links(), for: .milliseconds(50) + self.duration(upTo: .milliseconds(2500))) }
    plan(self.plan.slowLinksPerSecond) {
      let delay = self.duration(upTo: .milliseconds(450))
      return .slowLinks(self.links(), by: delay, for: .milliseconds(200) + self.duration(upTo: .milliseconds(1500)))
    }
    plan(self.plan.crashesPerSecond) { .crash(self.node(), down: self.duration(upTo: self.chance(50) ? .milliseconds(50) : .seconds(2))) }
    plan(self.plan.pausesPerSecond) { .pause(self.node(), for: self.duration(upTo: .milliseconds(1500))) }
    plan(self.plan.clockJumpsPerSecond) { .clockJump(self.node(), by: self.duration(upTo: .seconds(3))) }
    plan(self.plan.slowDisksPerSecond) { .slowDisk(self.node(), for: self.duration(upTo: .seconds(2))) }
    plan(self.plan.shutDownsPerSecond) { .shutDown(self.node()) }
    plan(self.plan.snapshotsPerSecond) { self.chance(70) ? .snapshot(self.node()) : .dropPrefix(self.node()) }
    plan(self.plan.voterChangesPerSecond) { .voterChange }
    if self.plan.deposedLeadersPerSecond > 0 { plan(self.plan.deposedLeadersPerSecond) { .deposeLeader } }
    if self.plan.losesADisk { plan(0.2) { .loseDisk(Int.random(in: 0..<self.plan.voterCount, using: &self.generator)) } }
  }

  /// The links that a partition cuts: around one node or one group, in both directions or one.
  private func links() -> [(Int, Int)] {
    let all = Array(self.nodes.indices)
    var group = [self.node()]
    if self.chance(40) { group = all.filter { _ in self.chance(50) } }
    let others = all.filter { !group.contains($0) }
    let direction = Int.random(in: 0..<4, using: &self.generator)
    return group.flatMap { a in
      others.flatMap { b in direction == 0 ? [(a, b)] : direction == 1 ? [(b, a)] : [(a, b), (b, a)] }
    }
  }

  func begin(_ trouble: SimTrouble) {
    guard self.hasFaults else { return }
    switch trouble {
    case .partition(let links, let time):
      self.tell("cut \(links) for \(time)")
      for (from, to) in links { self.blocked[from][to] += 1 }
      self.later(.heal(trouble), in: time)
    case .slowLinks(let links, let delay, let time):
      self.tell("slow by \(delay): \(links) for \(time)")
      for (from, to) in links { self.linkDelay[from][to] += delay }
      self.later(.heal(trouble), in: time)
    case .crash(let node, let down):
      guard self.nodes[node].isUp else { return }
      self.crash(node)
      self.later(.restart(node: node), in: down)
    case .pause(let node, let time):
      self.tell("n\(node + 1) stops for \(time)")
      self.nodes[node].pausedUntil = max(self.nodes[node].pausedUntil, self.now + time)
    case .clockJump(let node, let time):
      self.tell("n\(node + 1)'s clock jumps by \(time)")
      self.nodes[node].clockLead += time
      if self.nodes[node].isUp, self.nodes[node].pausedUntil <= self.now { self.step(node, .timerFired) }
    case .slowDisk(let node, let time):
      self.tell("n\(node + 1)'s disk is slow for \(time)")
      self.nodes[node].slowDiskUntil = self.now + time
    case .shutDown(let node):
      guard self.nodes[node].isUp, self.nodes[node].pausedUntil <= self.now else { return }
      self.tell("n\(node + 1) is shut down")
      self.step(node, .shutDown)
    case .snapshot(let node): self.takeSnapshot(node)
    case .dropPrefix(let node):
      guard self.nodes[node].isUp, let snapshot = self.nodes[node].machine.log.latestSnapshot else { return }
      self.step(node, .prefixExpendable(to: snapshot.id))
    case .voterChange: self.changeVoters()
    case .loseDisk(let node): self.loseDisk(node)
    case .deposeLeader: self.deposeLeader()
    }
  }

  func end(_ trouble: SimTrouble) {
    guard self.hasFaults else { return }
    if case .partition(let links, _) = trouble { for (from, to) in links { self.blocked[from][to] -= 1 } }
    if case .slowLinks(let links, let delay, _) = trouble { for (from, to) in links { self.linkDelay[from][to] -= delay } }
  }

  func endTroubles() {
    self.tell("all trouble ends")
    self.hasFaults = false
    for node in self.nodes.indices {
      self.blocked[node] = self.blocked[node].map { _ in 0 }
      self.linkDelay[node] = self.linkDelay[node].map { _ in .zero }
      self.nodes[node].pausedUntil = self.now
      self.nodes[node].slowDiskUntil = self.now
      if self.nodes[node].isUp { self.step(node, .timerFired) } else { self.restart(node) }
    }
  }

  // MARK: Processes

  func crash(_ node: Int) {
    self.tell("n\(node + 1) crashes")
    self.nodes[node].isUp = false
    self.nodes[node].disk.crash(using: &self.generator)
    self.nodes[node].inbound = [:]
    self.nodes[node].held = []
  }

  func restart(_ node: Int) {
    if self.nodes[node].isUp { self.crash(node) }
    self.nodes[node].incarnation += 1
    self.nodes[node].isUp = true
    self.nodes[node].pausedUntil = self.now
    self.nodes[node].disk.stateSync = SimDisk.Sync()
    self.nodes[node].disk.logSync = SimDisk.Sync()
    if let latest = self.nodes[node].disk.log.snapshots.last, latest.id.index > self.nodes[node].disk.log.end {
      // The entries before it were lost and are not needed: the snapshot is whole.
      self.nodes[node].disk.log.apply(.install(latest))
    }
    if self.plan.isDynamic, self.nodes[node].config.isController, self.chance(15) {
      let port = UInt16.random(in: 1000...9999, using: &self.generator)
      let external = Endpoint(listener: "EXTERNAL", address: Address(host: "sim", port: port))
      self.nodes[node].config.endpoints = [Self.endpoint(node), external]
    }
    let log = self.nodes[node].disk.log
    self.nodes[node].log = log
    // The machine says which snapshot to begin with.
    self.nodes[node].applied = .zero
    self.nodes[node].digest = 0
    self.nodes[node].timerAt = .distantFuture
    self.nodes[node].durableToken = .none
    self.nodes[node].downloaded = nil
    self.nodes[node].heardLeaderAt = nil
    self.nodes[node].leaderEndedIn = .zero
    let summary = log.summary(voters: self.nodes[node].firstVoters, version: self.nodes[node].version)
    self.nodes[node].machine = self.machine(self.nodes[node].config, self.nodes[node].disk.state, summary)
    self.tell("n\(node + 1) starts with \(self.nodes[node].disk.state), log \(log.base)..\(summary.end), voters \(summary.voters)")
    self.step(node, .timerFired)
  }

  /// The disk is replaced by an empty one, and the node is another replica from now on.
  private func loseDisk(_ node: Int) {
    let key = self.nodes[node].key
    let isSafe = self.nodes.allSatisfy { $0.machine.log.voters.voters.count >= 3 || $0.machine.log.voters.isEmpty }
    guard self.lostReplica == nil, isSafe else { return }
    self.tell("n\(node + 1) loses its disk")
    self.lostReplica = key
    if self.nodes[node].isUp { self.crash(node) }
    self.nodes[node].disk = SimDisk()
    self.nodes[node].config.local = ReplicaKey(key.node, KafkaUUID(high: 2, low: UInt64(node + 1)))
    self.nodes[node].firstVoters = .empty
    self.later(.restart(node: node), in: self.duration(upTo: .seconds(1)))
  }

  // MARK: Snapshots

  private func takeSnapshot(_ node: Int) {
    let (machine, applied) = (self.nodes[node].machine, self.nodes[node].applied)
    let start = machine.log.latestSnapshot?.id.index ?? machine.log.startIndex
    guard self.nodes[node].isUp, applied > start, applied <= machine.highWatermark, let term = machine.log.term(at: applied - 1),
      !self.nodes[node].disk.pendingWrites.contains(where: { if case .install = $0.write { true } else { false } })
    else { return }
    let id = LogEnd(term: term, index: applied)
    let version = machine.log.versionHistory.value(below: applied)
    let voters = machine.log.voterHistory.value(below: applied)
    // Below the first voters in the log only those formatted with them know any: snapshots of one state would not be the same.
    if voters.isEmpty { return }
    let info = SnapshotInfo(id: id, byteCount: 20 + applied.rawValue % 100)
    let summary = SnapshotSummary(info: info, voters: self.plan.isDynamic ? voters : nil, version: version)
    let snapshot = SimSnapshot(summary: summary, digest: self.nodes[node].digest)
    if let known = self.snapshots[id], known.digest != snapshot.digest {
      self.checker.fail("state machine safety", "node \(node) has another state at \(id) than another node")
    }
    self.snapshots[id] = self.snapshots[id] ?? snapshot
    self.nodes[node].log.snapshots.append(self.snapshots[id] ?? snapshot)
    self.nodes[node].disk.log.snapshots.append(self.snapshots[id] ?? snapshot)
    self.step(node, .snapshotTaken(info))
  }

  // MARK: Those who use it

  /// What the leader sends is lost, what is sent to it is late.
  private func deposeLeader() {
    guard let leader = self.leaderGuess else { return }
    let others = self.nodes.indices.filter { $0 != leader }
    let time = Duration.milliseconds(600)
    self.begin(.partition(others.map { (leader, $0) }, for: time))
    self.begin(.slowLinks(others.map { ($0, leader) }, by: .milliseconds(300) + self.duration(upTo: .milliseconds(150)), for: time))
  }

  private var leaderGuess: Int? {
    let leading = self.nodes.indices.filter { index in
      let node = self.nodes[index]
      return node.isUp && node.machine.role == .leader && node.pausedUntil <= self.now
    }
    return leading.isEmpty ? nil : leading[Int.random(in: 0..<leading.count, using: &self.generator)]
  }

  private func pause(perSecond: Double) -> Duration { self.duration(upTo: .nanoseconds(Int64(2e9 / perSecond))) }

  func propose() {
    if self.stopsProposing { return }
    if let node = self.leaderGuess {
      self.nextPayload += 1
      let count = Int.random(in: 1...3, using: &self.generator)
      self.payloads[self.nextPayload] = (0..<count).map { _ in
        self.nextCommand += 1
        return SimEntry(term: .zero, content: .command(self.nextCommand))
      }
      self.step(node, .propose(PayloadID(self.nextPayload), count: Int64(count), term: self.nodes[node].machine.term))
    }
    self.later(.propose, in: self.pause(perSecond: self.plan.proposalsPerSecond))
  }

  func read() {
    if let node = self.leaderGuess {
      self.nextRead += 1
      self.reads[ReadID(self.nextRead)] = self.checker.committedEnd
      self.step(node, .read(ReadID(self.nextRead)))
    }
    self.later(.read, in: self.pause(perSecond: self.plan.readsPerSecond))
  }

  private func changeVoters() {
    guard let node = self.leaderGuess else { return }
    let voters = self.nodes[node].machine.log.voters
    if let lostReplica, voters.voters.contains(where: { $0.key == lostReplica }) {
      // Without its disk it is of no use, and without another voter there may be no majority.
      return self.ask(node, .removeVoter(RemoveVoterRequest(clusterID: "sim", voter: lostReplica)))
    }
    let candidates = self.nodes.filter { $0.config.isController && !voters.contains(node: $0.id) }
    if self.chance(50), let new = candidates.first {
      self.ask(node, .addVoter(AddVoterRequest(clusterID: "sim", voter: new.key, endpoints: new.config.endpoints)))
    } else if voters.voters.count > 1 {
      let voter = voters.voters[Int.random(in: 0..<voters.voters.count, using: &self.generator)]
      self.ask(node, .removeVoter(RemoveVoterRequest(clusterID: "sim", voter: voter.key)))
    }
  }

  private func ask(_ node: Int, _ request: RaftRequest) {
    self.nodes[node].nextRequest += 1
    let id = RequestID(self.nodes[node].nextRequest)
    self.nodes[node].inbound[id] = SimNode.Inbound(from: -1, incarnation: 0, call: CallID(0), request: request)
    self.step(node, .request(id, request))
  }
}
