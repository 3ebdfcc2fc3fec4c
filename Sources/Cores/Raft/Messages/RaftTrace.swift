package import Model

/// What a replica decided, and why.
package enum RaftTrace: Hashable, Sendable {
  case becameUnattached(Term, UnattachedCause)
  case preVoteBegan(Term, ElectionCause)
  case electionBegan(Term, ElectionCause)
  case electionLost(Term, isPreVote: Bool, LossCause)
  case elected(Term, grantedBy: [NodeID])
  case followed(NodeID, Term)
  case resigned(Term, ResignCause)
  case voteGranted(to: ReplicaKey, Term, isPreVote: Bool)
  case voteRefused(to: ReplicaKey, Term, isPreVote: Bool, VoteRefusal)
  case requestRefused(RequestKind, ErrorCode, RequestRefusal)
  case answerIgnored(RequestKind?, AnswerRefusal)
  case stalePersistToken
  case truncated(to: LogIndex, toldBy: LogEnd)
  case votersChanged(VoterSet, index: LogIndex)
  /// A replica says it has less than it said before: its disk forgot, or the request is old.
  case progressWentBack(ReplicaKey, from: LogIndex, to: LogIndex)
  case snapshotDownloadBegan(LogEnd)
  case snapshotDownloadAbandoned(LogEnd, AnswerRefusal)
  case snapshotRefused(LogEnd, SnapshotRefusal)
}

/// Why a replica stands for election.
package enum ElectionCause: Hashable, Sendable {
  /// The leader was silent for the fetch timeout.
  case leaderSilent(NodeID)
  /// The leader's address refused a connection: its process is dead.
  case leaderGone(NodeID)
  /// Nobody led for the election timeout.
  case noLeader
  /// The leader resigned and named this replica or nobody.
  case leaderResigned(NodeID)
  /// A majority would vote for it.
  case preVoteWon
  /// The round before brought no majority.
  case roundLost
}

/// Why a round brought no leader.
package enum LossCause: Hashable, Sendable { case refused, timedOut }

/// Why a replica has no leader.
package enum UnattachedCause: Hashable, Sendable {
  case started
  case higherTerm
  /// It gave its vote to another.
  case voted
  /// An observer lost its leader, or a voter may not stand just now.
  case leaderSilent
  case electionLost
  case resignationOver
}

/// Why a leader led no longer.
package enum ResignCause: Hashable, Sendable {
  /// It was started again in a term it had led.
  case restarted
  case shutDown
  /// A majority of the voters did not fetch (KIP-595, check quorum).
  case quorumLost
  /// It is no longer a voter, and that is committed (Raft dissertation, section 4.2.2).
  case removed
  case higherTerm
}

/// Why a vote was not given.
package enum VoteRefusal: Hashable, Sendable {
  case votedForAnother(ReplicaKey)
  case leaderIsKnown(NodeID)
  case leaderIsHeard(NodeID)
  case logIsBehind(own: LogEnd)
  case isLeading
}

/// Why a request was refused with an error.
package enum RequestRefusal: Hashable, Sendable {
  case otherCluster
  case malformed
  case staleTerm, unknownTerm, notLeading
  /// It was meant for another replica than this one.
  case otherVoter
  /// It says that it comes from this very replica, or speaks of what only this replica can know.
  case forged
  /// The set of voters is fixed and the sender is not in it.
  case unknownVoter
  case notAController
  case conflictingLeader
  case noSuchSnapshot, noSuchPosition
  case anotherChangeIsPending, termIsNotEstablished, votersAreUncommitted
  case votersAreStatic, duplicateVoter, unknownOrLastVoter, versionNotSupported, notCaughtUp, notReachable
  case notCommittedInTime
  /// A version that is higher is in force.
  case versionIsLower
  /// A voter has not fetched yet, so that nobody knows where it keeps the log.
  case voterIsUnknown
  case shuttingDown
}

/// Why an answer or a part of it was not acted upon.
package enum AnswerRefusal: Hashable, Sendable {
  /// Nobody waits for it any more.
  case unexpected
  case staleTerm
  case error(ErrorCode)
  case callFailed
  /// It names another leader in a term whose leader is known, or this replica.
  case conflictingLeader
  /// Its parts contradict one another or what was asked for.
  case malformed
  /// It would take back what is committed.
  case contradictsCommitted
  case leaderLost
  case unusable
}

/// Why a snapshot or a new log start was not accepted.
package enum SnapshotRefusal: Hashable, Sendable {
  /// It covers what is not committed.
  case notCommitted
  /// There is one as new as it already.
  case notNewer
  /// Its term is not the log's, or there is no such snapshot.
  case unknown
}
