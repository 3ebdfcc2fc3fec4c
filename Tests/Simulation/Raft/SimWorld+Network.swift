import Base
import Election
import Model
import Raft

extension SimWorld {
  func call(_ node: Int, _ id: CallID, _ destination: Destination, _ request: RaftRequest, _ after: PersistToken?) {
    let to = Int(destination.address.port) - 1
    guard self.nodes.indices.contains(to), destination.node.map({ $0.rawValue == Int32(to + 1) }) ?? true else {
      return self.checker.fail("addressing", "node \(node) calls \(destination)")
    }
    var vote: ReplicaKey?
    if case .vote(let ballot) = request, !ballot.isPreVote { vote = ballot.candidate }
    let packet = SimNode.Packet(from: node, to: to, incarnation: self.nodes[node].incarnation, message: .request(id, request))
    self.send(node, SimNode.Held(after: after ?? .none, packet: packet, vote: vote))
  }

  func answer(_ node: Int, _ id: RequestID, _ answer: OutgoingAnswer, _ after: PersistToken?) {
    guard let inbound = self.nodes[node].inbound.removeValue(forKey: id) else {
      return self.checker.fail("answers", "node \(node) answers \(id) again, or what nobody asked")
    }
    var vote: ReplicaKey?
    if case .vote(let ballot) = inbound.request, case .vote(true) = answer.body {
      if ballot.isPreVote { self.checkStickiness(node, ballot) } else { vote = ballot.candidate }
    }
    // Requests of tools come from nowhere, and nobody waits for the answer.
    guard inbound.from >= 0 else { return self.noteToolAnswer(node, inbound.request, answer.status.error) }
    let packet = SimNode.Packet(
      from: node, to: inbound.from, incarnation: inbound.incarnation, message: .answer(inbound.call, self.filled(answer, node)))
    self.send(node, SimNode.Held(after: after ?? .none, packet: packet, vote: vote))
  }

  /// Reads what an answer asks for, as the driver does.
  private func filled(_ answer: OutgoingAnswer, _ node: Int) -> IncomingAnswer {
    switch answer.body {
    case .status: return IncomingAnswer(answer.status)
    case .vote(let isGranted): return IncomingAnswer(answer.status, .vote(isGranted: isGranted))
    case .versions(let versions): return IncomingAnswer(answer.status, .versions(versions))
    case .fetchSnapshot(let range):
      let count = min(Int64(range.bytesMax), range.snapshot.byteCount - range.position, Int64.random(in: 5...60, using: &self.generator))
      let chunk = SnapshotChunk(snapshot: range.snapshot, position: range.position, byteCount: count, payload: PayloadID(0))
      return IncomingAnswer(answer.status, .fetchSnapshot(chunk))
    case .fetch(let fetch):
      let content: FetchAnswer<EntryRun>.Content
      switch fetch.content {
      case .nothing: content = .nothing
      case .diverging(let end): content = .diverging(end)
      case .snapshot(let id): content = .snapshot(id)
      case .entries(let range):
        let countMax = Int.random(in: 1...(self.hasFaults ? self.plan.batchMax : 1000), using: &self.generator)
        let count = min(Int(range.end - range.start), countMax)
        let log = self.nodes[node].log
        guard count > 0, range.start >= log.base.index, range.end <= log.end else {
          self.checker.fail("fetch", "node \(node) answers with \(range), its log is \(log.base) to \(log.end)")
          return IncomingAnswer(answer.status)
        }
        self.nextPayload += 1
        let (run, entries) = self.nodes[node].log.run(from: range.start, count: count, payload: PayloadID(self.nextPayload))
        self.payloads[self.nextPayload] = entries
        content = .entries(run)
      }
      let filled = FetchAnswer(highWatermark: fetch.highWatermark, logStart: fetch.logStart, content: content)
      return IncomingAnswer(answer.status, .fetch(filled))
    }
  }

  private func send(_ node: Int, _ message: SimNode.Held) {
    if message.after > self.nodes[node].durableToken { return self.nodes[node].held.append(message) }
    self.leave(node, message)
  }

  /// The message is out: what it says can not be taken back.
  func leave(_ node: Int, _ message: SimNode.Held) {
    self.checkDurable(node, message)
    let packet = message.packet
    if message.vote != nil, self.hasFaults, self.chance(self.plan.crashAfterVotePercent) {
      self.later(.trouble(.crash(node, down: self.duration(upTo: .milliseconds(30)))), in: self.duration(upTo: .milliseconds(2)))
    }
    let copies = self.hasFaults && self.chance(self.plan.duplicatePercent) ? 2 : 1
    for _ in 0..<copies {
      if self.blocked[packet.from][packet.to] > 0 || (self.hasFaults && self.chance(self.plan.lossPercent)) {
        if case .request(let call, _) = packet.message, self.chance(50) { self.failCall(packet, call) }
        continue
      }
      let delayMax = self.hasFaults ? self.plan.delayMax : min(self.plan.delayMax, .milliseconds(5))
      var delay = Duration.microseconds(50) + self.duration(upTo: delayMax)
      delay += self.linkDelay[packet.from][packet.to]
      if self.hasFaults, self.chance(self.plan.latePercent) { delay += self.duration(upTo: .seconds(1)) }
      self.queue.add(.deliver(packet), at: self.now + delay)
    }
  }

  /// The connection was refused or broke; the caller learns it.
  func failCall(_ packet: SimNode.Packet, _ call: CallID) {
    let (node, incarnation) = (packet.from, packet.incarnation)
    let delay = Duration.microseconds(100) + self.duration(upTo: self.plan.delayMax)
    let reason: CallFailure = self.nodes[packet.to].isUp ? .broken : .refused
    // Not every network tells.
    let failure = self.chance(50) ? reason : .unanswered
    self.later(.callFailed(node: node, incarnation: incarnation, call, failure), in: delay)
  }

  /// An answer that no leader gives: one that would take back what the follower knows to be committed, or one that is out of shape.
  func lie(_ answer: IncomingAnswer, to node: Int) -> IncomingAnswer {
    guard case .fetch(var fetch) = answer.body, answer.status.error == .none else { return answer }
    let machine = self.nodes[node].machine
    switch Int.random(in: 0..<4, using: &self.generator) {
    case 0:
      guard machine.highWatermark > machine.log.startIndex + 1 else { return answer }
      let index = machine.highWatermark - Int64.random(in: 1..<(machine.highWatermark - machine.log.startIndex), using: &self.generator)
      guard let term = machine.log.term(at: index - 1) else { return answer }
      fetch.content = .diverging(LogEnd(term: term, index: index))
    case 1: fetch.content = .diverging(LogEnd(term: machine.term.next, index: machine.log.endIndex - 1))
    case 2: fetch.content = .snapshot(LogEnd(term: machine.term, index: machine.log.startIndex))
    default:
      guard case .entries(var run) = fetch.content else { return answer }
      run.start = run.start + 1
      fetch.content = .entries(run)
    }
    self.tell("n\(node + 1) is lied to: \(fetch.content)")
    return IncomingAnswer(answer.status, .fetch(fetch))
  }

  func tellInput(_ node: Int, _ input: RaftInput) {
    let machine = self.nodes[node].machine
    let log = "\(machine.log.startIndex)..\(machine.log.end)"
    let state = "n\(node + 1) \(machine.role) t\(machine.term) log \(log) hw \(machine.highWatermark)"
    switch input {
    case .timerFired, .statePersisted, .logPersisted, .callFailed: break
    default: self.tell("\(state) <- \(input)")
    }
  }
}
