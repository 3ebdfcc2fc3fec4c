import Environment
import Model
import Wire

// OffsetForLeaderEpoch (KIP-101, KIP-320): where an epoch ended, so that a client or a follower can tell whether its log has parted
// from ours.
extension Broker {
  func handleOffsetForLeaderEpoch(_ exchange: Exchange<Env.Disk.File>, _ request: OffsetForLeaderEpochRequest) {
    let catalog = self.catalog
    var response = OffsetForLeaderEpochResponse()
    for topic in request.topics {
      let partitions = topic.partitions.map { asked -> OffsetForLeaderEpochResponse.EpochEndOffset in
        let outcome = catalog.partition(.name(topic.topic), PartitionID(asked.partition)).flatMap {
          $0.endOffset(of: LeaderEpoch(asked.leaderEpoch), currentLeaderEpoch: LeaderEpoch(asked.currentLeaderEpoch))
        }
        switch outcome {
        case .success(let end):
          return .init(partition: asked.partition, leaderEpoch: end?.epoch.rawValue ?? -1, endOffset: end?.endOffset.rawValue ?? -1)
        case .failure(let refusal): return .init(errorCode: refusal.code, partition: asked.partition)
        }
      }
      response.topics.append(.init(topic: topic.topic, partitions: partitions))
    }
    exchange.respond(response)
  }
}
