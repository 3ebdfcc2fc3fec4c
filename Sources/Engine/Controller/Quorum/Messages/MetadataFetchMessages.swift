import Base
import Model
import NIOCore
import Raft
import Wire

extension Wire.FetchRequest {
  init(_ request: Raft.FetchRequest) {
    self.init()
    self.clusterId = request.clusterID
    self.replicaId = request.replica.node.rawValue
    self.replicaState = .init(replicaId: request.replica.node.rawValue, replicaEpoch: -1)
    self.maxWaitMs = Int32(clamping: request.waitMax.wholeMilliseconds)
    self.minBytes = 0
    self.maxBytes = request.bytesMax
    self.sessionEpoch = -1
    self.topics = [
      .init(
        topic: QuorumTopic.name, topicId: QuorumTopic.id,
        partitions: [
          .init(
            partition: QuorumTopic.partition, currentLeaderEpoch: request.term.rawValue, fetchOffset: request.position.index.rawValue,
            lastFetchedEpoch: request.position.term.rawValue, logStartOffset: 0, partitionMaxBytes: request.bytesMax,
            replicaDirectoryId: request.replica.directory, highWatermark: request.highWatermark?.rawValue ?? .max)
        ])
    ]
  }

  /// Whether it asks for the metadata log, and so is a matter of the quorum.
  package var concernsMetadataLog: Bool {
    self.topics.contains { $0.topic == QuorumTopic.name || $0.topicId == QuorumTopic.id }
  }

  func decoded(version: Int16) throws(QuorumMessageError) -> Raft.FetchRequest {
    guard self.topics.count == 1, self.topics[0].topic == QuorumTopic.name || self.topics[0].topicId == QuorumTopic.id,
      self.topics[0].partitions.count == 1, self.topics[0].partitions[0].partition == QuorumTopic.partition
    else { throw .otherTopic }
    let partition = self.topics[0].partitions[0]
    let node = version >= 15 ? self.replicaState.replicaId : self.replicaId
    return Raft.FetchRequest(
      clusterID: self.clusterId, replica: ReplicaKey(NodeID(node), partition.replicaDirectoryId),
      term: Term(partition.currentLeaderEpoch),
      position: LogEnd(epoch: max(0, partition.lastFetchedEpoch), offset: partition.fetchOffset),
      // Kafka's default stands for "does not say".
      highWatermark: partition.highWatermark == .max ? nil : LogIndex(partition.highWatermark),
      waitMax: .milliseconds(Int64(max(0, self.maxWaitMs))), bytesMax: min(self.maxBytes, partition.partitionMaxBytes))
  }
}

extension FetchResponse {
  /// - Parameter records: what the answer's range was read as; nil where it has none.
  init(_ answer: OutgoingAnswer, records: ByteBuffer?) {
    self.init(errorCode: answer.status.topLevelError)
    if answer.status.isTopLevel { return }
    var partition = PartitionData(partitionIndex: QuorumTopic.partition, errorCode: answer.status.partitionError, highWatermark: -1)
    partition.currentLeader = .init(leaderId: answer.status.leaderField, leaderEpoch: answer.status.termField)
    partition.records = records.map { .bytes($0) } ?? .bytes(ByteBuffer())
    if case .fetch(let fetch) = answer.body {
      partition.highWatermark = fetch.highWatermark.rawValue
      partition.lastStableOffset = fetch.highWatermark.rawValue
      partition.logStartOffset = fetch.logStart.rawValue
      switch fetch.content {
      case .nothing, .entries: break
      case .diverging(let end): partition.divergingEpoch = .init(epoch: end.term.rawValue, endOffset: end.index.rawValue)
      case .snapshot(let id): partition.snapshotId = .init(endOffset: id.index.rawValue, epoch: id.term.rawValue)
      }
    }
    self.responses = [.init(topic: QuorumTopic.name, topicId: QuorumTopic.id, partitions: [partition])]
    if let leader = answer.status.leader, let address = answer.status.leaderAddress {
      self.nodeEndpoints = [.init(nodeId: leader.rawValue, host: address.host, port: Int32(address.port))]
    }
  }

  /// - Parameter keep: takes the entries' bytes and names them.
  func decoded(keep: (ByteBuffer) -> PayloadID) throws(QuorumMessageError) -> IncomingAnswer {
    if self.errorCode != .none { return IncomingAnswer(QuorumStatus(error: self.errorCode, term: .zero)) }
    guard self.responses.count == 1, let partition = self.responses[0].partitions.first else { throw .otherTopic }
    let endpoint = self.nodeEndpoints.first { $0.nodeId == partition.currentLeader.leaderId }
    let status = QuorumStatus(
      partition.errorCode, leader: partition.currentLeader.leaderId, epoch: partition.currentLeader.leaderEpoch,
      endpoint.map { Address(host: $0.host, port: UInt16(clamping: $0.port)) })
    if status.error != .none { return IncomingAnswer(status) }
    let content: FetchAnswer<EntryRun>.Content
    if partition.divergingEpoch.epoch >= 0 {
      content = .diverging(LogEnd(epoch: partition.divergingEpoch.epoch, offset: partition.divergingEpoch.endOffset))
    } else if partition.snapshotId.epoch >= 0 {
      content = .snapshot(LogEnd(epoch: partition.snapshotId.epoch, offset: partition.snapshotId.endOffset))
    } else if case .bytes(let records)? = partition.records, records.readableBytes > 0 {
      content = .entries(try EntryScan.run(in: records, keep: keep))
    } else {
      content = .nothing
    }
    return IncomingAnswer(
      status,
      .fetch(
        FetchAnswer(
          highWatermark: LogIndex(max(0, partition.highWatermark)), logStart: LogIndex(max(0, partition.logStartOffset)),
          content: content)))
  }
}
