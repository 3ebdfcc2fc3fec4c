import Base
import Election
import Model
import Raft

/// A quorum in one thread and virtual time: every machine, its disk, the network between them, and trouble, all from one seed.
final class SimWorld {
  enum Event {
    case deliver(SimNode.Packet)
    case timer(node: Int, number: Int)
    case stateWritten(node: Int, incarnation: Int, PersistToken)
    case logWritten(node: Int, incarnation: Int, PersistToken)
    case callFailed(node: Int, incarnation: Int, CallID, CallFailure)
    case trouble(SimTrouble)
    case heal(SimTrouble)
    case restart(node: Int)
    case propose, read, watch
  }

  let seed: UInt64
  let plan: SimPlan
  let mutants: RaftMutant
  var generator: SeededGenerator
  var now = Instant.origin
  var queue = EventQueue<Event>()
  var nodes: [SimNode] = []
  var checker = SafetyChecker()
  /// `blocked[a][b]`: nothing gets from a to b.
  var blocked: [[Int]]
  /// What a link adds to every delay.
  var linkDelay: [[Duration]]
  var hasFaults = true
  /// Entries and chunks on their way, by the name the machines know them by.
  var payloads: [UInt64: [SimEntry]] = [:]
  var nextPayload: UInt64 = 0
  var snapshots: [LogEnd: SimSnapshot] = [:]
  var nextCommand: UInt64 = 0
  var nextRead: UInt64 = 0
  /// What was committed when the read began.
  var reads: [ReadID: LogIndex] = [:]
  var lostReplica: ReplicaKey?
  var counts = SimCounts()
  /// One line per thing that happened, if wanted.
  var story: [String]?
  var stopsProposing = false
  private var effects: [RaftEffect] = []

  static let listener = "CONTROLLER"

  init(seed: UInt64, plan: SimPlan? = nil, mutants: RaftMutant = [], tells: Bool = false) {
    self.seed = seed
    self.plan = plan ?? SimPlan(seed: seed)
    self.mutants = mutants
    self.generator = SeededGenerator(seed: seed ^ 0x5DEE_CE66_D1CE_4E5B)
    self.story = tells ? [] : nil
    let count = self.plan.voterCount + self.plan.spareCount + self.plan.observerCount
    self.blocked = Array(repeating: Array(repeating: 0, count: count), count: count)
    self.linkDelay = Array(repeating: Array(repeating: .zero, count: count), count: count)
    let version: KRaftVersion = self.plan.isDynamic ? .dynamicVoters : .staticVoters
    let configs = (0..<count).map { self.config(of: $0, count: count) }
    let voters = configs.prefix(self.plan.voterCount).map { config in
      self.plan.isDynamic ? config.voter : Voter(key: ReplicaKey(config.local.node), endpoints: config.endpoints, versions: config.versions)
    }
    guard let voterSet = VoterSet(voters) else { preconditionFailure("node ids repeat") }
    for (index, config) in configs.enumerated() {
      let first = self.plan.isDynamic && index >= self.plan.voterCount ? .empty : voterSet
      let machine = self.machine(config, HardState(), LogSummary(voters: first, version: version))
      self.nodes.append(SimNode(config: config, firstVoters: first, version: version, machine: machine))
    }
    for node in self.nodes.indices { self.step(node, .timerFired) }
    self.planTroubles()
    self.later(.propose, in: .milliseconds(50))
    self.later(.read, in: .milliseconds(60))
    self.later(.watch, in: .milliseconds(100))
  }

  private func config(of index: Int, count: Int) -> RaftConfig {
    let id = NodeID(Int32(index + 1))
    var config = RaftConfig(
      local: ReplicaKey(id, KafkaUUID(high: 1, low: UInt64(index + 1))), endpoints: [Self.endpoint(index)],
      isController: index < self.plan.voterCount + self.plan.spareCount, listener: Self.listener, clusterID: "sim")
    config.electionTimeout = .milliseconds(150)
    config.electionBackoffMax = .milliseconds(200)
    config.fetchTimeout = .milliseconds(300)
    config.requestTimeout = .milliseconds(250)
    config.retryBackoff = .milliseconds(15)
    config.fetchWaitMax = .milliseconds(100)
    config.observerSession = .seconds(3)
    config.bootstrapServers = (0..<count).filter { $0 != index }.map { Self.endpoint($0).address }
    config.joinsAutomatically = self.plan.joinsAutomatically
    return config
  }

  static func endpoint(_ index: Int) -> Endpoint {
    Endpoint(listener: Self.listener, address: Address(host: "sim", port: UInt16(index + 1)))
  }

  func machine(_ config: RaftConfig, _ state: HardState, _ log: LogSummary) -> RaftMachine {
    RaftMachine(config: config, hardState: state, log: log, seed: self.generator.next(), now: self.now, mutants: self.mutants)
  }

  // MARK: Chance and time

  func chance(_ percent: Int) -> Bool { percent > 0 && Int.random(in: 0..<100, using: &self.generator) < percent }
  func duration(upTo limit: Duration) -> Duration { .drawn(below: limit, using: &self.generator) }
  func node() -> Int { Int.random(in: self.nodes.indices, using: &self.generator) }
  func later(_ event: Event, in delay: Duration) { self.queue.add(event, at: self.now + delay) }
  func localTime(_ node: Int) -> Instant { self.now + self.nodes[node].clockLead }

  func tell(_ line: @autoclosure () -> String) {
    guard self.story != nil else { return }
    let text = line()
    let milliseconds = self.now.nanoseconds / 1000
    self.story?.append("\(milliseconds / 1000).\(milliseconds % 1000) \(text)")
  }

  // MARK: Running

  /// Runs until nothing more happens before `end`, or something is wrong.
  func run(until end: Instant) {
    while self.checker.violation == nil, let time = self.queue.nextTime, time <= end, let (at, event) = self.queue.next() {
      self.now = at
      self.happen(event)
    }
    self.now = max(self.now, end)
  }

  private func happen(_ event: Event) {
    self.counts.events += 1
    switch event {
    case .deliver(let packet): self.deliver(packet)
    case .timer(let node, let number):
      guard self.nodes[node].isUp, self.nodes[node].timerNumber == number else { return }
      if self.isPaused(node, event) { return }
      self.nodes[node].timerAt = .distantFuture
      guard let deadline = self.nodes[node].machine.nextDeadline else { return }
      // Most deadlines are put off before they come.
      if deadline > self.localTime(node) { self.arm(node, deadline) } else { self.step(node, .timerFired) }
    case .stateWritten(let node, let incarnation, let token):
      guard self.nodes[node].incarnation == incarnation, self.nodes[node].isUp else { return }
      if self.isPaused(node, event) { return }
      self.completeState(node, token)
    case .logWritten(let node, let incarnation, let token):
      guard self.nodes[node].incarnation == incarnation, self.nodes[node].isUp else { return }
      if self.isPaused(node, event) { return }
      self.completeWrite(node, token)
    case .callFailed(let node, let incarnation, let call, let failure):
      guard self.nodes[node].incarnation == incarnation, self.nodes[node].isUp else { return }
      if self.isPaused(node, event) { return }
      self.step(node, .callFailed(call, failure))
      let machine = self.nodes[node].machine
      // It knows that its leader's process is dead.
      if failure == .refused, machine.role == .follower, machine.knownLeader == nil { self.nodes[node].leaderEndedIn = machine.term }
    case .trouble(let trouble): self.begin(trouble)
    case .heal(let trouble): self.end(trouble)
    case .restart(let node): self.restart(node)
    case .propose: self.propose()
    case .read: self.read()
    case .watch: self.watch()
    }
  }

  /// A process that is stopped gets everything when it goes on.
  private func isPaused(_ node: Int, _ event: Event) -> Bool {
    guard self.nodes[node].pausedUntil > self.now else { return false }
    self.queue.add(event, at: self.nodes[node].pausedUntil)
    return true
  }

  private func deliver(_ packet: SimNode.Packet) {
    let node = packet.to
    guard self.nodes[node].isUp else {
      if case .request(let call, _) = packet.message { self.failCall(packet, call) }
      return
    }
    if self.isPaused(node, .deliver(packet)) { return }
    switch packet.message {
    case .request(let call, let request):
      self.nodes[node].nextRequest += 1
      let id = RequestID(self.nodes[node].nextRequest)
      self.nodes[node].inbound[id] = SimNode.Inbound(
        from: packet.from, incarnation: packet.incarnation, call: call, request: request)
      self.note(request, at: node)
      self.step(node, .request(id, request))
    case .answer(let call, let answer):
      guard self.nodes[node].incarnation == packet.incarnation else { return }
      let answer = self.chance(self.hasFaults ? self.plan.liesPercent : 0) ? self.lie(answer, to: node) : answer
      self.step(node, .answer(call, answer))
    }
  }

  func step(_ node: Int, _ input: RaftInput) {
    let (roleBefore, watermarkBefore) = (self.nodes[node].machine.role, self.nodes[node].machine.highWatermark)
    let local = self.localTime(node)
    if self.story != nil { self.tellInput(node, input) }
    self.effects.removeAll(keepingCapacity: true)
    var effects: [RaftEffect] = []
    swap(&effects, &self.effects)
    self.nodes[node].machine.handle(input, now: local, into: &effects)
    for effect in effects { self.run(effect, node) }
    if case .answer(_, let answer) = input, roleBefore == .follower { self.noteContact(node, answer, effects) }
    swap(&effects, &self.effects)
    self.check(node, roleBefore: roleBefore, watermarkBefore: watermarkBefore)
    guard let deadline = self.nodes[node].machine.nextDeadline else { return }
    if deadline <= local { self.checker.fail("progress", "node \(node) wants to be called at \(deadline), and it is \(local)") }
    self.arm(node, deadline)
  }

  /// Sees to it that the node gets an event at `deadline`, its time, or before.
  private func arm(_ node: Int, _ deadline: Instant) {
    let time = self.now + (deadline - self.localTime(node))
    guard time < self.nodes[node].timerAt else { return }
    self.nodes[node].timerAt = time
    self.nodes[node].timerNumber += 1
    self.queue.add(.timer(node: node, number: self.nodes[node].timerNumber), at: time)
  }

  // MARK: Effects

  private func run(_ effect: RaftEffect, _ node: Int) {
    switch effect {
    case .persist(let state, let token):
      self.nodes[node].disk.pendingStates.append((token, state))
      let done = self.diskTime(node, \.stateSync)
      self.queue.add(.stateWritten(node: node, incarnation: self.nodes[node].incarnation, token), at: done)
    case .call(let id, let destination, let request, let after): self.call(node, id, destination, request, after)
    case .answer(let id, let answer, let after): self.answer(node, id, answer, after)
    case .append(let append): self.append(node, append)
    case .truncate(let index, let token):
      if self.nodes[node].machine.role == .leader {
        self.checker.fail("leader append-only", "node \(node) cuts its log at \(index) while it leads")
      }
      self.write(node, .truncate(index), token)
      self.checkVotersInForce(node)
    case .writeSnapshot(let chunk): self.download(node, chunk)
    case .installSnapshot(let info, let token): self.install(node, info, token)
    case .discardSnapshot: self.nodes[node].downloaded = nil
    case .dropPrefix(let snapshot): self.write(node, .dropPrefix(snapshot), nil)
    case .loadSnapshot(let id): self.load(node, id)
    case .advanceHighWatermark(let index): self.apply(node, upTo: index)
    case .refuseProposal(let payload, _): self.payloads[payload.rawValue] = nil
    case .confirmRead(let id, let index): self.checkRead(node, id, index)
    case .refuseRead(let id, _): self.reads[id] = nil
    case .becomeLeader(let term):
      self.counts.elections += 1
      self.nodes[node].leadsSince = self.localTime(node)
      self.nodes[node].fetchesHeard = [:]
      self.checker.elected(node, self.nodes[node].incarnation, term, self.nodes[node].log)
      if self.hasFaults, self.chance(self.plan.crashAfterElectionPercent) {
        self.later(.trouble(.crash(node, down: self.duration(upTo: .milliseconds(300)))), in: self.duration(upTo: .milliseconds(100)))
      }
    case .stepDown, .leaderChanged: break
    case .shutDownCompleted: self.later(.restart(node: node), in: self.duration(upTo: .milliseconds(500)))
    case .trace(let trace):
      self.counts.note(trace)
      self.tell("n\(node + 1)   \(trace)")
    }
  }

  private func diskTime(_ node: Int, _ sync: WritableKeyPath<SimDisk, SimDisk.Sync>) -> Instant {
    let usual = self.hasFaults ? self.plan.diskDelay : min(self.plan.diskDelay, .milliseconds(2))
    var delay = usual / 2 + self.duration(upTo: usual)
    if self.nodes[node].slowDiskUntil > self.now { delay += self.duration(upTo: .milliseconds(400)) }
    return self.nodes[node].disk[keyPath: sync].end(of: self.now, taking: delay)
  }

  private func append(_ node: Int, _ append: LogAppend) {
    let entries: [SimEntry]
    switch append.content {
    case .proposed(let payload, let term):
      entries = self.payloads.removeValue(forKey: payload.rawValue)?.map { SimEntry(term: term, content: $0.content) } ?? []
    case .controls(let controls, let term):
      entries = controls.map { SimEntry(term: term, content: .control($0)) }
      self.checkVoterChange(node, controls)
    case .fetched(let payload): entries = self.payloads[payload.rawValue] ?? []
    }
    let end = self.nodes[node].log.end
    guard append.start == end, append.end - append.start == Int64(entries.count) else {
      return self.checker.fail("append", "node \(node) appends \(append) at \(end), \(entries.count) entries")
    }
    var before = self.nodes[node].log.term(at: end - 1) ?? .zero
    for (place, entry) in entries.enumerated() {
      self.checker.appended(node, append.start + Int64(place), entry, after: before)
      before = entry.term
    }
    self.write(node, .append(start: append.start, entries), append.token)
  }

  func write(_ node: Int, _ write: LogWrite, _ token: PersistToken?) {
    if case .install = write {} else { self.nodes[node].log.apply(write) }
    self.nodes[node].disk.pendingWrites.append(SimDisk.PendingWrite(token: token, write: write))
    guard let token else { return }
    let done = self.diskTime(node, \.logSync)
    self.queue.add(.logWritten(node: node, incarnation: self.nodes[node].incarnation, token), at: done)
  }

  private func completeState(_ node: Int, _ token: PersistToken) {
    self.nodes[node].disk.completeState(token)
    self.nodes[node].durableToken = max(self.nodes[node].durableToken, token)
    let held = self.nodes[node].held
    self.nodes[node].held = held.filter { $0.after > token }
    for message in held where message.after <= token { self.leave(node, message) }
    self.step(node, .statePersisted(token))
  }

  private func completeWrite(_ node: Int, _ token: PersistToken) {
    guard case .install(let snapshot)? = self.nodes[node].disk.completeWrite(token) else { return self.step(node, .logPersisted(token)) }
    // The driver's part: the files are those of the snapshot from here on.
    self.nodes[node].log.apply(.install(snapshot))
    self.step(node, .snapshotInstalled(token, snapshot.summary))
  }

  private func apply(_ node: Int, upTo index: LogIndex) {
    let machine = self.nodes[node].machine
    while self.nodes[node].applied < index {
      let next = self.nodes[node].applied
      guard let entry = self.nodes[node].log.entry(next) else {
        return self.checker.fail("state machine safety", "node \(node) is to apply \(next) and has no such entry")
      }
      self.checker.applied(node, next, entry, by: machine.term, isLeader: machine.role == .leader || machine.role == .resigned)
      self.nodes[node].digest = SafetyChecker.digest(self.nodes[node].digest, entry)
      self.nodes[node].applied = next + 1
    }
  }

  // MARK: Snapshots

  private func download(_ node: Int, _ chunk: SnapshotChunk) {
    if chunk.position == 0 { self.nodes[node].downloaded = (chunk.snapshot.id, 0) }
    guard let downloaded = self.nodes[node].downloaded, downloaded == (chunk.snapshot.id, chunk.position) else {
      return self.checker.fail("snapshot", "node \(node) writes \(chunk) after \(String(describing: self.nodes[node].downloaded))")
    }
    self.nodes[node].downloaded?.byteCount += chunk.byteCount
  }

  private func install(_ node: Int, _ info: SnapshotInfo, _ token: PersistToken) {
    if self.nodes[node].machine.role == .leader { self.checker.fail("leader append-only", "node \(node) replaces its log while it leads") }
    guard let snapshot = self.snapshots[info.id], let downloaded = self.nodes[node].downloaded, downloaded == (info.id, info.byteCount)
    else { return self.checker.fail("snapshot", "node \(node) installs \(info) without having it") }
    self.nodes[node].downloaded = nil
    self.write(node, .install(snapshot), token)
  }

  private func load(_ node: Int, _ id: LogEnd) {
    guard let snapshot = self.nodes[node].log.snapshots.first(where: { $0.id == id }) else {
      return self.checker.fail("snapshot", "node \(node) is to load \(id) and has no such snapshot")
    }
    self.checker.loaded(node, snapshot)
    self.nodes[node].applied = id.index
    self.nodes[node].digest = snapshot.digest
  }
}

/// How often what happened, to see that the troubles and the decisions all come up.
struct SimCounts {
  var events = 0
  var elections = 0
  var truncations = 0
  var snapshotsLoaded = 0
  var voterChanges = 0
  var readsConfirmed = 0
  var staleTokens = 0
  var refused = 0

  mutating func add(_ other: SimCounts) {
    self.events += other.events
    self.elections += other.elections
    self.truncations += other.truncations
    self.snapshotsLoaded += other.snapshotsLoaded
    self.voterChanges += other.voterChanges
    self.readsConfirmed += other.readsConfirmed
    self.staleTokens += other.staleTokens
    self.refused += other.refused
  }

  mutating func note(_ trace: RaftTrace) {
    switch trace {
    case .truncated: self.truncations += 1
    case .snapshotDownloadBegan: self.snapshotsLoaded += 1
    case .votersChanged: self.voterChanges += 1
    case .stalePersistToken: self.staleTokens += 1
    case .requestRefused: self.refused += 1
    case .becameUnattached, .preVoteBegan, .electionBegan, .electionLost, .elected, .followed, .resigned, .voteGranted, .voteRefused,
      .answerIgnored, .progressWentBack, .snapshotDownloadAbandoned, .snapshotRefused:
      break
    }
  }
}
