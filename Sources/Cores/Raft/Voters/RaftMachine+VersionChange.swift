import Base
import Election
import Model

// Raising `kraft.version` while the quorum runs: from voters that the configuration names to voters that the log names (KIP-853).
//
// The voters stay the same nodes; what changes is who says so, and that each is known with its directory. So the leader needs to know of
// every voter in which directory it keeps the log, which its fetches say, and that it can run with the new version, which it is asked.
// Then two entries go into the log together: the version, and the voters as they are.
extension RaftMachine {
  mutating func raiseVersion(to version: KRaftVersion, _ request: RequestID) {
    func refuse(_ error: ErrorCode, _ why: RequestRefusal) { self.refuse(request, .raiseVersion, error, why) }
    if self.role != .leader { return refuse(.notLeaderOrFollower, .notLeading) }
    if version < self.log.version { return refuse(.invalidUpdateVersion, .versionIsLower) }
    // What another leader began may still be undone.
    if self.leading.change != nil { return refuse(.requestTimedOut, .anotherChangeIsPending) }
    if self.log.versionHistory.latestIndex >= self.highWatermark { return refuse(.requestTimedOut, .votersAreUncommitted) }
    if version == self.log.version { return self.answer(request) }
    if !self.termIsEstablished { return refuse(.requestTimedOut, .termIsNotEstablished) }
    if !self.config.versions.contains(version) { return refuse(.invalidUpdateVersion, .versionNotSupported) }
    guard self.isVoter, self.config.local.directory != .zero, self.leading.voters.allSatisfy({ $0.directory != .zero }) else {
      return refuse(.invalidUpdateVersion, .voterIsUnknown)
    }
    var calls: [CallID] = []
    for voter in self.otherVoters {
      guard let destination = self.destination(of: voter) else { return refuse(.invalidUpdateVersion, .notReachable) }
      calls.append(self.call(destination, .survey(voter.key.node), .versions))
    }
    self.leading.change = VoterChange(
      request: request, kind: .raiseVersion, version: version, stage: .surveying(calls), deadline: self.now + self.config.requestTimeout)
    if calls.isEmpty { self.raise() }
  }

  mutating func handleSurveyed(_ answer: IncomingAnswer, _ node: NodeID, _ call: PendingCall) {
    guard let change = self.leading.change, case .surveying(var calls) = change.stage, calls.contains(call.id), let version = change.version
    else { return }
    guard answer.status.error == .none, case .versions(let versions) = answer.body else {
      return self.abandonChange(.requestTimedOut, .notReachable)
    }
    guard versions.contains(version) else { return self.abandonChange(.invalidUpdateVersion, .versionNotSupported) }
    calls.removeAll { $0 == call.id }
    self.leading.change?.surveyed.append(SurveyedVoter(node: node, versions: versions))
    self.leading.change?.stage = .surveying(calls)
    if calls.isEmpty { self.raise() }
  }

  /// A voter that is not reached cannot be asked: the version stays.
  mutating func failSurvey(_ call: PendingCall) {
    guard case .surveying(let calls)? = self.leading.change?.stage, calls.contains(call.id) else { return }
    self.abandonChange(.requestTimedOut, .notReachable)
  }

  private mutating func raise() {
    guard let change = self.leading.change, let version = change.version else { return }
    var voters = [self.config.voter]
    for place in self.leading.voters.indices {
      let progress = self.leading.voters[place]
      let key = ReplicaKey(progress.replica.node, progress.directory)
      guard let known = self.log.voters[key.node], let surveyed = change.surveyed.first(where: { $0.node == key.node }) else {
        return self.abandonChange(.requestTimedOut, .notReachable)
      }
      voters.append(Voter(key: key, endpoints: known.endpoints, versions: surveyed.versions))
      // It is the same replica, by the name that it has from now on; what was asked of it by the other is asked anew.
      self.leading.voters[place].replica = key
      (self.leading.voters[place].announceCall, self.leading.voters[place].announceAt) = (nil, self.now)
      (self.leading.voters[place].confirmCall, self.leading.voters[place].confirmAt) = (nil, self.now)
    }
    guard let set = VoterSet(voters), set.voters.map(\.key.node) == self.log.voters.voters.map(\.key.node) else {
      return self.abandonChange(.requestTimedOut, .votersAreUncommitted)
    }
    self.leading.change?.stage = .committing(self.log.endIndex + 1)
    self.append([.kraftVersion(version), .voters(set)])
    self.advanceHighWatermark()
  }
}
