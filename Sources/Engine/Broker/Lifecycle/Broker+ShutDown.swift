import Base
import Controller
import Environment
import Model
import Storage

extension Broker {
  /// Ends the service: answers who waits, puts everything on disk and marks the directory as closed cleanly. `done` is called once,
  /// from any thread, when the process may end. Requests that come during it are answered as far as they can be.
  package func shutDown(_ done: @escaping @Sendable () -> Void) {
    guard self.beginShutdown() else { return done() }
    let began = self.environment.now()
    self.events.record(.shutdownBegan)
    self.background.stop()
    self.fetchers.close()
    // Behind the background work and the flush that may be running, so that they do not meet in one log.
    self.environment.submit(to: .background) { self.environment.submit(to: .sync(logDirectory: 0)) { self.closeLogs(began, done) } }
  }

  private func closeLogs(_ began: Instant, _ done: @escaping @Sendable () -> Void) {
    let catalog = self.catalog
    let partitions = catalog.hostedPartitions
    // What waits for the disk gets its acknowledgement; what waits for anything else is told to go on elsewhere.
    // A partition without unflushed records has nobody waiting, and is synced with all others when the directory is closed.
    for partition in partitions where partition.hasUnflushedRecords { partition.flush() }
    // The mark says that no log needs a check, and would be taken at its word for those that were never opened.
    var isClean = !catalog.hasOfflinePartitions
    for partition in partitions {
      let highWatermark = partition.highWatermark
      do throws(StorageError) {
        try partition.close()
        self.logDirectory.noteHighWatermark(highWatermark, of: partition.topicPartition)
      } catch {
        isClean = false
        self.events.record(.partitionOffline(partition.topicPartition, cause: error))
      }
      isClean = isClean && !partition.hasFailed
    }
    self.controller.close { [isClean] error in
      if let error { self.events.record(.metadataCloseFailed(error)) }
      self.closeDirectory(isClean: isClean && error == nil)
      self.events.record(.shutdownEnded(took: self.environment.now() - began))
      done()
    }
  }

  private func closeDirectory(isClean: Bool) {
    // Without the mark the next start checks what may be torn.
    guard isClean else { return self.logDirectory.unlock() }
    do throws(StorageError) { try self.logDirectory.closeCleanly(brokerEpoch: self.brokerEpoch) } catch {
      self.events.record(.checkpointFailed(logDirectory: self.logDirectory.path, cause: error))
      self.logDirectory.unlock()
    }
  }
}
