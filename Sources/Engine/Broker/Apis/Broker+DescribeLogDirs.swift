import Environment
import Model
import Storage
import Wire

// DescribeLogDirs (KIP-113, KIP-827): how much each partition takes on disk, and how much room there is.
extension Broker {
  func handleDescribeLogDirs(_ exchange: Exchange<Env.Disk.File>, _ request: DescribeLogDirsRequest) {
    let wanted = request.topics.map { topics in
      Set(topics.flatMap { topic in topic.partitions.map { TopicPartition(topic.topic, PartitionID($0)) } })
    }
    var result = DescribeLogDirsResponse.DescribeLogDirsResult(logDir: self.logDirectory.path)
    for partition in self.catalog.hostedPartitions {
      guard wanted?.contains(partition.topicPartition) ?? true else { continue }
      let described = DescribeLogDirsResponse.DescribeLogDirsPartition(
        partitionIndex: partition.topicPartition.partition.rawValue, partitionSize: partition.byteCount, offsetLag: 0, isFutureKey: false)
      if result.topics.last?.name == partition.topicPartition.topic {
        result.topics[result.topics.count - 1].partitions.append(described)
      } else {
        result.topics.append(.init(name: partition.topicPartition.topic, partitions: [described]))
      }
    }
    do {
      let space = try self.logDirectory.space()
      result.totalBytes = space.totalByteCount
      result.usableBytes = space.usableByteCount
    } catch {
      result.errorCode = error.errorCode
    }
    exchange.respond(DescribeLogDirsResponse(results: [result]))
  }
}
