import Base
import Broker
import Compression
import Controller
import Environment
import Metadata
import Model
import NIOCore
import Replication
import Testing
import VirtualWorld
import Wire

@Suite("Produce")
struct ProduceTests {
  @Test("Every version takes a batch", arguments: ProduceRequest.supportedVersions)
  func versions(version: Int16) throws {
    let node = try TestNode()
    let id = try node.createTopic("t")
    for acks in [Int16(1), -1] {
      let response = try node.ask(produceRequest("t", try batch(["a"]), acks: acks, topicID: id), version: version)
      let partition = try #require(response.responses.first?.partitionResponses.first)
      #expect(partition.errorCode == .none)
      #expect(partition.baseOffset == (acks == 1 ? 0 : 1))
      #expect(version >= 13 ? response.responses[0].topicId == id : response.responses[0].name == "t")
    }
  }

  @Test("acks=1 is answered after the write, acks=all after the sync, and one sync serves all who wait")
  func durability() throws {
    let node = try TestNode()
    try node.createTopic("t")
    node.environment.hold(.sync(logDirectory: 0))
    let one = node.send(produceRequest("t", try batch(["a"]), acks: 1), version: 12)
    let all = [
      node.send(produceRequest("t", try batch(["b"])), version: 12), node.send(produceRequest("t", try batch(["c"])), version: 12),
    ]
    #expect(try one.response()?.responses[0].partitionResponses[0].baseOffset == 0)
    #expect(all.allSatisfy { !$0.isAnswered })
    let early = try #require(try node.ask(fetchRequest("t", from: 0), version: 12).onlyPartition)
    #expect(try early.values() == [] && early.highWatermark == 0, "nothing is shown before it is durable")
    node.environment.release(.sync(logDirectory: 0))
    node.environment.step()
    #expect(try all.map { try $0.response()?.responses[0].partitionResponses[0].baseOffset } == [1, 2])
    #expect(try node.consume("t") == ["a", "b", "c"])
  }

  @Test("flush.policy=os answers acks=all and shows records without a sync")
  func osPolicy() throws {
    let node = try TestNode(settings: ["flush.policy": "os"])
    try node.createTopic("t")
    node.environment.hold(.sync(logDirectory: 0))
    #expect(try node.produce("t", ["a"]).errorCode == .none)
    #expect(try node.consume("t") == ["a"])
    #expect(node.environment.pendingWorkCount == 0)
  }

  @Test("flush.messages and flush.ms sync under flush.policy=os")
  func intervals() throws {
    let node = try TestNode(settings: ["flush.policy": "os"])
    try node.createTopic("m", configs: ["flush.messages": "2"])
    try node.createTopic("t", configs: ["flush.ms": "500"])
    node.environment.hold(.sync(logDirectory: 0))
    _ = try node.produce("m", ["a"])
    #expect(node.environment.pendingWorkCount == 0)
    _ = try node.produce("m", ["b"])
    #expect(node.environment.pendingWorkCount == 1)
    node.environment.release(.sync(logDirectory: 0))
    node.environment.settle()
    node.environment.hold(.sync(logDirectory: 0))
    _ = try node.produce("t", ["a"])
    #expect(node.environment.pendingWorkCount == 0)
    node.environment.advance(by: .milliseconds(500))
    #expect(node.environment.pendingWorkCount == 1)
  }

  @Test("acks=all gives up at its timeout; the records stay")
  func timeout() throws {
    let node = try TestNode()
    try node.createTopic("t", partitions: 2)
    node.environment.hold(.sync(logDirectory: 0))
    let pending = node.send(produceRequest("t", try batch(["a"]), timeoutMs: 250), version: 12)
    node.environment.advance(by: .milliseconds(249))
    #expect(!pending.isAnswered)
    node.environment.advance(by: .milliseconds(1))
    #expect(try pending.response()?.responses[0].partitionResponses[0].errorCode == .requestTimedOut)
    node.environment.release(.sync(logDirectory: 0))
    node.environment.settle()
    #expect(!pending.sink.answeredTwice)
    #expect(try node.consume("t") == ["a"])
  }

  @Test("acks=0: silence, or a closed connection")
  func unacknowledged() throws {
    let node = try TestNode()
    try node.createTopic("t")
    let good = node.send(produceRequest("t", try batch(["a"]), acks: 0), version: 9)
    #expect(good.isSkipped && good.sink.closeReason == nil)
    #expect(try node.consume("t") == ["a"])
    let client = node.connect()
    node.send(produceRequest("missing", try batch(["a"]), acks: 0), version: 9, from: client)
    #expect(client.sink.closeReason?.contains("missing-0") == true)
  }

  @Test("Each partition gets its own verdict")
  func verdicts() throws {
    let node = try TestNode(settings: ["message.max.bytes": "300"])
    let id = try node.createTopic("t")
    func code(_ request: ProduceRequest, version: Int16 = 12) throws -> ErrorCode? {
      try node.ask(request, version: version).responses.first?.partitionResponses.first?.errorCode
    }
    var broken = try batch(["abc"])
    broken.setInteger(UInt8(0xEE), at: broken.writerIndex - 2)
    var oldFormat = try batch(["abc"])
    oldFormat.setInteger(Int8(1), at: 16)
    var cut = try batch(["abc"])
    cut.moveWriterIndex(to: cut.writerIndex - 1)
    var two = try batch(["abc"])
    var second = two
    two.writeBuffer(&second)
    #expect(try code(produceRequest("t", broken)) == .corruptMessage)
    #expect(try code(produceRequest("t", oldFormat)) == .invalidRecord)
    #expect(try code(produceRequest("t", cut)) == .invalidRecord)
    #expect(try code(produceRequest("t", two)) == .invalidRecord)
    #expect(try code(produceRequest("t", ByteBuffer())) == .invalidRecord)
    #expect(try code(produceRequest("t", nil)) == .invalidRecord)
    #expect(try code(produceRequest("t", try batch([String(repeating: "x", count: 400)]))) == .messageTooLarge)
    #expect(try code(produceRequest("t", try batch(["a"]), acks: 2)) == .invalidRequiredAcks)
    #expect(try code(produceRequest("t", partition: 1, try batch(["a"]))) == .unknownTopicOrPartition)
    #expect(try code(produceRequest("t", partition: -1, try batch(["a"]))) == .unknownTopicOrPartition)
    #expect(try code(produceRequest("no", try batch(["a"]))) == .unknownTopicOrPartition)
    #expect(try code(produceRequest("", try batch(["a"]), topicID: KafkaUUID(high: 7, low: 7)), version: 13) == .unknownTopicId)
    #expect(try code(produceRequest("", try batch(["a"]), topicID: id), version: 13) == ErrorCode.none)
    #expect(try code(produceRequest("t", try batch(["a"], codec: .zstd)), version: 6) == .unsupportedCompressionType)
    let transactional = try batch(["a"], producer: 5, epoch: 0, sequence: 0, isTransactional: true)
    #expect(try code(produceRequest("t", transactional)) == .invalidTxnState)
    try node.createTopic("__consumer_offsets")
    #expect(try code(produceRequest("__consumer_offsets", try batch(["a"]))) == .invalidTopicException)
    try node.createTopic("two", configs: ["min.insync.replicas": "2"])
    // No more are asked for than there are (KIP-966).
    #expect(try code(produceRequest("two", try batch(["a"]))) == ErrorCode.none)
    #expect(try code(produceRequest("two", try batch(["a"]), acks: 1)) == ErrorCode.none)
    #expect(try node.consume("t") == ["a"], "what is refused is not stored")
  }

  @Test("Records that are refused are named (KIP-467)")
  func recordErrors() throws {
    let node = try TestNode()
    try node.createTopic("t")
    let tomorrow = node.environment.wallClock().rawValue + 86_400_000
    let response = try node.ask(produceRequest("t", try batch(["a", "b"], timestamp: tomorrow)), version: 12)
    let partition = response.responses[0].partitionResponses[0]
    #expect(partition.errorCode == .invalidTimestamp && partition.baseOffset == -1)
    #expect(partition.recordErrors.map(\.batchIndex) == [0, 1])
    #expect(partition.errorMessage != nil)
  }

  @Test("One request to several topics and partitions is answered as a whole, in its order")
  func several() throws {
    let node = try TestNode()
    try node.createTopic("a", partitions: 2)
    try node.createTopic("b")
    let request = ProduceRequest(
      acks: -1, timeoutMs: 1_000,
      topicData: [
        .init(
          name: "b",
          partitionData: [.init(index: 0, records: .bytes(try batch(["1"]))), .init(index: 9, records: .bytes(try batch(["2"])))]),
        .init(
          name: "a",
          partitionData: [.init(index: 1, records: .bytes(try batch(["3"]))), .init(index: 0, records: .bytes(try batch(["4"])))]),
      ])
    let response = try node.ask(request, version: 12)
    #expect(response.responses.map(\.name) == ["b", "a"])
    #expect(response.responses[0].partitionResponses.map(\.errorCode) == [.none, .unknownTopicOrPartition])
    #expect(response.responses[1].partitionResponses.map(\.index) == [1, 0])
    #expect(try node.consume("a", partition: 1) == ["3"])
  }

  @Test("LogAppendTime is the broker's and is told")
  func logAppendTime() throws {
    let node = try TestNode()
    try node.createTopic("t", configs: ["message.timestamp.type": "LogAppendTime"])
    node.environment.advance(by: .seconds(5))
    let now = node.environment.wallClock().rawValue
    #expect(try node.produce("t", ["a"]).logAppendTimeMs == now)
    #expect(try node.consume("t") == ["a"], "the checksum was computed anew")
  }

  @Test("A repeated batch of an idempotent producer gets its first offsets; a gap is refused")
  func idempotence() throws {
    let node = try TestNode()
    try node.createTopic("t")
    func produce(_ values: [String], sequence: Int32, epoch: Int16 = 0) throws -> ProduceResponse.PartitionProduceResponse {
      let request = produceRequest("t", try batch(values, producer: 900, epoch: epoch, sequence: sequence))
      return try node.ask(request, version: 12).responses[0].partitionResponses[0]
    }
    #expect(try produce(["a", "b"], sequence: 0).baseOffset == 0)
    #expect(try produce(["c"], sequence: 2).baseOffset == 2)
    let repeated = try produce(["a", "b"], sequence: 0)
    #expect(repeated.errorCode == .none && repeated.baseOffset == 0)
    #expect(try produce(["x"], sequence: 9).errorCode == .outOfOrderSequenceNumber)
    #expect(try produce(["d"], sequence: 0, epoch: 1).baseOffset == 3)
    #expect(try produce(["x"], sequence: 3, epoch: 0).errorCode == .invalidProducerEpoch)
    #expect(try node.consume("t") == ["a", "b", "c", "d"])
  }

  @Test("A repetition that comes before the first copy is durable waits for it")
  func duplicateWaits() throws {
    let node = try TestNode()
    try node.createTopic("t")
    node.environment.hold(.sync(logDirectory: 0))
    let records = try batch(["a"], producer: 900, epoch: 0, sequence: 0)
    let first = node.send(produceRequest("t", records), version: 12)
    let second = node.send(produceRequest("t", records), version: 12)
    #expect(!first.isAnswered && !second.isAnswered)
    node.environment.release(.sync(logDirectory: 0))
    node.environment.settle()
    #expect(try second.response()?.responses[0].partitionResponses[0].baseOffset == 0)
    #expect(try node.consume("t") == ["a"])
  }

  @Test("A failed sync: who waits is told, the whole directory takes nothing more, what was durable stays readable, and a restart heals")
  func syncFailure() throws {
    let node = try TestNode()
    try node.createTopic("t")
    try node.createTopic("other")
    _ = try node.produce("t", ["kept"])
    node.disk.inject(DiskFault(.sync, .io, pathSuffix: "t-0/00000000000000000000.log"))
    #expect(try node.produce("t", ["lost"]).errorCode == .kafkaStorageError)
    #expect(try node.produce("t", ["more"], acks: 1).errorCode == .kafkaStorageError)
    #expect(node.events.all.filter { if case .partitionOffline = $0 { true } else { false } }.count == 1)
    let data = try #require(try node.ask(fetchRequest("t", from: 0), version: 12).onlyPartition)
    #expect(try data.values() == ["kept"])
    let beyond = try #require(try node.ask(fetchRequest("t", from: 1), version: 12).onlyPartition)
    #expect(beyond.errorCode == .kafkaStorageError)
    #expect(try node.ask(fetchRequest("t", from: 1), version: 5).onlyPartition?.errorCode == .notLeaderOrFollower)
    // It is the directory's disk, and there is no other: the process ends, as Kafka's does.
    #expect(try node.produce("other", ["fine?"]).errorCode == .kafkaStorageError)
    #expect(node.events.all.filter { if case .logDirectoryFailed = $0 { true } else { false } }.count == 1)
    #expect(node.events.contains { if case .failed(.membership(.directoriesFailed)) = $0 { true } else { false } })
    #expect(!node.broker.lease.current.isLive(at: node.environment.now()))
    let fencing = node.events.all.compactMap { event -> FencingCause? in
      if case .controller(.brokerFenced(_, _, let cause)) = event { cause } else { nil }
    }
    #expect(fencing == [.directoriesFailed], "others would lead at once")
    let next = try node.killedAndRestarted()
    #expect(try next.consume("t").first == "kept")
    #expect(try next.produce("other", ["fine"]).errorCode == .none)
    #expect(try next.produce("t", ["again"]).errorCode == .none)
  }

  @Test("A full disk refuses produces, keeps what is there, and goes on when there is room")
  func fullDisk() throws {
    let node = try TestNode()
    try node.createTopic("t")
    _ = try node.produce("t", ["kept"])
    node.disk.setCapacity(node.disk.usedByteCount)
    let refused = try node.produce("t", ["no room"])
    #expect(refused.errorCode == .kafkaStorageError)
    #expect(refused.errorMessage?.contains("no space") == true)
    _ = try node.produce("t", ["no room"])
    #expect(node.events.all.filter { if case .appendRefused = $0 { true } else { false } }.count == 1, "said once")
    #expect(try node.consume("t") == ["kept"])
    node.disk.setCapacity(1 << 30)
    #expect(try node.produce("t", ["room"]).errorCode == .none)
    #expect(try node.consume("t") == ["kept", "room"])
  }

  @Test(
    "Producer ids: distinct, in blocks, in every version; transactions are refused", arguments: InitProducerIdRequest.supportedVersions)
  func producerIDs(version: Int16) throws {
    let node = try TestNode()
    var seen: Set<Int64> = []
    for _ in 0..<2_500 {
      let response = try node.ask(InitProducerIdRequest(transactionalId: nil, transactionTimeoutMs: 1), version: version)
      #expect(response.errorCode == .none && response.producerEpoch == 0)
      #expect(seen.insert(response.producerId).inserted)
    }
    #expect(try node.ask(InitProducerIdRequest(transactionalId: "tx"), version: version).errorCode == .unsupportedVersion)
    #expect(try node.ask(InitProducerIdRequest(transactionalId: ""), version: version).errorCode == .invalidRequest)
    if version >= 3 {
      #expect(try node.ask(InitProducerIdRequest(transactionalId: nil, producerId: 5), version: version).errorCode == .invalidRequest)
    }
    let next = try node.killedAndRestarted()
    #expect(try !seen.contains(next.ask(InitProducerIdRequest(transactionalId: nil)).producerId))
  }
}
