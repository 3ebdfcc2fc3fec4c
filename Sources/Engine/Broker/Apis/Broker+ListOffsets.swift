import Environment
import Metadata
import Model
import Wire

/// The timestamps of ListOffsets that stand for something else (`ListOffsetsRequest`), and since which version.
enum OffsetQuery: Hashable, Sendable {
  case latest, earliest, maxTimestamp, earliestLocal, latestTiered, earliestPendingUpload
  /// The first record at or after this time.
  case time(Timestamp)

  /// Nil if `version` does not know the number.
  init?(_ timestamp: Int64, version: Int16) {
    let (query, minVersion): (OffsetQuery, Int16)
    switch timestamp {
    case 0...: (query, minVersion) = (.time(Timestamp(timestamp)), 0)
    case -1: (query, minVersion) = (.latest, 0)
    case -2: (query, minVersion) = (.earliest, 0)
    case -3: (query, minVersion) = (.maxTimestamp, 7)
    case -4: (query, minVersion) = (.earliestLocal, 8)
    case -5: (query, minVersion) = (.latestTiered, 9)
    case -6: (query, minVersion) = (.earliestPendingUpload, 11)
    default: return nil
    }
    guard version >= minVersion else { return nil }
    self = query
  }
}

/// Where a query led; -1 everywhere if nowhere.
struct ListedOffset: Hashable, Sendable {
  var timestamp = Timestamp.none
  var offset = Offset.unknown
  var leaderEpoch = LeaderEpoch.unknown
}

// ListOffsets (KIP-79, KIP-734): offsets by time, and the ends of the log.
extension Broker {
  func handleListOffsets(_ exchange: Exchange<Env.Disk.File>, _ request: ListOffsetsRequest) {
    let catalog = self.catalog
    var seen: Set<TopicPartition> = []
    var repeated: Set<TopicPartition> = []
    for topic in request.topics {
      for partition in topic.partitions {
        let key = TopicPartition(topic.name, PartitionID(partition.partitionIndex))
        if !seen.insert(key).inserted { repeated.insert(key) }
      }
    }
    var response = ListOffsetsResponse()
    response.topics.reserveCapacity(request.topics.count)
    for topic in request.topics {
      var answered = ListOffsetsResponse.ListOffsetsTopicResponse(name: topic.name)
      answered.partitions.reserveCapacity(topic.partitions.count)
      for asked in topic.partitions {
        let index = PartitionID(asked.partitionIndex)
        let outcome: Result<ListedOffset, ErrorCode.Refusal>
        if repeated.contains(TopicPartition(topic.name, index)) {
          outcome = .failure(.init(code: .invalidRequest))
        } else if let query = OffsetQuery(asked.timestamp, version: exchange.version) {
          outcome = topic.name == TopicName.clusterMetadata && index.rawValue == 0
            ? self.committedOffset(of: query, LeaderEpoch(asked.currentLeaderEpoch), exchange)
            : catalog.partition(.name(topic.name), index).flatMap { partition in
            self.workspaces.withWorkspace(near: exchange.client.connectionID) { workspace in
              // -1 is a consumer, which sees up to the high watermark; any other id, -2 for a debugging tool, sees the log's end. Such a
              // tool may ask a replica that does not lead.
              partition.offset(
                of: query, currentLeaderEpoch: LeaderEpoch(asked.currentLeaderEpoch), seesUncommitted: request.replicaId != -1,
                allowsFollower: request.replicaId == -2, workspace: workspace)
            }
          }
        } else {
          outcome = .failure(.init(code: .unsupportedVersion))
        }
        var partition = ListOffsetsResponse.ListOffsetsPartitionResponse(partitionIndex: asked.partitionIndex)
        switch outcome {
        case .success(let listed):
          partition.timestamp = listed.timestamp.rawValue
          partition.offset = listed.offset.rawValue
          partition.leaderEpoch = listed.leaderEpoch.rawValue
        case .failure(let refusal):
          // The code came with v5 (KIP-207); before, a client that waits for a leader does the right thing as well.
          partition.errorCode = refusal.code == .offsetNotAvailable && exchange.version < 5 ? .leaderNotAvailable : refusal.code
        }
        answered.partitions.append(partition)
      }
      response.topics.append(answered)
    }
    exchange.respond(response)
  }
}
