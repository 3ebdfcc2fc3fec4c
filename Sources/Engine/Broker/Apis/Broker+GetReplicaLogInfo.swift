import Environment
import Metadata
import Model
import Storage
import Synchronization
import Wire

// GetReplicaLogInfo (KIP-966): where the logs of this broker's replicas end, whoever leads them, for a controller that must elect one of
// those that are not in sync.
extension Broker {
  /// As Kafka answers for.
  private static var logInfoCountMax: Int { 1_000 }

  func handleGetReplicaLogInfo(_ exchange: Exchange<Env.Disk.File>, _ request: GetReplicaLogInfoRequest) {
    let catalog = self.catalog
    var response = GetReplicaLogInfoResponse(brokerEpoch: self.brokerEpoch.rawValue)
    var count = 0
    for topic in request.topicPartitions ?? [] {
      var answered = GetReplicaLogInfoResponse.TopicPartitionLogInfo(topicId: topic.topicId)
      for id in topic.partitions {
        if count == Self.logInfoCountMax {
          response.truncated = true
          break
        }
        count += 1
        answered.partitionLogInfo.append(Self.logInfo(topic.topicId, id, catalog))
      }
      if !answered.partitionLogInfo.isEmpty { response.topicPartitionLogInfoList.append(answered) }
    }
    exchange.respond(response)
  }

  private static func logInfo(
    _ topic: KafkaUUID, _ id: Int32, _ catalog: Catalog<Env>
  ) -> GetReplicaLogInfoResponse.PartitionLogInfo {
    switch catalog.partition(.id(topic), PartitionID(id)) {
    case .failure(let refusal): return .init(partition: id, errorCode: refusal.code)
    case .success(let partition):
      guard let info = partition.logInfo else { return .init(partition: id, errorCode: .kafkaStorageError) }
      return .init(
        partition: id, lastWrittenLeaderEpoch: info.lastEpoch.rawValue,
        currentLeaderEpoch: catalog.image.topic(topic)?[PartitionID(id)]?.leaderEpoch.rawValue ?? -1, logEndOffset: info.end.rawValue,
        errorCode: .none)
    }
  }
}

extension Partition {
  /// Where this replica's log ends, whoever leads; nil once its disk has failed.
  var logInfo: (lastEpoch: LeaderEpoch, end: Offset)? {
    self.state.withLock { state in
      guard state.log.state == .online, !state.hasFailed else { return nil }
      return (Self.lastEpoch(state.log), state.log.logEndOffset)
    }
  }
}
