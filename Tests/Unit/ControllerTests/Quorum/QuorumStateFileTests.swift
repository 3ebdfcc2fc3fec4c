import Environment
import Model
import Raft
import Testing
import VirtualWorld

@testable import Controller

/// Raft's hard state on disk, in Kafka's `quorum-state`.
@Suite struct QuorumStateFileTests {
  private let disk = FaultyDisk(seed: 1)
  private let file: QuorumStateFile<FaultyDisk>

  init() throws {
    try self.disk.createDirectory("log")
    self.file = QuorumStateFile(disk: self.disk, directory: "log")
  }

  private func put(_ text: String) throws {
    let handle = try self.disk.open("log/quorum-state", .create)
    try handle.truncate(to: 0)
    var failure: DiskError?
    Array(text.utf8).withUnsafeBytes { bytes in
      do throws(DiskError) { try handle.write(bytes, at: 0) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  @Test func whatIsWrittenIsRead() throws {
    #expect(try self.file.read() == nil)
    let directory = KafkaUUID(high: 7, low: 9)
    let states = [
      HardState(), HardState(term: Term(3)), HardState(term: Term(3), votedFor: ReplicaKey(NodeID(2), directory)),
      HardState(term: Term(4), leader: NodeID(1)), HardState(term: Term(4), votedFor: ReplicaKey(NodeID(1), directory), leader: NodeID(1)),
    ]
    for state in states {
      try self.file.write(state, version: .dynamicVoters)
      #expect(try self.file.read() == state)
      // Version 0 knows no directories.
      try self.file.write(state, version: .staticVoters)
      var known = state
      known.votedFor = state.votedFor.map { ReplicaKey($0.node) }
      #expect(try self.file.read() == known)
    }
  }

  /// As Apache Kafka 4 writes them.
  @Test func theTextIsKafkas() throws {
    let state = HardState(term: Term(15), votedFor: ReplicaKey(NodeID(9990), KafkaUUID(high: 0, low: 1)), leader: NodeID(9991))
    try self.file.write(state, version: .dynamicVoters)
    #expect(
      self.disk.contents(of: "log/quorum-state").map { String(decoding: $0, as: UTF8.self) }
        == #"{"leaderId":9991,"leaderEpoch":15,"votedId":9990,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAQ","data_version":1}"#)
    try self.put(
      #"{"clusterId":"","leaderId":1,"leaderEpoch":2,"votedId":-1,"appliedOffset":0,"#
        + #""currentVoters":[{"voterId":1},{"voterId":2}],"data_version":0}"#)
    #expect(try self.file.read() == HardState(term: Term(2), leader: NodeID(1)))
  }

  @Test(arguments: [
    "", "{", "[]", #"{"leaderId":1}"#, #"{"leaderId":1,"leaderEpoch":-2,"votedId":-1,"data_version":0}"#,
    #"{"leaderId":1,"leaderEpoch":2147483648,"votedId":-1,"data_version":0}"#,
    #"{"leaderId":1,"leaderEpoch":2,"votedId":-1,"data_version":2}"#, #"{"leaderId":1,"leaderEpoch":2,"votedId":-1,"data_version":1}"#,
    #"{"leaderId":"1","leaderEpoch":2,"votedId":-1,"data_version":0}"#,
    #"{"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"short","data_version":1}"#,
  ])
  func anythingElseIsRefused(_ text: String) throws {
    try self.put(text)
    let error = #expect(throws: MetadataLogError.self) { try self.file.read() }
    #expect(error?.reason.contains("log/quorum-state") == true, "\(String(describing: error))")
  }

  @Test func aLossOfPowerLeavesTheOldOrTheNew() throws {
    for seed in 1...200 as ClosedRange<UInt64> {
      let disk = FaultyDisk(seed: seed)
      try disk.createDirectory("log")
      try disk.syncDirectory("")
      let file = QuorumStateFile(disk: disk, directory: "log")
      let (old, new) = (HardState(term: Term(1), votedFor: ReplicaKey(NodeID(1))), HardState(term: Term(2), leader: NodeID(2)))
      try file.write(old, version: .staticVoters)
      disk.failPower(afterChanges: Int(seed % 6))
      let isDone = (try? file.write(new, version: .staticVoters)) != nil
      disk.losePower()
      let found = try file.read()
      #expect(found == new || (found == old && !isDone), "seed \(seed): \(String(describing: found))")
    }
  }
}
