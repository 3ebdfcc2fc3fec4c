import Base
import Environment
import Model
import NIOCore
import Raft
import Synchronization
import Testing
import VirtualWorld

@testable import Controller

/// Snapshots of the metadata log: taken, listed, installed, found again.
@Suite struct QuorumSnapshotTests {
  final class Problems: QuorumObserver {
    let all = Mutex<[String]>([])
    func stood(_ node: NodeID, in epoch: Int32) {}
    func fetched(_ node: NodeID, from offset: Offset) {}
    func led(by node: NodeID, in epoch: LeaderEpoch) {}
    func committed(_ value: String, at offset: Offset, by node: NodeID) {}
    func acknowledged(_ value: String, at offset: Offset) {}
    func traced(_ trace: RaftTrace, by node: NodeID) {}
    func failed(_ reason: String) { self.all.withLock { $0.append(reason) } }
  }

  @Test func whatASnapshotCoversLeavesTheLogAndIsFoundAfterARestart() throws {
    let (world, problems, disk) = (World(seed: 3), Problems(), FaultyDisk(seed: 4))
    let machine = world.addMachine()
    func begin() throws -> QuorumNode {
      try QuorumNode(
        NodeID(1), in: WorldNode(machine, host: "n1", disk: disk, in: world), voters: QuorumNode.voters([NodeID(1)]), observer: problems)
    }
    let node = try begin()
    world.run(for: .seconds(2))
    for number in 0..<20 { node.propose("value \(number)") }
    world.run(for: .seconds(1))
    let end = node.state.withLock { $0.committed }
    #expect(end >= Offset(20))
    let outcomes = Mutex<[MetadataLogError?]>([])
    node.driver.takeSnapshot(endOffset: end + 1, records: { [] }) { outcome in outcomes.withLock { $0.append(outcome) } }
    node.driver.takeSnapshot(endOffset: end, records: { [ByteBuffer(string: "a"), ByteBuffer(string: "b")] }) { outcome in
      outcomes.withLock { $0.append(outcome) }
    }
    world.run(for: .seconds(1))
    #expect(outcomes.withLock { $0 }.map { $0?.code } == [.offsetOutOfRange, nil])
    #expect(node.driver.logStartOffset == end)
    node.propose("behind it")
    world.run(for: .seconds(1))
    world.cutPower(machine)
    disk.losePower()
    let again = try begin()
    world.run(for: .seconds(2))
    let latest = try #require(again.driver.machine.log.latestSnapshot)
    #expect(latest.id.index.rawValue == end.rawValue)
    #expect(again.driver.logStartOffset == end)
    var values: [String] = []
    try again.driver.readSnapshot(endOffset: end, epoch: LeaderEpoch(latest.id.term.rawValue)) { values.append(String(buffer: $0)) }
    #expect(values == ["a", "b"])
    #expect(again.state.withLock { $0.committed } > end + 1, "what was behind the snapshot is committed again")
    #expect(problems.all.withLock { $0 } == [])
  }

  @Test func cleaningUpLeavesADownloadAlone() throws {
    let disk = FaultyDisk(seed: 1)
    try disk.createDirectory("log")
    let files = SnapshotFiles(disk: disk, directory: "log")
    let (old, new, coming) = (
      LogEnd(term: Term(1), index: LogIndex(5)), LogEnd(term: Term(2), index: LogIndex(9)), LogEnd(term: Term(3), index: LogIndex(12))
    )
    _ = try files.write(ByteBuffer(string: "old"), as: old)
    _ = try files.write(ByteBuffer(string: "new"), as: new)
    try files.write(ByteBuffer(string: "part"), at: 0, of: coming)
    try files.removeOlder(than: new)
    #expect(try files.list() == [new])
    #expect(disk.contents(of: "log/00000000000000000012-0000000003.checkpoint.part") == Array("part".utf8))
    try files.removeDownloads()
    #expect(try disk.list("log").map(\.name) == ["00000000000000000009-0000000002.checkpoint"])
  }

  @Test func aDownloadThatIsNoSnapshotIsRefusedAndRemoved() throws {
    let disk = FaultyDisk(seed: 1)
    try disk.createDirectory("log")
    let files = SnapshotFiles(disk: disk, directory: "log")
    let info = SnapshotInfo(id: LogEnd(term: Term(3), index: LogIndex(12)), byteCount: 7)
    for contents in ["garbage", "", "gar"] {
      try files.write(ByteBuffer(string: contents), at: 0, of: info.id)
      #expect { try files.install(info) } throws: { error in
        if case SnapshotFileError.unusable = error { true } else { false }
      }
      #expect(try disk.list("log").isEmpty)
    }
  }
}
