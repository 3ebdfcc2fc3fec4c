import Model
import Raft
import Wire

extension Wire.VoteRequest {
  init(_ request: Raft.VoteRequest) {
    self.init()
    self.clusterId = request.clusterID
    self.voterId = request.voter?.node.rawValue ?? -1
    self.topics = [
      .init(
        topicName: QuorumTopic.name,
        partitions: [
          .init(
            partitionIndex: QuorumTopic.partition, replicaEpoch: request.term.rawValue, replicaId: request.candidate.node.rawValue,
            replicaDirectoryId: request.candidate.directory, voterDirectoryId: request.voter?.directory ?? .zero,
            lastOffsetEpoch: request.logEnd.term.rawValue, lastOffset: request.logEnd.index.rawValue, preVote: request.isPreVote)
        ])
    ]
  }

  func decoded() throws(QuorumMessageError) -> Raft.VoteRequest {
    guard self.topics.count == 1, self.topics[0].topicName == QuorumTopic.name, self.topics[0].partitions.count == 1,
      self.topics[0].partitions[0].partitionIndex == QuorumTopic.partition
    else { throw .otherTopic }
    let partition = self.topics[0].partitions[0]
    return Raft.VoteRequest(
      clusterID: self.clusterId, voter: ReplicaKey(field: self.voterId, partition.voterDirectoryId), term: Term(partition.replicaEpoch),
      candidate: ReplicaKey(NodeID(partition.replicaId), partition.replicaDirectoryId),
      logEnd: LogEnd(epoch: partition.lastOffsetEpoch, offset: partition.lastOffset), isPreVote: partition.preVote)
  }
}

extension VoteResponse {
  init(_ answer: OutgoingAnswer) {
    self.init(errorCode: answer.status.topLevelError)
    if answer.status.isTopLevel { return }
    var isGranted = false
    if case .vote(let granted) = answer.body { isGranted = granted }
    self.topics = [
      .init(
        topicName: QuorumTopic.name,
        partitions: [
          .init(
            partitionIndex: QuorumTopic.partition, errorCode: answer.status.partitionError, leaderId: answer.status.leaderField,
            leaderEpoch: answer.status.termField, voteGranted: isGranted)
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
    return IncomingAnswer(
      QuorumStatus(partition.errorCode, leader: partition.leaderId, epoch: partition.leaderEpoch, endpoint),
      .vote(isGranted: partition.voteGranted))
  }
}
