import Environment
import Foundation
import LogCore
import Model
import NIOCore
import PosixDisk
import Records
import Storage
import Testing

/// A directory of its own for one test on the real file system, removed at the end.
final class TemporaryDirectory {
  let path: String
  init() { self.path = NSTemporaryDirectory() + "/apus-storage-\(UUID().uuidString)" }
  deinit { try? FileManager.default.removeItem(atPath: self.path) }

  func open(clusterID: String? = nil, openFilesMax: Int = 64) throws -> LogDirectory<PosixDisk> {
    var generator = SystemRandomNumberGenerator()
    return try LogDirectory.open(
      disk: PosixDisk(), path: self.path, nodeID: NodeID(1), clusterID: clusterID, newClusterID: "cluster-a", openFilesMax: openFilesMax,
      generator: &generator)
  }
}

@Suite struct PosixDiskTests {
  let partition = TopicPartition("a-topic", PartitionID(0))

  @Test func whatIsAppendedIsReadBackByteEqualAlsoAfterACleanRestart() throws {
    let directory = TemporaryDirectory()
    var store = try directory.open()
    let config = LogConfig(segmentBytes: 40_000)
    var log = try PartitionLog.create(
      in: store, topicPartition: self.partition, topicID: KafkaUUID(high: 1, low: 2), config: config, now: Timestamp(0))
    var expected: [UInt8] = []
    for index in 0..<500 {
      let batch = makeBatch(values: (0...index % 3).map { Array("value \(index) \($0)".utf8) }, baseTimestamp: Int64(index))
      let result = try log.append(batch, leaderEpoch: 3)
      var header = header(of: batch)
      header.baseOffset = result.baseOffset
      header.partitionLeaderEpoch = LeaderEpoch(3)
      header.withBytes { expected += Array($0) }
      expected += Array(batch.readableBytesView.dropFirst(61))
    }
    #expect(log.segmentCount > 1)
    #expect(try log.readAll() == expected)
    #expect(try log.readAll(maxBytes: 700) == expected)
    try log.closeCleanly()
    try store.closeCleanly(brokerEpoch: BrokerEpoch(7))

    store = try directory.open()
    #expect(store.wasClosedCleanly)
    #expect(store.cleanShutdownBrokerEpoch == BrokerEpoch(7))
    #expect(try store.topicID(of: self.partition) == KafkaUUID(high: 1, low: 2))
    var (reopened, report) = try PartitionLog.open(in: store, topicPartition: self.partition, config: config, now: Timestamp(0))
    #expect(report.wasClean && report.scannedByteCount == 0 && report.notices.isEmpty)
    #expect(reopened.logEndOffset == log.logEndOffset)
    #expect(try reopened.readAll() == expected)
    #expect(reopened.leaderEpochs.entries == [.init(epoch: LeaderEpoch(3), startOffset: .zero)])
    store.unlock()

    // An unclean start from the same files finds the same.
    store = try directory.open()
    #expect(!store.wasClosedCleanly)
    var (recovered, second) = try PartitionLog.open(in: store, topicPartition: self.partition, config: config, now: Timestamp(0))
    #expect(!second.wasClean && second.removedByteCount == 0)
    #expect(try recovered.readAll() == expected)
  }

  @Test func aSecondProcessIsRefused() throws {
    let directory = TemporaryDirectory()
    let store = try directory.open()
    #expect(throws: StorageError.directoryInUse(path: directory.path)) { _ = try directory.open() }
    store.unlock()
    _ = try directory.open()
  }

  @Test func anotherClustersDirectoryIsRefused() throws {
    let directory = TemporaryDirectory()
    try directory.open(clusterID: "cluster-a").unlock()
    #expect(throws: StorageError.wrongCluster(path: directory.path, found: "cluster-a", expected: "cluster-b")) {
      _ = try directory.open(clusterID: "cluster-b")
    }
  }

  @Test func theRoomIsTheVolumes() throws {
    let directory = TemporaryDirectory()
    _ = try directory.open()
    var figures = statvfs()
    try #require(statvfs(directory.path, &figures) == 0)
    let space = try PosixDisk().space(at: directory.path)
    #expect(space.totalByteCount == Int64(figures.f_blocks) * Int64(figures.f_frsize))
    // Others write to the volume as well.
    #expect(space.usableByteCount > 0 && space.usableByteCount <= space.totalByteCount)
    #expect(throws: DiskError.self) { _ = try PosixDisk().space(at: directory.path + "/missing") }
  }
}
