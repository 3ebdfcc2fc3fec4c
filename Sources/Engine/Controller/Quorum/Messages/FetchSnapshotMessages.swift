import Model
import NIOCore
import Raft
import Wire

extension Wire.FetchSnapshotRequest {
  init(_ request: Raft.FetchSnapshotRequest) {
    self.init()
    self.clusterId = request.clusterID
    self.replicaId = request.replica.node.rawValue
    self.maxBytes = request.bytesMax
    self.topics = [
      .init(
        name: QuorumTopic.name,
        partitions: [
          .init(
            partition: QuorumTopic.partition, currentLeaderEpoch: request.term.rawValue,
            snapshotId: .init(endOffset: request.snapshot.index.rawValue, epoch: request.snapshot.term.rawValue),
            position: request.position, replicaDirectoryId: request.replica.directory)
        ])
    ]
  }

  func decoded() throws(QuorumMessageError) -> Raft.FetchSnapshotRequest {
    guard self.topics.count == 1, self.topics[0].name == QuorumTopic.name, self.topics[0].partitions.count == 1,
      self.topics[0].partitions[0].partition == QuorumTopic.partition
    else { throw .otherTopic }
    let partition = self.topics[0].partitions[0]
    return Raft.FetchSnapshotRequest(
      clusterID: self.clusterId, replica: ReplicaKey(NodeID(self.replicaId), partition.replicaDirectoryId),
      term: Term(partition.currentLeaderEpoch),
      snapshot: LogEnd(epoch: partition.snapshotId.epoch, offset: partition.snapshotId.endOffset), position: partition.position,
      bytesMax: self.maxBytes)
  }
}

extension FetchSnapshotResponse {
  /// - Parameter bytes: what the answer's range was read as.
  init(_ answer: OutgoingAnswer, bytes: ByteBuffer?) {
    self.init(errorCode: answer.status.topLevelError)
    if answer.status.isTopLevel { return }
    var partition = PartitionSnapshot(index: QuorumTopic.partition, errorCode: answer.status.partitionError)
    partition.currentLeader = .init(leaderId: answer.status.leaderField, leaderEpoch: answer.status.termField)
    partition.unalignedRecords = .bytes(bytes ?? ByteBuffer())
    if case .fetchSnapshot(let range) = answer.body {
      partition.snapshotId = .init(endOffset: range.snapshot.id.index.rawValue, epoch: range.snapshot.id.term.rawValue)
      partition.size = range.snapshot.byteCount
      partition.position = range.position
    }
    self.topics = [.init(name: QuorumTopic.name, partitions: [partition])]
    if let leader = answer.status.leader, let address = answer.status.leaderAddress {
      self.nodeEndpoints = [.init(nodeId: leader.rawValue, host: address.host, port: address.port)]
    }
  }

  /// - Parameter keep: takes the chunk's bytes and names them.
  func decoded(keep: (ByteBuffer) -> PayloadID) throws(QuorumMessageError) -> IncomingAnswer {
    if self.errorCode != .none { return IncomingAnswer(QuorumStatus(error: self.errorCode, term: .zero)) }
    guard self.topics.count == 1, self.topics[0].name == QuorumTopic.name, let partition = self.topics[0].partitions.first else {
      throw .otherTopic
    }
    let endpoint = self.nodeEndpoints.first { $0.nodeId == partition.currentLeader.leaderId }
    let status = QuorumStatus(
      partition.errorCode, leader: partition.currentLeader.leaderId, epoch: partition.currentLeader.leaderEpoch,
      endpoint.map { Address(host: $0.host, port: $0.port) })
    if status.error != .none { return IncomingAnswer(status) }
    guard case .bytes(let bytes) = partition.unalignedRecords else { throw QuorumMessageError("a chunk of a snapshot has no bytes") }
    let info = SnapshotInfo(
      id: LogEnd(epoch: partition.snapshotId.epoch, offset: partition.snapshotId.endOffset), byteCount: partition.size)
    return IncomingAnswer(
      status,
      .fetchSnapshot(
        SnapshotChunk(snapshot: info, position: partition.position, byteCount: Int64(bytes.readableBytes), payload: keep(bytes))))
  }
}
