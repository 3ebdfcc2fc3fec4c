/// What can be done to a cluster. The raw values are the names that the command line takes.
package enum FaultKind: String, Sendable, Hashable, CaseIterable {
  /// `kill -9`; started again some time later.
  case kill
  /// A machine loses power: what was not synced is lost, whole or torn.
  case power
  /// A process ends between two changes of its disk, in the middle of whatever it did.
  case crashAtWrite = "crash-at-write"
  /// The same with the power.
  case powerAtWrite = "power-at-write"
  /// SIGTERM, a clean end, and a new start.
  case restart
  /// All nodes in turn, each after the last has come back.
  case rolling
  /// SIGSTOP, or a machine that stands still.
  case pause
  /// No room on the disk for a while.
  case fullDisk = "full-disk"
  /// Every sync takes very long.
  case slowDisk = "slow-disk"
  /// One call of the disk fails.
  case diskError = "disk-error"
  /// A machine is cut off from all others, in both directions.
  case isolate
  /// One machine does not hear another.
  case cut
  /// Frames between two machines take long.
  case slowWire = "slow-wire"
  /// All connections between two machines are reset.
  case reset
  /// Partitions get other replicas, or the same in another order; some reassignments are cancelled.
  case reassign
  /// Preferred leaders are elected.
  case elect
  /// Topics beside those of the clients come, grow and go.
  case topics
  /// Clocks that are wrong and run at different rates.
  case clock
  // Later kinds come behind the earlier ones, so that seeds of a given set of kinds stay what they were.
  /// All machines lose power in one moment.
  case blackout
  /// A machine loses power, and some of what it wrote and had not synced comes back with a bit that is wrong.
  case bitFlip = "bit-flip"
  /// A partition is reassigned, and one of its new replicas dies while it catches up.
  case reassignKill = "reassign-kill"
  /// Controllers get votes in the quorum and lose them (KIP-853).
  case voters
  /// There is a topic that gives records up rather than stay without a leader (`unclean.leader.election.enable`).
  case unclean
}
