import Environment
import LogCore
import Model
import Replication
import Storage
import Synchronization

// What keeps a partition's log in shape: deletion, checkpoints, closing.
extension Partition {
  /// Moves the log start to `offset`, -1 for the high watermark; returns where it is now. The other replicas follow: see
  /// `awaitLowWatermark`.
  func deleteRecords(before offset: Int64, clientID: String?) -> Result<Offset, ErrorCode.Refusal> {
    var hasMoved = false
    let result: Result<Offset, ErrorCode.Refusal> = self.step { state, effects in
      if let resignation = state.leader.resignation { return .failure(.init(code: resignation)) }
      let target = offset == -1 ? state.leader.highWatermark : Offset(offset)
      guard target >= .zero, target <= state.leader.highWatermark else { return .failure(.init(code: .offsetOutOfRange)) }
      do throws(StorageError) {
        hasMoved = target > state.log.logStartOffset
        try state.log.advanceLogStart(to: target)
        self.noteLogStart(&state, &effects)
        return .success(state.log.logStartOffset)
      } catch {
        return .failure(.init(code: error.errorCode))
      }
    }
    if hasMoved, case .success(let start) = result {
      self.events.record(.recordsDeleted(self.topicPartition, logStartOffset: start, cause: .deleteRecords(clientID: clientID)))
    }
    return result
  }

  private func noteLogStart(_ state: inout State, _ effects: inout Effects) {
    let offset = state.log.logStartOffset
    if state.follower != nil {
      self.handle(Follower.Input.logStartAdvanced(to: offset), &state, &effects)
    } else {
      self.handle(Machine.Input.logStartAdvanced(to: offset), &state, &effects)
    }
  }

  /// Where the log starts on every live replica.
  var lowWatermark: Offset { self.state.withLock { $0.leader.lowWatermark } }

  func awaitLowWatermark(_ waiter: Waiter<Env>, _ offset: Offset) {
    self.step { state, effects in self.handle(Machine.Input.awaitLowWatermark(waiter, offset: offset), &state, &effects) }
  }

  func cancelLowWatermark(_ waiter: Waiter<Env>) {
    self.step { state, effects in self.handle(Machine.Input.cancelLowWatermark(waiter), &state, &effects) }
  }

  /// Takes segments that retention no longer keeps out of the log. Blocks, without the partition's lock: on the background lane.
  func applyRetention(now: Timestamp) throws(StorageError) -> SegmentRemoval<Env.Disk>? {
    let ticket = try self.state.withLock { state throws(StorageError) in
      state.isInService ? try state.log.beginRetention(highWatermark: state.highWatermark, now: now) : nil
    }
    guard let ticket else { return nil }
    let isCheckpointed: Bool
    do throws(DiskError) { isCheckpointed = try ticket.run() } catch {
      if self.isDeleted { return nil }
      self.failIfUnsynced(error)
      throw .disk(error)
    }
    let outcome: Result<SegmentRemoval<Env.Disk>?, StorageError> = self.step { state, effects in
      do throws(StorageError) {
        let removal = try state.log.completeRetention(ticket, isCheckpointed: isCheckpointed)
        self.noteLogStart(&state, &effects)
        // Under the lock, as a deletion is: files are renamed by their paths, and a topic that is made anew has the same ones.
        do throws(DiskError) { try removal?.mark() } catch { throw .disk(error) }
        return .success(removal)
      } catch {
        return .failure(error)
      }
    }
    guard let removal = try outcome.get() else { return nil }
    let start = self.state.withLock { $0.log.logStartOffset }
    self.events.record(.recordsDeleted(self.topicPartition, logStartOffset: start, cause: .retention))
    return removal
  }

  /// Moves the recovery point forward. Blocks: on the background lane.
  func checkpoint() throws(StorageError) {
    let ticket = try self.state.withLock { state throws(StorageError) in
      state.log.state == .online ? try state.log.beginCheckpoint() : nil
    }
    guard let ticket else { return }
    do throws(DiskError) { try ticket.run() } catch {
      self.state.withLock { $0.log.completeCheckpoint(ticket, failed: true) }
      // Its directory went while it was written to.
      if self.isDeleted { return }
      self.failIfUnsynced(error)
      throw .disk(error)
    }
    self.state.withLock { $0.log.completeCheckpoint(ticket) }
  }

  /// A checkpoint that could not be written is tried again. Where a sync of it failed, another would return without having done it.
  private func failIfUnsynced(_ error: DiskError) {
    if self.state.withLock({ $0.log.hasFailedSync }) { self.fail(.disk(error)) }
  }

  var hasUnflushedRecords: Bool { self.state.withLock { $0.log.flushedOffset < $0.log.logEndOffset } }

  var highWatermark: Offset { self.state.withLock { $0.highWatermark } }

  /// Forgets idempotent producers that were silent for long. On the background lane.
  func expireProducers(now: Timestamp) { self.state.withLock { state in _ = state.log.expireProducers(now: now) } }

  /// What the log repaired while it was read.
  func takeNotices() -> [StorageNotice] { self.state.withLock { $0.log.takeNotices() } }

  /// Ends the partition's service and removes its log. The directory is renamed when this returns. Blocks, without the partition's lock.
  func delete(id: KafkaUUID) throws(StorageError) -> DirectoryRemoval<Env.Disk> {
    self.resign(.unknownTopicOrPartition)
    let removal = try self.state.withLock { state throws(StorageError) in try state.log.delete(id: id) }
    if let error = try removal.mark() {
      self.events.record(.backgroundWorkFailed(what: "forgetting the checkpoints of \(self.topicPartition)", cause: error))
    }
    return removal
  }

  private var isDeleted: Bool { self.state.withLock { $0.log.state == .deleted } }

  /// Closes the log so that the next start need not check it. Blocks; the partition is of no use afterwards.
  func close() throws(StorageError) {
    self.resign(.notLeaderOrFollower)
    try self.state.withLock { state throws(StorageError) in
      if state.log.state == .online { try state.log.closeCleanly() }
    }
  }

  /// Whether the log was taken out of service by its disk.
  var hasFailed: Bool { self.state.withLock { $0.hasFailed } }
}
