import Environment
import Metadata
import Model
import Wire

// DeleteRecords (KIP-107): moves the start of logs forward, and answers when all live replicas have done so.
extension Broker {
  func handleDeleteRecords(_ exchange: Exchange<Env.Disk.File>, _ request: DeleteRecordsRequest) {
    let catalog = self.catalog
    var response = DeleteRecordsResponse()
    var waits: [PendingDeletion<Env>.Place] = []
    for topic in request.topics {
      let partitions = topic.partitions.enumerated().map { index, asked -> DeleteRecordsResponse.DeleteRecordsPartitionResult in
        let found = catalog.partition(.name(topic.name), PartitionID(asked.partitionIndex))
        let outcome = found.flatMap { partition -> Result<Offset, ErrorCode.Refusal> in
          if HostedTopic<Env>.isInternal(topic.name) { return .failure(ErrorCode.Refusal(code: .invalidTopicException)) }
          // Segments of these are compacted, not cut, so their start does not move (Kafka's rule as well).
          guard catalog.topic(.name(topic.name))?.config.cleanupPolicy.contains(.delete) == true else {
            return .failure(ErrorCode.Refusal(code: .policyViolation))
          }
          return partition.deleteRecords(before: asked.offset, clientID: exchange.clientID)
        }
        switch outcome {
        case .success(let start):
          if case .success(let partition) = found {
            let low = partition.lowWatermark
            if low >= start { return .init(partitionIndex: asked.partitionIndex, lowWatermark: low.rawValue) }
            waits.append(.init(partition: partition, offset: start, topicIndex: response.topics.count, partitionIndex: index))
          }
          return .init(partitionIndex: asked.partitionIndex, lowWatermark: start.rawValue)
        case .failure(let refusal): return .init(partitionIndex: asked.partitionIndex, lowWatermark: -1, errorCode: refusal.code)
        }
      }
      response.topics.append(.init(name: topic.name, partitions: partitions))
    }
    if waits.isEmpty { return exchange.respond(response) }
    PendingDeletion(exchange: exchange, response: response, places: waits, deadlines: self.deadlines)
      .start(timeout: .milliseconds(Int64(max(0, request.timeoutMs))), now: self.environment.now())
  }
}
