package import Environment
package import LogCore
package import Model
import Synchronization

/// Opens many partitions' logs on as many threads as call `work`, as at the start of a broker.
///
/// Each thread takes the next partition when it is done with one, so that a few large ones do not hold up the rest.
package final class PartitionLoader<Disk: DiskPort>: Sendable {
  package struct Outcome: Sendable {
    package let topicPartition: TopicPartition
    package let result: Result<(log: PartitionLog<Disk>, report: RecoveryReport), StorageError>
  }
  private struct State {
    var next = 0
    var outcomes: [Outcome] = []
  }
  private let store: LogDirectory<Disk>
  private let partitions: [TopicPartition]
  private let now: Timestamp
  private let config: @Sendable (TopicPartition) -> LogConfig
  private let state = Mutex(State())

  package init(
    store: LogDirectory<Disk>, partitions: [TopicPartition], now: Timestamp, config: @escaping @Sendable (TopicPartition) -> LogConfig
  ) {
    (self.store, self.partitions, self.now, self.config) = (store, partitions, now, config)
  }

  /// Opens logs until none is left to begin with. True if all are open when it returns, which is so for one caller only: the last.
  package func work() -> Bool {
    while true {
      let partition: TopicPartition? = self.state.withLock { state in
        guard state.next < self.partitions.count else { return nil }
        defer { state.next += 1 }
        return self.partitions[state.next]
      }
      guard let partition else { return false }
      let result = Result { () throws(StorageError) in
        try PartitionLog<Disk>.open(in: self.store, topicPartition: partition, config: self.config(partition), now: self.now)
      }
      let isLast = self.state.withLock { state in
        state.outcomes.append(Outcome(topicPartition: partition, result: result))
        return state.outcomes.count == self.partitions.count
      }
      if isLast { return true }
    }
  }

  /// What became of each partition, in the order of their names. Complete once a `work` returned true (or there is none to open).
  package func outcomes() -> [Outcome] {
    self.state.withLock { $0.outcomes }.sorted { $0.topicPartition < $1.topicPartition }
  }
}
