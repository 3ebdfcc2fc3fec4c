import Metadata
import Model
import NIOCore
import Records
import Testing

@testable import Controller

/// A controller that is a quorum by itself: it decides as soon as its log is read.
@Suite struct ControllerDriverTests {
  private func started() throws -> LoneController {
    let node = try LoneController()
    try node.addBroker()
    node.journal.clear()
    return node
  }

  @Test func aNewLogGetsItsFeatures() throws {
    let node = try LoneController()
    #expect(node.controller.image.metadataVersion == MetadataVersion.latest)
    #expect(node.journal.entries == ["loaded 0", "image -1", "active 1", "image 3"])
    #expect(node.controller.quorumLeader == QuorumLeader(node: NodeID(1), epoch: LeaderEpoch(1)))
    #expect(node.controller.isActive)
  }

  @Test func nothingIsToldBeforeItIsCommitted() throws {
    let node = try self.started()
    let before = node.controller.image
    node.run(CreateTopics([.init("a", numPartitions: 3)]), "create")
    #expect(node.journal.entries == [])
    #expect(node.controller.image == before)
    node.environment.runAll()
    #expect(node.journal.entries == ["image \(before.offset + 4) +a", "create ok"])
    #expect(node.controller.image.topic("a")?.partitions.count == 3)
  }

  /// One batch per operation, decided one upon the other, committed together by one sync.
  @Test func requestsNeedNotWaitForEachOther() throws {
    let node = try self.started()
    let (batches, syncs) = (try LoneController.batches(on: node.environment.disk).count, node.environment.disk.syncCount)
    node.run(CreateTopics([.init("a")]), "create")
    node.run(CreatePartitions([.init("a", count: 4)]), "grow")
    node.run(CreateTopics([.init("b")], validateOnly: true), "validate")
    node.run(DeleteTopics([.init(name: "a")]), "delete")
    #expect(try LoneController.batches(on: node.environment.disk).dropFirst(batches).map(\.header.recordCount) == [2, 3, 1])
    #expect(node.journal.entries == [])
    node.environment.runAll()
    let offset = node.controller.image.offset
    #expect(node.journal.entries == [
      "image \(offset + -4) +a", "create ok", "image \(offset + -1)", "grow ok", "validate ok", "image \(offset)", "delete ok",
    ])
    #expect(node.environment.disk.syncCount == syncs + 1)
  }

  @Test func refusalsThatRestOnTheUncommittedWaitForIt() throws {
    let node = try self.started()
    node.run(AllocateProducerIDs(nodeID: NodeID(1), epoch: BrokerEpoch(77)), "at once")
    #expect(node.journal.entries == ["at once STALE_BROKER_EPOCH"])
    node.run(CreateTopics([.init("a")]), "create")
    node.run(AllocateProducerIDs(nodeID: NodeID(1), epoch: BrokerEpoch(77)), "later")
    #expect(node.journal.entries.count == 1)
    node.environment.runAll()
    #expect(node.journal.entries.dropFirst(2) == ["create ok", "later STALE_BROKER_EPOCH"])
  }

  @Test func aReadSeesWhatWasDecidedBeforeOnceItIsCommitted() throws {
    let node = try self.started()
    let journal = node.journal
    node.run(CreateTopics([.init("a")]), "create")
    node.controller.read({ $0.image.topic("a") != nil }, completion: { journal.note("read \((try? $0.get()) ?? false)") })
    #expect(journal.entries == [])
    node.environment.runAll()
    #expect(journal.entries.suffix(2) == ["create ok", "read true"])
  }

  /// Twelve thousand partitions of a broker that comes back, each with a new leader epoch.
  @Test func whatDoesNotFitIntoOneBatchIsSeveral() throws {
    let node = try self.started()
    for name in ["a", "b"] { node.run(CreateTopics([.init(name, numPartitions: 6_000)]), name) }
    node.environment.runAll()
    #expect(node.controller.image.partitionCount == 12_000)
    node.journal.clear()
    let first = node.controller.quorum.logEndOffset
    let journal = node.journal
    node.controller.registerOwn(registration(incarnation: 2)) { journal.note("register \((try? $0.get()) != nil)") }
    #expect(try LoneController.batches(on: node.environment.disk).suffix(2).map(\.header.recordCount) == [10_000, 2_001])
    node.environment.runAll()
    #expect(node.journal.entries == ["image \(first + 9_999)", "image \(first + 12_000)", "register true"])
    #expect(node.controller.image.broker(NodeID(1))?.epoch == BrokerEpoch(first.rawValue))
    #expect(node.controller.image.broker(NodeID(1))?.incarnationID == KafkaUUID(high: 1, low: 2))
  }

  @Test func aDiskThatRefusesEndsTheNode() throws {
    let node = try self.started()
    let before = node.controller.image
    node.environment.disk.failWrites(true)
    node.run(CreateTopics([.init("a")]), "create")
    node.environment.runAll()
    #expect(node.journal.entries.contains { $0.hasPrefix("failed: the metadata log cannot be used: ") && $0.contains("no space left") })
    #expect(node.journal.entries.contains("create KAFKA_STORAGE_ERROR"))
    node.environment.disk.failWrites(false)
    node.run(CreateTopics([.init("a")]), "again")
    node.environment.runAll()
    #expect(node.journal.entries.last == "again KAFKA_STORAGE_ERROR")
    #expect(node.controller.image == before)
    let survivor = try LoneController(node.environment.disk.afterPowerLoss())
    #expect(survivor.controller.image == before)
  }

  @Test func aFailedSyncEndsTheNode() throws {
    let node = try self.started()
    let image = node.controller.image
    node.environment.disk.failSyncs(true)
    node.run(CreateTopics([.init("a")]), "a")
    node.run(CreateTopics([.init("b")]), "b")
    node.environment.runAll()
    #expect(node.journal.entries.first?.hasPrefix("failed: ") == true)
    #expect(node.journal.entries.dropFirst() == ["a KAFKA_STORAGE_ERROR", "b KAFKA_STORAGE_ERROR"])
    node.environment.disk.failSyncs(false)
    node.run(CreateTopics([.init("c")]), "c")
    #expect(node.journal.entries.last == "c KAFKA_STORAGE_ERROR")
    #expect(node.controller.image == image)
  }

  @Test func aRequestFromWithinAnAnswer() throws {
    let node = try self.started()
    node.controller.submit(CreateTopics([.init("a")])) { _ in node.run(CreateTopics([.init("b")]), "b") }
    node.environment.runAll()
    #expect(node.controller.image.topic("b") != nil)
    #expect(node.journal.entries.last == "b ok")
  }

  @Test func anUnknownRecordIsNamedByItsOffset() throws {
    let feature = MetadataChange.featureLevel(name: MetadataVersion.feature, level: MetadataVersion.latest).encoded
    let unknown = try RawLog.disk([feature, ByteBuffer(bytes: [1, 99, 0])])
    let error = try #require(throws: ControllerLoadError.self) { try LoneController(unknown) }
    #expect(error == .record(at: Offset(2), .notSupported(type: 99)))
    #expect(error.description.hasPrefix("the record at offset 2 of the metadata log cannot be used: records of type 99"))
    let truncated = try RawLog.disk([feature, feature, ByteBuffer(bytes: [1, 2, 0, 9])])
    let malformed = try #require(throws: ControllerLoadError.self) { try LoneController(truncated) }
    #expect(malformed.description.hasPrefix("the record at offset 3 of the metadata log cannot be used: it is malformed"))
  }

  @Test func aRecordThatDoesNotFitIsNamedByItsOffset() throws {
    let disk = try RawLog.disk([MetadataChange.removeTopic(id: KafkaUUID(high: 1, low: 2)).encoded])
    let error = try #require(throws: ControllerLoadError.self) { try LoneController(disk) }
    #expect(error == .replay(at: Offset(1), .unknownTopic(KafkaUUID(high: 1, low: 2))))
    #expect(error.description.contains("offset 1"))
  }

  @Test func aLogOfAnotherMetadataVersion() throws {
    let disk = try RawLog.disk([MetadataChange.featureLevel(name: MetadataVersion.feature, level: 31).encoded])
    #expect(throws: ControllerLoadError.metadataVersion(31)) { try LoneController(disk) }
  }
}
