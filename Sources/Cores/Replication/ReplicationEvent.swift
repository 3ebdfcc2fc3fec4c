import Base
package import Model

/// What a partition's replica tells about itself, with the cause: for the flight recorder, the log and metrics.
package enum ReplicationEvent: Hashable, Sendable {
  package enum ProposalCause: Hashable, Sendable {
    /// These did not hold everything for longer than `replica.lag.time.max.ms`.
    case lagging([NodeID])
    /// These hold everything up to the high watermark, and this leader's epoch from its start.
    case caughtUp([NodeID])
    /// Nobody told what became of the same proposal before.
    case unanswered
  }

  package enum TruncationCause: Hashable, Sendable {
    /// The leader's log parts from ours in this epoch (KIP-101, KIP-279).
    case divergence(EpochEnd)
    /// The leader's log ends before ours does.
    case beyondLeaderEnd
  }

  // The leader's.
  case tookLeadership(LeaderEpoch, logEndOffset: Offset, highWatermark: Offset)
  case resigned(ErrorCode, successor: LeaderHint?)
  case proposed(InSyncProposal, ProposalCause)
  case inSyncReplicasChanged([NodeID], PartitionEpoch)
  case proposalFailed(ErrorCode, basis: PartitionEpoch)
  /// An answer to a proposal that is no longer the one in flight.
  case staleAnswer(basis: PartitionEpoch)
  /// Nothing is committed while fewer replicas are in sync than `min.insync.replicas`.
  case underMinInSync(count: Int, min: Int)
  /// Records are there to be committed, but our session with the controller may have ended.
  case leaseEnded(highWatermark: Offset)
  /// The timer came this much too late: the process did not run, and knows nothing of its followers meanwhile.
  case slept(Duration)

  // The follower's.
  case following(LeaderHint, logEndOffset: Offset, highWatermark: Offset)
  case stoppedFollowing(ErrorCode)
  case truncated(from: Offset, to: Offset, TruncationCause)
  case restarted(at: Offset, from: Offset)
  /// Truncation would remove committed records and nobody allowed that.
  case refusedTruncation(to: Offset, highWatermark: Offset, TruncationCause)
  case fetchFailed(ErrorCode, retryAfter: Duration)
}

/// The end of a leader epoch in some log, as OffsetForLeaderEpoch and a diverging Fetch answer give it.
package struct EpochEnd: Hashable, Sendable {
  package var epoch: LeaderEpoch
  /// Exclusive.
  package var endOffset: Offset
  package init(epoch: LeaderEpoch, endOffset: Offset) { (self.epoch, self.endOffset) = (epoch, endOffset) }
}
