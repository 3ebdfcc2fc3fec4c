package import Election
package import Model

/// Whom to call.
package struct Destination: Hashable, Sendable, CustomStringConvertible {
  /// Nil for a bootstrap server, of which no more is known than its address.
  package var node: NodeID?
  package var address: Address
  package init(node: NodeID?, address: Address) { (self.node, self.address) = (node, address) }
  package var description: String { self.node.map { "\($0) at \(self.address)" } ?? "\(self.address)" }
}

/// Entries for the end of the log.
package struct LogAppend: Hashable, Sendable {
  package enum Content: Hashable, Sendable {
    /// Entries of an earlier `propose`, to get the indexes from `start` on and this term.
    case proposed(PayloadID, term: Term)
    /// Control entries of this term, in one batch.
    case controls([ControlEntry], term: Term)
    /// Entries as they came from the leader.
    case fetched(PayloadID)
  }
  package var token: PersistToken
  package var start: LogIndex
  package var end: LogIndex
  package var content: Content
}

/// What a replica wants done, in this order. Writes to the log and to snapshots take effect at once for later reads; that they are on
/// disk is reported with the token. A disk that fails ends the process: the machine has no state for that.
package enum RaftEffect: Hashable, Sendable {
  /// Write the state and sync it, then report the token. A newer state may take its place before it was written.
  case persist(HardState, PersistToken)
  /// Send, but not before the state of the token is on disk.
  case call(CallID, Destination, RaftRequest, after: PersistToken?)
  /// Answer, but not before the state of the token is on disk.
  case answer(RequestID, OutgoingAnswer, after: PersistToken?)

  /// Append, sync, report the token.
  case append(LogAppend)
  /// Remove everything from `to` on, sync, report the token.
  case truncate(to: LogIndex, PersistToken)
  /// Write a chunk of a download; the first one, at position 0, begins the file anew.
  case writeSnapshot(SnapshotChunk)
  /// The download is whole: check and sync it, put it in the place of the whole log, and report what it says with the token.
  case installSnapshot(SnapshotInfo, PersistToken)
  /// The download was given up.
  case discardSnapshot(LogEnd)
  /// Remove everything below `base.index` from the log, and snapshots below it.
  case dropPrefix(to: LogEnd)

  /// The application is to take its state from this snapshot: entries before it will not come.
  case loadSnapshot(LogEnd)
  /// Everything below is committed and may be applied.
  case advanceHighWatermark(to: LogIndex)
  /// The proposal was not appended.
  case refuseProposal(PayloadID, ErrorCode)
  /// Once everything below the index is applied, the read is linearizable.
  case confirmRead(ReadID, index: LogIndex)
  case refuseRead(ReadID, ErrorCode)

  /// This replica leads; proposals of the term are taken.
  case becomeLeader(Term)
  /// This replica leads no more: what was proposed in the term and is not committed may or may not ever be.
  case stepDown(Term)
  /// What is known of the leader changed.
  case leaderChanged(Term, leader: NodeID?)
  /// Nothing more will come of waiting: the process may end.
  case shutDownCompleted
  case trace(RaftTrace)
}
