/// Deliberate bugs, to see whether the tests notice. Only builds with `APUS_MUTANTS` (debug builds) can switch them on; in others the
/// questions below are constants, and nothing is left of them.
package struct RaftMutant: OptionSet, Hashable, Sendable {
  package var rawValue: UInt32
  package init(rawValue: UInt32) { self.rawValue = rawValue }

  /// A follower takes fetched entries though the leader's log has another term before them.
  package static let skipsLogMatching = RaftMutant(rawValue: 1 << 0)
  /// A restarted replica has forgotten its vote.
  package static let forgetsVote = RaftMutant(rawValue: 1 << 1)
  /// Messages do not wait for the hard state to be on disk.
  package static let sendsBeforePersist = RaftMutant(rawValue: 1 << 2)
  /// A leader commits entries of earlier terms by counting replicas.
  package static let commitsEarlierTerms = RaftMutant(rawValue: 1 << 3)
  /// A leader counts what it has not on disk, and a follower fetches from what it has not on disk.
  package static let countsUnsynced = RaftMutant(rawValue: 1 << 4)
  /// A follower that hears its leader gives pre-votes.
  package static let ignoresStickiness = RaftMutant(rawValue: 1 << 5)
  /// A leader stays though nobody fetches.
  package static let forgetsCheckQuorum = RaftMutant(rawValue: 1 << 6)
  /// A follower cuts its log where the leader says, even below the high watermark.
  package static let truncatesCommitted = RaftMutant(rawValue: 1 << 7)
  /// A leader begins a voter change before the last one is committed.
  package static let overlapsVoterChanges = RaftMutant(rawValue: 1 << 8)
  /// Observers count for the high watermark.
  package static let countsObservers = RaftMutant(rawValue: 1 << 9)
  /// A read is answered without a round of confirmation.
  package static let readsUnconfirmed = RaftMutant(rawValue: 1 << 10)
  /// A read is confirmed by fetches that came after it, though they may have been sent before it.
  package static let confirmsReadsByFetch = RaftMutant(rawValue: 1 << 11)
  /// A vote is given without a look at the candidate's log.
  package static let ignoresLogEnd = RaftMutant(rawValue: 1 << 12)
  /// A restarted candidate or leader goes on in its term.
  package static let resumesCandidacy = RaftMutant(rawValue: 1 << 13)
  /// Truncation leaves the voters of a removed entry in force.
  package static let keepsTruncatedVoters = RaftMutant(rawValue: 1 << 14)
  /// One vote less than a majority elects.
  package static let countsMinority = RaftMutant(rawValue: 1 << 15)
  /// A leader starts voter changes before an entry of its term is committed (the bug found in Raft's single-server changes in 2015).
  package static let changesVotersEarly = RaftMutant(rawValue: 1 << 16)

  /// By their names.
  package static let named: [String: RaftMutant] = [
    "skipsLogMatching": .skipsLogMatching,
    "forgetsVote": .forgetsVote,
    "sendsBeforePersist": .sendsBeforePersist,
    "commitsEarlierTerms": .commitsEarlierTerms,
    "countsUnsynced": .countsUnsynced,
    "ignoresStickiness": .ignoresStickiness,
    "forgetsCheckQuorum": .forgetsCheckQuorum,
    "truncatesCommitted": .truncatesCommitted,
    "overlapsVoterChanges": .overlapsVoterChanges,
    "countsObservers": .countsObservers,
    "readsUnconfirmed": .readsUnconfirmed,
    "confirmsReadsByFetch": .confirmsReadsByFetch,
    "ignoresLogEnd": .ignoresLogEnd,
    "resumesCandidacy": .resumesCandidacy,
    "keepsTruncatedVoters": .keepsTruncatedVoters,
    "countsMinority": .countsMinority,
    "changesVotersEarly": .changesVotersEarly,
  ]
}
