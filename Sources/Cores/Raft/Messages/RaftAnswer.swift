package import Model

/// What every answer says besides what was asked for: whether it went well, and who leads as far as the answerer knows.
package struct QuorumStatus: Hashable, Sendable {
  package var error: ErrorCode
  package var term: Term
  package var leader: NodeID?
  /// Where the leader is reached, at the listener of the quorum.
  package var leaderAddress: Address?
  package init(error: ErrorCode = .none, term: Term, leader: NodeID? = nil, leaderAddress: Address? = nil) {
    (self.error, self.term, self.leader, self.leaderAddress) = (error, term, leader, leaderAddress)
  }
}

/// An answer. On the way out `Entries` and `Chunk` say what the driver is to read from its disk, on the way in what came.
package struct RaftAnswer<Entries: Hashable & Sendable, Chunk: Hashable & Sendable>: Hashable, Sendable {
  package enum Body: Hashable, Sendable {
    /// Nothing but the status: errors, and requests that ask for nothing.
    case status
    case vote(isGranted: Bool)
    case fetch(FetchAnswer<Entries>)
    case fetchSnapshot(Chunk)
    case versions(SupportedVersions)
  }
  package var status: QuorumStatus
  package var body: Body
  package init(_ status: QuorumStatus, _ body: Body = .status) { (self.status, self.body) = (status, body) }
}

/// An answer to be sent.
package typealias OutgoingAnswer = RaftAnswer<EntryRange, ChunkRange>
/// An answer that came.
package typealias IncomingAnswer = RaftAnswer<EntryRun, SnapshotChunk>

/// What a leader answers to a fetch.
package struct FetchAnswer<Entries: Hashable & Sendable>: Hashable, Sendable {
  package enum Content: Hashable, Sendable {
    /// Nothing new but perhaps the high watermark.
    case nothing
    case entries(Entries)
    /// The replica's log parts from the leader's: the leader's term not above the replica's last, and where it ends.
    case diverging(LogEnd)
    /// What comes next is in this snapshot only.
    case snapshot(LogEnd)
  }
  package var highWatermark: LogIndex
  package var logStart: LogIndex
  package var content: Content
  package init(highWatermark: LogIndex, logStart: LogIndex, content: Content) {
    (self.highWatermark, self.logStart, self.content) = (highWatermark, logStart, content)
  }
}

/// Entries to read from the log: whole batches from `start` on, at least one, as many as fit in `bytesMax`, none at `end` or beyond.
package struct EntryRange: Hashable, Sendable {
  package var start: LogIndex
  package var end: LogIndex
  package var bytesMax: Int32
  package init(start: LogIndex, end: LogIndex, bytesMax: Int32) { (self.start, self.end, self.bytesMax) = (start, end, bytesMax) }
}

/// Bytes to read from a snapshot: from `position` on, at least one, at most `bytesMax`.
package struct ChunkRange: Hashable, Sendable {
  package var snapshot: SnapshotInfo
  package var position: Int64
  package var bytesMax: Int32
  package init(snapshot: SnapshotInfo, position: Int64, bytesMax: Int32) {
    (self.snapshot, self.position, self.bytesMax) = (snapshot, position, bytesMax)
  }
}

/// Bytes of a snapshot.
package struct SnapshotChunk: Hashable, Sendable {
  /// The snapshot and how large it is in all.
  package var snapshot: SnapshotInfo
  package var position: Int64
  package var byteCount: Int64
  package var payload: PayloadID
  package init(snapshot: SnapshotInfo, position: Int64, byteCount: Int64, payload: PayloadID) {
    (self.snapshot, self.position, self.byteCount, self.payload) = (snapshot, position, byteCount, payload)
  }
}
