package import Base
import Election
package import Model

/// What a replica is in the quorum at a moment.
///
/// ```
/// unattached --election timeout--> preCandidate --majority--> candidate --majority--> leader --quorum lost, shut down--> resigned
///     ^  ^                            |      ^                  |   |                   |                                  |
///     |  +-------- no majority -------+      +--- no majority --+   |                   |                                  |
///     +---- a higher term (from anywhere) --------------------------+-------------------+----- deadline: preCandidate -----+
/// follower: from anywhere but leader, once the leader of the term is known;  follower --leader silent--> preCandidate
/// ```
/// An observer is unattached or follower, and never anything else.
package enum RaftRole: Hashable, Sendable { case unattached, follower, preCandidate, candidate, leader, resigned }

/// One voter's part in a round of votes.
struct Ballot: Hashable, Sendable {
  var voter: Voter
  var isGranted: Bool?
  /// Nobody listens at its address: its process is dead just now.
  var isDead = false
  /// The request under way.
  var call: CallID?
  /// When to ask (again), if no request is under way and there is no answer.
  var askAt: Instant
}

/// A round of pre-votes or votes. Empty in other roles.
struct Campaign: Hashable, Sendable {
  var ballots: [Ballot] = []
  var majority = 0
  /// The end of the round.
  var deadline = Instant.distantFuture

  var grantedCount: Int { self.ballots.count { $0.isGranted == true } }
  /// So many refused that no majority can come together.
  /// Who is dead may be started again, and is asked again for as long as that can still give a majority; but where a voter that lives has
  /// refused, nobody waits for the dead.
  var isLost: Bool {
    let refused = self.ballots.count { $0.isGranted == false }
    let dead = self.ballots.count { $0.isGranted == nil && $0.isDead }
    return refused > 0 && refused + dead > self.ballots.count - self.majority
  }
}

/// The search for the leader by replicas that have none: a fetch to one node after the other.
struct LeaderSearch: Hashable, Sendable {
  var next = 0
  var call: CallID?
  var askAt = Instant.origin
}

/// Where a follower stands with its leader. Empty in other roles.
struct Following: Hashable, Sendable {
  var leader = NodeID.none
  var address = Address(host: "", port: 0)
  var silence = SilenceDetector(timeout: .zero, heard: .origin)
  /// Whether the leader itself was heard, rather than heard of (KIP-996: until then a pre-vote does it no harm).
  var hasHeard = false
  /// The leader's high watermark, as far as this log is known to agree with the leader's.
  var leaderHighWatermark = LogIndex.zero
  /// The leader announced its end: nobody waits for it, and whoever stands gets a pre-vote.
  var leaderResigned = false
  /// The leader's address refused a connection: its process is dead, or was started again and knows that it leads no more. Whoever stands
  /// gets a pre-vote from here; it takes a majority that lost the leader to depose one.
  var leaderIsGone = false
  /// A connection that broke is made anew without a pause, once until the leader is heard again.
  var hasRetriedAtOnce = false
  /// When this replica stands in either case.
  var standAt: Instant?
  /// The leader named this replica before all others.
  var isFirstSuccessor = false
  /// The request under way, and when to send the next one if there is none.
  var call: CallID?
  var askAt = Instant.origin
  var download: SnapshotDownload?
  /// A voter change that this replica asks for itself.
  var joinCall: CallID?
  var joinAt = Instant.origin
}

/// A snapshot on its way from the leader.
struct SnapshotDownload: Hashable, Sendable {
  var id: LogEnd
  /// Known with the first chunk.
  var byteCount: Int64?
  var position: Int64 = 0
}

/// What a leader knows of a replica that fetches.
package struct ReplicaProgress: Hashable, Sendable {
  package var replica: ReplicaKey
  /// Where it keeps the log, by its last fetch: a voter from the configuration is known without it.
  package var directory = KafkaUUID.zero
  /// Everything below is on the replica's disk; nil before its first valid fetch in the term.
  package var endIndex: LogIndex?
  /// When it fetched last; for a voter that did not yet, the beginning of the leader's term or of its membership.
  package var lastHeard: Instant
  package var hasFetched = false
  /// When it last had everything the leader had.
  package var lastCaughtUp: Instant?
  /// Where the leader's log ended at the fetch before.
  var leaderEndAtFetch = LogIndex.zero
  /// The announcement under way, and when to send the next.
  var announceCall: CallID?
  var announceAt = Instant.origin
  /// The latest round of read confirmation this voter has answered, and the request of the present round.
  var confirmedRound: UInt64 = 0
  var confirmCall: CallID?
  var confirmAt = Instant.origin

  init(replica: ReplicaKey, heard: Instant) { (self.replica, self.lastHeard) = (replica, heard) }
}

/// A fetch that waits at the leader for something to tell.
struct WaitingFetch: Hashable, Sendable {
  var request: RequestID
  var fetch: FetchRequest
  var deadline: Instant
}

/// A read that waits for the leader to be sure that it leads.
struct WaitingRead: Hashable, Sendable {
  var id: ReadID
  var index: LogIndex
  /// Confirmed by this round or a later one.
  var round: UInt64
  var deadline: Instant
}

/// A change of the voter set under way.
struct VoterChange: Hashable, Sendable {
  enum Stage: Hashable, Sendable {
    /// The new voter is asked for the versions it supports.
    case asking(CallID)
    /// All other voters are asked for the versions they support; these have not answered yet.
    case surveying([CallID])
    /// The entry is in the log at the index.
    case committing(LogIndex)
  }
  /// Nil once it is answered, or where nobody asked.
  var request: RequestID?
  var kind: RequestKind
  var voter: Voter?
  /// The version that is to be raised to, and what the voters have said of themselves.
  var version: KRaftVersion?
  var surveyed: [SurveyedVoter] = []
  var answersWhenCommitted = true
  var stage: Stage
  var deadline: Instant
}

/// What a voter has said of itself.
struct SurveyedVoter: Hashable, Sendable {
  var node: NodeID
  var versions: SupportedVersions
}

/// What only a leader has. Empty in other roles.
struct Leading: Hashable, Sendable {
  /// The leader-change entry, first of the term: only beyond it may entries be committed by counting (Raft, section 5.4.2).
  var startIndex = LogIndex.zero
  /// The voters, this replica not among them.
  var voters: [ReplicaProgress] = []
  var observers: [ReplicaProgress] = []
  var waitingFetches: [WaitingFetch] = []
  var change: VoterChange?
  var reads: [WaitingRead] = []
  /// The round of read confirmation under way or, if `roundIsOpen` is false, the last one.
  var round: UInt64 = 0
  var roundIsOpen = false
}

/// What a resigned leader has left to do. Empty in other roles.
struct Resigning: Hashable, Sendable {
  var successors: [ReplicaKey] = []
  /// Voters still to be told; `isGranted` stays nil until they were.
  var notices: [Ballot] = []
  var deadline = Instant.distantFuture
}

/// A request that went out and is not answered.
struct PendingCall: Hashable, Sendable {
  enum Purpose: Hashable, Sendable {
    case vote(ReplicaKey)
    case announce(ReplicaKey)
    case confirm(ReplicaKey, round: UInt64)
    case resign(ReplicaKey)
    case search
    case fetch
    case fetchSnapshot
    case versions
    case survey(NodeID)
    case join
  }
  var id: CallID
  var kind: RequestKind
  var purpose: Purpose
  var deadline: Instant
}

/// A write to the log that is not known to be on disk.
struct PendingWrite: Hashable, Sendable {
  var token: PersistToken
  /// Where the log ends with it.
  var endIndex: LogIndex
}
