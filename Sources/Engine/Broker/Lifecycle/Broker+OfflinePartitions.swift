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

// Partitions that could not be opened because the disk refused: no descriptor was left, there was no room or no permission. They are tried
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

  /// Tries once. What fails as before is not said again. A recovery may take long, so that changes of the metadata go on meanwhile.
  private func reopen(_ topicID: KafkaUUID, _ id: PartitionID) {
    let begun = self.changing.withLock { _ -> (hosted: HostedTopic<Env>, image: PartitionImage, metadata: MetadataImage)? in
      let catalog = self.catalog
      guard let hosted = catalog.topic(.id(topicID)), let image = catalog.image.topic(topicID)?[id],
        hosted.retriablePartitions.contains(id)
      else { return nil }
      self.reopening.withLock { $0 = TopicPartition(hosted.name, id) }
      return (hosted, image, catalog.image)
    }
    guard let begun else { return }
    let name = TopicPartition(begun.hosted.name, id)
    let result = Result { () throws(StorageError) in
      try self.createLog(name, topicID, begun.image, begun.metadata, begun.hosted.config)
    }
    self.changing.withLock { _ in
      self.reopening.withLock { $0 = nil }
      self.publishReopened(name, topicID, result, begun.hosted.config)
    }
  }

  /// Puts a partition that was opened in its place, if there is still one for it.
  private func publishReopened(
    _ name: TopicPartition, _ topicID: KafkaUUID, _ result: Result<Partition<Env>, StorageError>, _ config: TopicConfig
  ) {
    let (catalog, id) = (self.catalog, name.partition)
    guard let hosted = catalog.topic(.id(topicID)), let image = catalog.image.topic(topicID)?[id], hosted.retriablePartitions.contains(id)
    else {
      // The topic was deleted meanwhile.
      if case .success(let partition) = result { return self.delete(partition) }
      return self.deleteUnopened(name, topicID, config)
    }
    let slot: HostedTopic<Env>.Slot
    switch result {
    case .success(let partition):
      // As the metadata is now.
      if hosted.config != config { partition.configure(self.settings(hosted.config)) }
      partition.apply(image) { self.standings(of: image, catalog.image) }
      self.tellStandings(of: image.assignedReplicas, catalog.image, [partition])
      slot = .hosted(partition)
    case .failure(let error):
      if error.canPass { return }
      self.events.record(.partitionOffline(name, cause: error))
      slot = .offline(canPass: false)
    }
    self.publish(catalog.updated(image: catalog.image, removing: [], adding: [hosted.replacing(id, with: slot)]))
    if case .hosted = slot { self.events.record(.partitionBackOnline(name)) }
  }
}
