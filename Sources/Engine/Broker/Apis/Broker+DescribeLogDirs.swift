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
    var usedByteCount: Int64 = 0
    for partition in self.catalog.hostedPartitions {
      let byteCount = partition.byteCount
      usedByteCount += byteCount
      guard wanted?.contains(partition.topicPartition) ?? true else { continue }
      let described = DescribeLogDirsResponse.DescribeLogDirsPartition(
        partitionIndex: partition.topicPartition.partition.rawValue, partitionSize: byteCount, offsetLag: 0, isFutureKey: false)
      if result.topics.last?.name == partition.topicPartition.topic {
        result.topics[result.topics.count - 1].partitions.append(described)
      } else {
        result.topics.append(.init(name: partition.topicPartition.topic, partitions: [described]))
      }
    }
    do {
      let free = try self.logDirectory.freeByteCount()
      // The port tells what is free. What the volume holds in all is not asked, so the total is what this broker uses and could use.
      result.usableBytes = free
      result.totalBytes = free + usedByteCount
    } catch {
      result.errorCode = error.errorCode
    }
    exchange.respond(DescribeLogDirsResponse(results: [result]))
  }
}
