import Controller
import LogCore
import Model
import NIOCore
import Records
import Testing
import VirtualWorld
import Wire

@testable import Broker

/// The metadata log as clients read it from any node, whoever leads.
@Suite struct MetadataFetchTests {
  static let topic = "__cluster_metadata"
  let node: TestNode
  init() throws { self.node = try TestNode() }

  private func fetch(
    from offset: Int64, maxWaitMs: Int32 = 0, minBytes: Int32 = 1, maxBytes: Int32 = 1 << 20, epoch: Int32 = -1
  ) -> FetchRequest {
    fetchRequest(
      Self.topic, from: offset, maxWaitMs: maxWaitMs, minBytes: minBytes, partitionMaxBytes: maxBytes, topicID: .metadataTopic,
      leaderEpoch: epoch)
  }

  private func batches(_ data: FetchResponse.PartitionData) throws -> [RecordBatchView] {
    guard case .bytes(let bytes)? = data.records else { return [] }
    var sequence = BatchSequence(bytes)
    var batches: [RecordBatchView] = []
    while let batch = try sequence.next() { batches.append(batch) }
    #expect(sequence.remainingByteCount == 0)
    return batches
  }

  /// The names of the topics that the batches create.
  private func topics(_ batches: [RecordBatchView]) throws -> [String] {
    try batches.flatMap { batch -> [String] in
      if batch.header.attributes.isControl { return [] }
      var records = try batch.records(using: RecordWorkspace().decompressor)
      var names: [String] = []
      while let record = try records.next() {
        if case .topic(let topic) = try MetadataRecord(decoding: try #require(record.value)) { names.append(topic.name) }
      }
      return names
    }
  }

  @Test(arguments: FetchRequest.supportedVersions)
  func committedRecordsByNameAndByID(version: Int16) throws {
    try self.node.createTopic("a")
    let data = try #require(try self.node.ask(self.fetch(from: 0), version: version).onlyPartition)
    let batches = try self.batches(data)
    #expect(data.errorCode == .none && batches.first?.header.baseOffset == .zero)
    #expect(batches.last?.header.nextOffset.rawValue == data.highWatermark)
    #expect(try self.topics(batches) == ["a"])
    let rest = try #require(try self.node.ask(self.fetch(from: data.highWatermark), version: version).onlyPartition)
    #expect(rest.errorCode == .none && rest.highWatermark == data.highWatermark)
    #expect(try self.batches(rest).isEmpty)
  }

  @Test func itWaitsForNewsAndIsWoken() throws {
    let end = try #require(try self.node.ask(self.fetch(from: 0)).onlyPartition).highWatermark
    let waiting = self.node.send(self.fetch(from: end, maxWaitMs: 10_000))
    #expect(!waiting.isAnswered && self.node.broker.waitingFetchCount == 1 && self.node.broker.deadlineCount == 1)
    try self.node.createTopic("b")
    let data = try #require(try waiting.response()?.onlyPartition)
    #expect(try self.topics(try self.batches(data)) == ["b"])
    #expect(self.node.broker.waitingFetchCount == 0 && self.node.broker.deadlineCount == 0)
  }

  @Test func itWaitsForAsMuchAsItAskedFor() throws {
    let end = try #require(try self.node.ask(self.fetch(from: 0)).onlyPartition).highWatermark
    let waiting = self.node.send(self.fetch(from: end, maxWaitMs: 10_000, minBytes: 600))
    try self.node.createTopic("c")
    #expect(!waiting.isAnswered)
    for number in 0..<4 { try self.node.createTopic("c\(number)") }
    let data = try #require(try waiting.response()?.onlyPartition)
    #expect(try self.batches(data).reduce(0) { $0 + $1.bytes.readableBytes } >= 600)
  }

  @Test func itGivesUpAtItsTimeAndWithItsConnection() throws {
    let end = try #require(try self.node.ask(self.fetch(from: 0)).onlyPartition).highWatermark
    let client = self.node.connect()
    let abandoned = self.node.send(self.fetch(from: end, maxWaitMs: .max), from: client)
    let waiting = self.node.send(self.fetch(from: end, maxWaitMs: 500))
    self.node.broker.disconnected(client.context)
    #expect(abandoned.isSkipped && !waiting.isAnswered)
    self.node.environment.advance(by: .milliseconds(499))
    #expect(!waiting.isAnswered)
    self.node.environment.advance(by: .milliseconds(2))
    let data = try #require(try waiting.response()?.onlyPartition)
    #expect(data.errorCode == .none && data.highWatermark == end)
    #expect(self.node.broker.waitingFetchCount == 0 && self.node.broker.deadlineCount == 0)
    try self.node.createTopic("d")
    #expect(!client.sink.answeredTwice && !self.node.client.sink.answeredTwice)
  }

  @Test func offsetsThatAreNotThere() throws {
    let end = try #require(try self.node.ask(self.fetch(from: 0)).onlyPartition).highWatermark
    #expect(try self.node.ask(self.fetch(from: end + 1)).onlyPartition?.errorCode == .offsetOutOfRange)
    #expect(try self.node.ask(self.fetch(from: -1)).onlyPartition?.errorCode == .offsetOutOfRange)
    // A reader that is ahead of the node waits for it.
    let ahead = self.node.send(self.fetch(from: end + 3, maxWaitMs: 1_000))
    #expect(!ahead.isAnswered)
    for number in 0..<3 { try self.node.createTopic("e\(number)") }
    #expect(try ahead.response()?.onlyPartition?.errorCode == ErrorCode.none)
  }

  @Test func theQuorumsEpochIsHeldAgainstTheReaders() throws {
    let epoch = self.node.broker.controller.quorumLeader.epoch.rawValue
    #expect(try self.node.ask(self.fetch(from: 0, epoch: epoch)).onlyPartition?.errorCode == ErrorCode.none)
    #expect(try self.node.ask(self.fetch(from: 0, epoch: epoch - 1)).onlyPartition?.errorCode == .fencedLeaderEpoch)
    #expect(try self.node.ask(self.fetch(from: 0, epoch: epoch + 1)).onlyPartition?.errorCode == .unknownLeaderEpoch)
  }

  @Test func whatIsAskedOtherwiseIsNoMatterOfTheLog() throws {
    var other = self.fetch(from: 0)
    other.topics[0].partitions[0].partition = 1
    #expect(try self.node.ask(other, version: 12).onlyPartition?.errorCode == .unknownTopicOrPartition)
    var both = self.fetch(from: 0)
    both.topics.append(.init(topic: "x", partitions: [.init(partition: 0, fetchOffset: 0, partitionMaxBytes: 9)]))
    #expect(try self.node.ask(both, version: 12).responses[0].partitions[0].errorCode == .unknownTopicOrPartition)
    // A session is not begun: id 0 says so.
    var session = self.fetch(from: 0)
    session.sessionEpoch = 0
    #expect(try self.node.ask(session).sessionId == 0)
    // A replica's fetch belongs on the controller's listener.
    var replica = self.fetch(from: 0)
    replica.replicaState.replicaId = 2
    let answer = try self.node.ask(replica)
    #expect(answer.errorCode != .none || answer.onlyPartition?.errorCode != ErrorCode.none)
  }

  @Test func aControllersListenerGivesItToo() throws {
    let control = TestClient(connectionID: 900, listener: "CONTROLLER", role: .controller)
    let data = try #require(try self.node.ask(self.fetch(from: 0), from: control).onlyPartition)
    #expect(try data.errorCode == .none && !self.batches(data).isEmpty)
    // A replica that looks for the leader does not say who it is, but to which cluster it belongs: the quorum tells it who leads.
    var search = self.fetch(from: 0)
    search.clusterId = self.node.broker.clusterID
    search.topics[0].partitions[0].currentLeaderEpoch = 0
    search.topics[0].partitions[0].lastFetchedEpoch = 0
    let told = try #require(try self.node.ask(search, from: control).onlyPartition)
    #expect(told.currentLeader.leaderId == 1 && told.currentLeader.leaderEpoch > 0)
  }

  @Test func whereItBeginsAndEnds() throws {
    func listed(_ timestamp: Int64, partition: Int32 = 0) throws -> ListOffsetsResponse.ListOffsetsPartitionResponse {
      let request = ListOffsetsRequest(
        replicaId: -1, topics: [.init(name: Self.topic, partitions: [.init(partitionIndex: partition, timestamp: timestamp)])])
      return try #require(try self.node.ask(request).topics.first?.partitions.first)
    }
    let end = try #require(try self.node.ask(self.fetch(from: 0)).onlyPartition).highWatermark
    #expect(try listed(-2).offset == 0)
    let latest = try listed(-1)
    #expect(latest.offset == end && latest.leaderEpoch == self.node.broker.controller.quorumLeader.epoch.rawValue)
    #expect(try listed(0).offset == 0 && listed(.max).offset == -1)
    self.node.environment.advance(by: .seconds(5))
    let now = self.node.environment.wallClock().rawValue
    try self.node.createTopic("f")
    #expect(try listed(now).offset == end && listed(-3).offset == end)
    #expect(try listed(-1, partition: 1).errorCode == .unknownTopicOrPartition)
  }

  // MARK: Snapshots

  private func snapshotRequest(_ id: FetchResponse.SnapshotId, position: Int64, maxBytes: Int32 = 1 << 20) -> FetchSnapshotRequest {
    FetchSnapshotRequest(
      replicaId: -1, maxBytes: maxBytes,
      topics: [
        .init(
          name: Self.topic,
          partitions: [
            .init(
              partition: 0, currentLeaderEpoch: -1, snapshotId: .init(endOffset: id.endOffset, epoch: id.epoch), position: position)
          ])
      ])
  }

  @Test func aSnapshotStandsForWhatIsGone() throws {
    // Small limits, so that what snapshots replace goes at once.
    let node = try TestNode(settings: [
      "metadata.log.max.record.bytes.between.snapshots": "2000", "metadata.max.retention.bytes": "1", "metadata.log.segment.bytes": "1000",
    ])
    for number in 0..<60 { try node.createTopic("t\(number)") }
    node.environment.advance(by: .seconds(10))
    let data = try #require(try node.ask(self.fetch(from: 0)).onlyPartition)
    try #require(data.snapshotId.epoch >= 0, "the log begins at \(data.logStartOffset)")
    #expect(data.errorCode == .offsetOutOfRange, "for those who know nothing of snapshots")
    #expect(data.snapshotId.endOffset >= data.logStartOffset && data.logStartOffset > 0)
    var contents = ByteBuffer()
    var size = Int64.max
    while contents.readableBytes < size {
      let answer = try node.ask(self.snapshotRequest(data.snapshotId, position: Int64(contents.readableBytes), maxBytes: 500))
      let part = try #require(answer.topics.first?.partitions.first)
      try #require(part.errorCode == .none)
      guard case .bytes(var bytes) = part.unalignedRecords else {
        Issue.record("the answer has no bytes")
        return
      }
      #expect((1...500).contains(bytes.readableBytes))
      size = part.size
      contents.writeBuffer(&bytes)
    }
    var sequence = BatchSequence(contents)
    var found: [RecordBatchView] = []
    while let batch = try sequence.next() { found.append(batch) }
    // One answer does not go beyond a segment.
    var rest: [RecordBatchView] = []
    var next = data.snapshotId.endOffset
    while next < data.highWatermark {
      let more = try self.batches(try #require(try node.ask(self.fetch(from: next)).onlyPartition))
      next = try #require(more.last).header.nextOffset.rawValue
      rest += more
    }
    #expect(Set(try self.topics(found) + self.topics(rest)) == Set((0..<60).map { "t\($0)" }))

    func error(_ request: FetchSnapshotRequest) throws -> ErrorCode {
      let answer = try node.ask(request)
      return answer.topics.first?.partitions.first?.errorCode ?? answer.errorCode
    }
    #expect(try error(self.snapshotRequest(data.snapshotId, position: size)) == .positionOutOfRange)
    #expect(try error(self.snapshotRequest(data.snapshotId, position: -1)) == .positionOutOfRange)
    var missing = data.snapshotId
    missing.endOffset += 1
    #expect(try error(self.snapshotRequest(missing, position: 0)) == .snapshotNotFound)
    var replica = self.snapshotRequest(data.snapshotId, position: 0)
    replica.replicaId = 2
    #expect(try error(replica) == .invalidRequest)
    var foreign = self.snapshotRequest(data.snapshotId, position: 0)
    foreign.clusterId = "another"
    #expect(try error(foreign) == .inconsistentClusterId)
  }
}
