import ArgumentParser
import JSON
import KafkaClient
import Testing

@testable import apus

@Suite struct ClusterStatusTests {
  private static let now: Int64 = 1_000_000

  static func broker(_ id: Int32, isFenced: Bool? = false, isStopping: Bool? = false, rack: String? = nil) -> BrokerDescription {
    BrokerDescription(
      id: id, address: BrokerAddress(host: "h\(id)", port: 9092), rack: rack, isFenced: isFenced, isInControlledShutdown: isStopping)
  }

  static func partition(_ number: Int32, leader: Int32?, _ replicas: [Int32], inSync: [Int32]? = nil) -> PartitionDescription {
    PartitionDescription(
      partition: number, leader: leader, leaderEpoch: 3, replicas: replicas, inSyncReplicas: inSync ?? replicas,
      eligibleLeaderReplicas: [], lastKnownEligibleLeaderReplicas: [])
  }

  /// Three nodes that are well.
  static var healthy: ClusterState {
    let quorum = QuorumDescription(
      leader: 1, leaderEpoch: 7, highWatermark: 99,
      voters: (1...3).map { QuorumReplica(id: $0, logEndOffset: 100, lastFetch: Self.now - 5, lastCaughtUp: Self.now - 5) },
      endpoints: [QuorumEndpoint(node: 1, listener: "CONTROLLER", address: BrokerAddress(host: "h1", port: 9093))])
    var state = ClusterState(
      cluster: ClusterDescription(id: "c", controllerID: 1, brokers: [Self.broker(1), Self.broker(2), Self.broker(3)]),
      quorum: .success(quorum), now: Self.now)
    state.topics = [
      TopicDescription(name: "orders", id: nil, isInternal: false, partitions: [
        Self.partition(0, leader: 1, [1, 2, 3]), Self.partition(1, leader: 2, [2, 3, 1]),
      ])
    ]
    state.minInSyncReplicas = ["orders": 2]
    return state
  }

  private func report(_ change: (inout ClusterState) throws -> Void) rethrows -> ClusterStatusReport {
    var state = Self.healthy
    try change(&state)
    return ClusterStatusReport(state, lagMax: 2000)
  }

  private func quorum(_ change: (inout QuorumDescription) -> Void) throws -> ClusterStatusReport {
    try self.report { state in
      var quorum = try state.quorum.get()
      change(&quorum)
      state.quorum = .success(quorum)
    }
  }

  @Test func aWholeClusterIsHealthy() {
    let report = self.report { _ in }
    #expect(report.health.verdict == .healthy && report.health.reasons.isEmpty)
    #expect(report.health.leaders == [1: 1, 2: 1] && report.health.replicas == [1: 2, 2: 2, 3: 2])
    #expect(report.lines.first == "cluster c: healthy")
    #expect(report.lines.contains { $0.contains("node 1 leads, epoch 7, committed to 99") })
    #expect(report.json["health"] == "healthy" && report.json["partitions"]?["total"] == 2)
    #expect(report.json["quorum"]?["leader"] == 1 && report.json["brokers"]?.text.contains("\"fenced\":false") == true)
  }

  @Test func whatLacksReplicasIsDegraded() throws {
    let under = self.report { $0.topics[0].partitions[0] = Self.partition(0, leader: 2, [1, 2, 3], inSync: [2, 3]) }
    #expect(under.health.verdict == .degraded && under.health.counts.underReplicated == 1 && under.health.counts.notPreferred == 1)
    #expect(under.health.counts.underMinInSync == 0)
    let below = self.report { $0.topics[0].partitions[0] = Self.partition(0, leader: 2, [1, 2, 3], inSync: [2]) }
    #expect(below.health.counts.underMinInSync == 1 && below.health.reasons.contains { $0.contains("acks=all is refused") })
    // One replica can never be two.
    let single = self.report { $0.topics[0].partitions[0] = Self.partition(0, leader: 2, [2]) }
    #expect(single.health.verdict == .healthy)
  }

  @Test func aPartitionOnItsWayIsWholeWithItsOldReplicas() {
    let report = self.report { state in
      state.topics[0].partitions[0] = Self.partition(0, leader: 1, [4, 1, 2, 3], inSync: [1, 2, 3])
      state.reassignments[TopicPartition(topic: "orders", partition: 0)] = Reassignment(
        replicas: [4, 1, 2, 3], adding: [4], removing: [3])
    }
    #expect(report.health.verdict == .healthy && report.health.counts.reassigning == 1)
  }

  @Test func brokersThatAreGoneOrGoAreDegraded() {
    let fenced = self.report { $0.cluster.brokers[2].isFenced = true }
    #expect(fenced.health.verdict == .degraded && fenced.health.reasons == ["fenced: broker 3"])
    #expect(fenced.lines.contains { $0.contains("fenced") && $0.contains("h3:9092") })
    let stopping = self.report { $0.cluster.brokers[0].isInControlledShutdown = true }
    #expect(stopping.health.verdict == .degraded && stopping.health.reasons == ["shutting down: broker 1"])
    let none = self.report { state in for index in 0..<3 { state.cluster.brokers[index].isFenced = true } }
    #expect(none.health.verdict == .unavailable)
  }

  @Test func votersThatLagAreDegraded() throws {
    let behind = try self.quorum { $0.voters[2].lastCaughtUp = Self.now - 10_000; $0.voters[2].logEndOffset = 60 }
    #expect(behind.health.verdict == .degraded && behind.health.reasons == ["voter 3 has been behind for 10.0 s"])
    #expect(behind.json["quorum"]?.text.contains("\"lag\":40") == true)
    let unheard = try self.quorum { $0.voters[1] = QuorumReplica(id: 2, logEndOffset: nil) }
    #expect(unheard.health.verdict == .degraded && unheard.health.reasons.first?.contains("not been heard of") == true)
    // Before KIP-836 nobody told times.
    let old = try self.quorum { quorum in
      for index in 0..<3 { (quorum.voters[index].lastFetch, quorum.voters[index].lastCaughtUp) = (nil, nil) }
    }
    #expect(old.health.verdict == .healthy)
    // An observer may lag as it likes.
    let observer = try self.quorum { $0.observers = [QuorumReplica(id: 9, logEndOffset: 1, lastFetch: 1, lastCaughtUp: 1)] }
    #expect(observer.health.verdict == .healthy && observer.lines.contains { $0.contains("observer") })
  }

  @Test func withoutALeaderOrAControllerItIsUnavailable() throws {
    let offline = self.report { $0.topics[0].partitions[0] = Self.partition(0, leader: nil, [1, 2, 3], inSync: [1]) }
    #expect(offline.health.verdict == .unavailable && offline.health.reasons.first == "1 partition without a leader")
    let leaderless = try self.quorum { $0.leader = nil }
    #expect(leaderless.health.verdict == .unavailable)
    let silent = self.report { $0.quorum = .failure(KafkaError(.timeout, "no answer")) }
    #expect(silent.health.verdict == .unavailable && silent.json["quorum"] == .null)
    // Of a cluster of before KRaft there is nothing to know.
    #expect(self.report { $0.quorum = .failure(KafkaError(.unsupportedVersion, "old")) }.health.verdict == .healthy)
    #expect(ClusterStatusReport.unavailable("nobody").text == #"{"health":"unavailable","reasons":["nobody"]}"#)
  }

  @Test func verdictsAreExitCodes() {
    #expect([ClusterHealth.Verdict.healthy, .degraded, .unavailable].map(\.rawValue) == [0, 1, 2])
  }

  // MARK: Elections

  private func end(_ offset: Int64, _ epoch: Int32, _ watermark: Int64?) -> ElectionPreview.Answer {
    .end(ReplicaLogEnd(offset: offset, leaderEpoch: epoch, highWatermark: watermark))
  }
  private let id = TopicPartition(topic: "orders", partition: 0)

  @Test func anUncleanElectionTellsWhatEachWouldLose() {
    let partition = PartitionDescription(
      partition: 0, leader: nil, leaderEpoch: 9, replicas: [1, 2, 3], inSyncReplicas: [], eligibleLeaderReplicas: [],
      lastKnownEligibleLeaderReplicas: [1])
    let preview = ElectionPreview(
      self.id, partition, .unclean, answers: [2: self.end(90, 8, 80), 3: self.end(120, 7, 100), 1: .unreachable("refused")])
    #expect(preview.candidates.map(\.standing) == [.lastKnown, .outOfSync, .outOfSync])
    #expect(preview.highWatermark == 100)
    // The newest epoch goes before the longest log.
    #expect(preview.candidates.map(\.lostCommitted) == [nil, 10, 0])
    #expect(preview.candidates.map(\.lostInAll) == [nil, 0, 0])
    #expect(preview.outcome == "broker 2 has the longest log, and what only broker 1 has would be lost")
    #expect(preview.rows[0].contains("no answer") && preview.json["candidates"]?.text.contains("\"problem\":\"refused\"") == true)
  }

  @Test func whoIsInSyncOrEligibleLosesNothing() {
    let partition = PartitionDescription(
      partition: 0, leader: nil, leaderEpoch: 9, replicas: [1, 2], inSyncReplicas: [], eligibleLeaderReplicas: [2],
      lastKnownEligibleLeaderReplicas: [])
    let preview = ElectionPreview(self.id, partition, .unclean, answers: [1: self.end(120, 9, 100), 2: self.end(100, 9, 90)])
    #expect(preview.candidates.map(\.lostCommitted) == [0, 0] && preview.candidates[1].lostInAll == 20)
    #expect(preview.outcome == "broker 2 would lead; nothing is lost")
  }

  @Test func aPreferredElectionIsToldInWords() {
    let led = Self.partition(0, leader: 2, [1, 2], inSync: [2, 1])
    let ends = [Int32(1): self.end(5, 1, 5), 2: self.end(5, 1, 5)]
    #expect(ElectionPreview(self.id, led, .preferred, answers: ends).outcome == "broker 1 would lead; nothing is lost")
    let out = Self.partition(0, leader: 2, [1, 2], inSync: [2])
    #expect(ElectionPreview(self.id, out, .preferred, answers: ends).outcome.hasPrefix("refused"))
    let there = Self.partition(0, leader: 1, [1, 2])
    #expect(ElectionPreview(self.id, there, .preferred, answers: ends).outcome.hasPrefix("nothing"))
  }

  @Test func theCommandLineSaysWhatItWants() throws {
    #expect(throws: (any Error).self) { try Apus.parseAsRoot(["cluster", "elect", "--preferred"]) }
    #expect(throws: (any Error).self) { try Apus.parseAsRoot(["cluster", "elect", "--all"]) }
    #expect(throws: (any Error).self) { try Apus.parseAsRoot(["cluster", "elect", "--unclean", "--all", "--topic", "t"]) }
    #expect(throws: (any Error).self) { try Apus.parseAsRoot(["cluster", "elect", "--unclean", "--partition", "1", "--all"]) }
    #expect(throws: (any Error).self) { try Apus.parseAsRoot(["cluster", "explain", "t", "-1"]) }
    #expect(throws: (any Error).self) { try Apus.parseAsRoot(["cluster", "drain", "1", "--leaders-only", "--throttle", "1MB"]) }
    #expect(throws: (any Error).self) { try Apus.parseAsRoot(["cluster", "reassign", "cancel"]) }
    let parsed = try Apus.parseAsRoot(["cluster", "elect", "--preferred", "--topic", "t", "--partition", "0", "--partition", "1"])
    #expect(parsed is ClusterElect)
    #expect(EndpointArgument(argument: "h:9093").map { "\($0.listener) \($0.address)" } == "CONTROLLER h:9093")
    #expect(EndpointArgument(argument: "INNER://[::1]:9093").map { "\($0.listener) \($0.address)" } == "INNER [::1]:9093")
    for bad in ["h", "://h:1", "X://h", "X://:1"] { #expect(EndpointArgument(argument: bad) == nil, "\(bad)") }
    #expect(BrokerListArgument(argument: "3,1")?.ids == [3, 1])
    for bad in ["", "1,", "1,1", "a", "-1"] { #expect(BrokerListArgument(argument: bad) == nil, "\(bad)") }
  }
}
