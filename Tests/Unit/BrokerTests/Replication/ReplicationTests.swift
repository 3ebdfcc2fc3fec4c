import Base
import Broker
import Model
import Replication
import Testing
import VirtualWorld
import Wire

/// Several brokers, from a produce to what every replica holds.
@Suite("Replication between brokers")
struct BrokerReplicationTests {
  @Test("A produce with acks=all is answered when three replicas hold it, and each shows it", arguments: ["fsync", "os"])
  func endToEnd(policy: String) throws {
    let cluster = try TestCluster()
    try cluster.createTopic(configs: ["flush.policy": policy, "min.insync.replicas": "2"])
    cluster.run(.milliseconds(50))
    for number in 0..<20 {
      let began = cluster.world.now
      let answer = try #require(try cluster.produce(["v\(number)"]))
      #expect(answer.errorCode == .none && answer.baseOffset == Int64(number))
      #expect(cluster.world.now - began < .milliseconds(10), "nothing waits for a timer")
    }
    cluster.run(.milliseconds(100))
    let expected = (0..<20).map { "v\($0)" }
    for id in 1...3 as ClosedRange<Int32> { #expect(try cluster.consume(from: id).values == expected) }
    #expect(cluster.inSync == [1, 2, 3])
    #expect(cluster.controller.proposalCount == 0)
  }

  @Test("acks=all waits for a follower in the ISR; without it the ISR shrinks and the produce is answered")
  func shrinkAndExpand() throws {
    let settings = ["replica.lag.time.max.ms": "1000"]
    let cluster = try TestCluster([settings, settings, settings])
    try cluster.createTopic(configs: ["min.insync.replicas": "2"])
    cluster.run(.milliseconds(50))
    #expect(try cluster.produce(["a"])?.errorCode == ErrorCode.none)
    cluster.kill(3)
    let request = produceRequest("t", try batch(["b"]))
    let pending = cluster[1].send(request, version: 12)
    cluster.run(.milliseconds(900))
    #expect(!pending.isAnswered)
    #expect(try cluster.wait(pending)?.responses[0].partitionResponses[0].errorCode == ErrorCode.none)
    #expect(cluster.inSync == [1, 2])
    try cluster.restart(3)
    cluster.run(.seconds(3))
    #expect(cluster.inSync == [1, 2, 3])
    #expect(try cluster.consume(from: 3).values == ["a", "b"])
  }

  @Test("Below min.insync.replicas acks=all is refused before the append, and after it as soon as the ISR shrinks")
  func minInSync() throws {
    let settings = ["replica.lag.time.max.ms": "1000"]
    let cluster = try TestCluster([settings, settings, settings])
    try cluster.createTopic(configs: ["min.insync.replicas": "3"])
    cluster.run(.milliseconds(50))
    #expect(try cluster.produce(["a"])?.errorCode == ErrorCode.none)
    cluster.kill(2)
    #expect(try cluster.produce(["b"], patience: .seconds(3))?.errorCode == .notEnoughReplicasAfterAppend)
    #expect(try cluster.produce(["c"])?.errorCode == .notEnoughReplicas)
    #expect(try cluster.produce(["d"], acks: 1)?.errorCode == ErrorCode.none)
  }

  @Test("What a deposed leader had alone is cut, and the replicas agree afterwards")
  func divergence() throws {
    let cluster = try TestCluster()
    try cluster.createTopic()
    cluster.run(.milliseconds(50))
    #expect(try cluster.produce(["a", "b"])?.errorCode == ErrorCode.none)
    cluster.run(.milliseconds(50))
    // The followers are cut off, and the leader appends what nobody else gets.
    for id in [1, 2] {
      cluster.world.net.cut(from: 0, to: id)
      cluster.world.net.cut(from: id, to: 0)
    }
    cluster.setDeaf(1, true)
    let lost = cluster[1].send(produceRequest("t", try batch(["lost", "too"])), version: 12)
    cluster.run(.milliseconds(50))
    #expect(!lost.isAnswered)
    try cluster.elect(2, inSync: [2, 3])
    cluster.run(.milliseconds(100))
    #expect(try cluster.produce(["c"], to: 2)?.errorCode == ErrorCode.none)
    for id in [1, 2] {
      cluster.world.net.mend(from: 0, to: id, in: cluster.world)
      cluster.world.net.mend(from: id, to: 0, in: cluster.world)
    }
    cluster.setDeaf(1, false)
    let told = try cluster.wait(lost)
    #expect(told?.responses[0].partitionResponses[0].errorCode == .notLeaderOrFollower)
    #expect(told?.responses[0].partitionResponses[0].currentLeader.leaderId == 2, "KIP-951, for a produce that waited")
    cluster.run(.seconds(3))
    for id in 1...3 as ClosedRange<Int32> { #expect(try cluster.consume(from: id).values == ["a", "b", "c"]) }
    let cuts = cluster[1].events.all.compactMap { if case .replica(_, .truncated(let from, let to, _)) = $0 { (from, to) } else { nil } }
    #expect(cuts.map(\.0) == [Offset(4)] && cuts.map(\.1) == [Offset(2)], "\(cluster[1].events.all)")
    #expect(cluster.inSync == [1, 2, 3])
  }

  @Test("Refusals name the leader and where it is")
  func leaderHints() throws {
    let cluster = try TestCluster()
    let id = try cluster.createTopic()
    cluster.run(.milliseconds(50))
    try cluster.elect(3)
    let produced = try #require(try cluster.wait(cluster[1].send(produceRequest("t", try batch(["a"])), version: 12)))
    let answer = produced.responses[0].partitionResponses[0]
    #expect(answer.errorCode == .notLeaderOrFollower && answer.currentLeader.leaderId == 3 && answer.currentLeader.leaderEpoch == 1)
    #expect(produced.nodeEndpoints.map(\.host) == ["n3"])
    let fetched = try #require(try cluster.wait(cluster[3].send(fetchRequest("", from: 0, topicID: id, leaderEpoch: 0), version: 16)))
    #expect(fetched.onlyPartition?.errorCode == .fencedLeaderEpoch && fetched.onlyPartition?.currentLeader.leaderId == 3)
    #expect(fetched.nodeEndpoints.map(\.host) == ["n3"])
    let listed = try cluster.wait(
      cluster[1].send(ListOffsetsRequest(replicaId: -1, topics: [.init(name: "t", partitions: [.init(partitionIndex: 0, timestamp: -1)])])))
    #expect(listed?.topics[0].partitions[0].errorCode == .notLeaderOrFollower)
  }

  @Test("A leader whose lease has ended acknowledges nothing, and goes on when it is renewed")
  func lease() throws {
    let cluster = try TestCluster()
    try cluster.createTopic()
    cluster.run(.milliseconds(50))
    #expect(try cluster.produce(["a"])?.errorCode == ErrorCode.none)
    // Appended while the lease lives, replicated when it does not.
    for id in [1, 2] { cluster.world.net.cut(from: id, to: 0) }
    let pending = cluster[1].send(produceRequest("t", try batch(["b"])), version: 12)
    cluster.run(.milliseconds(20))
    cluster[1].broker.lease.update { $0.revoke() }
    for id in [1, 2] { cluster.world.net.mend(from: id, to: 0, in: cluster.world) }
    cluster.run(.seconds(1))
    #expect(!pending.isAnswered)
    #expect(try cluster.produce(["c"], acks: 1)?.errorCode == .notLeaderOrFollower)
    #expect(try cluster.consume(from: 1).values == ["a"])
    cluster[1].broker.lease.update { $0 = .unlimited }
    cluster[1].broker.leaseRenewed()
    #expect(try cluster.wait(pending)?.responses[0].partitionResponses[0].errorCode == ErrorCode.none)
    #expect(try cluster.produce(["d"])?.errorCode == ErrorCode.none)
  }

  @Test("A follower that was killed, or lost power, comes back with all that was acknowledged", arguments: [false, true])
  func followerRestart(losingPower: Bool) throws {
    let cluster = try TestCluster()
    try cluster.createTopic(configs: ["min.insync.replicas": "1"])
    cluster.run(.milliseconds(50))
    for number in 0..<5 { #expect(try cluster.produce(["v\(number)"])?.errorCode == ErrorCode.none) }
    cluster.kill(2, losingPower: losingPower)
    for number in 5..<8 { #expect(try cluster.produce(["v\(number)"], acks: 1)?.errorCode == ErrorCode.none) }
    try cluster.restart(2)
    cluster.run(.seconds(5))
    #expect(try cluster.consume(from: 2).values == (0..<8).map { "v\($0)" })
    #expect(cluster.inSync == [1, 2, 3])
  }

  @Test("A thousand partitions at rest: one parked fetch for each pair of brokers, however many there are")
  func idle() throws {
    let cluster = try TestCluster()
    try cluster.createTopic(partitions: 1000)
    cluster.run(.seconds(3))
    let before = cluster.world.eventCount
    cluster.run(.seconds(10))
    // Two followers ask twice a second, which is a few dozen events for both.
    #expect(cluster.world.eventCount - before < 20 * 2 * 20, "\(cluster.world.eventCount - before) events in ten seconds")
    #expect(try cluster.produce(["a"], partition: 999)?.errorCode == ErrorCode.none)
  }
}
