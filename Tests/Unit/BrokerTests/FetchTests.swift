import Base
import Broker
import Compression
import Environment
import Model
import NIOCore
import Testing
import VirtualWorld
import Wire

@Suite("Fetch")
struct FetchTests {
  private func filled(_ batches: [[String]], settings: [String: String] = [:]) throws -> TestNode {
    let node = try TestNode(settings: settings)
    try node.createTopic("t")
    for values in batches { #expect(try node.produce("t", values).errorCode == .none) }
    return node
  }

  @Test("What is produced is fetched in order, with its offsets, in every version", arguments: FetchRequest.supportedVersions)
  func roundTrip(version: Int16) throws {
    let node = try TestNode()
    let id = try node.createTopic("t")
    #expect(try node.produce("t", ["a", "b"]).baseOffset == 0)
    #expect(try node.produce("t", ["c"]).baseOffset == 2)
    let response = try node.ask(fetchRequest("t", from: 0, topicID: id), version: version)
    let data = try #require(response.onlyPartition)
    #expect(try data.values() == ["a", "b", "c"])
    #expect(try data.offsets() == [0, 1, 2])
    #expect(data.highWatermark == 3 && data.lastStableOffset == 3)
    if version >= 5 { #expect(data.logStartOffset == 0) }
    if version >= 11 { #expect(data.preferredReadReplica == -1) }
    #expect(version >= 13 ? response.responses[0].topicId == id : response.responses[0].topic == "t")
    #expect(data.abortedTransactions == nil)
    var committed = fetchRequest("t", from: 0, topicID: id)
    committed.isolationLevel = 1
    #expect(try node.ask(committed, version: version).onlyPartition?.abortedTransactions == [])
  }

  @Test("Every codec comes out as it went in", arguments: CompressionCodec.allCases)
  func codecs(codec: CompressionCodec) throws {
    let node = try TestNode()
    try node.createTopic("t")
    let values = (0..<200).map { "value \($0)" }
    let records = try batch(values, codec: codec)
    #expect(try node.ask(produceRequest("t", records), version: 9).responses[0].partitionResponses[0].errorCode == .none)
    #expect(try node.consume("t") == values)
  }

  @Test("Small answers are one piece; large records stay in their file")
  func pieces() throws {
    let node = try self.filled([["small"], [String(repeating: "x", count: 100_000)]])
    let small = node.send(fetchRequest("t", from: 0, partitionMaxBytes: 200), version: 12)
    #expect(small.sink.frame(small.slot)??.pieces.count == 1)
    let large = node.send(fetchRequest("t", from: 1), version: 12)
    #expect(large.sink.frame(large.slot)??.pieces.count == 3)
    #expect(try large.response()?.onlyPartition?.values().first?.count == 100_000)
  }

  @Test("The first batch is given whole, whatever the limits; the others keep to them")
  func limits() throws {
    let node = try self.filled([[String(repeating: "x", count: 1_000)], ["b"], ["c"]])
    let oversized = try #require(try node.ask(fetchRequest("t", from: 0, maxBytes: 10, partitionMaxBytes: 10), version: 12).onlyPartition)
    #expect(try oversized.offsets() == [0])
    let exact = try #require(try node.ask(fetchRequest("t", from: 1, partitionMaxBytes: 100), version: 12).onlyPartition)
    #expect(try exact.offsets() == [1])
    // The limit of the request is shared: the second partition finds nothing left of it, and is not given a whole batch.
    try node.createTopic("u", partitions: 2)
    for partition in [Int32(0), 1] { _ = try node.produce("u", partition: partition, [String(repeating: "y", count: 500)]) }
    var both = fetchRequest("u", from: 0, maxBytes: 100)
    both.topics[0].partitions.append(.init(partition: 1, fetchOffset: 0, partitionMaxBytes: 1 << 20))
    let shared = try node.ask(both, version: 12)
    #expect(try shared.responses[0].partitions.map { try $0.values().count } == [1, 0])
    #expect(try self.filled([["a"], ["b"]], settings: ["fetch.max.bytes": "1024"]).consume("t") == ["a", "b"])
  }

  @Test("A fetch waits for its bytes and is woken by them")
  func minBytes() throws {
    let node = try self.filled([["a"]])
    let one = node.send(fetchRequest("t", from: 1, maxWaitMs: 10_000), version: 12)
    let many = node.send(fetchRequest("t", from: 1, maxWaitMs: 10_000, minBytes: 200), version: 12)
    #expect(!one.isAnswered && !many.isAnswered)
    _ = try node.produce("t", ["b"])
    #expect(try one.response()?.onlyPartition?.values() == ["b"])
    #expect(!many.isAnswered)
    _ = try node.produce("t", ["c"])
    #expect(!many.isAnswered)
    _ = try node.produce("t", ["d"])
    #expect(try many.response()?.onlyPartition?.values() == ["b", "c", "d"])
    #expect(!one.sink.answeredTwice)
  }

  @Test("A fetch that waits in vain is answered at its deadline, with what there is")
  func maxWait() throws {
    let node = try self.filled([["a"]])
    let empty = node.send(fetchRequest("t", from: 1, maxWaitMs: 500), version: 12)
    let some = node.send(fetchRequest("t", from: 0, maxWaitMs: 500, minBytes: 10_000), version: 12)
    node.environment.advance(by: .milliseconds(499))
    #expect(!empty.isAnswered && !some.isAnswered)
    node.environment.advance(by: .milliseconds(1))
    #expect(try empty.response()?.onlyPartition?.values() == [])
    #expect(try some.response()?.onlyPartition?.values() == ["a"])
  }

  @Test("An error, a deletion or a new log start answers at once")
  func urgent() throws {
    let node = try self.filled([["a"]])
    #expect(
      try node.ask(fetchRequest("no", from: 0, maxWaitMs: 10_000), version: 12).onlyPartition?.errorCode == .unknownTopicOrPartition)
    #expect(try node.ask(fetchRequest("t", from: 9, maxWaitMs: 10_000), version: 12).onlyPartition?.errorCode == .offsetOutOfRange)
    #expect(try node.ask(fetchRequest("t", from: -1, maxWaitMs: 10_000), version: 12).onlyPartition?.errorCode == .offsetOutOfRange)
    let waiting = node.send(fetchRequest("t", from: 1, maxWaitMs: 10_000), version: 12)
    _ = try node.ask(DeleteTopicsRequest(topics: [.init(name: "t")], timeoutMs: 1_000))
    #expect(try waiting.response()?.onlyPartition?.errorCode == .unknownTopicOrPartition)
  }

  @Test("Waiting is shared by partitions: one with news answers for all")
  func severalPartitions() throws {
    let node = try TestNode()
    try node.createTopic("t", partitions: 3)
    var request = fetchRequest("t", from: 0, maxWaitMs: 10_000)
    for partition in [Int32(1), 2] {
      request.topics[0].partitions.append(.init(partition: partition, fetchOffset: 0, partitionMaxBytes: 1 << 20))
    }
    let waiting = node.send(request, version: 12)
    _ = try node.produce("t", partition: 2, ["x"])
    let response = try #require(try waiting.response())
    #expect(try response.responses[0].partitions.map { try $0.values() } == [[], [], ["x"]])
    for partition in [Int32(0), 1] { _ = try node.produce("t", partition: partition, ["late"]) }
    #expect(!waiting.sink.answeredTwice)
  }

  @Test("Leader epochs: an old one is fenced, a future one not known, a diverging one shown where it parts")
  func epochs() throws {
    let node = try self.filled([["a"], ["b"]])
    func data(_ request: FetchRequest) throws -> FetchResponse.PartitionData {
      try #require(try node.ask(request, version: 12).onlyPartition)
    }
    #expect(try data(fetchRequest("t", from: 0, leaderEpoch: 0)).errorCode == .none)
    #expect(try data(fetchRequest("t", from: 0, leaderEpoch: 5)).errorCode == .unknownLeaderEpoch)
    #expect(try data(fetchRequest("t", from: 1, lastFetchedEpoch: 0)).values() == ["b"])
    // A kill without a clean stop begins a new leader epoch.
    let next = try node.killedAndRestarted()
    let fenced = try #require(try next.ask(fetchRequest("t", from: 0, leaderEpoch: 0), version: 12).onlyPartition)
    #expect(fenced.errorCode == .fencedLeaderEpoch)
    let told = try next.ask(
      fetchRequest("t", from: 0, topicID: try #require(next.ask(MetadataRequest(topics: nil)).topics.first).topicId, leaderEpoch: 0),
      version: 16)
    #expect(told.onlyPartition?.currentLeader.leaderId == 1 && told.nodeEndpoints.map(\.nodeId) == [1])
    _ = try next.produce("t", ["c"])
    let diverging = try #require(try next.ask(fetchRequest("t", from: 3, lastFetchedEpoch: 0), version: 12).onlyPartition)
    #expect(diverging.divergingEpoch.epoch == 0 && diverging.divergingEpoch.endOffset == 2)
    #expect(try diverging.values() == [])
  }

  @Test("Topic ids: one that is not known is said so, in a session as well")
  func topicIDs() throws {
    let node = try self.filled([["a"]])
    let unknown = try node.ask(fetchRequest("", from: 0, topicID: KafkaUUID(high: 3, low: 4)), version: 13)
    #expect(unknown.onlyPartition?.errorCode == .unknownTopicId)
    #expect(unknown.errorCode == .none)
  }

  @Test("Whoever says it is a replica is told that it is none")
  func follower() throws {
    let node = try self.filled([["a"]])
    var request = fetchRequest("t", from: 0)
    request.replicaId = 2
    #expect(try node.ask(request, version: 12).onlyPartition?.errorCode == .notLeaderOrFollower)
  }

  @Test("A session: full answer, then only news, forgotten partitions, and errors when out of step")
  func session() throws {
    let node = try TestNode()
    try node.createTopic("a")
    try node.createTopic("b")
    var full = fetchRequest("a", from: 0, sessionEpoch: 0)
    full.topics.append(fetchRequest("b", from: 0).topics[0])
    let first = try node.ask(full, version: 12)
    let id = first.sessionId
    #expect(id != 0 && first.responses.count == 2)
    func next(_ epoch: Int32, _ topics: [FetchRequest.FetchTopic] = [], forget: [String] = [], maxWaitMs: Int32 = 0) -> FetchRequest {
      FetchRequest(
        maxWaitMs: maxWaitMs, minBytes: 1, maxBytes: 1 << 20, sessionId: id, sessionEpoch: epoch, topics: topics,
        forgottenTopicsData: forget.map { .init(topic: $0, partitions: [0]) })
    }
    #expect(try node.ask(next(1), version: 12).responses.isEmpty, "no news")
    _ = try node.produce("b", ["x"])
    let news = try node.ask(next(2), version: 12)
    #expect(news.responses.map(\.topic) == ["b"] && news.sessionId == id)
    #expect(try node.ask(next(2), version: 12).errorCode == .invalidFetchSessionEpoch)
    let waiting = node.send(next(3, fetchRequest("b", from: 1).topics, maxWaitMs: 10_000), version: 12)
    #expect(!waiting.isAnswered)
    _ = try node.produce("a", ["y"])
    #expect(try waiting.response()?.responses.map(\.topic) == ["a"])
    _ = try node.produce("a", ["z"])
    #expect(try node.ask(next(4, forget: ["a"]), version: 12).responses.isEmpty)
    #expect(try node.ask(FetchRequest(sessionId: id &+ 8, sessionEpoch: 1), version: 12).errorCode == .fetchSessionIdNotFound)
    #expect(try node.ask(next(5), version: 13).errorCode == .fetchSessionTopicIdError)
    #expect(try node.ask(next(-1), version: 12).sessionId == 0)
    #expect(try node.ask(next(5), version: 12).errorCode == .fetchSessionIdNotFound)
  }

  @Test("Sessions are bounded by max.incremental.fetch.session.cache.slots")
  func sessionSlots() throws {
    let node = try self.filled([["a"]], settings: ["max.incremental.fetch.session.cache.slots": "3"])
    let ids = try (0..<20).map { _ in try node.ask(fetchRequest("t", from: 0, sessionEpoch: 0), version: 12).sessionId }
    #expect(ids.filter { $0 != 0 }.count == 3)
  }

  @Test("A shutdown answers those who wait")
  func shutdown() throws {
    let node = try self.filled([["a"]])
    let waiting = node.send(fetchRequest("t", from: 1, maxWaitMs: 60_000), version: 12)
    try node.stop()
    #expect(waiting.isAnswered)
  }
}

@Suite("Waiting requests")
struct WaitingTests {
  @Test("A connection that goes takes its waiting fetches with it, however long they would have waited")
  func disconnected() throws {
    let node = try TestNode()
    try node.createTopic("t", partitions: 2)
    let client = node.connect()
    for partition in [Int32(0), 1] {
      node.send(fetchRequest("t", partition: partition, from: 0, maxWaitMs: .max), version: 12, from: client)
    }
    let other = node.send(fetchRequest("t", from: 0, maxWaitMs: .max), version: 12)
    #expect(node.broker.waitingFetchCount == 3 && node.broker.deadlineCount == 3)
    node.broker.disconnected(client.context)
    #expect(node.broker.waitingFetchCount == 1 && node.broker.deadlineCount == 1)
    _ = try node.produce("t", ["x"])
    #expect(try other.response()?.onlyPartition?.values() == ["x"])
    #expect(!client.sink.answeredTwice)
    #expect(node.broker.waitingFetchCount == 0 && node.broker.deadlineCount == 0)
  }

  @Test("Nothing is left behind by requests that did not have to wait to the end")
  func nothingLeft() throws {
    let node = try TestNode()
    try node.createTopic("t", partitions: 4)
    for round in 0..<50 {
      var request = fetchRequest("t", from: Int64(round), maxWaitMs: 10_000)
      for partition in Int32(1)..<4 {
        request.topics[0].partitions.append(.init(partition: partition, fetchOffset: 0, partitionMaxBytes: 1))
      }
      let waiting = node.send(request, version: 12)
      _ = try node.produce("t", ["x"])
      #expect(waiting.isAnswered)
    }
    #expect(node.broker.waitingFetchCount == 0 && node.broker.deadlineCount == 0)
    node.environment.advance(by: .seconds(20))
    #expect(node.client.sink.answeredTwice == false)
  }

  @Test("The partitions that a connection's fetches wait for are bounded: one too many is answered with what is there")
  func waitingPartitions() throws {
    let node = try TestNode()
    try node.createTopic("t", partitions: 600)
    func fetch() -> FetchRequest {
      var request = fetchRequest("t", from: 0, maxWaitMs: 60_000)
      request.topics[0].partitions = (Int32(0)..<600).map { .init(partition: $0, fetchOffset: 0, partitionMaxBytes: 1_000) }
      return request
    }
    // 16 times 600 are 9,600 of 10,000.
    let waiting = (0..<16).map { _ in node.send(fetch(), version: 12) }
    #expect(waiting.allSatisfy { !$0.isAnswered } && node.broker.waitingFetchCount == 16)
    let onceTooMany = node.send(fetch(), version: 12)
    #expect(try onceTooMany.response()?.responses[0].partitions.count == 600)
    #expect(node.broker.waitingFetchCount == 16)
    // Others have bounds of their own, and what has been answered counts no more.
    let other = node.connect()
    #expect(!node.send(fetch(), version: 12, from: other).isAnswered)
    #expect(try node.produce("t", partition: 599, ["x"]).errorCode == .none)
    #expect(waiting.allSatisfy(\.isAnswered) && node.broker.waitingFetchCount == 0)
    #expect(!node.send(fetchRequest("t", from: 0, maxWaitMs: 60_000), version: 12).isAnswered)
  }
}
