package import Model

/// What replicas ask of each other, and what tools ask of the leader.
package enum RaftRequest: Hashable, Sendable {
  case vote(VoteRequest)
  case beginQuorum(BeginQuorumRequest)
  case endQuorum(EndQuorumRequest)
  case fetch(FetchRequest)
  case fetchSnapshot(FetchSnapshotRequest)
  case addVoter(AddVoterRequest)
  case removeVoter(RemoveVoterRequest)
  case updateVoter(UpdateVoterRequest)
  /// ApiVersions: which versions of `kraft.version` does the node support?
  case versions

  package var kind: RequestKind {
    switch self {
    case .vote(let vote): vote.isPreVote ? .preVote : .vote
    case .beginQuorum: .beginQuorum
    case .endQuorum: .endQuorum
    case .fetch: .fetch
    case .fetchSnapshot: .fetchSnapshot
    case .addVoter: .addVoter
    case .removeVoter: .removeVoter
    case .updateVoter: .updateVoter
    case .versions: .versions
    }
  }
}

/// The kinds of requests, for traces.
package enum RequestKind: Hashable, Sendable {
  case preVote, vote, beginQuorum, endQuorum, fetch, fetchSnapshot, addVoter, removeVoter, updateVoter, versions
  /// Of this node's own controller.
  case raiseVersion
}

/// Asks for a vote, or whether one would be given (KIP-996).
package struct VoteRequest: Hashable, Sendable {
  package var clusterID: String?
  /// For whom it is meant; nil from old versions.
  package var voter: ReplicaKey?
  /// The term stood for; in a pre-vote the candidate's own, not yet incremented.
  package var term: Term
  package var candidate: ReplicaKey
  package var logEnd: LogEnd
  package var isPreVote: Bool
  package init(clusterID: String?, voter: ReplicaKey?, term: Term, candidate: ReplicaKey, logEnd: LogEnd, isPreVote: Bool) {
    (self.clusterID, self.voter, self.term) = (clusterID, voter, term)
    (self.candidate, self.logEnd, self.isPreVote) = (candidate, logEnd, isPreVote)
  }
}

/// A leader makes itself known to a voter that does not fetch from it.
package struct BeginQuorumRequest: Hashable, Sendable {
  package var clusterID: String?
  package var voter: ReplicaKey?
  package var term: Term
  package var leader: NodeID
  package var endpoints: [Endpoint]
  package init(clusterID: String?, voter: ReplicaKey?, term: Term, leader: NodeID, endpoints: [Endpoint]) {
    (self.clusterID, self.voter, self.term, self.leader, self.endpoints) = (clusterID, voter, term, leader, endpoints)
  }
}

/// A leader lays its office down.
package struct EndQuorumRequest: Hashable, Sendable {
  package var clusterID: String?
  package var term: Term
  package var leader: NodeID
  /// Who should stand, the most caught up first.
  package var successors: [ReplicaKey]
  package var endpoints: [Endpoint]
  package init(clusterID: String?, term: Term, leader: NodeID, successors: [ReplicaKey], endpoints: [Endpoint]) {
    (self.clusterID, self.term, self.leader, self.successors, self.endpoints) = (clusterID, term, leader, successors, endpoints)
  }
}

/// A replica asks for what comes after its log. It says by it that everything below `position.index` is on its disk.
package struct FetchRequest: Hashable, Sendable {
  package var clusterID: String?
  package var replica: ReplicaKey
  package var term: Term
  package var position: LogEnd
  /// The high watermark the replica knows; it is answered at once if there is a newer one (KIP-1166). Nil from old versions.
  package var highWatermark: LogIndex?
  package var waitMax: Duration
  package var bytesMax: Int32
  package init(
    clusterID: String?, replica: ReplicaKey, term: Term, position: LogEnd, highWatermark: LogIndex?, waitMax: Duration, bytesMax: Int32
  ) {
    (self.clusterID, self.replica, self.term, self.position) = (clusterID, replica, term, position)
    (self.highWatermark, self.waitMax, self.bytesMax) = (highWatermark, waitMax, bytesMax)
  }
}

/// A replica asks for the bytes of a snapshot from `position` on.
package struct FetchSnapshotRequest: Hashable, Sendable {
  package var clusterID: String?
  package var replica: ReplicaKey
  package var term: Term
  package var snapshot: LogEnd
  package var position: Int64
  package var bytesMax: Int32
  package init(clusterID: String?, replica: ReplicaKey, term: Term, snapshot: LogEnd, position: Int64, bytesMax: Int32) {
    (self.clusterID, self.replica, self.term) = (clusterID, replica, term)
    (self.snapshot, self.position, self.bytesMax) = (snapshot, position, bytesMax)
  }
}

/// Asks the leader to make a replica that follows already a voter.
package struct AddVoterRequest: Hashable, Sendable {
  package var clusterID: String?
  package var voter: ReplicaKey
  package var endpoints: [Endpoint]
  /// Whether to answer only once the change is committed, or as soon as it is in the leader's log (KIP-1186).
  package var answersWhenCommitted: Bool
  package init(clusterID: String?, voter: ReplicaKey, endpoints: [Endpoint], answersWhenCommitted: Bool = true) {
    (self.clusterID, self.voter, self.endpoints) = (clusterID, voter, endpoints)
    self.answersWhenCommitted = answersWhenCommitted
  }
}

/// Asks the leader to make a voter an observer.
package struct RemoveVoterRequest: Hashable, Sendable {
  package var clusterID: String?
  package var voter: ReplicaKey
  package init(clusterID: String?, voter: ReplicaKey) { (self.clusterID, self.voter) = (clusterID, voter) }
}

/// A voter tells the leader where it is reached now and what it supports.
package struct UpdateVoterRequest: Hashable, Sendable {
  package var clusterID: String?
  package var term: Term
  package var voter: Voter
  package init(clusterID: String?, term: Term, voter: Voter) { (self.clusterID, self.term, self.voter) = (clusterID, term, voter) }
}
