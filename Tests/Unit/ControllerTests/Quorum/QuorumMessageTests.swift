import Model
import NIOCore
import Raft
import Testing
import Wire

@testable import Controller

/// Raft's messages as Kafka's, there and back in every version.
@Suite struct QuorumMessageTests {
  private let directory = KafkaUUID(high: 5, low: 6)
  private var voter: ReplicaKey { ReplicaKey(NodeID(2), self.directory) }
  private var candidate: ReplicaKey { ReplicaKey(NodeID(3), KafkaUUID(high: 8, low: 9)) }
  private let endpoints = [
    Endpoint(listener: "CONTROLLER", address: Address(host: "c3", port: 9093)),
    Endpoint(listener: "OTHER", address: Address(host: "::1", port: 65535)),
  ]

  private func there<Message: WireMessage>(_ message: Message, _ version: Int16) throws -> Message {
    try Message(decoding: message.encoded(version: version).buffer, version: version)
  }

  private func bare(_ key: ReplicaKey) -> ReplicaKey { ReplicaKey(key.node) }

  @Test(arguments: Wire.VoteRequest.supportedVersions)
  func votes(_ version: Int16) throws {
    var request = Raft.VoteRequest(
      clusterID: "c", voter: self.voter, term: Term(7), candidate: self.candidate, logEnd: LogEnd(term: Term(6), index: LogIndex(1234)),
      isPreVote: version >= 2)
    let read = try self.there(Wire.VoteRequest(request), version).decoded()
    if version == 0 {
      request.voter = nil
      request.candidate = self.bare(self.candidate)
    }
    #expect(read == request)
    for isGranted in [true, false] {
      let status = QuorumStatus(error: .none, term: Term(7), leader: nil)
      let answer = try self.there(VoteResponse(OutgoingAnswer(status, .vote(isGranted: isGranted))), version).decoded()
      #expect(answer == IncomingAnswer(status, .vote(isGranted: isGranted)))
    }
  }

  @Test(arguments: BeginQuorumEpochRequest.supportedVersions)
  func beginnings(_ version: Int16) throws {
    var request = BeginQuorumRequest(
      clusterID: "c", voter: self.voter, term: Term(7), leader: NodeID(3), endpoints: self.endpoints)
    let read = try self.there(BeginQuorumEpochRequest(request), version).decoded()
    if version == 0 { (request.voter, request.endpoints) = (nil, []) }
    #expect(read == request)
  }

  @Test(arguments: EndQuorumEpochRequest.supportedVersions)
  func ends(_ version: Int16) throws {
    var request = EndQuorumRequest(
      clusterID: nil, term: Term(7), leader: NodeID(3), successors: [self.voter, ReplicaKey(NodeID(1), self.directory)],
      endpoints: self.endpoints)
    let read = try self.there(EndQuorumEpochRequest(request), version).decoded()
    if version == 0 { (request.successors, request.endpoints) = (request.successors.map(self.bare), []) }
    #expect(read == request)
  }

  @Test(arguments: 12...Wire.FetchRequest.supportedVersions.upperBound)
  func fetches(_ version: Int16) throws {
    var request = Raft.FetchRequest(
      clusterID: "c", replica: self.candidate, term: Term(7), position: LogEnd(term: Term(6), index: LogIndex(99)),
      highWatermark: LogIndex(98), waitMax: .milliseconds(500), bytesMax: 8 << 20)
    let message = try self.there(Wire.FetchRequest(request), version)
    #expect(message.concernsMetadataLog)
    if version < 18 { request.highWatermark = nil }
    if version < 17 { request.replica = self.bare(self.candidate) }
    #expect(try message.decoded(version: version) == request)
  }

  @Test(arguments: 12...Wire.FetchRequest.supportedVersions.upperBound)
  func answersToFetches(_ version: Int16) throws {
    let address = version >= 16 ? Address(host: "c3", port: 9093) : nil
    let status = QuorumStatus(error: .none, term: Term(7), leader: NodeID(3), leaderAddress: address)
    let contents: [(FetchAnswer<EntryRange>.Content, FetchAnswer<EntryRun>.Content)] = [
      (.nothing, .nothing),
      (.diverging(LogEnd(term: Term(5), index: LogIndex(50))), .diverging(LogEnd(term: Term(5), index: LogIndex(50)))),
      (.snapshot(LogEnd(term: Term(4), index: LogIndex(40))), .snapshot(LogEnd(term: Term(4), index: LogIndex(40)))),
    ]
    for (sent, received) in contents {
      let answer = OutgoingAnswer(status, .fetch(FetchAnswer(highWatermark: LogIndex(60), logStart: LogIndex(10), content: sent)))
      let read = try self.there(FetchResponse(answer, records: nil), version).decoded { _ in PayloadID(rawValue: 0) }
      #expect(read == IncomingAnswer(status, .fetch(FetchAnswer(highWatermark: LogIndex(60), logStart: LogIndex(10), content: received))))
    }
    for code in [ErrorCode.fencedLeaderEpoch, .unknownLeaderEpoch, .notLeaderOrFollower] {
      let refusal = QuorumStatus(error: code, term: Term(8), leader: NodeID(1))
      let read = try self.there(FetchResponse(OutgoingAnswer(refusal), records: nil), version).decoded { _ in PayloadID(rawValue: 0) }
      #expect(read == IncomingAnswer(refusal))
    }
    let foreign = QuorumStatus(error: .inconsistentClusterId, term: Term(7))
    let read = try self.there(FetchResponse(OutgoingAnswer(foreign), records: nil), version).decoded { _ in PayloadID(rawValue: 0) }
    #expect(read.status.error == .inconsistentClusterId)
  }

  @Test(arguments: Wire.FetchSnapshotRequest.supportedVersions)
  func chunks(_ version: Int16) throws {
    var request = Raft.FetchSnapshotRequest(
      clusterID: "c", replica: self.candidate, term: Term(7), snapshot: LogEnd(term: Term(6), index: LogIndex(99)), position: 4096,
      bytesMax: 1 << 20)
    let read = try self.there(Wire.FetchSnapshotRequest(request), version).decoded()
    if version == 0 { request.replica = self.bare(self.candidate) }
    #expect(read == request)
    let info = SnapshotInfo(id: request.snapshot, byteCount: 10_000)
    let status = QuorumStatus(term: Term(7), leader: NodeID(3), leaderAddress: version == 0 ? nil : Address(host: "c3", port: 9093))
    var kept: ByteBuffer?
    let answer = try self.there(
      FetchSnapshotResponse(
        OutgoingAnswer(status, .fetchSnapshot(ChunkRange(snapshot: info, position: 4096, bytesMax: 1 << 20))),
        bytes: ByteBuffer(string: "some bytes")), version
    ).decoded { bytes in
      kept = bytes
      return PayloadID(rawValue: 5)
    }
    #expect(kept.map { String(buffer: $0) } == "some bytes")
    let chunk = SnapshotChunk(snapshot: info, position: 4096, byteCount: 10, payload: PayloadID(rawValue: 5))
    #expect(answer == IncomingAnswer(status, .fetchSnapshot(chunk)))
  }

  @Test func changesOfTheVoters() throws {
    let add = AddVoterRequest(clusterID: "c", voter: self.voter, endpoints: self.endpoints, answersWhenCommitted: false)
    #expect(try self.there(AddRaftVoterRequest(add, timeoutMs: 100), 1).decoded == add)
    let remove = RemoveVoterRequest(clusterID: "c", voter: self.voter)
    #expect(try self.there(RemoveRaftVoterRequest(remove), 0).decoded == remove)
    let update = UpdateVoterRequest(
      clusterID: "c", term: Term(7),
      voter: Voter(key: self.voter, endpoints: self.endpoints, versions: SupportedVersions(.staticVoters, .dynamicVoters)))
    #expect(try self.there(UpdateRaftVoterRequest(update), 0).decoded == update)
  }

  @Test func whatConcernsAnotherTopicIsRefused() throws {
    var vote = Wire.VoteRequest(
      Raft.VoteRequest(
        clusterID: "c", voter: nil, term: Term(7), candidate: self.candidate, logEnd: .zero, isPreVote: false))
    vote.topics[0].topicName = "orders"
    #expect(throws: QuorumMessageError.otherTopic) { try vote.decoded() }
    vote.topics = []
    #expect(throws: QuorumMessageError.otherTopic) { try vote.decoded() }
    #expect(throws: QuorumMessageError.otherTopic) { try BeginQuorumEpochRequest().decoded() }
    #expect(throws: QuorumMessageError.otherTopic) { try EndQuorumEpochRequest().decoded() }
    #expect(throws: QuorumMessageError.otherTopic) { try Wire.FetchSnapshotRequest().decoded() }
    #expect(throws: QuorumMessageError.otherTopic) { try Wire.FetchRequest().decoded(version: 17) }
    #expect(throws: QuorumMessageError.otherTopic) { try VoteResponse().decoded() }
    #expect(throws: QuorumMessageError.otherTopic) { try FetchResponse().decoded { _ in PayloadID(rawValue: 0) } }
  }
}
