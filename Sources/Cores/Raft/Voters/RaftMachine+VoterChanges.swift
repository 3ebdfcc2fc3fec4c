import Base
import Election
import Model

// Changes of the voter set at the leader, one at a time (KIP-853; Raft dissertation, chapter 4).
extension RaftMachine {
  // MARK: Requests

  mutating func handleAddVoter(_ add: AddVoterRequest, _ request: RequestID) {
    if let (error, why) = self.changeRefusal(clusterID: add.clusterID, voter: add.voter) {
      return self.refuse(request, .addVoter, error, why)
    }
    guard let address = add.endpoints.first(where: { $0.listener == self.config.listener })?.address else {
      return self.refuse(request, .addVoter, .invalidRequest, .malformed)
    }
    if self.log.voters.contains(node: add.voter.node) { return self.refuse(request, .addVoter, .duplicateVoter, .duplicateVoter) }
    // What it supports is not in the request; it is asked.
    let call = self.call(Destination(node: add.voter.node, address: address), .versions, .versions)
    let voter = Voter(key: add.voter, endpoints: add.endpoints, versions: SupportedVersions(.staticVoters, .staticVoters))
    self.leading.change = VoterChange(
      request: request, kind: .addVoter, voter: voter, answersWhenCommitted: add.answersWhenCommitted,
      stage: .asking(call), deadline: self.now + self.config.requestTimeout)
  }

  mutating func handleVersions(_ answer: IncomingAnswer, _ call: PendingCall) {
    guard let change = self.leading.change, change.stage == .asking(call.id), var voter = change.voter else { return }
    guard answer.status.error == .none, case .versions(let versions) = answer.body else {
      return self.abandonChange(.requestTimedOut, .notReachable)
    }
    guard versions.contains(self.log.version) else { return self.abandonChange(.invalidRequest, .versionNotSupported) }
    guard self.isCaughtUp(voter.key) else { return self.abandonChange(.requestTimedOut, .notCaughtUp) }
    voter.versions = versions
    guard let voters = self.log.voters.adding(voter) else { return self.abandonChange(.duplicateVoter, .duplicateVoter) }
    self.commit(voters)
  }

  /// A new voter that lacks much of the log would keep entries from being committed until it has them.
  private func isCaughtUp(_ replica: ReplicaKey) -> Bool {
    guard let progress = self.leading.observers.first(where: { $0.replica == replica }), let caughtUp = progress.lastCaughtUp else {
      return false
    }
    return self.now < caughtUp + self.config.fetchTimeout
  }

  mutating func handleRemoveVoter(_ remove: RemoveVoterRequest, _ request: RequestID) {
    if let (error, why) = self.changeRefusal(clusterID: remove.clusterID, voter: remove.voter) {
      return self.refuse(request, .removeVoter, error, why)
    }
    guard let voters = self.log.voters.removing(remove.voter) else {
      return self.refuse(request, .removeVoter, .voterNotFound, .unknownOrLastVoter)
    }
    self.begin(.removeVoter, voters, request)
  }

  mutating func handleUpdateVoter(_ update: UpdateVoterRequest, _ request: RequestID) {
    if self.isForeign(update.clusterID) { return self.refuse(request, .updateVoter, .inconsistentClusterId, .otherCluster) }
    if let (error, why) = self.leaderRefusal(update.term) { return self.refuse(request, .updateVoter, error, why) }
    if let (error, why) = self.changeRefusal(clusterID: nil, voter: update.voter.key) {
      return self.refuse(request, .updateVoter, error, why)
    }
    if !update.voter.versions.contains(self.log.version) {
      return self.refuse(request, .updateVoter, .invalidRequest, .versionNotSupported)
    }
    if update.voter.address(at: self.config.listener) == nil { return self.refuse(request, .updateVoter, .invalidRequest, .malformed) }
    guard let voters = self.log.voters.updating(update.voter) else {
      return self.refuse(request, .updateVoter, .voterNotFound, .unknownOrLastVoter)
    }
    if voters == self.log.voters { return self.answer(request) }
    self.begin(.updateVoter, voters, request)
  }

  /// Why no change of voters can begin now.
  private func changeRefusal(clusterID: String?, voter: ReplicaKey) -> (ErrorCode, RequestRefusal)? {
    if self.isForeign(clusterID) { return (.inconsistentClusterId, .otherCluster) }
    if self.role != .leader { return (.notLeaderOrFollower, .notLeading) }
    if voter.node.rawValue < 0 || voter.directory == .zero { return (.invalidRequest, .malformed) }
    if self.log.version < .dynamicVoters { return (.unsupportedVersion, .votersAreStatic) }
    if self.leading.change != nil, !self.isMutated(.overlapsVoterChanges) { return (.requestTimedOut, .anotherChangeIsPending) }
    // Before that, an unfinished change of an earlier leader may still win elsewhere: two majorities that do not meet.
    if !self.termIsEstablished, !self.isMutated(.changesVotersEarly) { return (.requestTimedOut, .termIsNotEstablished) }
    if self.log.voterHistory.latestIndex >= self.highWatermark, !self.isMutated(.overlapsVoterChanges),
      !self.isMutated(.changesVotersEarly)
    {
      return (.requestTimedOut, .votersAreUncommitted)
    }
    return nil
  }

  // MARK: The change

  private mutating func begin(_ kind: RequestKind, _ voters: VoterSet, _ request: RequestID?) {
    self.leading.change = VoterChange(
      request: request, kind: kind, stage: .committing(self.log.endIndex), deadline: self.now + self.config.requestTimeout)
    self.commit(voters)
  }

  /// Appends the voters, which puts them in force, and waits until they are committed.
  private mutating func commit(_ voters: VoterSet) {
    invariant(
      voters.overlaps(self.log.voters) || self.isMutated(.overlapsVoterChanges) || self.isMutated(.changesVotersEarly),
      "from \(self.log.voters) to \(voters) in one step")
    self.leading.change?.stage = .committing(self.log.endIndex)
    self.append([.voters(voters)])
    if let change = self.leading.change, !change.answersWhenCommitted, let request = change.request {
      self.leading.change?.request = nil
      self.answer(request)
    }
    self.advanceHighWatermark()
  }

  /// Answers a change that is committed now, and makes room for a leader that is no voter any more.
  mutating func completeChange() {
    if let change = self.leading.change, case .committing(let index) = change.stage, index < self.highWatermark {
      self.leading.change = nil
      if let request = change.request { self.answer(request) }
    }
    if !self.isVoter, self.log.voterHistory.latestIndex < self.highWatermark {
      self.becomeResigned(.removed, successors: self.successors)
    }
  }

  mutating func abandonChange(_ error: ErrorCode, _ why: RequestRefusal) {
    guard let change = self.leading.change else { return }
    self.leading.change = nil
    if let request = change.request { self.refuse(request, change.kind, error, why) }
  }

  // MARK: Time

  var changeDeadline: Instant { self.leading.change?.deadline ?? .distantFuture }

  mutating func advanceChange() {
    if let change = self.leading.change, self.now >= change.deadline {
      // An entry in the log stays there: no other change begins until it is committed.
      self.abandonChange(.requestTimedOut, .notCommittedInTime)
    }
    // A leader has nobody to tell what changed about itself.
    if self.isVoter, self.leading.change == nil, let voters = self.log.voters.updating(self.config.voter), voters != self.log.voters,
      self.changeRefusal(clusterID: nil, voter: self.config.local) == nil
    {
      self.begin(.updateVoter, voters, nil)
    }
  }
}
