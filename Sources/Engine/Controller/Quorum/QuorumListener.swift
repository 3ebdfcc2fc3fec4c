package import Model
package import Raft

/// What a replica of the metadata log tells the node it belongs to, one event at a time, in order.
package enum QuorumEvent: Hashable, Sendable {
  /// Everything below is committed.
  case committed(upTo: Offset)
  /// The state is to be taken from this snapshot: records before its end will not come.
  case loadSnapshot(endOffset: Offset, epoch: LeaderEpoch)
  /// This node leads. What it proposes in this epoch begins at or after the log's end as it is now.
  case becameLeader(LeaderEpoch)
  /// This node leads no more: what it proposed and is not committed may or may not ever be.
  case steppedDown(LeaderEpoch)
  case leaderChanged(LeaderEpoch, leader: NodeID?)
  /// Everything that was committed when this replica joined the quorum is committed here, for the first time since its start.
  case caughtUp
  /// What was appended could not be synced just now, which is tried again: told once until it succeeds.
  case delayed(MetadataLogError)
  /// A disk failed: the replica has stopped, and the process should end.
  case failed(MetadataLogError)
  /// What snapshots replaced could not be removed: it takes up room, and is tried again with the next snapshot.
  case cleanUpFailed(MetadataLogError)
  /// The leadership is handed over: the process may end.
  case shutDownCompleted
  case trace(RaftTrace)
}

/// Takes the events of a `RaftDriver`.
package protocol QuorumListener: AnyObject, Sendable {
  func quorumEvent(_ event: QuorumEvent)
}
