import Base
import Controller
import Environment
import Metadata
import Model
import Replication
import Storage
import Synchronization

extension Broker {
  /// Ends the service: others lead what this broker led, while it still serves; another controller leads the quorum; who waits is answered,
  /// everything put on disk and the directory marked as closed cleanly. `done` is called once, from any thread, when the process may end.
  /// Requests that come during it are answered as far as they can be.
  package func shutDown(_ done: @escaping @Sendable () -> Void) {
    guard self.departure.withLock({ $0.begin() }) else { return done() }
    let began = self.environment.now()
    self.events.record(.shutdownBegan)
    self.leaveCluster { self.finishHandover { self.leaveQuorum { self.close(began, done) } } }
  }

  /// Hands the leaderships over where there is somebody to take them.
  private func leaveCluster(_ next: @escaping @Sendable () -> Void) {
    switch self.membership.phase {
    case .idle, .left, .failed: return next()
    case .registering, .catchingUp, .loading, .fenced, .unfenced, .leaving: break
    }
    let others = self.controller.image.brokers.contains { $0.nodeID != self.config.nodeID && $0.isActive }
    let isControlled = others && self.config.cluster.controlledShutdown
    self.departure.withLock { $0.next = next }
    if !isControlled { return self.membership.tell(.shutDown(isControlled: false)) }
    self.beginHandover { self.membership.tell(.shutDown(isControlled: true)) }
  }

  func hasLeft(_ leaving: BrokerLeaving) {
    self.events.record(.leftCluster(leaving))
    let next = self.departure.withLock { departure in
      defer { departure.next = nil }
      return departure.next
    }
    next?()
  }

  /// Hands the quorum over, in so far as there are other voters.
  private func leaveQuorum(_ next: @escaping @Sendable () -> Void) {
    let once = FirstOutcome<Void, Env.Timer>(next)
    once.setTimer(self.environment.schedule(after: self.config.cluster.requestTimeout * 2) { once.end(()) })
    self.controller.handOver { once.end(()) }
  }

  private func close(_ began: Instant, _ done: @escaping @Sendable () -> Void) {
    _ = self.beginShutdown()
    let isUnderWay = self.loading.withLock { loading in
      guard case .underWay(var waiting) = loading else { return false }
      waiting.append { self.closeAll(began, done) }
      loading = .underWay(whenDone: waiting)
      return true
    }
    if !isUnderWay { self.closeAll(began, done) }
  }

  private func closeAll(_ began: Instant, _ done: @escaping @Sendable () -> Void) {
    self.channel.close()
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
    let isLoaded = self.loading.withLock { if case .done = $0 { true } else { false } }
    var isClean = !catalog.hasOfflinePartitions && (isLoaded || !self.config.cluster.isBroker)
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

/// The end of a broker, which comes once.
struct Departure: Sendable {
  private var hasBegun = false
  /// What comes when the broker has left its cluster.
  var next: (@Sendable () -> Void)?

  /// Whether this was the first to ask for it.
  mutating func begin() -> Bool {
    defer { self.hasBegun = true }
    return !self.hasBegun
  }
}
