import Environment
import LogCore
import Metadata
import Model
import Storage
import Synchronization

/// When partitions that could not be opened are tried again.
final class OfflineRetries: Sendable {
  /// The first wait, and the longest: each is twice the one before.
  static let delayMin = Duration.seconds(1)
  static let delayMax = Duration.seconds(60)

  private struct State {
    var isScheduled = false
    var delay = OfflineRetries.delayMin
  }
  private let state = Mutex(State())

  /// The wait before the next try; nil if one is on its way already.
  func schedule() -> Duration? {
    self.state.withLock { state in
      if state.isScheduled { return nil }
      state.isScheduled = true
      defer { state.delay = min(state.delay * 2, Self.delayMax) }
      return state.delay
    }
  }

  /// A try has ended; `isDone`: nothing is left to try.
  func ended(isDone: Bool) {
    self.state.withLock { state in
      state.isScheduled = false
      if isDone { state.delay = Self.delayMin }
    }
  }
}

// Partitions that could not be opened because the disk refused: no descriptor was left, a directory could not be read. They are tried
// again, less and less often, as their records are there and their clients wait.
extension Broker {
  /// Sees to it that partitions that are offline for a reason that can pass are tried again.
  func retryOfflinePartitions() {
    if self.catalog.retriablePartitions.isEmpty { return }
    guard let delay = self.offlineRetries.schedule() else { return }
    self.background.after(delay) {
      for (topicID, partition) in self.catalog.retriablePartitions where !self.isShuttingDown { self.reopen(topicID, partition) }
      self.offlineRetries.ended(isDone: self.catalog.retriablePartitions.isEmpty)
      if !self.isShuttingDown { self.retryOfflinePartitions() }
    }
  }

  /// Tries once. What fails as before is not said again.
  private func reopen(_ topicID: KafkaUUID, _ id: PartitionID) {
    self.changing.withLock { _ in
      let catalog = self.catalog
      guard let hosted = catalog.topic(.id(topicID)), let image = catalog.image.topic(topicID)?[id],
        hosted.retriablePartitions.contains(id)
      else { return }
      let name = TopicPartition(hosted.name, id)
      let slot: HostedTopic<Env>.Slot
      do throws(StorageError) { slot = .hosted(try self.openOrCreate(name, topicID, image, hosted.config)) } catch {
        if error.canPass { return }
        self.events.record(.partitionOffline(name, cause: error))
        slot = .offline(canPass: false)
      }
      self.publish(catalog.updated(image: catalog.image, removing: [], adding: [hosted.replacing(id, with: slot)]))
      if case .hosted = slot { self.events.record(.partitionBackOnline(name)) }
    }
  }

  /// The partition's log if there is one, else a new one: it may have been the creation that failed.
  private func openOrCreate(
    _ name: TopicPartition, _ topicID: KafkaUUID, _ image: PartitionImage, _ config: TopicConfig
  ) throws(StorageError) -> Partition<Env> {
    do throws(StorageError) { return try self.createLog(name, topicID, image, config) } catch {
      guard case .alreadyExists(let path) = error else { throw error }
      if let stored = try self.logDirectory.topicID(of: name), stored != topicID { throw .alreadyExists(path: path) }
      return try self.loadLog(name, topicID, image, config)
    }
  }
}
