import Base
import Model
import Peers
import Synchronization
import VirtualWorld
import Wire

/// Creates the topics of a run, and does what operators do while it goes on.
final class SimAdmin: Sendable {
  let client: SimClient
  let topics: [SimulationPlan.Topic]
  /// Topics that are not there yet.
  private let missing: Mutex<[String]>
  /// Topics that no client uses.
  let side = Mutex(Side())
  struct Side: Sendable {
    var made = 0
    var names: [String] = []
  }

  init(_ client: SimClient, _ topics: [SimulationPlan.Topic]) {
    self.client = client
    self.topics = topics
    self.missing = Mutex(topics.map(\.name))
  }

  var isReady: Bool { self.missing.withLock { $0.isEmpty } }

  func start() { self.create() }

  private func create() {
    let missing = self.missing.withLock { $0 }
    if missing.isEmpty { return }
    let request = CreateTopicsRequest(
      topics: self.topics.filter { missing.contains($0.name) }.map { topic in
        .init(
          name: topic.name, numPartitions: topic.partitionCount, replicationFactor: topic.replicationFactor,
          configs: [
            .init(name: "min.insync.replicas", value: "\(topic.minInSyncReplicas)"),
            .init(name: "flush.policy", value: topic.flushPolicy),
            .init(name: "segment.bytes", value: "\(topic.segmentBytes)"),
            .init(name: "retention.ms", value: "-1"),
            .init(name: "unclean.leader.election.enable", value: "\(topic.isUnclean)"),
          ])
      }, timeoutMs: 1_000)
    self.client.anyPeer().call(request, timeout: .seconds(2)) { result in
      if case .success(let response) = result {
        for topic in response.topics {
          switch topic.errorCode {
          case .none, .topicAlreadyExists:
            self.client.board.count(.topicCreated)
            self.missing.withLock { $0.removeAll { $0 == topic.name } }
          // Not enough nodes have come up yet, or the one that was asked has no controller to ask.
          case .invalidReplicationFactor, .notController, .requestTimedOut, .kafkaStorageError, .brokerNotAvailable: break
          default: self.client.board.violate(.process, "topic \(topic.name) is refused: \(topic.errorCode) \(topic.errorMessage ?? "")")
          }
        }
      }
      _ = self.client.environment.schedule(after: .milliseconds(self.client.random(20...150))) { self.create() }
    }
  }
}
