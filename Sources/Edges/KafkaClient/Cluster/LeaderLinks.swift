import Base
import NIOCore

/// What whoever works with partitions' leaders needs besides the requests themselves: connections that are made one at a time,
/// metadata that is asked for at a growing distance, and one timer. Belongs to the cluster client's event loop.
final class LeaderLinks: @unchecked Sendable {
  let cluster: ClusterClient
  /// Runs when there is something new to look at.
  var pump: () -> Void = {}
  /// What went wrong last, for whoever has waited in vain.
  var lastFailure: KafkaError?
  private(set) var isStopped = false
  /// Brokers to which a connection is being made.
  private var connecting: Set<Int32> = []
  private var metadataBackoff: Backoff
  private var isAskingForMetadata = false
  private var timer: Scheduled<Void>?

  init(_ cluster: ClusterClient) {
    self.cluster = cluster
    self.metadataBackoff = Backoff(base: cluster.configuration.retryBackoff, maximum: cluster.configuration.retryBackoffMax)
  }

  func stop() {
    self.isStopped = true
    self.disarm()
  }

  // MARK: The timer

  func disarm() {
    self.timer?.cancel()
    self.timer = nil
  }

  /// Looks again at `deadline`, or at once if that is over; nil leaves it to other events.
  func arm(_ deadline: Instant?) {
    // What was sent may have failed at once, and have looked and armed already.
    self.disarm()
    guard let deadline else { return }
    let wait = max(0, (deadline - MonotonicClock.now()).wholeNanoseconds)
    self.timer = self.cluster.eventLoop.scheduleTask(in: .nanoseconds(wait)) { self.pump() }
  }

  // MARK: Leaders

  /// A leader that is not among the brokers that the cluster names is as good as none: only newer metadata can tell where it is.
  func knows(_ leader: Int32) -> Bool { self.cluster.metadata.brokers[leader] != nil }

  func connect(to leader: Int32) {
    guard self.connecting.insert(leader).inserted else { return }
    self.cluster.connection(to: leader).whenComplete { result in
      self.connecting.remove(leader)
      if case .failure(let error) = result {
        self.lastFailure = KafkaError(wrapping: error)
        // It may have moved, or another may lead by now.
        self.askForMetadata()
      }
      self.pump()
    }
  }

  func askForMetadata() {
    guard !self.isAskingForMetadata, !self.isStopped else { return }
    self.isAskingForMetadata = true
    self.cluster.refreshMetadata().whenComplete { result in
      if case .failure(let error) = result { self.lastFailure = KafkaError(wrapping: error) }
      // The next question waits, so that a cluster without a leader is not asked in a circle.
      self.cluster.eventLoop.scheduleTask(in: self.cluster.delay(&self.metadataBackoff)) {
        self.isAskingForMetadata = false
        self.pump()
      }
    }
  }

  /// Metadata was of use: the next question may come soon again.
  func metadataHelped() { self.metadataBackoff.reset() }

  /// Takes the leader from a refusal that names it (KIP-951). True if that was news and the leader can be asked at once.
  func follow(leader: Int32, leaderEpoch: Int32, of partition: TopicPartition) -> Bool {
    leader >= 0 && self.knows(leader) && self.cluster.observe(leader: leader, leaderEpoch: leaderEpoch, of: partition)
  }
}
