import Base
import Election
import Model

// What a replica answers to those who stand, lead or resign.
extension RaftMachine {
  // MARK: Votes

  mutating func handleVote(_ vote: VoteRequest, _ request: RequestID) {
    let kind: RequestKind = vote.isPreVote ? .preVote : .vote
    if let (error, why) = self.refusal(of: vote) { return self.refuse(request, kind, error, why) }
    if vote.term > self.term { self.becomeUnattached(vote.term, .higherTerm) }
    if let why = self.voteRefusal(for: vote) {
      self.trace(.voteRefused(to: vote.candidate, vote.term, isPreVote: vote.isPreVote, why))
      if case .logIsBehind = why, vote.voter == self.config.local { self.isWantedAsVoter = true }
      return self.answer(request, .vote(isGranted: false))
    }
    self.trace(.voteGranted(to: vote.candidate, vote.term, isPreVote: vote.isPreVote))
    if !vote.isPreVote {
      var state = self.hardState
      state.votedFor = vote.candidate
      self.change(state)
      // The candidate gets its time.
      self.becomeUnattached(
        self.term, .voted, electionDeadline: self.now + self.config.electionTimeout.spread(using: &self.generator))
    }
    if vote.isPreVote, self.role == .follower, self.following.leaderIsGone, let standAt = self.following.standAt {
      // That one came first: two that stand at one moment split the votes.
      self.following.standAt = max(standAt, self.now + self.pauseMax(step: 0))
    }
    self.answer(request, .vote(isGranted: true))
  }

  /// Whether the request is one that nobody who keeps to the protocol sends to this replica in its term.
  private func refusal(of vote: VoteRequest) -> (ErrorCode, RequestRefusal)? {
    if self.isForeign(vote.clusterID) { return (.inconsistentClusterId, .otherCluster) }
    // Nobody can have entries of a term that it only stands for.
    let lastTermMax = vote.isPreVote ? vote.term : Term(vote.term.rawValue - 1)
    if vote.term < .zero || vote.term >= .max || vote.logEnd.index < .zero || vote.logEnd.term < .zero || vote.logEnd.term > lastTermMax
      || vote.candidate.node.rawValue < 0
    {
      return (.invalidRequest, .malformed)
    }
    if vote.candidate.node == self.config.local.node { return (.invalidRequest, .forged) }
    if !self.isAddressed(to: vote.voter) { return (.invalidVoterKey, .otherVoter) }
    if !self.config.isController { return (.invalidRequest, .notAController) }
    if self.isStatic, !self.log.voters.contains(vote.candidate) { return (.inconsistentVoterSet, .unknownVoter) }
    if vote.term < self.term { return (.fencedLeaderEpoch, .staleTerm) }
    return nil
  }

  private func voteRefusal(for vote: VoteRequest) -> VoteRefusal? {
    if vote.isPreVote {
      switch self.role {
      case .leader: return .isLeading
      case .follower:
        // Sticks to a leader it hears (Raft dissertation, section 4.2.3).
        if self.following.hasHeard, !self.following.leaderResigned, !self.following.leaderIsGone, !self.isMutated(.ignoresStickiness) {
          return .leaderIsHeard(self.following.leader)
        }
      case .unattached, .preCandidate, .candidate, .resigned: break
      }
    } else {
      if let leader = self.hardState.leader { return .leaderIsKnown(leader) }
      if let voted = self.hardState.votedFor, voted != vote.candidate { return .votedForAnother(voted) }
    }
    return vote.logEnd < self.log.end && !self.isMutated(.ignoresLogEnd) ? .logIsBehind(own: self.log.end) : nil
  }

  // MARK: Leaders that come and go

  mutating func handleBeginQuorum(_ begin: BeginQuorumRequest, _ request: RequestID) {
    let refusal = self.refusal(clusterID: begin.clusterID, voter: begin.voter, term: begin.term, leader: begin.leader)
    if let (error, why) = refusal { return self.refuse(request, .beginQuorum, error, why) }
    guard let address = self.address(of: begin.leader, begin.endpoints) else {
      return self.refuse(request, .beginQuorum, .invalidRequest, .malformed)
    }
    // A leader that has announced its end does not come back in the same term: this is an older message of it.
    if begin.term == self.endedTerm { return self.answer(request) }
    if begin.term == self.term, self.role == .follower {
      self.following.address = address
    } else {
      self.becomeFollower(of: begin.leader, at: address, begin.term)
    }
    self.hearLeader()
    self.answer(request)
  }

  mutating func handleEndQuorum(_ end: EndQuorumRequest, _ request: RequestID) {
    let refusal = self.refusal(clusterID: end.clusterID, voter: nil, term: end.term, leader: end.leader)
    if let (error, why) = refusal { return self.refuse(request, .endQuorum, error, why) }
    guard let address = self.address(of: end.leader, end.endpoints) else {
      return self.refuse(request, .endQuorum, .invalidRequest, .malformed)
    }
    if end.term > self.term || self.role != .follower {
      // It was told before, and this replica does already what it can.
      if end.term == self.endedTerm { return self.answer(request) }
      self.becomeFollower(of: end.leader, at: address, end.term)
    }
    self.loseLeader(successors: end.successors)
    self.answer(request)
  }

  /// The leader of this term leads no more, so nobody need wait until it was silent for long. That can be learnt twice: from a fetch
  /// that it refuses, and then from the leader's own message, which names the successors.
  mutating func loseLeader(successors: [ReplicaKey]) {
    guard !self.following.leaderResigned || !successors.isEmpty else { return }
    self.endedTerm = self.term
    self.following.leaderResigned = true
    self.following.isFirstSuccessor = self.following.isFirstSuccessor || (successors.first?.covers(self.config.local) ?? false)
    self.following.standAt = min(self.following.standAt ?? .distantFuture, self.now + self.standPause(successors))
  }

  /// The first successor stands at once; the others leave it time, the more the further behind they are.
  private mutating func standPause(_ successors: [ReplicaKey]) -> Duration {
    let place = successors.firstIndex { $0.covers(self.config.local) } ?? max(1, successors.count)
    if place == 0 { return .zero }
    let step = self.pauseMax(step: place)
    return step + .drawn(below: step, using: &self.generator)
  }

  /// Whether a leader that follows the protocol could have sent this.
  private func refusal(clusterID: String?, voter: ReplicaKey?, term: Term, leader: NodeID) -> (ErrorCode, RequestRefusal)? {
    if self.isForeign(clusterID) { return (.inconsistentClusterId, .otherCluster) }
    if leader.rawValue < 0 || term <= .zero || term >= .max { return (.invalidRequest, .malformed) }
    if leader == self.config.local.node { return (.invalidRequest, .forged) }
    if !self.isAddressed(to: voter) { return (.invalidVoterKey, .otherVoter) }
    if self.isStatic, !self.log.voters.contains(node: leader) { return (.inconsistentVoterSet, .unknownVoter) }
    if term < self.term { return (.fencedLeaderEpoch, .staleTerm) }
    if term == self.term, let known = self.hardState.leader, known != leader { return (.invalidRequest, .conflictingLeader) }
    return nil
  }

  private func address(of leader: NodeID, _ endpoints: [Endpoint]) -> Address? {
    endpoints.first { $0.listener == self.config.listener }?.address
      ?? self.log.voters[leader].flatMap { $0.address(at: self.config.listener) }
  }
}
