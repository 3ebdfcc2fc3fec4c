import Base
import Election
import Model

// Rounds of votes and pre-votes as the one that stands sees them, and the wait for them.
extension RaftMachine {
  // MARK: Unattached

  var unattachedDeadline: Instant {
    self.search.call == nil ? min(self.electionDeadline, self.search.askAt) : self.electionDeadline
  }

  mutating func advanceUnattached() {
    if self.now >= self.electionDeadline {
      if self.mayStand { return self.becomePreCandidate(self.failedRounds > 0 ? .roundLost : .noLeader) }
      self.electionDeadline = self.now + self.config.electionTimeout.spread(using: &self.generator)
    }
    if self.search.call == nil, self.now >= self.search.askAt { self.askForLeader() }
  }

  /// Fetches from whoever may know: a leader says so, all others name the leader they follow.
  private mutating func askForLeader() {
    var known = self.otherVoters.compactMap { self.destination(of: $0) }
    let own = self.config.voter.address(at: self.config.listener)
    known += self.config.bootstrapServers.filter { $0 != own }.map { Destination(node: nil, address: $0) }
    guard !known.isEmpty else {
      self.search.askAt = .distantFuture
      return
    }
    let destination = known[self.search.next % known.count]
    // Without a name: a replica says by a fetch what it has on disk, and not all of its log need be.
    self.search.call = self.call(destination, .search, .fetch(self.fetchRequest(by: ReplicaKey(.none), waitMax: .zero)))
  }

  // MARK: Standing

  var campaignDeadline: Instant {
    self.campaign.ballots.reduce(self.campaign.deadline) { next, ballot in
      self.isToBeAsked(ballot) ? min(next, ballot.askAt) : next
    }
  }

  private func isToBeAsked(_ ballot: Ballot) -> Bool {
    ballot.isGranted == nil && ballot.call == nil && !ballot.voter.key.covers(self.config.local)
      && self.destination(of: ballot.voter) != nil
  }

  mutating func grantOwnBallot() {
    for place in self.campaign.ballots.indices where self.campaign.ballots[place].voter.key.covers(self.config.local) {
      self.campaign.ballots[place].isGranted = true
    }
  }

  mutating func advanceCampaign() {
    // Its own vote counts, as any other, once it is on disk.
    if self.pendingState == nil, !self.stateIsDirty { self.grantOwnBallot() }
    if self.campaign.grantedCount >= self.campaign.majority {
      if self.role == .candidate { return self.becomeLeader() }
      if self.mayStand { return self.becomeCandidate(.preVoteWon) }
      return self.becomeUnattached(self.term, .electionLost)
    }
    if self.campaign.isLost { return self.loseRound(.refused) }
    if self.now >= self.campaign.deadline { return self.loseRound(.timedOut) }
    for place in self.campaign.ballots.indices {
      let ballot = self.campaign.ballots[place]
      guard self.isToBeAsked(ballot), self.now >= ballot.askAt, let destination = self.destination(of: ballot.voter) else { continue }
      let vote = VoteRequest(
        clusterID: self.config.clusterID, voter: ballot.voter.key, term: self.term, candidate: self.config.local,
        logEnd: self.log.end, isPreVote: self.role == .preCandidate)
      self.campaign.ballots[place].call = self.call(destination, .vote(ballot.voter.key), .vote(vote))
    }
  }

  /// Waits for a random while that grows with every lost round, and looks for a leader meanwhile.
  private mutating func loseRound(_ cause: LossCause) {
    self.trace(.electionLost(self.term, isPreVote: self.role == .preCandidate, cause))
    let pause = Duration.drawn(below: self.pauseMax(step: self.failedRounds), using: &self.generator)
    self.failedRounds += 1
    self.becomeUnattached(self.term, .electionLost, electionDeadline: self.now + pause)
  }

  /// A tenth of the election timeout, doubled with each step, up to `electionBackoffMax`.
  func pauseMax(step: Int) -> Duration {
    min(self.config.electionBackoffMax, self.config.electionTimeout / 10 * (1 << min(step, 10)))
  }

  mutating func handleVoteAnswer(_ answer: IncomingAnswer, _ voter: ReplicaKey, _ call: PendingCall) {
    guard answer.status.error == .none, case .vote(let isGranted) = answer.body else {
      self.trace(.answerIgnored(call.kind, answer.status.error == .none ? .malformed : .error(answer.status.error)))
      return self.fail(call)
    }
    guard let place = self.campaign.ballots.firstIndex(where: { $0.voter.key == voter }) else { return }
    self.campaign.ballots[place].call = nil
    self.campaign.ballots[place].isGranted = isGranted
  }

  // MARK: Resigned

  var resignedDeadline: Instant {
    self.resigning.notices.reduce(self.resigning.deadline) { next, notice in
      notice.isGranted == nil && notice.call == nil && self.destination(of: notice.voter) != nil ? min(next, notice.askAt) : next
    }
  }

  mutating func advanceResigned() {
    // There is nobody to hand over to, or time enough has passed for those there are.
    if self.now >= self.resigning.deadline || (self.isShuttingDown && self.resigning.notices.isEmpty) {
      return self.mayStand ? self.becomePreCandidate(.noLeader) : self.becomeUnattached(self.term, .resignationOver)
    }
    for place in self.resigning.notices.indices {
      let notice = self.resigning.notices[place]
      guard notice.isGranted == nil, notice.call == nil, self.now >= notice.askAt, let destination = self.destination(of: notice.voter)
      else { continue }
      let end = EndQuorumRequest(
        clusterID: self.config.clusterID, term: self.term, leader: self.config.local.node,
        successors: self.resigning.successors, endpoints: self.config.endpoints)
      self.resigning.notices[place].call = self.call(destination, .resign(notice.voter.key), .endQuorum(end))
    }
  }

  mutating func handleResignAnswer(_ answer: IncomingAnswer, _ voter: ReplicaKey, _ call: PendingCall) {
    guard answer.status.error == .none else {
      self.trace(.answerIgnored(call.kind, .error(answer.status.error)))
      return self.fail(call)
    }
    guard let place = self.resigning.notices.firstIndex(where: { $0.voter.key == voter }) else { return }
    self.resigning.notices[place].call = nil
    self.resigning.notices[place].isGranted = true
  }

  mutating func beginShutDown() {
    guard !self.isShuttingDown else { return }
    self.isShuttingDown = true
    if self.role == .leader { self.becomeResigned(.shutDown, successors: self.successors) }
    if self.role == .preCandidate || self.role == .candidate { self.becomeUnattached(self.term, .electionLost) }
  }
}
