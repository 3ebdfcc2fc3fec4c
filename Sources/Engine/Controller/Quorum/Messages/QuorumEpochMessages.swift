import Model
import Raft
import Wire

extension BeginQuorumEpochRequest {
  init(_ request: BeginQuorumRequest) {
    self.init()
    self.clusterId = request.clusterID
    self.voterId = request.voter?.node.rawValue ?? -1
    self.topics = [
      .init(
        topicName: QuorumTopic.name,
        partitions: [
          .init(
            partitionIndex: QuorumTopic.partition, voterDirectoryId: request.voter?.directory ?? .zero,
            leaderId: request.leader.rawValue, leaderEpoch: request.term.rawValue)
        ])
    ]
    self.leaderEndpoints = request.endpoints.map { .init(name: $0.listener, host: $0.address.host, port: $0.address.port) }
  }

  func decoded() throws(QuorumMessageError) -> BeginQuorumRequest {
    guard self.topics.count == 1, self.topics[0].topicName == QuorumTopic.name, self.topics[0].partitions.count == 1,
      self.topics[0].partitions[0].partitionIndex == QuorumTopic.partition
    else { throw .otherTopic }
    let partition = self.topics[0].partitions[0]
    return BeginQuorumRequest(
      clusterID: self.clusterId, voter: ReplicaKey(field: self.voterId, partition.voterDirectoryId), term: Term(partition.leaderEpoch),
      leader: NodeID(partition.leaderId),
      endpoints: self.leaderEndpoints.map { Endpoint(listener: $0.name, address: Address(host: $0.host, port: $0.port)) })
  }
}

extension BeginQuorumEpochResponse {
  init(_ answer: OutgoingAnswer) {
    self.init(errorCode: answer.status.topLevelError)
    if answer.status.isTopLevel { return }
    self.topics = [
      .init(
        topicName: QuorumTopic.name,
        partitions: [
          .init(
            partitionIndex: QuorumTopic.partition, errorCode: answer.status.partitionError, leaderId: answer.status.leaderField,
            leaderEpoch: answer.status.termField)
        ])
    ]
    if let leader = answer.status.leader, let address = answer.status.leaderAddress {
      self.nodeEndpoints = [.init(nodeId: leader.rawValue, host: address.host, port: address.port)]
    }
  }

  func decoded() throws(QuorumMessageError) -> IncomingAnswer {
    if self.errorCode != .none { return IncomingAnswer(QuorumStatus(error: self.errorCode, term: .zero)) }
    guard let partition = self.topics.first?.partitions.first, self.topics[0].topicName == QuorumTopic.name else { throw .otherTopic }
    let endpoint = self.nodeEndpoints.first { $0.nodeId == partition.leaderId }.map { Address(host: $0.host, port: $0.port) }
    return IncomingAnswer(QuorumStatus(partition.errorCode, leader: partition.leaderId, epoch: partition.leaderEpoch, endpoint))
  }
}

extension EndQuorumEpochRequest {
  init(_ request: EndQuorumRequest) {
    self.init()
    self.clusterId = request.clusterID
    self.topics = [
      .init(
        topicName: QuorumTopic.name,
        partitions: [
          .init(
            partitionIndex: QuorumTopic.partition, leaderId: request.leader.rawValue, leaderEpoch: request.term.rawValue,
            preferredSuccessors: request.successors.map { $0.node.rawValue },
            preferredCandidates: request.successors.map {
              .init(candidateId: $0.node.rawValue, candidateDirectoryId: $0.directory)
            })
        ])
    ]
    self.leaderEndpoints = request.endpoints.map { .init(name: $0.listener, host: $0.address.host, port: $0.address.port) }
  }

  func decoded() throws(QuorumMessageError) -> EndQuorumRequest {
    guard self.topics.count == 1, self.topics[0].topicName == QuorumTopic.name, self.topics[0].partitions.count == 1,
      self.topics[0].partitions[0].partitionIndex == QuorumTopic.partition
    else { throw .otherTopic }
    let partition = self.topics[0].partitions[0]
    // Version 0 names nodes, version 1 replicas; only one of the two is filled.
    let candidates = partition.preferredCandidates.map { ReplicaKey(NodeID($0.candidateId), $0.candidateDirectoryId) }
    let successors = candidates.isEmpty ? partition.preferredSuccessors.map { ReplicaKey(NodeID($0)) } : candidates
    return EndQuorumRequest(
      clusterID: self.clusterId, term: Term(partition.leaderEpoch), leader: NodeID(partition.leaderId), successors: successors,
      endpoints: self.leaderEndpoints.map { Endpoint(listener: $0.name, address: Address(host: $0.host, port: $0.port)) })
  }
}

extension EndQuorumEpochResponse {
  init(_ answer: OutgoingAnswer) {
    self.init(errorCode: answer.status.topLevelError)
    if answer.status.isTopLevel { return }
    self.topics = [
      .init(
        topicName: QuorumTopic.name,
        partitions: [
          .init(
            partitionIndex: QuorumTopic.partition, errorCode: answer.status.partitionError, leaderId: answer.status.leaderField,
            leaderEpoch: answer.status.termField)
        ])
    ]
    if let leader = answer.status.leader, let address = answer.status.leaderAddress {
      self.nodeEndpoints = [.init(nodeId: leader.rawValue, host: address.host, port: address.port)]
    }
  }

  func decoded() throws(QuorumMessageError) -> IncomingAnswer {
    if self.errorCode != .none { return IncomingAnswer(QuorumStatus(error: self.errorCode, term: .zero)) }
    guard let partition = self.topics.first?.partitions.first, self.topics[0].topicName == QuorumTopic.name else { throw .otherTopic }
    let endpoint = self.nodeEndpoints.first { $0.nodeId == partition.leaderId }.map { Address(host: $0.host, port: $0.port) }
    return IncomingAnswer(QuorumStatus(partition.errorCode, leader: partition.leaderId, epoch: partition.leaderEpoch, endpoint))
  }
}
