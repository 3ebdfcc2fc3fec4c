import Base
import Metadata
import Model
import Synchronization
import Testing
import VirtualWorld
import Wire

@testable import Broker

/// What clients are told while a leader is dying or leaving.
@Suite("Answers around a change of leader")
struct FailoverAnswerTests {
  private func metadata() -> MetadataRequest { MetadataRequest(topics: [.init(name: "t")], allowAutoTopicCreation: false) }

  private func leader(_ response: MetadataResponse?) throws -> Int32 {
    try #require(response?.topics.first?.partitions.first?.leaderId)
  }

  private func cluster() throws -> TestCluster {
    let cluster = try TestCluster()
    try cluster.createTopic(configs: ["min.insync.replicas": "2"])
    cluster.run(.milliseconds(100))
    return cluster
  }

  @Test("Metadata waits for the decision about a leader whose connection ended, and then names the new one")
  func waitsForDecision() throws {
    let cluster = try self.cluster()
    #expect(try self.leader(cluster.wait(cluster[2].send(self.metadata()))) == 1)
    cluster.kill(1)
    cluster.run(.milliseconds(5))
    let pending = cluster[2].send(self.metadata())
    cluster.run(.milliseconds(50))
    #expect(!pending.isAnswered)
    try cluster.elect(2, inSync: [2, 3])
    cluster.run(.milliseconds(10))
    // Only the leader changed; what settles the doubt is news of the broker.
    #expect(!pending.isAnswered)
    try cluster.commit([.fenceBroker(NodeID(1), epoch: cluster[1].epoch)])
    #expect(try self.leader(pending.response()) == 2)
  }

  @Test("A client that asks in the very moment of the death is not sent back to the dead leader")
  func sameMoment() throws {
    let cluster = try self.cluster()
    cluster.kill(1)
    let pending = cluster[2].send(self.metadata())
    cluster.run(.milliseconds(5))
    #expect(!pending.isAnswered)
  }

  @Test("Without a decision the partition has no leader after a while, and the old one again when the doubt has run out")
  func noDecision() throws {
    let cluster = try self.cluster()
    cluster.kill(1)
    cluster.run(.milliseconds(5))
    let began = cluster.world.now
    let response = try #require(try cluster.wait(cluster[2].send(self.metadata())))
    #expect(cluster.world.now - began > .milliseconds(350) && cluster.world.now - began < .milliseconds(450))
    #expect(response.topics[0].partitions[0].errorCode == .leaderNotAvailable && response.topics[0].partitions[0].leaderId == -1)
    cluster.run(.seconds(2))
    #expect(try self.leader(cluster.wait(cluster[2].send(self.metadata()))) == 1)
  }

  @Test("A leader that is heard of again is named at once")
  func heardAgain() throws {
    let cluster = try self.cluster()
    cluster.kill(1)
    cluster.run(.milliseconds(5))
    let pending = cluster[2].send(self.metadata())
    try cluster.restart(1)
    let began = cluster.world.now
    #expect(try self.leader(cluster.wait(pending)) == 1)
    #expect(cluster.world.now - began < .milliseconds(100))
  }

  @Test("A fenced broker is listed for a second more, and leads nothing")
  func fencedBrokerLingers() throws {
    let cluster = try self.cluster()
    cluster.kill(1)
    try cluster.elect(2, inSync: [2, 3])
    try cluster.commit([.fenceBroker(NodeID(1), epoch: cluster[1].epoch)])
    func listed() throws -> [Int32] { try #require(try cluster.wait(cluster[2].send(self.metadata()))).brokers.map(\.nodeId) }
    #expect(try listed() == [1, 2, 3])
    let response = try #require(try cluster.wait(cluster[2].send(self.metadata())))
    #expect(response.topics[0].partitions[0].offlineReplicas == [1] && response.topics[0].partitions[0].leaderId == 2)
    cluster.run(.milliseconds(800))
    #expect(try listed() == [1, 2, 3])
    cluster.run(.milliseconds(200))
    #expect(try listed() == [2, 3])
    // Another incarnation is listed as soon as it serves.
    try cluster.restart(1)
    #expect(try listed() == [1, 2, 3])
  }

  // MARK: - Handing over

  private func begin(_ cluster: TestCluster) {
    cluster[1].broker.beginHandover {}
    cluster.run(.milliseconds(5))
  }

  @Test("What is produced during a handover waits for the new leader, arrives there in order, and the answer names it")
  func relayed() throws {
    let cluster = try self.cluster()
    #expect(try cluster.produce(["before"])?.errorCode == ErrorCode.none)
    self.begin(cluster)
    let pending = try ["a", "b", "c"].map { cluster[1].send(produceRequest("t", try batch([$0])), version: 12) }
    cluster.run(.milliseconds(20))
    #expect(pending.allSatisfy { !$0.isAnswered })
    try cluster.elect(2, inSync: [2, 3])
    for (index, pending) in pending.enumerated() {
      let response = try #require(try cluster.wait(pending))
      let answer = response.responses[0].partitionResponses[0]
      #expect(answer.errorCode == .none && answer.baseOffset == Int64(index + 1))
      #expect(answer.currentLeader.leaderId == 2 && answer.currentLeader.leaderEpoch == 1)
      #expect(response.nodeEndpoints.map(\.nodeId) == [2])
    }
    // acks=0 arrives as well, and is not answered.
    cluster[1].send(produceRequest("t", try batch(["d"]), acks: 0), version: 12)
    cluster.run(.milliseconds(50))
    #expect(try cluster.consume(from: 2).values == ["before", "a", "b", "c", "d"])
  }

  @Test("A new leader that does not know of it yet is asked again; what stays unknown is refused as by a broker that does not lead")
  func newLeaderIsLate() throws {
    let cluster = try self.cluster()
    self.begin(cluster)
    cluster.setDeaf(2, true)
    try cluster.elect(2, inSync: [2, 3])
    let early = cluster[1].send(produceRequest("t", try batch(["a"])), version: 12)
    cluster.run(.milliseconds(50))
    #expect(!early.isAnswered)
    cluster.setDeaf(2, false)
    #expect(try cluster.wait(early)?.responses[0].partitionResponses[0].errorCode == ErrorCode.none)
    cluster.setDeaf(3, true)
    try cluster.elect(3, inSync: [2, 3])
    let late = cluster[1].send(produceRequest("t", try batch(["b"])), version: 12)
    #expect(try cluster.wait(late)?.responses[0].partitionResponses[0].errorCode == .notLeaderOrFollower)
  }

  @Test("A new leader that dies leaves an error that producers try again after")
  func newLeaderDies() throws {
    let cluster = try self.cluster()
    self.begin(cluster)
    cluster.kill(2)
    try cluster.elect(2, inSync: [2, 3])
    let pending = cluster[1].send(produceRequest("t", try batch(["a"])), version: 12)
    #expect(try cluster.wait(pending)?.responses[0].partitionResponses[0].errorCode == .notLeaderOrFollower)
  }

  @Test("What nobody takes over is served here in the end, and everything is once the handover is over")
  func nobodyTakesOver() throws {
    let cluster = try self.cluster()
    self.begin(cluster)
    let short = cluster[1].send(produceRequest("t", try batch(["a"]), timeoutMs: 300), version: 12)
    cluster.run(.milliseconds(200))
    #expect(!short.isAnswered)
    #expect(try cluster.wait(short)?.responses[0].partitionResponses[0].errorCode == ErrorCode.none)
    #expect(try cluster.produce(["b"], topic: "missing")?.errorCode == .unknownTopicOrPartition)
    let waiting = cluster[1].send(produceRequest("t", try batch(["c"])), version: 12)
    cluster.run(.milliseconds(20))
    #expect(!waiting.isAnswered)
    cluster[1].broker.finishHandover {}
    #expect(try cluster.wait(waiting)?.responses[0].partitionResponses[0].errorCode == ErrorCode.none)
    // One that was told of the new leader and stayed is refused with its name.
    try cluster.elect(2, inSync: [1, 2, 3])
    let refused = try #require(try cluster.produce(["d"]))
    #expect(refused.errorCode == .notLeaderOrFollower && refused.currentLeader.leaderId == 2)
  }

  @Test("A handover begins once what was written before is committed")
  func drains() throws {
    let cluster = try self.cluster()
    cluster.kill(3)
    let pending = cluster[1].send(produceRequest("t", try batch(["a"])), version: 12)
    cluster.run(.milliseconds(1))
    let isReady = Flag()
    cluster[1].broker.beginHandover { isReady.set() }
    cluster.run(.milliseconds(20))
    #expect(!isReady.isSet && !pending.isAnswered)
    // Nobody waits for ever.
    cluster.run(.milliseconds(40))
    #expect(isReady.isSet && !pending.isAnswered)
  }
}

private final class Flag: Sendable {
  private let value = Mutex(false)
  var isSet: Bool { self.value.withLock { $0 } }
  func set() { self.value.withLock { $0 = true } }
}
