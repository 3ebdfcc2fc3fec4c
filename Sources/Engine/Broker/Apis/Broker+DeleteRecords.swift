import Environment
import Metadata
import Model
import Wire

// DeleteRecords (KIP-107): moves the start of logs forward.
extension Broker {
  func handleDeleteRecords(_ exchange: Exchange<Env.Disk.File>, _ request: DeleteRecordsRequest) {
    let catalog = self.catalog
    var response = DeleteRecordsResponse()
    for topic in request.topics {
      let partitions = topic.partitions.map { asked -> DeleteRecordsResponse.DeleteRecordsPartitionResult in
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
        case .success(let low): return .init(partitionIndex: asked.partitionIndex, lowWatermark: low.rawValue)
        case .failure(let refusal): return .init(partitionIndex: asked.partitionIndex, lowWatermark: -1, errorCode: refusal.code)
        }
      }
      response.topics.append(.init(name: topic.name, partitions: partitions))
    }
    exchange.respond(response)
  }
}
