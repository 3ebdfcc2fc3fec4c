import Base
import Environment
import Metadata
import Model
import NIOCore
import Raft
import Records
import Storage
import Synchronization
import Testing
import Wire

@testable import Controller

/// The log of a controller that is a quorum by itself, through stops and crashes.
@Suite struct ControllerLogTests {
  @Test func theLogBeginsAsKRaftsDoes() throws {
    let disk = MemoryDisk()
    let node = try LoneController(disk)
    #expect(node.controller.image.offset == Offset(3))
    let batches = try LoneController.batches(on: disk)
    #expect(batches.map(\.header.attributes.isControl) == [true, false])
    #expect(batches.map(\.header.baseOffset) == [Offset(0), Offset(1)])
    #expect(batches.map(\.header.partitionLeaderEpoch) == [LeaderEpoch(1), LeaderEpoch(1)])
    let workspace = RecordWorkspace()
    var records = try batches[0].records(using: workspace.decompressor)
    let record = try #require(try records.next())
    #expect(try ControlRecordKey(record.key).type == .leaderChange)
    let message = try LeaderChangeMessage(decoding: try #require(record.value), version: 0)
    #expect(message.leaderId == 1)
    #expect(message.voters.map(\.voterId) == [1])
    // The topic id of `__cluster_metadata` is Kafka's reserved one.
    let file = String(decoding: try #require(disk.content(of: "/data/__cluster_metadata-0/partition.metadata")), as: UTF8.self)
    #expect(file.contains("topic_id: AAAAAAAAAAAAAAAAAAAAAQ"))
  }

  @Test func aCleanRestart() throws {
    let disk = MemoryDisk()
    let node = try LoneController(disk)
    let epoch = try node.addBroker()
    node.run(CreateTopics([.init("a", numPartitions: 3, configs: [.init(name: "retention.ms", value: "7")])]), "create")
    node.environment.runAll()
    let image = node.controller.image
    try node.stop()
    let again = try LoneController(disk, seed: 6)
    #expect(again.controller.image == image)
    // A new leader epoch has begun behind the records.
    again.environment.runAll()
    let last = try #require(try LoneController.batches(on: disk).last)
    #expect(last.header.attributes.isControl)
    #expect(last.header.partitionLeaderEpoch == LeaderEpoch(2))
    let second = try again.addBroker(incarnation: 2, previousEpoch: epoch)
    // Its offset, behind the leader change.
    #expect(second == BrokerEpoch(last.header.baseOffset.rawValue + 1))
    #expect(again.controller.image.topic("a")?.partitions[0].leaderEpoch == LeaderEpoch(0))
  }

  @Test func oneSyncCommitsAllThatWaited() throws {
    let node = try LoneController(MemoryDisk())
    try node.addBroker()
    node.journal.clear()
    let syncs = node.environment.disk.syncCount
    for index in 0..<50 { node.run(CreateTopics([.init("t\(index)")]), "t\(index)") }
    #expect(node.journal.entries == [])
    node.environment.runAll()
    #expect(node.environment.disk.syncCount == syncs + 1)
    #expect(node.journal.entries.count { $0.hasSuffix(" ok") } == 50)
  }

  @Test func aCrashBetweenAppendAndSync() throws {
    let disk = MemoryDisk()
    let node = try LoneController(disk)
    try node.addBroker()
    node.run(CreateTopics([.init("kept")]), "kept")
    node.environment.runAll()
    let image = node.controller.image
    node.run(CreateTopics([.init("lost")]), "lost")
    #expect(!node.journal.entries.contains("lost ok"))
    let survivor = try LoneController(disk.afterPowerLoss())
    #expect(survivor.controller.image == image)
    // Torn in the middle of the batch.
    let torn = try LoneController(disk.afterPowerLoss(torn: { $0 / 2 }))
    #expect(torn.controller.image == image)
    // All of it happened to reach the disk: then it holds, though nobody was told.
    let whole = try LoneController(disk.afterPowerLoss(torn: { $0 }))
    #expect(whole.controller.image.topic("lost") != nil)
  }

  @Test func aBadByteInTheLogIsFound() throws {
    let disk = MemoryDisk()
    let node = try LoneController(disk)
    try node.addBroker()
    try node.stop()
    disk.overwrite(LoneController.segment) { bytes in bytes[bytes.count / 2] ^= 0x10 }
    // After a clean stop nothing is checked but what is read, and the log is read whole.
    let error = try #require(throws: ControllerLoadError.self) { try LoneController(disk) }
    #expect(error.description.contains("the metadata log cannot be used"))
  }

  /// A directory of an earlier version: the log, and nothing that says how the quorum stood.
  @Test func aLogWithoutAQuorumState() throws {
    let disk = MemoryDisk()
    let node = try LoneController(disk)
    try node.addBroker()
    let image = node.controller.image
    try node.stop()
    let path = "/data/__cluster_metadata-0/quorum-state"
    #expect(disk.content(of: path) != nil)
    try disk.removeFile(path)
    let again = try LoneController(disk, seed: 6)
    #expect(again.controller.image == image)
    #expect(again.journal.entries.contains("active 2"))
  }

  @Test func aSnapshotTakesTheLogsPlace() throws {
    let disk = MemoryDisk()
    let adjust: (inout ControllerSetup) -> Void = { setup in
      setup.snapshots.bytes = 2_000
      setup.history = MetadataHistory(bytes: 0)
    }
    let node = try LoneController(disk, adjust: adjust)
    try node.addBroker()
    for index in 0..<60 {
      node.run(CreateTopics([.init("t\(index)")]), "t\(index)")
      node.environment.runAll()
    }
    #expect(node.journal.entries.count { $0.hasPrefix("snapshot ") } >= 2)
    let image = node.controller.image
    let survivor = try LoneController(disk.afterPowerLoss(), seed: 7, adjust: adjust)
    #expect(survivor.controller.image == image)
    let loaded = survivor.journal.entries.first { $0.hasPrefix("loaded ") }
    #expect(Int(loaded?.dropFirst(7) ?? "") ?? 1_000 < 60, "the log was read from its beginning: \(loaded ?? "nothing")")
    try survivor.addBroker(incarnation: 2)
    survivor.run(CreateTopics([.init("behind")]), "behind")
    survivor.environment.runAll()
    #expect(survivor.journal.entries.last { $0.hasPrefix("behind") } == "behind ok")
  }

  private static func manyTopics(_ disk: MemoryDisk, _ history: MetadataHistory) throws -> LoneController {
    let node = try LoneController(disk) { setup in
      setup.snapshots.bytes = 2_000
      setup.history = history
    }
    try node.addBroker()
    for index in 0..<60 {
      node.run(CreateTopics([.init("t\(index)")]), "t\(index)")
      node.environment.runAll()
    }
    return node
  }

  /// Raft goes on from the snapshot before the latest; what is before that stays to be looked at.
  @Test func theLogBehindSnapshotsIsKept() throws {
    let disk = MemoryDisk()
    let node = try Self.manyTopics(disk, MetadataHistory())
    #expect(node.controller.quorum.logStartOffset == .zero)
    let snapshots = node.controller.quorum.machine.log.snapshots
    #expect(snapshots.count == 2 && node.controller.quorum.machine.log.base == snapshots[0].id)
    let again = try LoneController(disk.afterPowerLoss(), seed: 6)
    #expect(again.controller.image == node.controller.image)
    #expect(again.controller.quorum.logStartOffset == .zero)
    #expect(again.controller.quorum.machine.log.snapshots == snapshots)
    #expect(again.controller.quorum.machine.log.base == snapshots[0].id)
  }

  @Test func whatIsOlderThanTheHistoryGoes() throws {
    // The clock goes on by a millisecond each time it is read.
    let node = try Self.manyTopics(MemoryDisk(), MetadataHistory(bytes: nil, age: .milliseconds(3)))
    #expect(node.controller.quorum.logStartOffset > Offset(10))
    let young = try Self.manyTopics(MemoryDisk(), MetadataHistory(bytes: nil, age: .seconds(3_600)))
    #expect(young.controller.quorum.logStartOffset == .zero)
  }

  /// A crash came between the leader's snapshot and the log that it replaces: what the log has before it may never have been committed.
  @Test func aLogThatIsNotTheSnapshotsIsNotTaken() throws {
    let disk = MemoryDisk()
    let node = try Self.manyTopics(disk, MetadataHistory())
    let id = try #require(node.controller.quorum.machine.log.latestSnapshot?.id)
    let directory = "/data/__cluster_metadata-0/"
    let name = { (term: Int32) in directory + SnapshotFiles<MemoryDisk>.name(LogEnd(term: Term(term), index: id.index)) + ".checkpoint" }
    try disk.rename(name(id.term.rawValue), to: name(id.term.rawValue + 4))
    let again = try LoneController(disk, seed: 6, starting: false)
    #expect(again.controller.quorum.machine.log.startIndex == id.index)
    #expect(again.controller.quorum.machine.highWatermark == id.index)
    #expect(again.controller.quorum.logEndOffset == Offset(id.index.rawValue), "what it had behind the snapshot's end is another log's")
  }

  /// The start after a crash checks what came after the last checkpoint, not the whole log.
  @Test func checkpointsBoundTheRecovery() throws {
    let disk = MemoryDisk()
    let node = try LoneController(disk)
    try node.addBroker()
    for index in 0..<5 {
      node.run(CreateTopics([.init("t\(index)", numPartitions: 4000)]), "t\(index)")
      node.environment.runAll()
    }
    try node.store.writeCheckpoints()
    let byteCount = try #require(disk.content(of: LoneController.segment)).count
    #expect(byteCount > 1 << 20)
    let survivor = try LoneController(disk.afterPowerLoss())
    let report = try #require(survivor.report)
    #expect(!report.wasClean)
    #expect(report.scannedByteCount < byteCount / 2)
    #expect(survivor.controller.image == node.controller.image)
  }

  @Test func afterCloseRequestsAreRefused() throws {
    let node = try LoneController(MemoryDisk())
    node.environment.runAll()
    try node.stop()
    node.run(CreateTopics([.init("a")]), "a")
    #expect(node.journal.entries.last == "a NOT_CONTROLLER")
  }

  /// Random requests, random progress of the syncs, a loss of power at a random moment: whatever was answered is there, the image is
  /// one that the records give, and the next incarnation goes on from it.
  @Test(arguments: 0..<40 as Range<UInt64>) func powerLossAtRandomMoments(_ seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    var disk = MemoryDisk()
    var answered: Set<String> = []
    for incarnation in 1...4 {
      let node = try LoneController(disk, seed: seed &* 31 &+ UInt64(incarnation))
      for name in answered { #expect(node.controller.image.topic(name) != nil, "\(name) is lost") }
      try node.addBroker(incarnation: UInt64(incarnation))
      for step in 0..<Int.random(in: 0..<30, using: &generator) {
        let name = "t\(incarnation)-\(step)"
        switch Int.random(in: 0..<4, using: &generator) {
        case 0, 1: node.run(CreateTopics([.init(name, numPartitions: Int32.random(in: 1...4, using: &generator))]), name)
        case 2:
          node.run(
            IncrementalAlterConfigs([.init(.defaultBroker, [.init("message.max.bytes", .set, "\(step + 1)")])]), "config")
        default: node.environment.runOne()
        }
      }
      for entry in node.journal.entries where entry.hasPrefix("t") && entry.hasSuffix(" ok") { answered.insert(String(entry.dropLast(3))) }
      let published = node.controller.image
      let share = Double.random(in: 0...1, using: &generator)
      disk = disk.afterPowerLoss(torn: { Int(Double($0) * share) })
      let survivor = try LoneController(disk.afterPowerLoss())
      #expect(survivor.controller.image.offset >= published.offset)
      for topic in published.topicsByName { #expect(survivor.controller.image.topic(topic.id) == topic) }
    }
  }
}
