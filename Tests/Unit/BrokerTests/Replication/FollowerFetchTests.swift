import Base
import Broker
import Metadata
import Model
import Replication
import Testing
import VirtualWorld
import Wire

/// Fetch as a replica asks it, request by request, of a leader whose followers are not there.
@Suite("Fetches of followers")
struct FollowerFetchTests {
  private let cluster: TestCluster
  private let topic: KafkaUUID

  init() throws {
    // Broker 1 is alone: the others are only known to the metadata.
    self.cluster = try TestCluster()
    self.topic = try self.cluster.createTopic(partitions: 3)
    for id in [2, 3] as [Int32] { self.cluster.kill(id) }
    self.cluster.run(.milliseconds(50))
  }

  private func request(
    _ partitions: [Int32] = [0], from offset: Int64 = 0, replica: Int32 = 2, epoch: Int64? = nil, leaderEpoch: Int32 = 0,
    lastEpoch: Int32 = -1, sessionID: Int32 = 0, sessionEpoch: Int32 = 0, maxWaitMs: Int32 = 500
  ) -> FetchRequest {
    var request = FetchRequest(
      maxWaitMs: maxWaitMs, minBytes: 1, maxBytes: 1 << 20, sessionId: sessionID, sessionEpoch: sessionEpoch,
      topics: partitions.isEmpty
        ? []
        : [
          .init(
            topicId: self.topic,
            partitions: partitions.map {
              .init(
                partition: $0, currentLeaderEpoch: leaderEpoch, fetchOffset: offset, lastFetchedEpoch: lastEpoch, logStartOffset: 0,
                partitionMaxBytes: 1 << 20)
            })
        ])
    request.replicaState = .init(replicaId: replica, replicaEpoch: epoch ?? self.cluster[replica].epoch.rawValue)
    return request
  }

  private func ask(_ request: FetchRequest, _ patience: Duration = .seconds(2)) throws -> FetchResponse {
    try #require(try self.cluster.wait(self.cluster[1].send(request), patience))
  }

  @Test("Who is no replica, is of an older life or names another leader epoch is refused, and counts for nothing")
  func refusals() throws {
    #expect(try self.ask(self.request(replica: 3, epoch: 1)).onlyPartition?.errorCode == .notLeaderOrFollower)
    #expect(try self.ask(self.request(leaderEpoch: 4)).onlyPartition?.errorCode == .unknownLeaderEpoch)
    try self.cluster.elect(1)
    #expect(try self.ask(self.request(leaderEpoch: 0)).onlyPartition?.errorCode == .fencedLeaderEpoch)
    var stranger = self.request(leaderEpoch: 1)
    stranger.replicaState = .init(replicaId: 9, replicaEpoch: 1)
    #expect(try self.ask(stranger).onlyPartition?.errorCode == .unknownLeaderEpoch)
    #expect(try self.ask(self.request(from: 5, leaderEpoch: 1)).onlyPartition?.errorCode == .offsetOutOfRange)
    #expect(try self.ask(self.request([7], leaderEpoch: 1)).onlyPartition?.errorCode == .unknownTopicOrPartition)
  }

  @Test("A replica reads beyond the high watermark, and its next fetch raises it")
  func highWatermark() throws {
    var change = PartitionChange()
    change.inSyncReplicas = [NodeID(1), NodeID(2)]
    try self.cluster.commit([.partitionChange(TopicIDPartition(self.topic, PartitionID(0)), change)])
    let pending = self.cluster[1].send(produceRequest("t", try batch(["a", "b"])), version: 12)
    self.cluster.run(.milliseconds(20))
    let first = try self.ask(self.request())
    #expect(try first.onlyPartition?.values() == ["a", "b"])
    #expect(first.onlyPartition?.highWatermark == 0 && first.sessionId != 0)
    #expect(try self.cluster.consume(from: 1).values == [])
    // The request that says "I have it" is answered at once, for the sake of the watermark that it raised.
    let began = self.cluster.world.now
    let second = try self.ask(self.request(from: 2, sessionID: first.sessionId, sessionEpoch: 1))
    #expect(second.onlyPartition?.highWatermark == 2 && self.cluster.world.now - began < .milliseconds(10))
    #expect(try self.cluster.wait(pending)?.responses[0].partitionResponses[0].errorCode == ErrorCode.none)
    // Nothing is new: it waits, is woken by the next record, and says nothing of the others.
    let parked = self.cluster[1].send(self.request([], sessionID: first.sessionId, sessionEpoch: 2))
    self.cluster.run(.milliseconds(100))
    #expect(!parked.isAnswered)
    #expect(try self.cluster.produce(["c"], acks: 1)?.errorCode == ErrorCode.none)
    #expect(try self.cluster.wait(parked, .milliseconds(5))?.onlyPartition?.values() == ["c"])
  }

  @Test("A parked fetch is answered with nothing when its time is over, or when another comes behind it")
  func parking() throws {
    let first = try self.ask(self.request([0, 1, 2]))
    #expect(first.responses.flatMap(\.partitions).count == 3, "a full answer has all partitions")
    let parked = self.cluster[1].send(self.request([], sessionID: first.sessionId, sessionEpoch: 1))
    self.cluster.run(.milliseconds(480))
    #expect(!parked.isAnswered)
    self.cluster.run(.milliseconds(40))
    #expect(try parked.response()?.responses.isEmpty == true)
    let overtaken = self.cluster[1].send(self.request([], sessionID: first.sessionId, sessionEpoch: 2))
    self.cluster.run(.milliseconds(10))
    let next = self.cluster[1].send(self.request([1], sessionID: first.sessionId, sessionEpoch: 3))
    self.cluster.run(.milliseconds(1))
    #expect(overtaken.isAnswered && !next.isAnswered)
    #expect(try self.cluster.produce(["x"], partition: 1, acks: 1)?.errorCode == ErrorCode.none)
    #expect(try self.cluster.wait(next, .milliseconds(5))?.onlyPartition?.partitionIndex == 1)
  }

  @Test("A session is of its connection, its epochs count, and forgotten partitions are not told of")
  func sessions() throws {
    let first = try self.ask(self.request([0, 1]))
    #expect(try self.ask(self.request([], sessionID: first.sessionId, sessionEpoch: 2)).errorCode == .invalidFetchSessionEpoch)
    #expect(try self.ask(self.request([], sessionID: first.sessionId + 1, sessionEpoch: 1)).errorCode == .fetchSessionIdNotFound)
    #expect(try self.ask(self.request([], replica: 3, sessionID: first.sessionId, sessionEpoch: 1)).errorCode == .fetchSessionIdNotFound)
    var forgetting = self.request([], sessionID: first.sessionId, sessionEpoch: 1)
    forgetting.forgottenTopicsData = [.init(topicId: self.topic, partitions: [0])]
    let parked = self.cluster[1].send(forgetting)
    #expect(try self.cluster.produce(["x"], acks: 1)?.errorCode == ErrorCode.none)
    self.cluster.run(.milliseconds(20))
    #expect(!parked.isAnswered)
    #expect(try self.cluster.produce(["y"], partition: 1, acks: 1)?.errorCode == ErrorCode.none)
    #expect(try self.cluster.wait(parked)?.onlyPartition?.partitionIndex == 1)
  }

  @Test("A log that parts from ours is told where (KIP-595), and counts for nothing until it agrees")
  func divergence() throws {
    #expect(try self.cluster.produce(["a"], acks: 1)?.errorCode == ErrorCode.none)
    try self.cluster.elect(1)
    #expect(try self.cluster.produce(["b"], acks: 1)?.errorCode == ErrorCode.none)
    let data = try #require(try self.ask(self.request(from: 2, leaderEpoch: 1, lastEpoch: 0)).onlyPartition)
    #expect(data.errorCode == .none && data.divergingEpoch.epoch == 0 && data.divergingEpoch.endOffset == 1)
    #expect(try data.values() == [])
  }

  @Test("A change of leader wakes a parked fetch")
  func leaderChange() throws {
    let first = try self.ask(self.request())
    let parked = self.cluster[1].send(self.request([], sessionID: first.sessionId, sessionEpoch: 1))
    self.cluster.run(.milliseconds(20))
    try self.cluster.elect(3)
    let data = try #require(try self.cluster.wait(parked, .milliseconds(5))?.onlyPartition)
    #expect(data.errorCode == .notLeaderOrFollower && data.currentLeader.leaderId == 3)
  }
}
