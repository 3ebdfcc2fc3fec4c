/// Deliberate bugs of the engine, to see whether the simulation of whole clusters finds them. Only builds with `APUS_MUTANTS` (debug
/// builds) can have one; elsewhere the questions for them are constants, and nothing is left of them.
package enum EngineMutant: String, CaseIterable, Sendable {
  /// The quorum's hard state is written and not synced: a vote is forgotten with the power.
  case leavesQuorumStateUnsynced
  /// A heartbeat is answered without asking a majority whether this controller still leads: a lease from one that is deposed.
  case answersHeartbeatsUnconfirmed
  /// Requests are answered when they are decided, not when that is committed.
  case answersBeforeCommit
  /// Changes of the metadata that came while a broker loaded its partitions are acted on in the wrong order.
  case actsOnMetadataBackwards
  /// Consumers read up to the log's end.
  case showsUncommitted
  /// A leader that was deposed goes on serving consumers.
  case servesWhenDeposed
  /// A leader that has just begun says where the log ends before it knows (KIP-207).
  case tellsLatestTooEarly
  /// A leader that has just begun tells consumers of an end before what they have read.
  case tellsOlderWatermark
  /// A leader does not look whether a follower's log parts from its own.
  case ignoresDivergence
  /// A follower keeps what its leader does not have.
  case keepsDivergingTail
  /// A flush leaves the names of new segments to chance.
  case leavesDirectoriesUnsynced
  /// Recovery takes every batch that is long enough.
  case recoversUnchecked
  /// The recovery point passes what was not flushed.
  case checkpointsUnflushed
  /// A log that is opened knows no idempotent producers.
  case forgetsProducers
  /// A directory counts as closed cleanly though some of its logs were never opened.
  case closesUnchecked
  /// What a process left behind that was killed is taken for durable.
  case trustsPageCache
}

extension Environment {
  /// Whether this node makes the mistake.
  @inline(__always)
  package func makes(_ mutant: EngineMutant) -> Bool {
    #if APUS_MUTANTS
      return self.mutant == mutant.rawValue
    #else
      return false
    #endif
  }
}
