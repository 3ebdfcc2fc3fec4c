import Base
import Environment
import Model
import Replication
import Storage
import Synchronization

// How a partition's records get to the disk.
extension Partition {
  func scheduleFlush(after interval: Duration, _ state: inout State) {
    if state.isFlushScheduled { return }
    state.isFlushScheduled = true
    _ = self.environment.schedule(after: interval) { [weak self] in
      guard let self else { return }
      let isNeeded = self.state.withLock { state in
        state.isFlushScheduled = false
        return state.log.state == .online && state.log.hasUnflushed
      }
      if isNeeded { self.surroundings.syncer.request(self) }
    }
  }

  /// A segment is full. Where nobody asks for flushes it is synced in the background, as in Kafka, and the recovery point moves behind it:
  /// a start after a crash reads what was appended since, not all that the process ever wrote.
  func segmentClosed(_ state: borrowing State) {
    if state.settings.leader.flushPolicy.durability == .written { self.surroundings.syncer.request(self, sealedOnly: true) }
  }

  /// Makes everything appended so far durable, or all but the active segment, and tells who waits for it. Blocks: on the sync lane of the
  /// log's directory.
  func flush(sealedOnly: Bool = false) {
    do throws(StorageError) {
      let ticket = try self.state.withLock { state throws(StorageError) in
        if !sealedOnly {
          var none = Effects()
          self.handle(Machine.Input.flushBegan, &state, &none)
          if state.follower != nil { self.handle(Follower.Input.flushBegan, &state, &none) }
        }
        // Closed or deleted since it was asked for: whoever did that has seen to what was appended.
        return state.log.state == .online ? try state.log.beginFlush(sealedOnly: sealedOnly) : nil
      }
      if sealedOnly, ticket == nil { return }
      do throws(DiskError) { try ticket?.run() } catch { throw StorageError.disk(error) }
      self.step { state, effects in
        state.isFlushDeferred = false
        if let ticket { state.log.completeFlush(ticket) }
        let offset = state.log.flushedOffset
        if state.follower != nil {
          self.handle(Follower.Input.flushed(upTo: offset), &state, &effects)
        } else {
          self.handle(Machine.Input.flushed(upTo: offset), &state, &effects)
        }
      }
      if sealedOnly { self.scheduleCheckpoint() }
    } catch {
      if error.isTransient { self.deferFlush(error) } else { self.fail(error) }
    }
  }

  /// The next checkpoint of the directory writes the point down; one that cannot be made is made by the next of all partitions.
  private func scheduleCheckpoint() {
    let isFirst = self.state.withLock { state in
      defer { state.isCheckpointScheduled = true }
      return !state.isCheckpointScheduled
    }
    guard isFirst else { return }
    self.environment.submit(to: .background) { [weak self] in
      guard let self else { return }
      self.state.withLock { $0.isCheckpointScheduled = false }
      do throws(StorageError) { try self.checkpoint() } catch {
        if !self.hasFailed { self.events.record(.backgroundWorkFailed(what: "the checkpoint of \(self.topicPartition)", cause: error)) }
      }
    }
  }

  /// How long a flush is put off that found no descriptor for its files. Whatever is appended meanwhile asks for one sooner.
  private static var flushRetryInterval: Duration { .milliseconds(500) }

  /// Nothing was synced and nothing is lost: whoever waits goes on waiting.
  private func deferFlush(_ cause: StorageError) {
    let (isNews, mustSchedule) = self.state.withLock { state in
      defer { (state.isFlushDeferred, state.isFlushRetryScheduled) = (true, true) }
      return (!state.isFlushDeferred, !state.isFlushRetryScheduled)
    }
    if isNews { self.events.record(.flushDeferred(self.topicPartition, cause: cause)) }
    // Every append meanwhile may ask for a flush and have it put off, so one timer stands for all.
    guard mustSchedule else { return }
    _ = self.environment.schedule(after: Self.flushRetryInterval) { [weak self] in
      guard let self else { return }
      let isNeeded = self.state.withLock { state in
        state.isFlushRetryScheduled = false
        return state.log.state == .online && state.log.hasUnflushed
      }
      if isNeeded { self.surroundings.syncer.request(self) }
    }
  }
}
