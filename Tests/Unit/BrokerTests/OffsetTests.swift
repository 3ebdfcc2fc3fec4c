import Broker
import Environment
import Model
import Testing
import VirtualWorld
import Wire

@Suite("Offsets")
struct OffsetTests {
  private func list(_ node: TestNode, _ timestamp: Int64, version: Int16 = 11, epoch: Int32 = -1, replica: Int32 = -1) throws
    -> ListOffsetsResponse.ListOffsetsPartitionResponse
  {
    let request = ListOffsetsRequest(
      replicaId: replica,
      topics: [.init(name: "t", partitions: [.init(partitionIndex: 0, currentLeaderEpoch: epoch, timestamp: timestamp)])])
    return try #require(try node.ask(request, version: version).topics.first?.partitions.first)
  }

  private func filled() throws -> (TestNode, base: Int64) {
    let node = try TestNode()
    try node.createTopic("t")
    let base: Int64 = 1_700_000_000_000
    for (values, time) in [(["a", "b"], base), (["c", "d"], base + 100), (["e"], base + 50)] {
      let response = try node.ask(produceRequest("t", try batch(values, timestamp: time)), version: 12)
      #expect(response.responses[0].partitionResponses[0].errorCode == .none)
    }
    return (node, base)
  }

  @Test("Ends and times, exact to the record, in every version", arguments: ListOffsetsRequest.supportedVersions)
  func queries(version: Int16) throws {
    let (node, base) = try self.filled()
    func check(_ timestamp: Int64, _ offset: Int64, _ found: Int64, since: Int16 = 1, epoch: Int32 = 0) throws {
      let answer = try self.list(node, timestamp, version: version)
      if version < since {
        #expect(answer.errorCode == .unsupportedVersion, "\(timestamp)")
      } else {
        #expect(answer.errorCode == .none && answer.offset == offset && answer.timestamp == found, "\(timestamp)")
        if version >= 4 { #expect(answer.leaderEpoch == epoch, "\(timestamp)") }
      }
    }
    try check(-1, 5, -1)
    try check(-2, 0, -1)
    try check(-3, 3, base + 101, since: 7)
    try check(-4, 0, -1, since: 8)
    try check(-5, -1, -1, since: 9, epoch: -1)
    try check(-6, -1, -1, since: 11, epoch: -1)
    try check(-7, 0, 0, since: 99)
    try check(0, 0, base)
    try check(base, 0, base)
    try check(base + 1, 1, base + 1)
    try check(base + 2, 2, base + 100)
    try check(base + 101, 3, base + 101)
    try check(base + 102, -1, -1, epoch: -1)
  }

  @Test("Epochs, unknown partitions and repeated ones")
  func errors() throws {
    let (node, _) = try self.filled()
    #expect(try self.list(node, -1, epoch: 0).errorCode == .none)
    #expect(try self.list(node, -1, epoch: 9).errorCode == .unknownLeaderEpoch)
    let request = ListOffsetsRequest(
      replicaId: -1,
      topics: [
        .init(
          name: "t",
          partitions: [
            .init(partitionIndex: 0, timestamp: -1), .init(partitionIndex: 0, timestamp: -2), .init(partitionIndex: 1, timestamp: -1),
          ]),
        .init(name: "no", partitions: [.init(partitionIndex: 0, timestamp: -1)]),
      ])
    let response = try node.ask(request)
    #expect(response.topics[0].partitions.map(\.errorCode) == [.invalidRequest, .invalidRequest, .unknownTopicOrPartition])
    #expect(response.topics[1].partitions.map(\.errorCode) == [.unknownTopicOrPartition])
  }

  @Test("What is not durable yet is not offered to consumers")
  func highWatermark() throws {
    let (node, base) = try self.filled()
    node.environment.hold(.sync(logDirectory: 0))
    node.send(produceRequest("t", try batch(["f"], timestamp: base + 500), acks: 1), version: 12)
    #expect(try self.list(node, -1).offset == 5)
    #expect(try self.list(node, base + 500).offset == -1)
    #expect(try self.list(node, -1, replica: -2).offset == 6)
    #expect(try self.list(node, base + 500, replica: -2).offset == 5)
  }

  @Test("DeleteRecords moves the start, in every version", arguments: DeleteRecordsRequest.supportedVersions)
  func deleteRecords(version: Int16) throws {
    let (node, base) = try self.filled()
    func delete(_ offset: Int64, partition: Int32 = 0, topic: String = "t") throws -> DeleteRecordsResponse.DeleteRecordsPartitionResult {
      let request = DeleteRecordsRequest(
        topics: [.init(name: topic, partitions: [.init(partitionIndex: partition, offset: offset)])], timeoutMs: 1_000)
      return try #require(try node.ask(request, version: version).topics.first?.partitions.first)
    }
    let moved = try delete(2)
    #expect(moved.errorCode == .none && moved.lowWatermark == 2)
    #expect(try self.list(node, -2).offset == 2)
    #expect(try self.list(node, base).offset == 2)
    #expect(try node.ask(fetchRequest("t", from: 1), version: 12).onlyPartition?.errorCode == .offsetOutOfRange)
    #expect(try node.consume("t", from: 2) == ["c", "d", "e"])
    #expect(try delete(1).lowWatermark == 2, "never back")
    #expect(try delete(9).errorCode == .offsetOutOfRange)
    #expect(try delete(-2).errorCode == .offsetOutOfRange)
    #expect(try delete(0, partition: 3).errorCode == .unknownTopicOrPartition)
    #expect(try delete(-1).lowWatermark == 5)
    #expect(try node.consume("t", from: 5) == [])
    #expect(node.events.contains { if case .recordsDeleted(_, _, .deleteRecords(let id)) = $0 { id == "test" } else { false } })
    try node.createTopic("c", configs: ["cleanup.policy": "compact"])
    #expect(try delete(0, topic: "c").errorCode == .policyViolation)
    let next = try node.restarted()
    #expect(try self.list(next, -2).offset == 5)
  }

  @Test("DeleteRecords wakes a fetch that waits below")
  func deletedUnderFetch() throws {
    let (node, _) = try self.filled()
    let waiting = node.send(fetchRequest("t", from: 4, maxWaitMs: 10_000, minBytes: 100_000), version: 12)
    #expect(!waiting.isAnswered)
    _ = try node.ask(DeleteRecordsRequest(topics: [.init(name: "t", partitions: [.init(partitionIndex: 0, offset: 5)])], timeoutMs: 1))
    _ = try node.produce("t", ["f"])
    #expect(try waiting.response()?.onlyPartition?.errorCode == .offsetOutOfRange)
  }

  @Test("OffsetForLeaderEpoch", arguments: OffsetForLeaderEpochRequest.supportedVersions)
  func leaderEpochs(version: Int16) throws {
    let (node, _) = try self.filled()
    let next = try node.killedAndRestarted()
    _ = try next.produce("t", ["f"])
    func end(_ epoch: Int32, current: Int32 = -1, topic: String = "t") throws -> OffsetForLeaderEpochResponse.EpochEndOffset {
      let request = OffsetForLeaderEpochRequest(
        topics: [.init(topic: topic, partitions: [.init(partition: 0, currentLeaderEpoch: current, leaderEpoch: epoch)])])
      return try #require(try next.ask(request, version: version).topics.first?.partitions.first)
    }
    let old = try end(0)
    #expect(old.errorCode == .none && old.leaderEpoch == 0 && old.endOffset == 5)
    let current = try #require(try next.ask(MetadataRequest(topics: nil)).topics.first?.partitions.first).leaderEpoch
    #expect(current > 0)
    #expect(try end(current).endOffset == 6)
    #expect(try end(current + 5).endOffset == -1)
    #expect(try end(0, current: current + 1).errorCode == .unknownLeaderEpoch)
    #expect(try end(0, current: 0).errorCode == .fencedLeaderEpoch)
    #expect(try end(0, topic: "no").errorCode == .unknownTopicOrPartition)
  }
}
