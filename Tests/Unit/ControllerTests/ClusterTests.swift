import Base
import Metadata
import Model
import NIOCore
import Synchronization
import Testing
import VirtualWorld

@testable import Controller

/// Controllers of several nodes, on disks and wires of a virtual world.
@Suite struct ClusterTests {
  @Test(arguments: 1...6 as ClosedRange<UInt64>)
  func theNextControllerSeesAllThatWasAcknowledged(_ seed: UInt64) throws {
    let cluster = try Cluster(seed: seed, voters: 3)
    try cluster.start(NodeID(9))
    _ = try cluster.waitForActive()
    try cluster.addBroker(NodeID(1))
    var requests: [(name: String, answer: Answer<Result<[CreateTopics.TopicResult], ApiError>>)] = []
    for round in 0..<3 {
      let first = try cluster.waitForActive()
      for step in 0..<30 {
        let name = "t\(round)-\(step)"
        if let active = cluster.active { requests.append((name, active.run(CreateTopics([.init(name)])))) }
        cluster.world.run(for: .microseconds(cluster.world.draw(10...900)))
      }
      cluster.kill(first.id)
      let took = try cluster.wait(for: "another controller") { cluster.active != nil }
      #expect(took < .milliseconds(150), "seed \(seed), round \(round): \(took)")
      try cluster.start(first.id)
      cluster.world.run(for: .seconds(1))
    }
    try cluster.wait(for: "all nodes loaded") { cluster.nodes.values.allSatisfy { $0.loaded.value != nil } }
    try cluster.expectAgreement()
    let image = try #require(cluster.nodes[NodeID(9)]).image
    var acknowledged = 0
    for request in requests {
      switch request.answer.value {
      case .success(let results):
        #expect(results[0].succeeded)
        #expect(image.topic(request.name) != nil, "\(request.name) was acknowledged and is lost")
        acknowledged += 1
      case .failure(let error): #expect(error.code == .notController)
      // Its process died with it.
      case nil: break
      }
      #expect(request.answer.count <= 1)
    }
    #expect(acknowledged > 20)
    for node in cluster.nodes.values { #expect(!node.journal.entries.contains { $0.hasPrefix("failed") }) }
  }

  @Test func whoIsDeposedAnswersAndFollows() throws {
    let cluster = try Cluster(seed: 11, voters: 3)
    let old = try cluster.waitForActive()
    try cluster.addBroker(NodeID(1))
    cluster.isolate(old.id)
    let answer = old.run(CreateTopics([.init("lost")]))
    let read = Answer<Result<Int, ApiError>>()
    old.controller.read({ $0.image.topicCount }, completion: { read.put($0) })
    try cluster.wait(for: "another controller") { cluster.nodes.values.contains { $0.controller.isActive && $0.id != old.id } }
    let new = try #require(cluster.nodes.values.first { $0.controller.isActive && $0.id != old.id })
    let kept = new.run(CreateTopics([.init("kept")]))
    try cluster.wait(for: "the old one to step down") { answer.value != nil && read.value != nil }
    guard case .failure(let error) = answer.value else { return #expect(Bool(false), "it was acknowledged without a quorum") }
    #expect(error.code == .notController)
    guard case .failure = read.value else { return #expect(Bool(false), "a read was answered without a quorum") }
    cluster.reconnect(old.id)
    try cluster.wait { old.controller.quorumLeader.node == new.id }
    try cluster.expectAgreement()
    #expect(kept.value.map { (try? $0.get()) != nil } == true)
    #expect(old.image.topic("kept") != nil && old.image.topic("lost") == nil)
    #expect(old.journal.entries.contains { $0.hasPrefix("stepped down") && $0.hasSuffix(" 1 unanswered") })
  }

  @Test func handingOverLosesNoTime() throws {
    let cluster = try Cluster(seed: 12, voters: 3)
    let old = try cluster.waitForActive()
    cluster.world.run(for: .seconds(1))
    let done = Answer<Bool>()
    old.controller.handOver { done.put(true) }
    let took = try cluster.wait { cluster.nodes.values.contains { $0.controller.isActive && $0.id != old.id } }
    #expect(took < .milliseconds(20), "\(took)")
    try cluster.wait { done.value == true }
    let closed = Answer<MetadataLogError?>()
    old.controller.close { closed.put($0) }
    try cluster.wait { closed.count == 1 }
  }

  // MARK: - Brokers

  @Test func aDeadProcessIsFencedByAProbe() throws {
    let cluster = try Cluster(seed: 21, voters: 3)
    try cluster.start(NodeID(4))
    for id in [1, 2, 3, 4] as [Int32] { try cluster.addBroker(NodeID(id)) }
    let active = try cluster.waitForActive()
    // A connection that ended proves nothing about who lives.
    active.controller.brokerConnectionLost(NodeID(4))
    cluster.world.run(for: .seconds(1))
    #expect(active.image.broker(NodeID(4))?.isFenced == false)
    cluster.kill(NodeID(4))
    active.controller.brokerConnectionLost(NodeID(4))
    let took = try cluster.wait { active.image.broker(NodeID(4))?.isFenced == true }
    #expect(took < .milliseconds(10), "\(took)")
    #expect(active.journal.entries.contains("fenced 4 processDead"))
  }

  @Test func anotherIncarnationUnderTheAddressIsAsGoodAsDead() throws {
    let cluster = try Cluster(seed: 22, voters: 3)
    try cluster.start(NodeID(4))
    let first = try cluster.addBroker(NodeID(4))
    cluster.kill(NodeID(4))
    try cluster.start(NodeID(4))
    // Refused at first, and the reason to ask who answers there.
    let refused = Answer<Result<BrokerEpoch, ApiError>>()
    try cluster.waitForActive().controller.submit(registration(node: 4, incarnation: 2)) { refused.put($0) }
    try cluster.wait { refused.value != nil }
    guard case .failure(let error) = refused.value else { return #expect(Bool(false)) }
    #expect(error.code == .duplicateBrokerRegistration)
    try cluster.wait(.milliseconds(50)) { cluster.active?.image.broker(NodeID(4))?.isFenced == true }
    #expect(try cluster.ask(registration(node: 4, incarnation: 2)) > first)
  }

  @Test func silenceFencesAtTheEndOfTheSession() throws {
    let cluster = try Cluster(seed: 23, voters: 3)
    try cluster.start(NodeID(4))
    for id in [1, 2, 3, 4] as [Int32] { try cluster.addBroker(NodeID(id)) }
    let active = try cluster.waitForActive()
    for _ in 0..<3 {
      cluster.heartbeats()
      cluster.world.run(for: .seconds(2))
    }
    let last = cluster.world.now
    cluster.heartbeats()
    while active.image.broker(NodeID(4))?.isFenced == false, cluster.world.now - last < .seconds(20) {
      cluster.world.run(for: .milliseconds(500))
      cluster.heartbeats(except: NodeID(4))
    }
    let took = cluster.world.now - last
    #expect(took >= .seconds(9) && took <= .milliseconds(9_600), "\(took)")
    #expect(active.journal.entries.contains("fenced 4 sessionEnded"))
    #expect(active.image.brokers.filter(\.isFenced).map(\.nodeID) == [NodeID(4)])
  }

  @Test func aHeartbeatSaysWhatSessionItGrants() throws {
    let cluster = try Cluster(seed: 24, voters: 3) { $0.session = .seconds(3) }
    let epoch = try cluster.ask(registration(node: 1))
    let active = try cluster.waitForActive()
    func heartbeat(_ node: ClusterNode, offset: Offset) throws -> Result<HeartbeatOutcome, ApiError> {
      let answer = Answer<Result<HeartbeatOutcome, ApiError>>()
      node.controller.heartbeat(BrokerHeartbeat(nodeID: NodeID(1), epoch: epoch, metadataOffset: offset)) { answer.put($0) }
      try cluster.wait { answer.value != nil }
      return answer.value!
    }
    let behind = try heartbeat(active, offset: Offset(0)).get()
    #expect(!behind.answer.isCaughtUp && behind.answer.isFenced && behind.session == .seconds(3))
    let caughtUp = try heartbeat(active, offset: active.image.offset).get()
    #expect(!caughtUp.answer.isFenced)
    let other = try #require(cluster.nodes.values.first { !$0.controller.isActive })
    #expect(try heartbeat(other, offset: Offset(0)) == .failure(ApiError(.notController, "This node is not the active controller.")))
  }

  @Test func theSuspicionsOfAStandbyAreProbedWhenItBecomesActive() throws {
    let cluster = try Cluster(seed: 25, voters: 3)
    try cluster.start(NodeID(4))
    for id in [1, 2, 3, 4] as [Int32] { try cluster.addBroker(NodeID(id)) }
    try cluster.expectAgreement()
    let old = try cluster.waitForActive()
    // Broker and controller die at once: those that are left hear it of both.
    cluster.kill(NodeID(4))
    for node in cluster.nodes.values where node.id != old.id { node.controller.brokerConnectionLost(NodeID(4)) }
    cluster.world.run(for: .milliseconds(5))
    cluster.kill(old.id)
    let took = try cluster.wait { cluster.nodes.values.allSatisfy { $0.image.broker(NodeID(4))?.isFenced == true } }
    #expect(took < .milliseconds(150), "\(took)")
  }

  @Test func theLongestLogWinsAnUncleanElection() throws {
    let cluster = try Cluster(seed: 26, voters: 3)
    for id in [1, 2, 3] as [Int32] { try cluster.addBroker(NodeID(id)) }
    let active = try cluster.waitForActive()
    // Another than the active controller leads.
    let replicas = cluster.voters.sorted { a, b in a != active.id && (b == active.id || a < b) }
    _ = try cluster.ask(
      CreateTopics([
        .init(
          "t", assignments: [.init(partition: PartitionID(0), replicas: replicas)],
          configs: [.init(name: "unclean.leader.election.enable", value: "true")])
      ]))
    let topic = try #require(active.image.topic("t"))
    let id = TopicIDPartition(topic.id, PartitionID(0))
    // The ISR shrinks to a broker, which then goes for good.
    let gone = topic.partitions[0].leader
    let epoch = try #require(active.image.broker(gone)?.epoch)
    _ = try cluster.ask(
      AlterPartition(
        nodeID: gone, epoch: epoch,
        [
          .init(
            id, leaderEpoch: topic.partitions[0].leaderEpoch, partitionEpoch: topic.partitions[0].partitionEpoch,
            inSyncReplicas: [.init(gone, epoch)])
        ]))
    for (place, node) in replicas.filter({ $0 != gone }).enumerated() {
      cluster.nodes[node]!.logEnds.withLock { $0[id] = (epoch: 0, end: Int64(100 + place)) }
    }
    cluster.kill(gone)
    active.controller.brokerConnectionLost(gone)
    try cluster.wait { active.image.partition(id)?.reason == .uncleanElection }
    #expect(active.image.partition(id)?.leader == replicas.last { $0 != gone })
  }

  // MARK: - Far behind, and wrong

  @Test func whoIsFarBehindTakesTheSnapshot() throws {
    let cluster = try Cluster(seed: 31, voters: 3) { setup in
      setup.snapshots.bytes = 4_000
      setup.history = MetadataHistory(bytes: 0)
    }
    try cluster.addBroker(NodeID(1))
    let active = try cluster.waitForActive()
    let late = try #require(cluster.voters.last { $0 != active.id })
    cluster.kill(late)
    for number in 0..<150 { try cluster.ask(CreateTopics([.init("t\(number)")])) }
    cluster.world.run(for: .seconds(1))
    #expect(active.journal.entries.contains { $0.hasPrefix("snapshot ") })
    #expect(active.controller.quorum.logStartOffset > Offset(10))
    let node = try cluster.start(late)
    let new = try cluster.start(NodeID(9))
    try cluster.wait { node.loaded.value != nil && new.loaded.value != nil }
    try cluster.expectAgreement()
    #expect(node.image.topicCount == 150 && new.image.topicCount == 150)
    #expect(node.controller.quorum.logStartOffset > Offset(10))
    // It loses touch once it is loaded, and then hears of the snapshot as a change.
    cluster.isolate(late)
    for number in 150..<300 { try cluster.ask(CreateTopics([.init("t\(number)")])) }
    cluster.world.run(for: .seconds(1))
    cluster.reconnect(late)
    try cluster.expectAgreement()
    #expect(node.image.topicCount == 300)
    #expect(node.journal.entries.contains { $0.hasPrefix("snapshot loaded") })
    // The image is the same whichever way it came, its offset included.
    #expect(Set(cluster.nodes.values.map(\.image.offset)).count == 1)
  }

  @Test func aRecordThatNobodyUnderstandsStopsTheNode() throws {
    let cluster = try Cluster(seed: 32, voters: 3)
    let active = try cluster.waitForActive()
    let epoch = active.controller.quorumLeader.epoch
    let standby = try #require(cluster.nodes.values.first { $0.id != active.id })
    try cluster.addBroker(NodeID(1))
    try cluster.expectAgreement()
    let before = standby.image
    active.controller.quorum.perform { _ = try? active.controller.quorum.propose([ByteBuffer(bytes: [1, 99, 0])], in: epoch) }
    try cluster.wait { standby.journal.entries.contains { $0.hasPrefix("failed: the record at offset") } }
    #expect(standby.image == before)
    let answer = standby.run(CreateTopics([.init("a")]))
    try cluster.wait { answer.value != nil }
    guard case .failure(let error) = answer.value else { return #expect(Bool(false)) }
    #expect(error.code == .kafkaStorageError)
    #expect(standby.journal.entries.count { $0.hasPrefix("failed") } == 1)
  }
}

extension CreateTopics.TopicResult {
  var succeeded: Bool { if case .success = self.outcome { true } else { false } }
}
