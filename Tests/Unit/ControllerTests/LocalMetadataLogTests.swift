import Base
import Environment
import Metadata
import Model
import NIOCore
import Records
import Storage
import Synchronization
import Testing
import Wire

@testable import Controller

@Suite struct LocalMetadataLogTests {
  /// A controller on a memory disk, from an empty directory or after a stop.
  struct Node {
    let environment: ManualEnvironment
    let store: LogDirectory<MemoryDisk>
    let controller: ControllerDriver
    let journal = Journal()

    init(_ disk: MemoryDisk, seed: UInt64 = 5) throws {
      self.environment = ManualEnvironment(disk: disk, seed: seed)
      var generator = SeededGenerator(seed: seed)
      self.store = try LogDirectory.open(
        disk: disk, path: "/data", nodeID: NodeID(1), clusterID: nil, newClusterID: testClusterID, generator: &generator)
      let config = try BrokerConfig(BrokerConfigLayers(staticConfig: StaticConfig()))
      let log = try LocalMetadataLog.open(environment: self.environment, store: self.store, config: config).log
      self.controller = try makeController(log, self.journal, seed: seed)
    }

    func run<Request: ControllerRequest>(_ request: Request, _ label: String) { self.controller.run(request, label, self.journal) }

    func stop() throws {
      let error = Mutex<MetadataLogError?>(MetadataLogError("it did not close"))
      self.controller.close { outcome in error.withLock { $0 = outcome } }
      self.environment.runAll()
      #expect(error.withLock { $0 } == nil)
      try self.store.closeCleanly()
    }
  }
  private static let segment = "/data/__cluster_metadata-0/00000000000000000000.log"

  private func batches(_ disk: MemoryDisk) throws -> [RecordBatchView] {
    var sequence = BatchSequence(ByteBuffer(bytes: try #require(disk.content(of: Self.segment))))
    var batches: [RecordBatchView] = []
    while let batch = try sequence.next() { batches.append(batch) }
    return batches
  }

  @Test func theLogBeginsAsKRaftsDoes() throws {
    let disk = MemoryDisk()
    let node = try Node(disk)
    #expect(node.controller.image.offset == Offset(-1))
    node.environment.runAll()
    #expect(node.controller.image.offset == Offset(3))
    let batches = try self.batches(disk)
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
    let node = try Node(disk)
    let epoch = try #require(node.controller.addBroker(pump: { node.environment.runAll() }))
    node.run(CreateTopics([.init("a", numPartitions: 3, configs: [.init(name: "retention.ms", value: "7")])]), "create")
    node.environment.runAll()
    let image = node.controller.image
    try node.stop()
    let again = try Node(disk, seed: 6)
    #expect(again.controller.image == image)
    // A new leader epoch has begun behind the records.
    again.environment.runAll()
    let last = try #require(try self.batches(disk).last)
    #expect(last.header.attributes.isControl)
    #expect(last.header.partitionLeaderEpoch == LeaderEpoch(2))
    let second = try #require(again.controller.addBroker(incarnation: 2, previousEpoch: epoch, pump: { again.environment.runAll() }))
    // Its offset, behind the leader change.
    #expect(second == BrokerEpoch(last.header.baseOffset.rawValue + 1))
    #expect(again.controller.image.topic("a")?.partitions[0].leaderEpoch == LeaderEpoch(0))
  }

  @Test func oneSyncCommitsAllThatWaited() throws {
    let node = try Node(MemoryDisk())
    _ = try #require(node.controller.addBroker(pump: { node.environment.runAll() }))
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
    let node = try Node(disk)
    _ = try #require(node.controller.addBroker(pump: { node.environment.runAll() }))
    node.run(CreateTopics([.init("kept")]), "kept")
    node.environment.runAll()
    let image = node.controller.image
    node.run(CreateTopics([.init("lost")]), "lost")
    #expect(!node.journal.entries.contains("lost ok"))
    let survivor = try Node(disk.afterPowerLoss())
    #expect(survivor.controller.image == image)
    // Torn in the middle of the batch.
    let torn = try Node(disk.afterPowerLoss(torn: { $0 / 2 }))
    #expect(torn.controller.image == image)
    // All of it happened to reach the disk: then it holds, though nobody was told.
    let whole = try Node(disk.afterPowerLoss(torn: { $0 }))
    #expect(whole.controller.image.topic("lost") != nil)
  }

  @Test func aFullDiskRefusesAndRecovers() throws {
    let disk = MemoryDisk()
    let node = try Node(disk)
    _ = try #require(node.controller.addBroker(pump: { node.environment.runAll() }))
    let image = node.controller.image
    node.journal.clear()
    disk.failWrites(true)
    node.run(CreateTopics([.init("a")]), "a")
    node.environment.runAll()
    #expect(node.journal.entries.first?.hasPrefix("append failed: ") == true)
    #expect(node.journal.entries.first?.contains("no space left") == true)
    #expect(node.journal.entries.last == "a KAFKA_STORAGE_ERROR")
    #expect(node.controller.image == image)
    disk.failWrites(false)
    node.run(CreateTopics([.init("a")]), "again")
    node.environment.runAll()
    #expect(node.journal.entries.last == "again ok")
    #expect(try Node(disk.afterPowerLoss()).controller.image == node.controller.image)
  }

  @Test func aFailedSyncEndsTheController() throws {
    let disk = MemoryDisk()
    let node = try Node(disk)
    _ = try #require(node.controller.addBroker(pump: { node.environment.runAll() }))
    let image = node.controller.image
    node.journal.clear()
    disk.failSyncs(true)
    node.run(CreateTopics([.init("a")]), "a")
    node.run(CreateTopics([.init("b")]), "b")
    node.environment.runAll()
    #expect(node.journal.entries.first?.hasPrefix("log failed: ") == true)
    #expect(node.journal.entries.dropFirst() == ["a KAFKA_STORAGE_ERROR", "b KAFKA_STORAGE_ERROR"])
    disk.failSyncs(false)
    node.run(CreateTopics([.init("c")]), "c")
    #expect(node.journal.entries.last == "c KAFKA_STORAGE_ERROR")
    #expect(node.controller.image == image)
  }

  @Test func aBadByteInTheLogIsFound() throws {
    let disk = MemoryDisk()
    let node = try Node(disk)
    _ = try #require(node.controller.addBroker(pump: { node.environment.runAll() }))
    try node.stop()
    disk.overwrite(Self.segment) { bytes in bytes[bytes.count / 2] ^= 0x10 }
    // After a clean stop nothing is checked but what is read, and the log is read whole.
    let error = try #require(throws: ControllerLoadError.self) { try Node(disk) }
    #expect(error.description.contains("the metadata log cannot be used"))
  }

  /// The start after a crash checks what came after the last checkpoint, not the whole log.
  @Test func checkpointsBoundTheRecovery() throws {
    let disk = MemoryDisk()
    let node = try Node(disk)
    _ = try #require(node.controller.addBroker(pump: { node.environment.runAll() }))
    for index in 0..<5 {
      node.run(CreateTopics([.init("t\(index)", numPartitions: 4000)]), "t\(index)")
      node.environment.runAll()
    }
    try node.store.writeCheckpoints()
    let byteCount = try #require(disk.content(of: Self.segment)).count
    #expect(byteCount > 1 << 20)
    let survivor = disk.afterPowerLoss()
    var generator = SeededGenerator(seed: 1)
    let store = try LogDirectory.open(
      disk: survivor, path: "/data", nodeID: NodeID(1), clusterID: nil, newClusterID: testClusterID, generator: &generator)
    let config = try BrokerConfig(BrokerConfigLayers(staticConfig: StaticConfig()))
    let opened = try LocalMetadataLog.open(environment: ManualEnvironment(disk: survivor), store: store, config: config)
    let report = try #require(opened.report)
    #expect(!report.wasClean)
    #expect(report.scannedByteCount < byteCount / 2)
    #expect(try makeController(opened.log, Journal()).image == node.controller.image)
  }

  @Test func afterCloseRequestsAreRefused() throws {
    let node = try Node(MemoryDisk())
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
      let node = try Node(disk, seed: seed &* 31 &+ UInt64(incarnation))
      for name in answered { #expect(node.controller.image.topic(name) != nil, "\(name) is lost") }
      _ = try #require(node.controller.addBroker(incarnation: UInt64(incarnation), pump: { node.environment.runAll() }))
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
      let survivor = try Node(disk.afterPowerLoss())
      #expect(survivor.controller.image.offset >= published.offset)
      for topic in published.topicsByName { #expect(survivor.controller.image.topic(topic.id) == topic) }
    }
  }
}
