import Base
package import Compression
package import Environment
import LogCore
package import Model
package import NIOCore
import Raft
package import Storage
import Synchronization

/// What a node gives of the metadata log to whoever only looks at it.
package struct CommittedRead<File: DiskFile>: Sendable {
  /// Everything below is committed, as far as this node knows.
  package var highWatermark: Offset
  package var logStartOffset: Offset
  /// Whole batches below the high watermark.
  package var slice: LogSlice<File>?
  /// What was asked for is no longer in the log: this is in its place, and the log goes on behind it.
  package var snapshot: (endOffset: Offset, epoch: LeaderEpoch)?
  /// The offset lies beyond the log's end on a node that knows everything that was committed when it joined the quorum.
  package var isBeyond = false
}

// What clients and tools read of the metadata log, on any node and whoever leads: what is committed, and nothing of the quorum's business.
// Any thread may ask; nothing here waits for the control line.
extension RaftDriver {
  /// Somebody who waits for something to be committed.
  struct CommittedWait: Sendable {
    var id: UInt64
    var known: Offset
    var wake: @Sendable () -> Void
  }

  /// The batches from the one that holds `offset` on.
  ///
  /// - Parameter epoch: the quorum's, as the reader knows it; `unknown` is not held against this node's (KIP-320).
  package func readCommitted(
    from offset: Offset, epoch: LeaderEpoch, maxBytes: Int
  ) throws(MetadataLogError) -> CommittedRead<Env.Disk.File> {
    let (result, isBefore) = self.state.withLock { state -> (Result<CommittedRead<Env.Disk.File>, MetadataLogError>, Bool) in
      if let refusal = Self.refusal(epoch, state) { return (.failure(refusal), false) }
      let highWatermark = Self.committedEnd(state)
      var read = CommittedRead<Env.Disk.File>(highWatermark: highWatermark, logStartOffset: state.log.logStartOffset)
      if offset < .zero { return (.failure(MetadataLogError("offset \(offset) is below 0", code: .offsetOutOfRange)), false) }
      if offset < read.logStartOffset { return (.success(read), true) }
      if offset > state.log.logEndOffset {
        read.isBeyond = state.hasCaughtUp
        return (.success(read), false)
      }
      do throws(StorageError) {
        read.slice = try state.log.read(from: offset, maxBytes: maxBytes, upTo: highWatermark, minOneBatch: true)
        return (.success(read), false)
      } catch { return (.failure(MetadataLogError("\(error)", code: error.errorCode)), false) }
    }
    var read = try result.get()
    if isBefore {
      // The oldest there is: what it leaves out, nobody knows any more.
      let snapshots: [LogEnd]
      do throws(DiskError) { snapshots = try self.snapshots.list() } catch { throw MetadataLogError("\(error)") }
      guard let oldest = snapshots.first(where: { $0.index.rawValue >= read.logStartOffset.rawValue }) else {
        throw MetadataLogError("offset \(offset) is below the log's start \(read.logStartOffset)", code: .offsetOutOfRange)
      }
      read.snapshot = (Offset(oldest.index.rawValue), LeaderEpoch(oldest.term.rawValue))
    }
    return read
  }

  /// A part of a snapshot, and the size of the whole one. Blocks.
  package func readSnapshot(
    endOffset: Offset, epoch: LeaderEpoch, from position: Int64, byteCountMax: Int
  ) throws(MetadataLogError) -> (bytes: ByteBuffer, byteCount: Int64) {
    if let refusal = self.state.withLock({ Self.refusal(.unknown, $0) }) { throw refusal }
    let id = LogEnd(term: Term(epoch.rawValue), index: LogIndex(endOffset.rawValue))
    do {
      let byteCount = try self.snapshots.byteCount(of: id)
      guard (0..<byteCount).contains(position) else {
        throw MetadataLogError("a snapshot of \(byteCount) bytes has nothing at position \(position)", code: .positionOutOfRange)
      }
      let info = SnapshotInfo(id: id, byteCount: byteCount)
      return (try self.snapshots.read(info, from: position, byteCountMax: byteCountMax), byteCount)
    } catch let error as DiskError {
      throw MetadataLogError("\(error)", code: error.kind == .notFound ? .snapshotNotFound : .kafkaStorageError)
    } catch {
      throw error as? MetadataLogError ?? MetadataLogError("\(error)")
    }
  }

  // MARK: - Offsets

  /// Where the log begins here, and up to where it is committed, each with the epoch there.
  package func committedBounds(
    epoch: LeaderEpoch
  ) throws(MetadataLogError) -> (start: Offset, startEpoch: LeaderEpoch, end: Offset, endEpoch: LeaderEpoch) {
    try self.state.withLock { state throws(MetadataLogError) in
      if let refusal = Self.refusal(epoch, state) { throw refusal }
      let start = state.log.logStartOffset
      return (start, state.log.leaderEpochs.epoch(at: start) ?? .unknown, Self.committedEnd(state), Self.epoch(state))
    }
  }

  /// The first committed record that is not older than `timestamp`, or with nil the first of the youngest.
  package func committedOffset(
    notOlderThan timestamp: Timestamp?, epoch: LeaderEpoch, using decompressor: Decompressor
  ) throws(MetadataLogError) -> TimestampedOffset? {
    try self.state.withLock { state throws(MetadataLogError) in
      if let refusal = Self.refusal(epoch, state) { throw refusal }
      let end = Self.committedEnd(state)
      do throws(StorageError) {
        guard let timestamp else { return try state.log.offsetOfMaxTimestamp(upTo: end, using: decompressor) }
        return try state.log.offset(forTimestamp: timestamp, upTo: end, using: decompressor)
      } catch { throw MetadataLogError("\(error)", code: error.errorCode) }
    }
  }

  private static func committedEnd(_ state: State) -> Offset { Offset(state.machine.highWatermark.rawValue) }
  private static func epoch(_ state: State) -> LeaderEpoch { LeaderEpoch(state.machine.hardState.term.rawValue) }

  private static func refusal(_ epoch: LeaderEpoch, _ state: State) -> MetadataLogError? {
    if state.hasFailed || state.isClosed { return MetadataLogError("the metadata log is closed") }
    let current = Self.epoch(state)
    if epoch == .unknown || epoch == current { return nil }
    return MetadataLogError("the quorum is in epoch \(current)", code: epoch < current ? .fencedLeaderEpoch : .unknownLeaderEpoch)
  }

  // MARK: - Waiting

  /// Calls `wake` once, on the background lane, when more than what lies below `known` is committed, or the log is closed or fails.
  ///
  /// - Returns: a name to cancel it by.
  package func awaitCommitted(beyond known: Offset, _ wake: @escaping @Sendable () -> Void) -> UInt64 {
    let (id, isDue) = self.state.withLock { state in
      let id = state.nextCommittedWait
      state.nextCommittedWait += 1
      let isDue = Self.committedEnd(state) > known || state.hasFailed || state.isClosed
      if !isDue { state.committedWaits.append(CommittedWait(id: id, known: known, wake: wake)) }
      return (id, isDue)
    }
    if isDue { self.environment.submit(to: .background, wake) }
    return id
  }

  /// Forgets the wait. It may be waking just now.
  package func cancelCommittedWait(_ id: UInt64) {
    // Released after unlocking: it may be the last to hold a request.
    let wait = self.state.withLock { state in
      state.committedWaits.firstIndex { $0.id == id }.map { state.committedWaits.remove(at: $0) }
    }
    _ = wait
  }

  /// What is due goes out on the background lane, so that the quorum's work does not wait for that of its readers.
  ///
  /// - Parameter end: everything below is committed. Nil: nothing will be any more.
  func wakeReaders(below end: Offset? = nil, _ state: inout State, _ aftermath: inout Aftermath) {
    if state.committedWaits.isEmpty { return }
    func isDue(_ wait: CommittedWait) -> Bool { end.map { wait.known < $0 } ?? true }
    let due = state.committedWaits.filter(isDue)
    state.committedWaits.removeAll(where: isDue)
    for wait in due { aftermath.append { self.environment.submit(to: .background, wait.wake) } }
  }
}
