import Environment
import Metadata
import Model
import Wire

// DescribeTopicPartitions (KIP-966): partitions of topics in pages, with a cursor where the next page begins.
extension Broker {
  func handleDescribeTopicPartitions(_ exchange: Exchange<Env.Disk.File>, _ request: DescribeTopicPartitionsRequest) {
    let catalog = self.catalog
    // With no topics named, all are described, from the cursor on.
    let asksForAll = request.topics.isEmpty
    let all = asksForAll ? catalog.image.topicsByName.map(\.name) : Array(Set(request.topics.map(\.name))).sorted()
    if let cursor = request.cursor, cursor.partitionIndex < 0 {
      return exchange.close(reason: "DescribeTopicPartitions cursor has partition \(cursor.partitionIndex)")
    }
    let names = request.cursor.map { cursor in all.filter { $0 >= cursor.topicName } } ?? all
    var left = max(1, min(Int(request.responsePartitionLimit), self.config.describedPartitionsMax))
    var response = DescribeTopicPartitionsResponse()
    for name in names {
      let first = request.cursor.flatMap { $0.topicName == name ? Int($0.partitionIndex) : nil } ?? 0
      guard let topic = catalog.image.topic(name) else {
        // A topic that went away between two pages is no news to somebody who asked for all.
        if !asksForAll {
          response.topics.append(
            .init(errorCode: .missingTopic(name), name: name, isInternal: HostedTopic<Env>.isInternal(name)))
        }
        continue
      }
      if left == 0 {
        response.nextCursor = .init(topicName: name, partitionIndex: Int32(first))
        break
      }
      let end = min(topic.partitions.count, first + left)
      var described = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic()
      described.name = name
      described.topicId = topic.id
      described.isInternal = HostedTopic<Env>.isInternal(name)
      described.topicAuthorizedOperations = AuthorizedOperations.topic
      for index in min(first, end)..<end {
        let description = PartitionDescription(topic.partitions[index], in: catalog, listener: exchange.client.listener)
        described.partitions.append(
          .init(
            errorCode: description.error, partitionIndex: Int32(index), leaderId: description.leader.rawValue,
            leaderEpoch: description.leaderEpoch.rawValue, replicaNodes: description.replicas, isrNodes: description.inSyncReplicas,
            eligibleLeaderReplicas: description.eligibleLeaderReplicas, lastKnownElr: description.lastKnownEligibleLeaderReplicas,
            offlineReplicas: description.offlineReplicas))
      }
      response.topics.append(described)
      left -= max(0, end - first)
      if end < topic.partitions.count {
        response.nextCursor = .init(topicName: name, partitionIndex: Int32(end))
        break
      }
    }
    exchange.respond(response)
  }
}
