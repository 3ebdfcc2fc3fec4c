import Base
import Broker
import Metadata
import Model
import Replication
import Testing
import VirtualWorld
import Wire

/// What else replicas do: reads by rack, deletions, moves.
@Suite("Replicas: reads by rack, deletions, moves")
struct ReplicaUpkeepTests {
  private static let byRack = "org.apache.kafka.common.replica.RackAwareReplicaSelector"

  @Test("A consumer is sent to the replica in its rack, which serves it up to its watermark (KIP-392)")
  func racks() throws {
    let cluster = try TestCluster(
      ["a", "b", "c"].map { ["broker.rack": $0, "replica.selector.class": Self.byRack] })
    let id = try cluster.createTopic()
    cluster.run(.milliseconds(50))
    #expect(try cluster.produce(["x"])?.errorCode == ErrorCode.none)
    cluster.run(.milliseconds(50))
    func fetch(_ broker: Int32, rack: String, from offset: Int64 = 0, version: Int16 = 17) throws -> FetchResponse.PartitionData {
      var request = fetchRequest("t", from: offset, topicID: id)
      request.rackId = rack
      return try #require(try cluster.wait(cluster[broker].send(request, version: version))?.onlyPartition)
    }
    let sent = try fetch(1, rack: "b")
    #expect(sent.errorCode == .none && sent.preferredReadReplica == 2 && sent.highWatermark == 1)
    #expect(try sent.values() == [])
    #expect(try fetch(2, rack: "b").values() == ["x"])
    for rack in ["a", "", "z"] {
      let here = try fetch(1, rack: rack)
      #expect(here.preferredReadReplica == -1)
      #expect(try here.values() == ["x"], "rack \(rack)")
    }
    #expect(try fetch(2, rack: "b", version: 10).errorCode == .notLeaderOrFollower, "before v11 only leaders serve")
    #expect(try fetch(2, rack: "b", from: 7).errorCode == .offsetOutOfRange)
    // A consumer that waits at a follower is woken when the watermark gets there.
    let waiting = cluster[2].send(fetchRequest("t", from: 1, maxWaitMs: 5000, topicID: id), version: 17)
    cluster.run(.milliseconds(100))
    #expect(!waiting.isAnswered)
    #expect(try cluster.produce(["y"])?.errorCode == ErrorCode.none)
    #expect(try cluster.wait(waiting, .milliseconds(50))?.onlyPartition?.values() == ["y"])
    // One that is fenced is nobody's choice.
    try cluster.commit([.fenceBroker(NodeID(2), epoch: cluster[2].epoch)])
    #expect(try fetch(1, rack: "b").preferredReadReplica == -1)
  }

  @Test("Without a selector nobody is sent away")
  func noSelector() throws {
    let cluster = try TestCluster(["a", "b", "c"].map { ["broker.rack": $0] })
    try cluster.createTopic()
    cluster.run(.milliseconds(50))
    var request = fetchRequest("t", from: 0)
    request.rackId = "b"
    #expect(try cluster.wait(cluster[1].send(request, version: 11))?.onlyPartition?.preferredReadReplica == -1)
  }

  @Test("DeleteRecords is answered when every live replica has deleted")
  func deleteRecords() throws {
    let cluster = try TestCluster()
    try cluster.createTopic()
    cluster.run(.milliseconds(50))
    for value in ["a", "b", "c"] { #expect(try cluster.produce([value])?.errorCode == ErrorCode.none) }
    cluster.run(.milliseconds(50))
    let request = DeleteRecordsRequest(
      topics: [.init(name: "t", partitions: [.init(partitionIndex: 0, offset: 2)])], timeoutMs: 5000)
    let began = cluster.world.now
    let answer = try #require(try cluster.wait(cluster[1].send(request)))
    #expect(answer.topics[0].partitions[0].errorCode == .none && answer.topics[0].partitions[0].lowWatermark == 2)
    #expect(cluster.world.now - began < .milliseconds(20), "nothing waits for a timer")
    for id in 2...3 as ClosedRange<Int32> {
      #expect(try cluster.consume(from: id, offset: 2).values == ["c"])
      #expect(try cluster.consume(from: id, offset: 2).data.logStartOffset == 2)
    }
    #expect(
      try cluster.wait(cluster[2].send(request))?.topics[0].partitions[0].errorCode == .notLeaderOrFollower, "only the leader deletes")
    // A replica that is cut off holds it up until the time is over.
    cluster.world.net.cut(from: 2, to: 0)
    var last = request
    last.topics[0].partitions[0].offset = 3
    last.timeoutMs = 300
    #expect(try cluster.wait(cluster[1].send(last))?.topics[0].partitions[0].errorCode == .requestTimedOut)
  }

  @Test("A follower whose log ended before the leader's begins starts over there")
  func restartAtLogStart() throws {
    let cluster = try TestCluster()
    try cluster.createTopic()
    cluster.run(.milliseconds(50))
    #expect(try cluster.produce(["a"])?.errorCode == ErrorCode.none)
    cluster.kill(3)
    try cluster.commit([.fenceBroker(NodeID(3), epoch: cluster[3].epoch)])
    var change = PartitionChange()
    change.inSyncReplicas = [NodeID(1), NodeID(2)]
    try cluster.commit([.partitionChange(TopicIDPartition(TestCluster.topicID(), PartitionID(0)), change)])
    // The third batch is cut in the middle.
    for values in [["b"], ["c", "d"]] { #expect(try cluster.produce(values)?.errorCode == ErrorCode.none) }
    let request = DeleteRecordsRequest(topics: [.init(name: "t", partitions: [.init(partitionIndex: 0, offset: 3)])], timeoutMs: 5000)
    #expect(try cluster.wait(cluster[1].send(request))?.topics[0].partitions[0].lowWatermark == 3)
    try cluster.restart(3)
    cluster.run(.seconds(3))
    #expect(cluster[3].events.contains { if case .replica(_, .restarted(at: Offset(3), from: Offset(1))) = $0 { true } else { false } })
    let there = try cluster.consume(from: 3, offset: 3)
    #expect(there.data.logStartOffset == 3 && there.values.last == "d")
    #expect(cluster.inSync == [1, 2, 3])
    #expect(try cluster.produce(["e"])?.errorCode == ErrorCode.none)
  }

  @Test("A replica that is moved to another broker appears there and is deleted here")
  func reassignment() throws {
    let cluster = try TestCluster()
    let id = try cluster.createTopic(replicas: [1, 2])
    cluster.run(.milliseconds(50))
    #expect(try cluster.produce(["a"])?.errorCode == ErrorCode.none)
    let key = TopicIDPartition(id, PartitionID(0))
    var adding = PartitionChange()
    adding.assignedReplicas = [NodeID(1), NodeID(2), NodeID(3)]
    adding.addingReplicas = [NodeID(3)]
    try cluster.commit([.partitionChange(key, adding)])
    cluster.run(.seconds(1))
    #expect(cluster.inSync == [1, 2, 3])
    #expect(try cluster.consume(from: 3).values == ["a"])
    var moved = PartitionChange()
    moved.assignedReplicas = [NodeID(1), NodeID(3)]
    moved.addingReplicas = []
    moved.inSyncReplicas = [NodeID(1), NodeID(3)]
    try cluster.commit([.partitionChange(key, moved)])
    cluster.run(.milliseconds(50))
    #expect(cluster[2].events.contains { if case .partitionDeleted = $0 { true } else { false } })
    #expect(try cluster.consume(from: 2).data.errorCode == .notLeaderOrFollower)
    #expect(try cluster.produce(["b"])?.errorCode == ErrorCode.none)
  }

  @Test("A leader that comes back at another address is found there, and a broker that is gone is let go")
  func addresses() throws {
    let cluster = try TestCluster()
    try cluster.createTopic()
    cluster.run(.milliseconds(50))
    #expect(try cluster.produce(["a"])?.errorCode == ErrorCode.none)
    cluster.kill(1)
    cluster.run(.milliseconds(100))
    try cluster.restart(1)
    cluster.run(.seconds(3))
    #expect(try cluster.produce(["b"])?.errorCode == ErrorCode.none)
    #expect(try cluster.consume(from: 1).values == ["a", "b"])
    try cluster.elect(2)
    try cluster.commit([.unregisterBroker(NodeID(1), epoch: cluster[1].epoch)])
    cluster.run(.milliseconds(100))
    #expect(try cluster.produce(["c"], to: 2, acks: 1)?.errorCode == ErrorCode.none)
  }

  @Test("After a change of leaders acks=all is answered within milliseconds, though fetches were parked")
  func failover() throws {
    let cluster = try TestCluster()
    try cluster.createTopic(partitions: 30)
    cluster.run(.seconds(1))
    cluster.kill(1)
    var changes: [MetadataChange] = [.fenceBroker(NodeID(1), epoch: cluster[1].epoch)]
    for index in 0..<30 as Range<Int32> {
      var change = PartitionChange()
      change.leader = NodeID(2)
      change.inSyncReplicas = [NodeID(2), NodeID(3)]
      changes.append(.partitionChange(TopicIDPartition(TestCluster.topicID(), PartitionID(index)), change))
    }
    try cluster.commit(changes)
    let began = cluster.world.now
    for index in [0, 29] as [Int32] { #expect(try cluster.produce(["x"], to: 2, partition: index)?.errorCode == ErrorCode.none) }
    #expect(cluster.world.now - began < .milliseconds(50), "\(cluster.world.now - began)")
  }
}
