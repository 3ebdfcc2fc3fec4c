/// Deliberate bugs, to prove that the simulation would find them. They exist only in builds with `APUS_MUTANTS`; everywhere else the
/// `mutant` is the constant nil and the branches are gone.
package enum Mutant: String, CaseIterable, Sendable {
  /// `acks=all` is acknowledged as soon as it is appended.
  case acknowledgesEarly
  /// The leader counts what it has not flushed.
  case countsUnflushed
  /// A follower asks for what comes after its unflushed tail, and thereby claims it.
  case claimsUnflushed
  /// A shrink takes effect when it is proposed.
  case shrinksBeforeCommitted
  /// An expansion takes effect for the watermark only when it is committed.
  case ignoresProposedReplicas
  /// The lease is not looked at.
  case forgetsLease
  /// The lease counts from the heartbeat's answer.
  case leaseFromReceipt
  /// A follower joins the ISR without having reached where the leader's epoch began.
  case expandsBelowEpochStart
  /// An answer to an older proposal is taken for one to the present state.
  case trustsStaleAnswers
  /// After an error that leaves open whether the proposal was applied, the leader goes on as if it was not.
  case dropsUncertainProposal
  /// The watermark advances with fewer replicas than `min.insync.replicas`.
  case ignoresMinInSync
  /// A new follower truncates to its own watermark.
  case truncatesToHighWatermark
  /// A follower takes the leader's end for its own where epochs differ, without asking again.
  case truncatesOnce
  /// A new leader holds everything in its log for committed.
  case trustsOwnEnd
  /// The time a follower was last caught up is not renewed when the leader appends after a silence.
  case evictsOnFirstWrite
  /// The high watermark is told to followers only with new records.
  case withholdsHighWatermark
}
