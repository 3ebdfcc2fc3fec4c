import Base
import Model
import Peers
import Synchronization
import VirtualWorld
import Wire

// What operators do. Whatever the state of the cluster, each request is asked once: it may fail, as long as it says so.
extension SimAdmin {
  /// Gives a partition of the clients' topics other replicas, or cancels what is under way.
  func reassign(_ choice: UInt64, among nodes: [NodeID]) {
    let topic = self.topics[Int(choice % UInt64(self.topics.count))]
    let partition = Int32(choice >> 8 % UInt64(topic.partitionCount))
    var generator = SeededGenerator(seed: choice)
    let isCancelled = choice >> 16 % 6 == 0
    let replicas = Array(nodes.shuffled(using: &generator).prefix(Int(topic.replicationFactor))).map(\.rawValue)
    let request = AlterPartitionReassignmentsRequest(
      timeoutMs: 2_000,
      topics: [.init(name: topic.name, partitions: [.init(partitionIndex: partition, replicas: isCancelled ? nil : replicas)])])
    self.client.board.count(.reassignment)
    let target = isCancelled ? "what it was on" : "\(replicas)"
    self.client.board.record(.note("\(topic.name)-\(partition) is to be on \(target)"), self.client.subject)
    self.ask(request) { response in
      self.expect(response.errorCode, "a reassignment")
      for topic in response.responses { for answer in topic.partitions { self.expect(answer.errorCode, "a reassignment") } }
    }
  }

  func electPreferred() {
    self.ask(ElectLeadersRequest(electionType: 0, topicPartitions: nil, timeoutMs: 2_000)) { response in
      self.expect(response.errorCode, "an election")
    }
  }

  /// Creates a topic, lets one grow, or deletes one.
  func changeTopics(_ choice: UInt64) {
    let (name, what) = self.side.withLock { side -> (String, UInt64) in
      let what = side.names.isEmpty ? 0 : choice % 3
      if what == 0 {
        side.made += 1
        side.names.append("side-\(side.made)")
        return (side.names.last!, what)
      }
      let index = Int(choice >> 8 % UInt64(side.names.count))
      return (what == 1 ? side.names[index] : side.names.remove(at: index), what)
    }
    let board = self.client.board
    switch what {
    case 0:
      let request = CreateTopicsRequest(
        topics: [.init(name: name, numPartitions: Int32(1 + choice >> 16 % 3), replicationFactor: self.topics[0].replicationFactor)],
        timeoutMs: 2_000)
      self.ask(request) { response in
        for topic in response.topics { self.expect(topic.errorCode, "the creation of \(name)", .topicCreated) }
      }
    case 1:
      let request = CreatePartitionsRequest(
        topics: [.init(name: name, count: Int32(3 + choice >> 16 % 4), assignments: nil)], timeoutMs: 2_000, validateOnly: false)
      self.ask(request) { response in
        for topic in response.results { self.expect(topic.errorCode, "more partitions of \(name)", .partitionsAdded) }
      }
    default:
      self.ask(DeleteTopicsRequest(topics: [.init(name: name)], topicNames: [name], timeoutMs: 2_000)) { response in
        for topic in response.responses { self.expect(topic.errorCode, "the deletion of \(name)", .topicDeleted) }
      }
    }
    board.record(.note("\(["creates", "lets grow", "deletes"][Int(what)]) \(name)"), self.client.subject)
  }

  private func ask<Request: ApiRequest>(_ request: Request, _ body: @escaping @Sendable (Request.Response) -> Void) {
    self.client.anyPeer().call(request, timeout: .seconds(4)) { result in
      if case .success(let response) = result { body(response) }
    }
  }

  /// - Parameter mark: counted where it was done.
  private func expect(_ error: ErrorCode, _ what: String, _ mark: Coverage.Mark? = nil) {
    switch error {
    case .none: if let mark { self.client.board.count(mark) }
    case .unknownServerError, .invalidRequest, .unsupportedVersion:
      self.client.board.violate(.process, "\(what) is refused: \(error)")
    default: self.client.board.record(.note("\(what) is refused: \(error)"), self.client.subject)
    }
  }
}
