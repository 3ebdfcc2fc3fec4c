import Base
import Metadata
import Model
import Peers
import Synchronization
import VirtualWorld
import Wire

// What operators do. Whatever the state of the cluster, each request is asked once: it may fail, as long as it says so.
extension SimAdmin {
  /// Gives a partition of the clients' topics other replicas, or cancels what is under way. Returns one of the new replicas.
  func reassign(_ choice: UInt64, among nodes: [NodeID]) -> NodeID? {
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
    return isCancelled ? nil : replicas.randomElement(using: &generator).map { NodeID($0) }
  }

  // MARK: - Voters

  /// Takes a vote away, or gives one to a node that has none: whichever the leader of the quorum names.
  func changeVoters(_ choice: UInt64) {
    let request = DescribeQuorumRequest(topics: [.init(topicName: TopicName.clusterMetadata, partitions: [.init(partitionIndex: 0)])])
    self.ask(request) { response in
      guard response.errorCode == .none, let quorum = response.topics.first?.partitions.first, quorum.errorCode == .none else { return }
      func node(_ replicas: [DescribeQuorumResponse.ReplicaState]) -> DescribeQuorumResponse.ReplicaState? {
        replicas.isEmpty ? nil : replicas[Int(choice >> 8 % UInt64(replicas.count))]
      }
      // Observers that are gone are still named for a while.
      if let observer = node(quorum.observers), choice % 3 != 0 || quorum.currentVoters.count == 1 {
        self.addVoter(NodeID(observer.replicaId), observer.replicaDirectoryId)
      } else if quorum.currentVoters.count > 1, let voter = node(quorum.currentVoters) {
        self.removeVoter(NodeID(voter.replicaId), voter.replicaDirectoryId)
      }
    }
  }

  private func addVoter(_ node: NodeID, _ directory: KafkaUUID) {
    self.client.board.record(.note("gives node \(node) a vote"), self.client.subject)
    let request = AddRaftVoterRequest(
      clusterId: nil, timeoutMs: 2_000, voterId: node.rawValue, voterDirectoryId: directory,
      listeners: [.init(name: "CONTROLLER", host: NodeSettings.host(node), port: NodeSettings.controllerPort)])
    self.ask(request) { self.expect($0.errorCode, "a vote for node \(node)", .voterChange) }
  }

  private func removeVoter(_ node: NodeID, _ directory: KafkaUUID) {
    self.client.board.record(.note("takes the vote of node \(node)"), self.client.subject)
    let request = RemoveRaftVoterRequest(clusterId: nil, voterId: node.rawValue, voterDirectoryId: directory)
    self.ask(request) { self.expect($0.errorCode, "the end of node \(node)'s vote", .voterChange) }
  }

  // MARK: - Topics

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
