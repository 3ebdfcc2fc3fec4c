import Election
import Model

// Changes of the voter set that a follower asks for itself: to join, to say where it is reached now.
extension RaftMachine {
  /// What the voter set should say of this replica and does not.
  var wantedChange: RaftRequest? {
    let voters = self.log.voters
    guard self.config.isController, !self.isShuttingDown, self.log.version >= .dynamicVoters, self.config.local.directory != .zero else {
      return nil
    }
    if let known = voters[self.config.local.node], known.key == self.config.local {
      if known == self.config.voter { return nil }
      return .updateVoter(UpdateVoterRequest(clusterID: self.config.clusterID, term: self.term, voter: self.config.voter))
    }
    guard self.config.joinsAutomatically else { return nil }
    if let former = voters[self.config.local.node] {
      // The node lost its directory: what it was goes before it can be a voter again.
      return .removeVoter(RemoveVoterRequest(clusterID: self.config.clusterID, voter: former.key))
    }
    return .addVoter(
      AddVoterRequest(
        clusterID: self.config.clusterID, voter: self.config.local, endpoints: self.config.endpoints, answersWhenCommitted: false))
  }

  mutating func sendChange(_ change: RaftRequest) {
    self.following.joinCall = self.call(self.leaderDestination, .join, change)
  }

  /// Whatever came of it, the log will tell. If it did not work, there is another try a fetch timeout later.
  mutating func handleJoin(_ answer: IncomingAnswer, _ call: PendingCall) {
    if answer.status.error != .none { self.trace(.answerIgnored(call.kind, .error(answer.status.error))) }
    self.fail(call)
  }
}
