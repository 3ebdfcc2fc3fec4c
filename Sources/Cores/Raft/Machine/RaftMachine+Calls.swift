import Base
import Election
import Model

// Requests that go out, and what their answers say of term and leader.
extension RaftMachine {
  mutating func call(_ destination: Destination, _ purpose: PendingCall.Purpose, _ request: RaftRequest) -> CallID {
    self.lastCall = CallID(self.lastCall.rawValue + 1)
    let deadline = self.now + self.config.requestTimeout
    self.calls.append(PendingCall(id: self.lastCall, kind: request.kind, purpose: purpose, deadline: deadline))
    self.outbox.append(.call(self.lastCall, destination, request))
    return self.lastCall
  }

  /// A voter's destination; nil if it has no endpoint at the quorum's listener, so that it can call and not be called.
  func destination(of voter: Voter) -> Destination? {
    voter.address(at: self.config.listener).map { Destination(node: voter.key.node, address: $0) }
  }

  mutating func endCall(_ id: CallID) -> PendingCall? {
    guard let place = self.calls.firstIndex(where: { $0.id == id }) else {
      self.trace(.answerIgnored(nil, .unexpected))
      return nil
    }
    return self.calls.remove(at: place)
  }

  mutating func expireCalls() {
    while let place = self.calls.firstIndex(where: { $0.deadline <= self.now }) {
      let call = self.calls.remove(at: place)
      self.trace(.answerIgnored(call.kind, .callFailed))
      self.fail(call)
    }
  }

  mutating func receive(_ answer: IncomingAnswer, to id: CallID) {
    guard let call = self.endCall(id) else { return }
    switch call.purpose {
    case .versions: return self.handleVersions(answer, call)
    case .survey(let node): return self.handleSurveyed(answer, node, call)
    // These answers carry neither term nor leader in Kafka's protocol.
    case .join: return self.handleJoin(answer, call)
    case .vote, .announce, .confirm, .resign, .search, .fetch, .fetchSnapshot: break
    }
    guard self.observe(answer.status, call) else { return }
    switch call.purpose {
    case .vote(let voter): self.handleVoteAnswer(answer, voter, call)
    case .announce(let voter): self.handleAnnounced(answer, voter, call)
    case .confirm(let voter, let round): self.handleConfirmed(answer, voter, round, call)
    case .resign(let voter): self.handleResignAnswer(answer, voter, call)
    case .search: self.fail(call)
    case .fetch: self.handleFetchAnswer(answer, call)
    case .fetchSnapshot: self.handleFetchSnapshotAnswer(answer, call)
    case .versions, .survey, .join: break
    }
  }

  /// Learns from an answer's status. True if what was asked for is still of interest.
  private mutating func observe(_ status: QuorumStatus, _ call: PendingCall) -> Bool {
    let leader = status.leader.flatMap { $0.rawValue < 0 ? nil : $0 }
    func ignore(_ why: AnswerRefusal) -> Bool {
      self.trace(.answerIgnored(call.kind, why))
      self.fail(call)
      return false
    }
    if status.term < self.term { return ignore(status.error == .none ? .staleTerm : .error(status.error)) }
    if status.term >= .max { return ignore(.malformed) }
    if leader == self.config.local.node, status.term > self.term || self.hardState.leader != leader { return ignore(.conflictingLeader) }
    if self.isStatic, let leader, !self.log.voters.contains(node: leader) { return ignore(.malformed) }
    if status.term == self.term, let leader, let known = self.hardState.leader, known != leader { return ignore(.conflictingLeader) }
    guard let leader, leader != self.config.local.node, status.term > self.endedTerm else {
      if status.term == self.term { return true }
      self.becomeUnattached(status.term, .higherTerm)
      return false
    }
    if status.term == self.term, self.role == .follower { return true }
    guard let address = status.leaderAddress ?? self.log.voters[leader].flatMap({ $0.address(at: self.config.listener) }) else {
      if status.term > self.term { self.becomeUnattached(status.term, .higherTerm) } else { self.fail(call) }
      return false
    }
    self.becomeFollower(of: leader, at: address, status.term)
    return false
  }

  /// Whether the voters come from the configuration, so that a stranger among them is a mistake.
  var isStatic: Bool { self.log.version < .dynamicVoters && !self.log.voters.isEmpty }

  /// There is no use in the answer, or none came: tries again a little later.
  mutating func fail(_ call: PendingCall, _ failure: CallFailure = .unanswered) {
    let retryAt = self.now + self.config.retryBackoff
    switch call.purpose {
    case .vote(let voter):
      guard let place = self.campaign.ballots.firstIndex(where: { $0.voter.key == voter }) else { return }
      self.campaign.ballots[place].call = nil
      self.campaign.ballots[place].askAt = retryAt
      self.campaign.ballots[place].isDead = failure == .refused
    case .announce(let voter):
      guard let place = self.leading.voters.firstIndex(where: { $0.replica == voter }) else { return }
      self.leading.voters[place].announceCall = nil
      self.leading.voters[place].announceAt = retryAt
    case .confirm(let voter, let round):
      guard round == self.leading.round, let place = self.leading.voters.firstIndex(where: { $0.replica == voter }) else { return }
      self.leading.voters[place].confirmCall = nil
      self.leading.voters[place].confirmAt = retryAt
    case .resign(let voter):
      guard let place = self.resigning.notices.firstIndex(where: { $0.voter.key == voter }) else { return }
      self.resigning.notices[place].call = nil
      self.resigning.notices[place].askAt = retryAt
    case .search:
      self.search.call = nil
      self.search.next += 1
      self.search.askAt = retryAt
    case .fetch, .fetchSnapshot:
      self.following.call = nil
      self.following.askAt = retryAt
      self.noteFailedFetch(failure)
    case .versions: self.abandonChange(.requestTimedOut, .notReachable)
    case .survey: self.failSurvey(call)
    case .join:
      self.following.joinCall = nil
      self.following.joinAt = self.now + self.config.fetchTimeout
    }
  }
}
