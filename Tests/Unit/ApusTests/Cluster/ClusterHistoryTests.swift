import Base
import Compression
import Foundation
import JSON
import KafkaClient
import Model
import NIOCore
import Records
import Testing
import Wire

@testable import apus

/// A metadata log made by hand, as a controller would write it.
private struct LogMaker {
  private(set) var batches: [RecordBatchView] = []
  private(set) var end: Int64 = 0
  var epoch: Int32 = 1
  static let topic = KafkaUUID("AAAAAAAAAAAAAAAAAAAABw")!

  mutating func add(_ records: MetadataRecord..., at time: Int64) throws {
    try self.add(records.map { (nil, $0.encoded()) }, at: time, isControl: false)
  }

  mutating func add(_ record: ControlRecord, at time: Int64) throws {
    try self.add([(record.key, record.encodedValue)], at: time, isControl: true)
  }

  private mutating func add(_ records: [(key: ByteBuffer?, value: ByteBuffer)], at time: Int64, isControl: Bool) throws {
    var builder = RecordBatchBuilder(.init(baseOffset: Offset(self.end), leaderEpoch: LeaderEpoch(self.epoch), isControl: isControl))
    for record in records { try builder.append(timestamp: Timestamp(time), key: record.key, value: record.value) }
    self.batches.append(try RecordBatchView(frontOf: try builder.finish(using: Compressor())))
    self.end += Int64(records.count)
  }

  mutating func leader(_ node: Int32, at time: Int64) throws {
    try self.add(.leaderChange(LeaderChangeMessage(version: 0, leaderId: node)), at: time)
  }

  static func broker(_ id: Int32, fenced: Bool = false) -> MetadataRecord {
    .registerBroker(RegisterBrokerRecord(brokerId: id, incarnationId: .metadataTopic, brokerEpoch: 1, rack: nil, fenced: fenced))
  }
  static var topicRecord: MetadataRecord { .topic(TopicRecord(name: "orders", topicId: Self.topic)) }
  static var partition: MetadataRecord {
    .partition(PartitionRecord(
      partitionId: 0, topicId: Self.topic, replicas: [1, 2, 3], isr: [1, 2, 3], leader: 1, leaderEpoch: 0, partitionEpoch: 0, reason: 1))
  }
  static func change(isr: [Int32]? = nil, leader: Int32 = -2, elr: [Int32]? = nil, reason: Int8) -> MetadataRecord {
    .partitionChange(PartitionChangeRecord(
      partitionId: 0, topicId: Self.topic, isr: isr, leader: leader, eligibleLeaderReplicas: elr, reason: reason))
  }

  /// Three brokers, a topic, a failure of broker 1, then of all, and a leader again.
  static func story() throws -> LogMaker {
    var log = LogMaker()
    try log.leader(3, at: 1000)
    try log.add(Self.broker(1), Self.broker(2), Self.broker(3), at: 1010)
    try log.add(Self.topicRecord, Self.partition, at: 2000)
    try log.add(.fenceBroker(FenceBrokerRecord(id: 1, epoch: 1)), Self.change(isr: [2, 3], leader: 2, reason: 2), at: 3000)
    log.epoch = 2
    try log.leader(2, at: 4000)
    try log.add(Self.change(isr: [2], reason: 9), at: 5000)
    try log.add(Self.change(isr: [], leader: -1, elr: [2], reason: 2), at: 6000)
    try log.add(Self.change(isr: [2], leader: 2, elr: [], reason: 13), at: 6350)
    return log
  }
}

@Suite struct ClusterHistoryTests {
  private func replay(_ log: LogMaker) throws -> (history: ClusterHistory, story: PartitionStory) {
    var (history, story) = (ClusterHistory(), PartitionStory(topic: "orders", partition: PartitionID(0)))
    for batch in log.batches { try history.take(batch) { story.take($0) } }
    return (history, story)
  }

  @Test func theStoryIsToldInPlainWords() throws {
    let (history, story) = try self.replay(try LogMaker.story())
    let report = try #require(PartitionReport(story, history, since: nil, only: false))
    let lines = report.lines.map { $0.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ") }
    #expect(lines[0] == "orders-0: leader 2, epoch 3, replicas 1,2,3, in sync 2")
    let told = lines.dropFirst(3).map { $0.split(separator: " ", maxSplits: 2).last.map(String.init) ?? "" }
    #expect(told == [
      "node 3 became the active controller (quorum epoch 1)", "broker 1 registered", "broker 2 registered", "broker 3 registered",
      "topic orders was created (id AAAAAAAAAAAAAAAAAAAABw)", "created: broker 1 leads (epoch 0), replicas 1,2,3, in sync 1,2,3",
      "broker 1 was fenced: it may not lead, for its process is dead, its session ended, or it asked for it",
      "leader 1 -> 2 (epoch 0 -> 1); in sync 1,2,3 -> 2,3, because broker 1 was fenced: dead, or silent for a whole session",
      "node 2 became the active controller (quorum epoch 2)", "in sync 2,3 -> 2, because the leader found broker 3 lagging",
      "no leader any more, it was broker 2 (epoch 1 -> 2); in sync 2 -> none; eligible none -> 2, because broker 2 was fenced: "
        + "dead, or silent for a whole session",
      "broker 2 leads (epoch 2 -> 3); in sync none -> 2; eligible 2 -> none, because a replica that may lead without loss was elected; "
        + "nobody led for 350 ms",
    ])
    #expect(report.json["events"]?.text.contains(#""reason":"isrShrink""#) == true)
    #expect(report.json["events"]?.text.contains(#""leaderlessMs":350"#) == true)
  }

  /// The partitions come first in the log, and behind them the fencing, which knows the cause.
  @Test(arguments: [
    (2, "processDead", "its process is dead", "silent"), (1, "sessionEnded", "it was silent for a whole session", "dead"),
    (3, "ownWish", "it asked for it", "dead"),
  ] as [(Int8, String, String, String)])
  func theCauseOfAFencing(cause: Int8, name: String, words: String, others: String) throws {
    var log = LogMaker()
    try log.add(LogMaker.broker(1), LogMaker.broker(2), LogMaker.topicRecord, LogMaker.partition, at: 1000)
    let fencing = BrokerRegistrationChangeRecord(brokerId: 1, brokerEpoch: 1, fenced: 1, cause: cause)
    try log.add(LogMaker.change(isr: [2, 3], leader: 2, reason: 2), .brokerRegistrationChange(fencing), at: 2000)
    // It is back, and later another one is lost, of whom no cause is known.
    try log.add(LogMaker.broker(1), LogMaker.change(isr: [3], leader: 3, reason: 2), at: 3000)
    let (history, story) = try self.replay(log)
    let report = try #require(PartitionReport(story, history, since: nil, only: false))
    let moved = try #require(report.lines.first { $0.contains("leader 1 -> 2") })
    #expect(moved.hasSuffix("because broker 1 was fenced: \(words)") && !moved.contains(others))
    #expect(report.lines.contains { $0.hasSuffix("broker 1 was fenced: it may not lead, for \(words)") })
    #expect(report.lines.contains { $0.hasSuffix("because broker 2 was fenced: dead, or silent for a whole session") })
    #expect(report.json["events"]?.text.contains(#""change":"fenced","cause":"\#(name)""#) == true)
  }

  @Test func anOrderlyEndAndConfigsAreTold() throws {
    var log = LogMaker()
    try log.add(LogMaker.broker(1), LogMaker.broker(2), LogMaker.topicRecord, LogMaker.partition, at: 1000)
    let fencing = BrokerRegistrationChangeRecord(brokerId: 1, brokerEpoch: 1, fenced: 1, cause: 4)
    try log.add(.brokerRegistrationChange(fencing), at: 2000)
    for (topic, value) in [("orders", "2"), ("other", "7"), ("orders", nil)] as [(String, String?)] {
      try log.add(.config(ConfigRecord(resourceType: 2, resourceName: topic, name: "min.insync.replicas", value: value)), at: 3000)
    }
    let (history, story) = try self.replay(log)
    let report = try #require(PartitionReport(story, history, since: nil, only: false))
    #expect(report.lines.contains { $0.hasSuffix("broker 1 has shut down in an orderly way; it may not lead until it is back") })
    #expect(report.lines.contains { $0.hasSuffix("min.insync.replicas of topic orders was set to 2") })
    #expect(report.lines.last?.hasSuffix("min.insync.replicas of topic orders was taken off: the brokers' value holds") == true)
    #expect(!report.lines.contains { $0.contains("other") })
    #expect(report.json["events"]?.text.contains(#""event":"topicConfigured","topic":"orders","config":"min.insync.replicas""#) == true)
  }

  @Test func onlyThePartitionAndOnlySince() throws {
    let (history, story) = try self.replay(try LogMaker.story())
    let only = try #require(PartitionReport(story, history, since: nil, only: true))
    #expect(!only.lines.contains { $0.contains("controller") || $0.contains("registered") })
    let since = try #require(PartitionReport(story, history, since: 5500, only: true))
    #expect(since.lines.count == 5)
  }

  @Test func whatTheLogDoesNotKnowIsNotTold() throws {
    let (history, _) = try self.replay(try LogMaker.story())
    #expect(PartitionReport(PartitionStory(topic: "orders", partition: PartitionID(5)), history, since: nil, only: false) == nil)
    #expect(PartitionReport(PartitionStory(topic: "other", partition: PartitionID(0)), history, since: nil, only: false) == nil)
  }

  @Test func aDeletedTopicHasAStoryAndNoState() throws {
    var log = try LogMaker.story()
    try log.add(.removeTopic(RemoveTopicRecord(topicId: LogMaker.topic)), at: 9000)
    let (history, story) = try self.replay(log)
    let report = try #require(PartitionReport(story, history, since: nil, only: true))
    #expect(report.lines.first == "orders-0: deleted" && report.json["now"] == .null)
    #expect(report.lines.last?.contains("topic orders was deleted") == true)
  }

  @Test func aPartitionWithoutALeaderTellsSinceWhen() throws {
    var log = try LogMaker.story()
    try log.add(LogMaker.change(isr: [], leader: -1, elr: [2], reason: 2), at: 7000)
    // Still none: the time goes on from when it began.
    try log.add(LogMaker.change(elr: [2, 3], reason: 9), at: 8000)
    let (history, story) = try self.replay(log)
    #expect(history.partition("orders", PartitionID(0))?.leaderless?.time == 7000)
    let report = try #require(PartitionReport(story, history, since: nil, only: true))
    #expect(report.lines[1] == "without a leader since 1970-01-01T00:00:07.000Z")
    let topic = TopicDescription(name: "orders", id: nil, isInternal: false, partitions: [
      PartitionDescription(
        partition: 0, leader: nil, leaderEpoch: 4, replicas: [1, 2, 3], inSyncReplicas: [], eligibleLeaderReplicas: [2, 3],
        lastKnownEligibleLeaderReplicas: [])
    ])
    let table = LeadersTable([topic], history, unhealthyOnly: true)
    #expect(table.lines.count == 2 && table.lines[1].contains("isrShrink, offline since 1970-01-01T00:00:07.000Z"))
    #expect(table.json.text.contains(#""offlineSince":7000"#) && table.json.text.contains(#""reason":"isrShrink""#))
    // Another leader epoch than the cluster's: the log is behind, and its reason would mislead.
    var moved = topic
    moved.partitions[0].leaderEpoch = 5
    #expect(LeadersTable([moved], history, unhealthyOnly: false).json.text.contains(#""reason":null"#))
  }

  @Test func healthyPartitionsAreLeftOut() {
    let topic = TopicDescription(name: "t", id: nil, isInternal: false, partitions: [
      ClusterStatusTests.partition(0, leader: 1, [1, 2]), ClusterStatusTests.partition(1, leader: 1, [1, 2], inSync: [1]),
    ])
    #expect(LeadersTable([topic], nil, unhealthyOnly: true).rows.map(\.partition.partition) == [1])
    #expect(LeadersTable([topic], nil, unhealthyOnly: false).lines[1].contains(" - "))
  }

  @Test func unknownRecordsArePassedOver() throws {
    var log = try LogMaker.story()
    try log.add(.clientQuota(ClientQuotaRecord(entity: [], key: "k", value: 1, remove: false)), at: 9000)
    #expect(try self.replay(log).history.skippedCount == 1)
  }

  @Test func aBatchThatWasSeenInPartGoesOn() throws {
    let log = try LogMaker.story()
    var history = ClusterHistory()
    var count = 0
    for batch in log.batches + log.batches { try history.take(batch) { _ in count += 1 } }
    #expect(count == Int(log.end) && history.endOffset == log.end)
  }

  // MARK: Snapshots and files

  private func snapshot() throws -> [RecordBatchView] {
    var maker = LogMaker()
    try maker.add(.snapshotHeader(SnapshotHeaderRecord(version: 0, lastContainedLogTimestamp: 2500)), at: 2600)
    try maker.add(LogMaker.broker(1), LogMaker.broker(2), LogMaker.topicRecord, LogMaker.partition, at: 2600)
    try maker.add(.snapshotFooter(SnapshotFooterRecord(version: 0)), at: 2600)
    return maker.batches
  }

  private func withDirectory<R>(_ body: (String) throws -> R) throws -> R {
    let root = FileManager.default.temporaryDirectory.appendingPathComponent("apus-history-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: root + "/__cluster_metadata-0", withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: root) }
    return try body(root)
  }

  private func write(_ batches: some Sequence<RecordBatchView>, _ path: String, cut: Int = 0) throws {
    var bytes: [UInt8] = []
    for batch in batches { bytes += batch.bytes.readableBytesView }
    try Data(bytes.dropLast(cut)).write(to: URL(fileURLWithPath: path))
  }

  private func replay(_ path: String) throws -> (ClusterHistory, PartitionStory) {
    var (history, story) = (ClusterHistory(), PartitionStory(topic: "orders", partition: PartitionID(0)))
    try MetadataLogFiles(path).replay(into: &history) { story.take($0) }
    return (history, story)
  }

  @Test func aNodesDirectoryIsRead() throws {
    try self.withDirectory { root in
      let (directory, log) = (root + "/__cluster_metadata-0", try LogMaker.story())
      try self.write(log.batches[..<4], directory + "/00000000000000000000.log")
      try self.write(log.batches[4...], directory + "/00000000000000000008.log")
      for path in [root, root + "/", directory] {
        let (history, story) = try self.replay(path)
        #expect(history.endOffset == log.end && history.snapshot == nil)
        #expect(story.told(withContext: true, holding: []).count == Int(log.end))
      }
      // What is being written is not there yet.
      try self.write(log.batches[4...], directory + "/00000000000000000008.log", cut: 5)
      #expect(try self.replay(root).0.endOffset == log.end - 1)
      // A segment before the last has to be whole.
      try self.write(log.batches[..<4], directory + "/00000000000000000000.log", cut: 5)
      #expect(throws: CommandFailure.self) { try self.replay(root) }
    }
  }

  @Test func aSnapshotStandsForWhatIsGone() throws {
    try self.withDirectory { root in
      let (directory, log) = (root + "/__cluster_metadata-0", try LogMaker.story())
      try self.write(log.batches[4...], directory + "/00000000000000000008.log")
      #expect(throws: CommandFailure.self) { try self.replay(root) }
      try self.write(try self.snapshot(), directory + "/00000000000000000008-0000000001.checkpoint")
      let (history, story) = try self.replay(root)
      #expect(history.snapshot?.endOffset == 8 && history.snapshot?.time == 2500 && history.endOffset == log.end)
      let report = try #require(PartitionReport(story, history, since: nil, only: true))
      #expect(report.lines[1] == "what happened before 1970-01-01T00:00:02.500Z (offset 8) is in a snapshot, which has no story")
      #expect(report.lines.contains { $0.contains("in sync 1,2,3 -> 2") })
      // A torn snapshot is none.
      try self.write(try self.snapshot(), directory + "/00000000000000000008-0000000001.checkpoint", cut: 1)
      #expect(throws: CommandFailure.self) { try self.replay(root) }
    }
  }

  @Test func otherDirectoriesAreNamed() throws {
    let missing = #expect(throws: CommandFailure.self) { try MetadataLogFiles("/nowhere/at/all") }
    #expect(missing?.description.contains("/nowhere/at/all") == true)
    try self.withDirectory { root in
      let empty = #expect(throws: CommandFailure.self) { try MetadataLogFiles(root) }
      #expect(empty?.description.contains("no metadata log") == true)
    }
    #expect(MetadataLogFiles.snapshotEnd("00000000000000000008-0000000001.checkpoint") == 8)
    #expect(MetadataLogFiles.snapshotEnd("00000000000000000008-0000000001.checkpoint.part") == nil)
    #expect(MetadataLogFiles.snapshotEnd("8-1.checkpoint") == nil)
  }

  // MARK: Watching

  @Test func changesAreLines() throws {
    var lines: [String] = []
    var history = ClusterHistory()
    for batch in try LogMaker.story().batches { try history.take(batch) { lines.append(ClusterWatch.line($0)) } }
    #expect(lines[0] == "1970-01-01T00:00:01.000Z  node 3 became the active controller (quorum epoch 1)")
    #expect(lines.contains { $0.hasPrefix("1970-01-01T00:00:03.000Z  orders-0: leader 1 -> 2") })
  }

  @Test func differencesAreLines() {
    let id = TopicPartition(topic: "t", partition: 0)
    let before = ClusterStatusTests.partition(0, leader: 1, [1, 2])
    var after = ClusterStatusTests.partition(0, leader: 2, [1, 2], inSync: [2])
    after.leaderEpoch = 4
    let lines = ClusterWatch.differences([id: before], [id: after], at: 0, json: false)
    #expect(lines == ["1970-01-01T00:00:00.000Z  t-0: leader 1 -> 2 (epoch 3 -> 4); in sync 1,2 -> 2"])
    #expect(ClusterWatch.differences([id: before], [id: before], at: 0, json: false).isEmpty)
    #expect(ClusterWatch.differences([id: before], [:], at: 0, json: false) == ["1970-01-01T00:00:00.000Z  t-0: deleted"])
    let new = ClusterWatch.differences([:], [id: before], at: 0, json: false)
    #expect(new == ["1970-01-01T00:00:00.000Z  t-0: new: leader 1, replicas 1,2"])
    #expect(ClusterWatch.differences([id: before], [id: after], at: 0, json: true)[0].contains(#""after":{"leader":2"#))
  }
}
