import Metadata
import Model
import NIOCore
import Testing

@testable import Controller

@Suite struct ControllerDriverTests {
  private let log = ScriptedLog()
  private let journal = Journal()

  private func started() throws -> ControllerDriver {
    let controller = try makeController(self.log, self.journal)
    #expect(controller.addBroker(pump: { self.log.commit() }) != nil)
    self.journal.clear()
    return controller
  }

  @Test func aNewLogGetsItsFeatures() throws {
    let controller = try makeController(self.log, self.journal)
    #expect(self.log.batches == [3])
    #expect(controller.image.metadataVersion == 0)
    self.log.commit()
    #expect(controller.image.metadataVersion == MetadataVersion.latest)
    #expect(self.journal.entries == ["loaded 0", "image -1", "image 2"])
  }

  @Test func nothingIsToldBeforeItIsCommitted() throws {
    let controller = try self.started()
    let before = controller.image
    controller.run(CreateTopics([.init("a", numPartitions: 3)]), "create", self.journal)
    #expect(self.journal.entries == [])
    #expect(controller.image == before)
    self.log.commit()
    #expect(self.journal.entries == ["image \(before.offset + 4) +a", "create ok"])
    #expect(controller.image.topic("a")?.partitions.count == 3)
  }

  /// One batch per operation, decided one upon the other, committed together.
  @Test func requestsNeedNotWaitForEachOther() throws {
    let controller = try self.started()
    let batches = self.log.batches.count
    controller.run(CreateTopics([.init("a")]), "create", self.journal)
    controller.run(CreatePartitions([.init("a", count: 4)]), "grow", self.journal)
    controller.run(CreateTopics([.init("b")], validateOnly: true), "validate", self.journal)
    controller.run(DeleteTopics([.init(name: "a")]), "delete", self.journal)
    #expect(self.log.batches.dropFirst(batches) == [2, 3, 1])
    #expect(self.journal.entries == [])
    self.log.commit()
    let offset = controller.image.offset
    #expect(self.journal.entries == [
      "image \(offset + -4) +a", "create ok", "image \(offset + -1)", "grow ok", "validate ok", "image \(offset)", "delete ok",
    ])
  }

  @Test func partialCommits() throws {
    let controller = try self.started()
    let first = self.log.nextOffset
    controller.run(CreateTopics([.init("a")]), "a", self.journal)
    controller.run(CreateTopics([.init("b")]), "b", self.journal)
    self.log.commit(upTo: first + 1)
    #expect(self.journal.entries == [])
    self.log.commit(upTo: first + 2)
    #expect(self.journal.entries == ["image \(first + 1) +a", "a ok"])
    #expect(controller.image.topic("b") == nil)
    self.log.commit()
    #expect(controller.image.topic("b") != nil)
  }

  @Test func refusalsThatRestOnTheUncommittedWaitForIt() throws {
    let controller = try self.started()
    controller.run(AllocateProducerIDs(nodeID: NodeID(1), epoch: BrokerEpoch(77)), "at once", self.journal)
    #expect(self.journal.entries == ["at once STALE_BROKER_EPOCH"])
    controller.run(CreateTopics([.init("a")]), "create", self.journal)
    controller.run(AllocateProducerIDs(nodeID: NodeID(1), epoch: BrokerEpoch(77)), "later", self.journal)
    #expect(self.journal.entries.count == 1)
    self.log.commit()
    #expect(self.journal.entries.dropFirst(2) == ["create ok", "later STALE_BROKER_EPOCH"])
  }

  /// Twelve thousand partitions of a broker that comes back, each with a new leader epoch.
  private func manyPartitions() throws -> ControllerDriver {
    let controller = try self.started()
    for name in ["a", "b"] { controller.run(CreateTopics([.init(name, numPartitions: 6_000)]), name, self.journal) }
    self.log.commit()
    #expect(controller.image.partitionCount == 12_000)
    self.journal.clear()
    return controller
  }

  @Test func whatDoesNotFitIntoOneBatchIsSeveral() throws {
    let controller = try self.manyPartitions()
    let batches = self.log.batches.count, first = self.log.nextOffset
    controller.run(registration(incarnation: 2), "register", self.journal)
    #expect(self.log.batches.dropFirst(batches) == [10_000, 2_001])
    self.log.commit(upTo: first + 10_000)
    #expect(self.journal.entries == ["image \(first + 9_999)"])
    #expect(controller.image.broker(NodeID(1))?.isFenced == false)
    self.log.commit()
    #expect(self.journal.entries == ["image \(first + 9_999)", "image \(first + 12_000)", "register ok"])
    #expect(controller.image.broker(NodeID(1))?.epoch == BrokerEpoch(first.rawValue))
  }

  /// The beginning is in the log and must be told of; the request was not carried out.
  @Test func theLogRefusesTheSecondBatch() throws {
    let controller = try self.manyPartitions()
    let first = self.log.nextOffset
    self.log.refuse(MetadataLogError("disk full"), after: 1)
    controller.run(registration(incarnation: 2), "register", self.journal)
    #expect(self.journal.entries == ["append failed: disk full"])
    self.log.refuse(nil)
    self.log.commit()
    #expect(self.journal.entries.dropFirst() == ["image \(first + 9_999)", "register KAFKA_STORAGE_ERROR"])
    self.journal.clear()
    controller.run(registration(incarnation: 2), "again", self.journal)
    self.log.commit()
    #expect(self.journal.entries.last == "again ok")
    #expect(controller.image.broker(NodeID(1))?.incarnationID == KafkaUUID(high: 1, low: 2))
  }

  @Test func aFailedAppendChangesNothing() throws {
    let controller = try self.started()
    let before = controller.image
    self.log.refuse(MetadataLogError("disk full"))
    controller.run(CreateTopics([.init("a")]), "create", self.journal)
    #expect(self.journal.entries == ["append failed: disk full", "create KAFKA_STORAGE_ERROR"])
    self.log.refuse(nil)
    controller.run(CreateTopics([.init("a")]), "again", self.journal)
    self.log.commit()
    #expect(self.journal.entries.last == "again ok")
    #expect(controller.image.topicCount == before.topicCount + 1)
  }

  @Test func aFailedLogEndsTheController() throws {
    let controller = try self.started()
    let before = controller.image
    controller.run(CreateTopics([.init("a")]), "a", self.journal)
    controller.run(CreateTopics([.init("b")]), "b", self.journal)
    self.log.fail("sync failed")
    #expect(self.journal.entries == ["log failed: sync failed", "a KAFKA_STORAGE_ERROR", "b KAFKA_STORAGE_ERROR"])
    controller.run(CreateTopics([.init("c")]), "c", self.journal)
    #expect(self.journal.entries.last == "c KAFKA_STORAGE_ERROR")
    #expect(controller.image == before)
  }

  @Test func aRequestFromWithinAnAnswer() throws {
    let controller = try self.started()
    let journal = self.journal
    controller.submit(CreateTopics([.init("a")])) { _ in controller.run(CreateTopics([.init("b")]), "b", journal) }
    self.log.commit()
    #expect(controller.image.topic("b") == nil)
    self.log.commit()
    #expect(controller.image.topic("b") != nil)
    #expect(journal.entries.last == "b ok")
  }

  @Test func loadingFromASnapshotsImage() throws {
    let controller = try self.started()
    controller.run(CreateTopics([.init("a")]), "a", self.journal)
    self.log.commit()
    let middle = controller.image
    controller.run(CreateTopics([.init("b")]), "b", self.journal)
    self.log.commit()
    let journal = Journal()
    let reloaded = try ControllerDriver(
      log: self.log, initial: middle, settings: try controllerSettings(), seed: 9, listener: journal)
    #expect(reloaded.image == controller.image)
    #expect(journal.entries.first == "loaded 2")
  }

  @Test func anUnknownRecordIsNamedByItsOffset() throws {
    let feature = MetadataChange.featureLevel(name: MetadataVersion.feature, level: MetadataVersion.latest).encoded
    let unknown = ScriptedLog([feature, ByteBuffer(bytes: [1, 99, 0])])
    let error = try #require(throws: ControllerLoadError.self) { try makeController(unknown, Journal()) }
    #expect(error == .record(at: Offset(1), .notSupported(type: 99)))
    #expect(error.description.hasPrefix("the record at offset 1 of the metadata log cannot be used: records of type 99"))
    let truncated = ScriptedLog([feature, feature, ByteBuffer(bytes: [1, 2, 0, 9])])
    let malformed = try #require(throws: ControllerLoadError.self) { try makeController(truncated, Journal()) }
    #expect(malformed.description.hasPrefix("the record at offset 2 of the metadata log cannot be used: it is malformed"))
  }

  @Test func aRecordThatDoesNotFitIsNamedByItsOffset() throws {
    let log = ScriptedLog([MetadataChange.removeTopic(id: KafkaUUID(high: 1, low: 2)).encoded])
    let error = try #require(throws: ControllerLoadError.self) { try makeController(log, Journal()) }
    #expect(error == .replay(at: .zero, .unknownTopic(KafkaUUID(high: 1, low: 2))))
    #expect(error.description.contains("offset 0"))
  }

  @Test func aLogOfAnotherMetadataVersion() throws {
    let log = ScriptedLog([MetadataChange.featureLevel(name: MetadataVersion.feature, level: 31).encoded])
    #expect(throws: ControllerLoadError.metadataVersion(31)) { try makeController(log, Journal()) }
  }
}
