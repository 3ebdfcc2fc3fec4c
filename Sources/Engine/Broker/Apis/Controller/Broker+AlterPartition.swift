import Environment
import Metadata
import Model
import Wire

// AlterPartition (KIP-497): the leader of partitions asks for another ISR.
extension Broker {
  func handleAlterPartition(_ exchange: Exchange<Env.Disk.File>, _ request: AlterPartitionRequest) {
    var partitions: [Metadata.AlterPartition.Partition] = []
    for topic in request.topics {
      for partition in topic.partitions {
        let members: [Metadata.AlterPartition.Member] =
          exchange.version >= 3
          ? partition.newIsrWithEpochs.map { .init(NodeID($0.brokerId), BrokerEpoch($0.brokerEpoch)) }
          : partition.newIsr.map { .init(NodeID($0)) }
        partitions.append(
          .init(
            TopicIDPartition(topic.topicId, PartitionID(partition.partitionIndex)), leaderEpoch: LeaderEpoch(partition.leaderEpoch),
            partitionEpoch: PartitionEpoch(partition.partitionEpoch), inSyncReplicas: members,
            leaderRecoveryState: partition.leaderRecoveryState))
      }
    }
    let change = Metadata.AlterPartition(nodeID: NodeID(request.brokerId), epoch: BrokerEpoch(request.brokerEpoch), partitions)
    self.decide(change, for: exchange, timeoutMs: Self.controlTimeoutMs) { result in
      switch result {
      case .failure(let error):
        self.note(error.code, request.brokerId, exchange)
        exchange.respond(AlterPartitionResponse(errorCode: error.code))
      case .success(let results):
        self.note(.none, request.brokerId, exchange)
        exchange.respond(Self.alterPartitionResponse(request, results))
      }
    }
  }

  /// The results are in the order of the request.
  private static func alterPartitionResponse(
    _ request: AlterPartitionRequest, _ results: [Metadata.AlterPartition.PartitionResult]
  ) -> AlterPartitionResponse {
    var response = AlterPartitionResponse()
    var next = results.makeIterator()
    response.topics = request.topics.map { topic in
      var answered = AlterPartitionResponse.TopicData(topicId: topic.topicId)
      answered.partitions = topic.partitions.map { partition in
        switch next.next()?.outcome {
        case .success(let image)?:
          .init(
            partitionIndex: partition.partitionIndex, errorCode: .none, leaderId: image.leader.rawValue,
            leaderEpoch: image.leaderEpoch.rawValue, isr: image.inSyncReplicas.map(\.rawValue),
            leaderRecoveryState: image.leaderRecoveryState.rawValue, partitionEpoch: image.partitionEpoch.rawValue)
        case .failure(let error)?: .init(partitionIndex: partition.partitionIndex, errorCode: error.code)
        case nil: .init(partitionIndex: partition.partitionIndex, errorCode: .unknownServerError)
        }
      }
      return answered
    }
    return response
  }
}
