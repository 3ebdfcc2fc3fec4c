import Base
import Election
import Model

// The changes of role. Every one drops what belonged to the role before, and with it the requests under way: their answers are ignored.
extension RaftMachine {
  /// The role after a start, from what was on disk.
  mutating func start() {
    let local = self.config.local
    #if APUS_MUTANTS
    if self.isMutated(.resumesCandidacy), self.hardState.votedFor == local, self.hardState.leader ?? local.node == local.node {
      return self.resumeCandidacy()
    }
    #endif
    if self.mayStand, self.isVoter, self.otherVoters.isEmpty {
      return self.becomePreCandidate(.noLeader)
    }
    guard let leader = self.hardState.leader else { return self.becomeUnattached(self.term, .started) }
    if leader == local.node { return self.becomeResigned(.restarted, successors: []) }
    guard let address = self.log.voters[leader].flatMap({ $0.address(at: self.config.listener) }) else {
      return self.becomeUnattached(self.term, .started)
    }
    self.becomeFollower(of: leader, at: address, self.term)
  }

  private mutating func enter(_ role: RaftRole, _ state: HardState) {
    let (left, leading, term, download) = (self.role, self.leading, self.term, self.following.download)
    self.calls.removeAll(keepingCapacity: true)
    self.campaign = Campaign()
    self.search = LeaderSearch(askAt: self.now)
    self.following = Following()
    self.leading = Leading()
    self.resigning = Resigning()
    self.electionDeadline = .distantFuture
    self.role = role
    self.change(state)
    if let download { self.abandon(download, .leaderLost) }
    if left == .leader {
      self.effects.append(.stepDown(term))
      self.dismiss(leading)
    }
  }

  /// Tells all who waited for this leader that it leads no more.
  private mutating func dismiss(_ leading: Leading) {
    for waiting in leading.waitingFetches { self.refuse(waiting.request, .fetch, .notLeaderOrFollower, .notLeading) }
    for read in leading.reads { self.effects.append(.refuseRead(read.id, .notLeaderOrFollower)) }
    if let change = leading.change, let request = change.request {
      self.refuse(request, change.kind, .notLeaderOrFollower, .notLeading)
    }
  }

  mutating func becomeUnattached(_ term: Term, _ cause: UnattachedCause, electionDeadline: Instant? = nil) {
    let wasLeader = self.role == .leader
    // A term that comes by does not postpone an election that is due: else a replica that cannot win could keep all others waiting.
    let due: Instant? =
      switch self.role {
      case .unattached: self.electionDeadline
      case .preCandidate, .candidate: self.campaign.deadline
      case .follower, .leader, .resigned: nil
      }
    self.enter(.unattached, term > self.term ? HardState(term: term) : self.hardState)
    let drawn = self.now + self.config.electionTimeout.spread(using: &self.generator)
    self.electionDeadline = electionDeadline ?? due.flatMap { $0 == .distantFuture ? nil : $0 } ?? drawn
    if wasLeader { self.trace(.resigned(self.term, .higherTerm)) }
    self.trace(.becameUnattached(self.term, cause))
  }

  mutating func becomeFollower(of leader: NodeID, at address: Address, _ term: Term) {
    let wasLeader = self.role == .leader
    var state = term > self.term ? HardState(term: term) : self.hardState
    state.leader = leader
    self.enter(.follower, state)
    self.failedRounds = 0
    self.isWantedAsVoter = false
    self.following.leader = leader
    self.following.address = address
    // Followers that lose their leader at one moment would stand at one moment, and split the votes.
    let patience = self.config.fetchTimeout + .drawn(below: self.config.electionTimeout / 2, using: &self.generator)
    self.following.silence = SilenceDetector(timeout: patience, heard: self.now)
    self.following.askAt = self.now
    self.following.joinAt = self.now + self.config.fetchTimeout
    if wasLeader { self.trace(.resigned(self.term, .higherTerm)) }
    self.trace(.followed(leader, term))
  }

  mutating func becomePreCandidate(_ cause: ElectionCause) {
    self.enter(.preCandidate, self.hardState)
    self.beginCampaign()
    self.grantOwnBallot()
    self.trace(.preVoteBegan(self.term, cause))
  }

  mutating func becomeCandidate(_ cause: ElectionCause) {
    invariant(self.mayStand, "a replica that may not stand does: \(cause)")
    self.enter(.candidate, HardState(term: self.term.next, votedFor: self.config.local))
    self.beginCampaign()
    self.trace(.electionBegan(self.term, cause))
  }

  #if APUS_MUTANTS
  private mutating func resumeCandidacy() {
    self.hardState.leader = nil
    self.enter(.candidate, self.hardState)
    self.beginCampaign()
  }
  #endif

  private mutating func beginCampaign() {
    let voters = self.log.voters
    self.campaign.ballots = voters.voters.map { Ballot(voter: $0, askAt: self.now) }
    self.campaign.majority = self.isMutated(.countsMinority) ? max(1, voters.majority - 1) : voters.majority
    self.campaign.deadline = self.now + self.config.electionTimeout.spread(using: &self.generator)
  }

  mutating func becomeLeader() {
    let granted = self.campaign.ballots.filter { $0.isGranted == true }.map(\.voter.key)
    var state = self.hardState
    state.leader = self.config.local.node
    self.enter(.leader, state)
    self.failedRounds = 0
    self.trace(.elected(self.term, grantedBy: granted.map(\.node)))
    self.leading.startIndex = self.log.endIndex
    self.refreshVoters()
    let voters = self.log.voters
    var controls: [ControlEntry] = [
      .leaderChange(leader: self.config.local.node, voters: voters.voters.map(\.key), grantedBy: granted)
    ]
    if self.log.version >= .dynamicVoters, self.log.voterHistory.latestIndex < .zero {
      // What the bootstrap snapshot says is known to this replica only: from here on it is in the log.
      controls += [.kraftVersion(self.log.version), .voters(voters)]
    }
    self.effects.append(.becomeLeader(self.term))
    self.append(controls)
  }

  mutating func becomeResigned(_ cause: ResignCause, successors: [ReplicaKey]) {
    self.enter(.resigned, self.hardState)
    self.resigning.successors = successors
    self.resigning.notices = self.otherVoters.map { Ballot(voter: $0, askAt: self.now) }
    self.resigning.deadline = self.now + self.config.electionTimeout.spread(using: &self.generator)
    self.trace(.resigned(self.term, cause))
  }
}
