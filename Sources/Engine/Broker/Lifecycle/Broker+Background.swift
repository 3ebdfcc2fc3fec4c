import Environment
import Metadata
import Model
import Storage

// What the broker does by itself while it serves.
extension Broker {
  func startBackgroundWork() {
    self.retryOfflinePartitions()
    self.background.every(self.config.retentionCheckInterval) { self.applyRetention() }
    self.background.every(self.config.highWatermarkCheckpointInterval) { self.writeCheckpoints() }
    self.background.every(self.config.recoveryPointCheckpointInterval) { self.moveRecoveryPoints() }
    self.background.every(self.config.logStartOffsetCheckpointInterval) { self.writeCheckpoints() }
    self.background.every(self.config.producerIDExpirationCheckInterval) {
      let now = self.environment.wallClock()
      for partition in self.catalog.hostedPartitions { partition.expireProducers(now: now) }
    }
  }

  func applyRetention() {
    for partition in self.catalog.hostedPartitions {
      if self.isShuttingDown { return }
      do throws(StorageError) {
        if let removal = try partition.applyRetention(now: self.environment.wallClock()) { self.remove(removal) }
      } catch {
        self.events.record(.backgroundWorkFailed(what: "retention of \(partition.topicPartition)", cause: error))
      }
      for notice in partition.takeNotices() { self.events.record(.storageNotice(notice)) }
    }
  }

  /// Deletes the renamed files of removed segments when no reader can need them any more.
  private func remove(_ removal: SegmentRemoval<Env.Disk>) {
    self.background.after(removal.delay) {
      do throws(DiskError) { try removal.remove() } catch {
        self.events.record(.backgroundWorkFailed(what: "removing old segments", cause: .disk(error)))
      }
    }
  }

  func moveRecoveryPoints() {
    for partition in self.catalog.hostedPartitions {
      if self.isShuttingDown { return }
      do throws(StorageError) { try partition.checkpoint() } catch {
        if !partition.hasFailed {
          self.events.record(.backgroundWorkFailed(what: "the checkpoint of \(partition.topicPartition)", cause: error))
        }
      }
    }
    self.writeCheckpoints()
  }

  /// Writes the directory's checkpoint files: high watermarks, log starts, recovery points, as far as they changed.
  func writeCheckpoints() {
    for partition in self.catalog.hostedPartitions {
      self.logDirectory.noteHighWatermark(partition.highWatermark, of: partition.topicPartition)
    }
    do throws(StorageError) { try self.logDirectory.writeCheckpoints() } catch {
      self.events.record(.checkpointFailed(logDirectory: self.logDirectory.path, cause: error))
    }
  }

  /// Removes directories of deleted partitions after their delay.
  func remove(_ removal: DirectoryRemoval<Env.Disk>) {
    self.background.after(removal.delay) {
      do throws(DiskError) { try removal.run() } catch {
        self.events.record(.backgroundWorkFailed(what: "removing \(removal.path)", cause: .disk(error)))
      }
    }
  }
}
