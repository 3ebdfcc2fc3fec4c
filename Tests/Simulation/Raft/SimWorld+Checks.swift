import Base
import Election
import Model
import Raft

// What is looked at from outside after every step.
extension SimWorld {
  func check(_ node: Int, roleBefore: RaftRole, watermarkBefore: LogIndex) {
    let machine = self.nodes[node].machine
    #if APUS_MUTANTS
    if let broken = machine.brokenInvariant { self.checker.fail("invariant", "node \(node): \(broken)") }
    #endif
    if machine.role != roleBefore { self.nodes[node].heardLeaderAt = nil }
    if machine.highWatermark < watermarkBefore {
      self.checker.fail("high watermark", "node \(node) goes back from \(watermarkBefore) to \(machine.highWatermark)")
    }
    if machine.role == .leader, machine.highWatermark > watermarkBefore { self.checkMajority(node) }
  }

  /// What a leader commits is on the disks of a majority of the voters.
  private func checkMajority(_ node: Int) {
    let machine = self.nodes[node].machine
    let end = machine.highWatermark
    if machine.log.term(at: end - 1) != machine.term {
      self.checker.fail("commitment", "node \(node) commits entry \(end - 1) of an earlier term than \(machine.term) by counting")
    }
    let holders = machine.log.voters.voters.count { voter in
      // What was on a disk that is gone counts: that it can go is beyond what Raft promises anything about.
      voter.key == self.lostReplica || self.nodes.contains { other in
        let log = other.disk.log
        return voter.key.covers(other.key)
          && (log.base.index >= end || log.snapshots.contains { $0.id.index >= end }
            || log.term(at: end - 1) == machine.log.term(at: end - 1))
      }
    }
    if holders < machine.log.voters.majority {
      self.checker.fail(
        "high watermark", "node \(node) commits up to \(end), which \(holders) of \(machine.log.voters.voters.count) voters have on disk")
    }
  }

  /// No message says more than the sender's disk would after a crash.
  func checkDurable(_ node: Int, _ message: SimNode.Held) {
    let state = self.nodes[node].disk.state
    let term: Term
    switch message.packet.message {
    case .request(_, .vote(let vote)): term = vote.term
    case .request(_, .beginQuorum(let begin)): term = begin.term
    case .request(_, .endQuorum(let end)): term = end.term
    case .request(_, .fetch(let fetch)):
      term = fetch.term
      let log = self.nodes[node].disk.log
      let isDurable = log.end >= fetch.position.index || log.snapshots.contains { $0.id.index >= fetch.position.index }
      if fetch.replica.node != .none, !isDurable {
        self.checker.fail("persist before send", "node \(node) fetches from \(fetch.position) with \(log.end) on disk")
      }
    case .request(_, .fetchSnapshot(let fetch)): term = fetch.term
    case .request(_, .addVoter), .request(_, .removeVoter), .request(_, .updateVoter), .request(_, .versions): term = .zero
    case .answer(_, let answer): term = answer.status.term
    }
    if term > state.term { self.checker.fail("persist before send", "node \(node) speaks of term \(term), its disk of \(state)") }
    guard let vote = message.vote else { return }
    if state.term == term, state.votedFor != vote {
      self.checker.fail("persist before send", "node \(node) votes for \(vote) in \(term), its disk says \(state)")
    }
    self.checker.voted(self.nodes[node].key, term, for: vote)
  }

  // MARK: Patience with leaders

  func note(_ request: RaftRequest, at node: Int) {
    let machine = self.nodes[node].machine
    let replica: ReplicaKey
    switch request {
    case .fetch(let fetch) where fetch.term == machine.term: replica = fetch.replica
    case .fetchSnapshot(let fetch) where fetch.term == machine.term: replica = fetch.replica
    case .endQuorum(let end):
      self.nodes[node].leaderEndedIn = max(self.nodes[node].leaderEndedIn, end.term)
      return
    default: return
    }
    self.nodes[node].fetchesHeard[replica] = self.localTime(node)
  }

  /// Remembers when a follower's leader answered it.
  func noteContact(_ node: Int, _ answer: IncomingAnswer, _ effects: [RaftEffect]) {
    let machine = self.nodes[node].machine
    if answer.status.error == .notLeaderOrFollower, answer.status.term == machine.term, answer.status.leader == nil {
      self.nodes[node].leaderEndedIn = machine.term
    }
    guard answer.status.error == .none, machine.role == .follower else { return }
    switch answer.body {
    case .fetch, .fetchSnapshot: break
    case .status, .vote, .versions: return
    }
    if effects.contains(where: { if case .trace(.answerIgnored) = $0 { true } else { false } }) { return }
    self.nodes[node].heardLeaderAt = self.localTime(node)
    self.nodes[node].heardLeaderIn = machine.term
  }

  /// A follower that hears its leader gives no pre-vote.
  func checkStickiness(_ node: Int, _ vote: VoteRequest) {
    let follower = self.nodes[node]
    guard follower.machine.role == .follower, let heard = follower.heardLeaderAt, follower.heardLeaderIn == follower.machine.term,
      follower.leaderEndedIn < follower.machine.term, self.localTime(node) < heard + follower.config.fetchTimeout
    else { return }
    self.checker.fail("leader stickiness", "node \(node) gives \(vote.candidate) a pre-vote, though its leader answered at \(heard)")
  }

  /// A leader that no majority fetches from does not stay.
  func watch() {
    for (index, node) in self.nodes.enumerated() where node.isUp && node.machine.role == .leader && node.pausedUntil <= self.now {
      let voters = node.machine.log.voters
      let others = voters.voters.filter { !$0.key.covers(node.key) }
      let needed = voters.majority - (voters.contains(node.key) ? 1 : 0)
      guard needed > 0 else { continue }
      let heard = others.map { voter in
        node.fetchesHeard.reduce(node.leadsSince) { latest, fetch in voter.key.covers(fetch.key) ? max(latest, fetch.value) : latest }
      }
      let quorum = heard.sorted(by: >)[needed - 1]
      if self.localTime(index) > quorum + node.config.checkQuorumTimeout + .milliseconds(50) {
        self.checker.fail("check quorum", "node \(index) leads at \(self.localTime(index)), a majority fetched last at \(quorum)")
      }
    }
    self.later(.watch, in: .milliseconds(100))
  }

  // MARK: Voters and reads

  /// Only one change of voters is under way, and none before the leader's term is established.
  func checkVoterChange(_ node: Int, _ controls: [ControlEntry]) {
    let isChange = controls.contains { if case .voters = $0 { true } else { false } }
    let beginsTerm = controls.contains { if case .leaderChange = $0 { true } else { false } }
    guard isChange, !beginsTerm else { return }
    let machine = self.nodes[node].machine
    let open = machine.log.voterHistory.entries.count { $0.index >= .zero && $0.index >= machine.highWatermark }
    if open > 1 { self.checker.fail("one voter change", "node \(node) has \(open) voter changes that are not committed") }
    if machine.log.term(at: machine.highWatermark - 1) != machine.term {
      self.checker.fail("voter change", "node \(node) changes the voters before an entry of term \(machine.term) is committed")
    }
    if self.hasFaults, self.chance(self.plan.cutAfterVoterChangePercent) {
      let links = self.nodes.indices.filter { $0 != node }.flatMap { [(node, $0), ($0, node)] }
      self.begin(.partition(links, for: self.duration(upTo: .seconds(2))))
    }
  }

  /// The last voters in the log are in force, and none that were cut off it.
  func checkVotersInForce(_ node: Int) {
    let log = self.nodes[node].log
    var voters = log.snapshots.first { $0.id == log.base }?.summary.voters ?? self.nodes[node].firstVoters
    for entry in log.entries { if case .control(.voters(let set)) = entry.content { voters = set } }
    let inForce = self.nodes[node].machine.log.voters
    if inForce != voters { self.checker.fail("voters in force", "node \(node) goes by \(inForce), its log says \(voters)") }
  }

  func noteToolAnswer(_ node: Int, _ request: RaftRequest, _ error: ErrorCode) {
    self.tell("n\(node + 1) answers a tool: \(request.kind) \(error)")
    guard error == .none else { return }
    let machine = self.nodes[node].machine
    switch request {
    case .addVoter(let add) where !add.answersWhenCommitted: break
    case .addVoter, .removeVoter:
      if machine.log.voterHistory.latestIndex >= machine.highWatermark {
        self.checker.fail("voter change", "node \(node) answers \(request.kind) before the voters are committed")
      }
    default: break
    }
  }

  func checkRead(_ node: Int, _ id: ReadID, _ index: LogIndex) {
    guard let needed = self.reads.removeValue(forKey: id) else {
      return self.checker.fail("reads", "node \(node) confirms read \(id) again, or one that nobody asked for")
    }
    self.counts.readsConfirmed += 1
    if index < needed {
      self.checker.fail("linearizable reads", "node \(node) confirms a read at \(index); \(needed) was committed before it began")
    }
  }

  // MARK: Liveness

  /// Ends all trouble, gives the quorum time to recover, and sees whether it did.
  func settle() {
    self.run(until: .origin + self.plan.faultTime)
    self.endTroubles()
    self.run(until: self.now + .seconds(3))
    let committed = self.checker.committedEnd
    self.run(until: self.now + .milliseconds(500))
    if self.checker.violation != nil { return }
    if self.checker.committedEnd == committed { self.checker.fail("liveness", "nothing is committed beyond \(committed)") }
    self.stopsProposing = true
    self.run(until: self.now + .milliseconds(800))
    if self.checker.violation != nil { return }
    let leaders = self.nodes.indices.filter { self.nodes[$0].machine.role == .leader }
    guard leaders.count == 1, let leader = leaders.first else {
      return self.checker.fail("liveness", "leaders after recovery: \(leaders)")
    }
    let machine = self.nodes[leader].machine
    if machine.highWatermark != machine.log.endIndex { self.checker.fail("liveness", "node \(leader) does not commit all it has") }
    for (index, node) in self.nodes.enumerated() where index != leader {
      let follower = node.machine
      if follower.role != .follower || follower.term != machine.term || follower.highWatermark != machine.highWatermark {
        self.checker.fail(
          "liveness", "node \(index) is \(follower.role) in term \(follower.term) at \(follower.highWatermark), "
            + "node \(leader) leads \(machine.term) at \(machine.highWatermark)")
      }
      if node.digest != self.nodes[leader].digest {
        self.checker.fail("state machine safety", "node \(index) has another state than \(leader)")
      }
    }
  }
}
