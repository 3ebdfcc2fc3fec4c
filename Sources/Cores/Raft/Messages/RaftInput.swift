package import Election
package import Model

/// Names a request that came in; the driver chooses it, and gets it back with the answer, exactly once.
package struct RequestID: Newtype {
  package var rawValue: UInt64
  package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Names a request that goes out. Never used twice by one machine.
package struct CallID: Newtype {
  package var rawValue: UInt64
  package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Names a read that waits for confirmation; the driver chooses it.
package struct ReadID: Newtype {
  package var rawValue: UInt64
  package init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// Why a call has no answer, as far as the network tells. A hint: nothing but when to ask again rests on it.
package enum CallFailure: Hashable, Sendable {
  /// Nobody listens at the address: the process that was called is dead.
  case refused
  /// The connection ended while the call was under way: the process may have died.
  case broken
  /// No answer came, or none that could be read.
  case unanswered
}

/// What happens to a replica.
package enum RaftInput: Hashable, Sendable {
  /// Time has passed: `nextDeadline` came, or the machine was just made.
  case timerFired
  /// A peer or a tool asks.
  case request(RequestID, RaftRequest)
  /// A peer answered.
  case answer(CallID, IncomingAnswer)
  /// There will be no answer: not connected, disconnected, or nothing an answer could be read from.
  case callFailed(CallID, CallFailure = .unanswered)
  /// The hard state of this token, and with it every older one, is on disk.
  case statePersisted(PersistToken)
  /// The append or truncation of this token, and with it every older one, is on disk.
  case logPersisted(PersistToken)
  /// The downloaded snapshot is whole, synced, and has taken the place of the log.
  case snapshotInstalled(PersistToken, SnapshotSummary)
  /// What was downloaded is no snapshot. It has been deleted.
  case snapshotUnusable(PersistToken)
  /// The application wrote a snapshot of everything below its id; it is synced.
  case snapshotTaken(SnapshotInfo)
  /// The log may begin at this snapshot from now on.
  case prefixExpendable(to: LogEnd)
  /// Entries to append in `term`; only the leader of that very term takes them.
  case propose(PayloadID, count: Int64, term: Term)
  /// Asks for an index such that whoever has applied everything below it reads nothing stale.
  case read(ReadID)
  /// Asks the leader to raise `kraft.version`; answered like a request, once it is committed or refused.
  case raiseVersion(RequestID, KRaftVersion)
  /// The process ends: hand over, then say that it is done.
  case shutDown
}
