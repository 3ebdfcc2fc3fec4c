import Base
import Broker
import Metadata
import Model
import Testing
import VirtualWorld
import Wire

@Suite("Throttled replication (KIP-73)")
struct ThrottleTests {
  private static let small = ["replica.fetch.max.bytes": "65536", "replica.lag.time.max.ms": "5000"]

  /// Three brokers, a topic of one partition on the first two, with 3 MB in it.
  private func filled(configs: [String: String] = [:]) throws -> TestCluster {
    let cluster = try TestCluster([Self.small, Self.small, Self.small])
    try cluster.createTopic(replicas: [1, 2], configs: configs.merging(["min.insync.replicas": "2", "flush.policy": "os"]) { $1 })
    cluster.run(.milliseconds(50))
    let value = String(repeating: "x", count: 30_000)
    for _ in 0..<100 { #expect(try cluster.produce([value])?.errorCode == ErrorCode.none) }
    return cluster
  }

  /// Broker 3 gets a replica.
  private func add(to cluster: TestCluster) throws {
    var change = PartitionChange()
    change.assignedReplicas = [NodeID(1), NodeID(2), NodeID(3)]
    change.addingReplicas = [NodeID(3)]
    try cluster.commit([.partitionChange(TopicIDPartition(TestCluster.topicID(), PartitionID(0)), change)])
  }

  private func limit(_ cluster: TestCluster, _ side: String, _ rate: String?, _ resource: ConfigResource = .defaultBroker) throws {
    try cluster.commit([.config(resource, name: "\(side).replication.throttled.rate", value: rate)])
  }

  /// Bytes that broker 3 has of the partition.
  private func copied(_ cluster: TestCluster) throws -> Int64 {
    let response = try cluster.wait(cluster[3].send(DescribeLogDirsRequest(topics: nil)))
    return response?.results.first?.topics.first?.partitions.first?.partitionSize ?? 0
  }

  @Test("A move goes at about its rate, and a follower in sync is not slowed", arguments: ["leader", "follower"], ["list", "*"])
  func rate(side: String, list: String) throws {
    let replicas = list == "*" ? "*" : side == "leader" ? "0:1,0:2" : "0:3"
    let cluster = try self.filled(configs: ["\(side).replication.throttled.replicas": replicas])
    try self.limit(cluster, side, "500000")
    let began = cluster.world.now
    try self.add(to: cluster)
    cluster.run(.seconds(2))
    let early = try self.copied(cluster)
    #expect((700_000...1_400_000).contains(early), "\(early) bytes after two seconds")
    // Nothing waits for the quota that is acknowledged.
    while cluster.world.now - began < .seconds(4) {
      let asked = cluster.world.now
      #expect(try cluster.produce(["y"])?.errorCode == ErrorCode.none)
      #expect(cluster.world.now - asked < .milliseconds(10))
      cluster.run(.milliseconds(100))
    }
    #expect(cluster.inSync == [1, 2])
    while cluster.inSync != [1, 2, 3], cluster.world.now - began < .seconds(20) { cluster.run(.milliseconds(50)) }
    let took = cluster.world.now - began
    #expect(took > .seconds(5) && took < .seconds(8), "3 MB at 500 kB/s took \(took)")
    // In sync it is held to nothing any more.
    try self.limit(cluster, side, "1")
    for _ in 0..<20 {
      let asked = cluster.world.now
      #expect(try cluster.produce([String(repeating: "z", count: 5000)])?.errorCode == ErrorCode.none)
      #expect(cluster.world.now - asked < .milliseconds(10))
    }
    #expect(cluster.inSync == [1, 2, 3])
  }

  @Test("Without a rate, or for replicas that are not named, nothing is limited")
  func unlimited() throws {
    let cluster = try self.filled(configs: [
      "leader.replication.throttled.replicas": "0:2,1:1", "follower.replication.throttled.replicas": "0:1",
    ])
    try self.limit(cluster, "leader", "1000")
    try self.limit(cluster, "follower", "1000")
    try self.add(to: cluster)
    cluster.run(.seconds(1))
    #expect(cluster.inSync == [1, 2, 3])
  }

  @Test("What waits goes on when the rate is raised or taken off, or the topic's list", arguments: ["leader", "follower"], [0, 1, 2])
  func release(side: String, way: Int) throws {
    let list = "\(side).replication.throttled.replicas"
    let cluster = try self.filled(configs: [list: "*"])
    let node = ConfigResource.broker(NodeID(side == "leader" ? 1 : 3))
    try self.limit(cluster, side, "1", node)
    try self.add(to: cluster)
    cluster.run(.seconds(8))
    let before = try self.copied(cluster)
    #expect(before < 300_000, "\(before)")
    switch way {
    case 0: try self.limit(cluster, side, nil, node)
    case 1: try self.limit(cluster, side, "100000000", node)
    default: try cluster.commit([.config(.topic("t"), name: list, value: "")])
    }
    cluster.run(.seconds(1))
    #expect(cluster.inSync == [1, 2, 3])
  }

  @Test("A restart of the broker that copies keeps the limit")
  func restart() throws {
    let cluster = try self.filled(configs: ["follower.replication.throttled.replicas": "0:3"])
    try self.limit(cluster, "follower", "500000")
    try self.add(to: cluster)
    cluster.run(.seconds(1))
    cluster.kill(3)
    try cluster.restart(3)
    let began = cluster.world.now
    while cluster.inSync != [1, 2, 3], cluster.world.now - began < .seconds(20) { cluster.run(.milliseconds(50)) }
    let took = cluster.world.now - began
    #expect(took > .seconds(3) && took < .seconds(8), "\(took)")
  }
}
