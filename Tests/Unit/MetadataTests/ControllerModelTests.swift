import Base
import Model
import Replication
import Testing

@testable import Metadata

/// Random lives of a cluster, step by step, with everything checked after each decision (`ClusterWorld+Checks`) and, once all brokers are
/// back, that everything comes to rest.
@Suite struct ControllerModelTests {
  static let seeds = 60 as UInt64
  static let steps = 400

  @Test(arguments: 0..<Self.seeds) func anyLife(_ seed: UInt64) {
    let world = Self.live(seed: seed, mutant: nil)
    #expect(world.violations.isEmpty, "seed \(seed)")
  }

  /// The same seed gives the same life.
  @Test func livesCanBeRepeated() {
    for seed in 0..<3 as Range<UInt64> {
      #expect(Self.live(seed: seed, mutant: nil).harness.log == Self.live(seed: seed, mutant: nil).harness.log)
    }
  }

  /// Tests nothing of its own: says that the lives are full enough.
  @Test func muchHappens() {
    var counts: [String: Int] = [:]
    for seed in 0..<Self.seeds / 2 { counts.merge(Self.live(seed: seed, mutant: nil).counts) { $0 + $1 } }
    let needed = [
      "forged", "cut off", "start", "crash", "clean registration", "unclean registration", "impostor", "unfenced", "orderly stop",
      "AlterPartition",
      "AlterPartition INVALID_UPDATE_VERSION", "AlterPartition FENCED_LEADER_EPOCH", "AlterPartition INELIGIBLE_REPLICA",
      "sessionEnded", "processDead", "unclean election", "controller change", "probe of a suspect", "leader lost",
      "registration refused: DUPLICATE_BROKER_REGISTRATION", "brokerFenced", "brokerUnfenced", "controlledShutdown", "brokerUnregistered",
      "uncleanShutdown", "isrShrink", "isrExpand", "leaderRecovered", "preferredElection", "lastKnownLeaderElection", "uncleanElection",
      "reassignmentStarted", "reassignmentCompleted", "reassignmentCancelled", "minInSyncReplicasChanged",
    ]
    for what in needed { #expect(counts[what, default: 0] >= 3, "\(what): \(counts[what, default: 0])") }
  }

  #if DEBUG
    /// Each mistake is noticed within eight times as many lives as the other test lives.
    @Test(arguments: ControllerMutant.allCases) func mutantsAreFound(_ mutant: ControllerMutant) {
      let finder = (0..<8 * Self.seeds).first { !Self.live(seed: $0, mutant: mutant).violations.isEmpty }
      #expect(finder != nil)
    }
  #endif

  static func live(seed: UInt64, mutant: ControllerMutant?) -> ClusterWorld {
    var world = ClusterWorld(seed: seed, mutant: mutant)
    for id in ClusterWorld.ids.prefix(4) {
      world.start(id)
      world.register(id)
      world.readMetadata(id)
      world.heartbeat(id)
    }
    for _ in 0..<Self.steps where world.violations.isEmpty { world.step() }
    if world.violations.isEmpty { world.settle() }
    return world
  }
}

extension ClusterWorld {
  mutating func step() {
    let id = self.anyBroker()
    switch Int.random(in: 0..<100, using: &self.generator) {
    case 0..<4: self.crash(id)
    case 4..<6:
      // Now and then everything is stopped.
      let isEverybody = self.chance(15)
      for other in Self.ids where isEverybody || other == id { self.brokers[other]!.wantsShutdown = true }
    case 6..<15: self.start(id)
    case 15..<25: self.register(id)
    case 25..<26: self.impersonate(id)
    case 26..<27: self.selfFence(id)
    case 27..<28: self.bounce(id)
    case 28..<29: self.chance(50) ? self.bounce(id) : self.forge()
    case 29..<40: for id in Self.ids where self.chance(85) { self.heartbeat(id) }
    case 40..<52: for id in Self.ids where self.chance(75) { self.readMetadata(id) }
    case 52..<60: self.pass(.milliseconds(Int64.random(in: 1...2_000, using: &self.generator)))
    case 60..<75: for (partition, _) in self.partitions { self.replicate(partition) }
    case 75..<83: for (partition, _) in self.partitions where self.chance(40) { self.proposeInSync(partition) }
    case 83..<89: for _ in 0..<4 { self.deliver() }
    case 89..<90: self.changeController()
    case 90..<91: self.run(BalanceLeaders(warmUp: .seconds(2), warmUpMax: .seconds(5)))
    default: self.administrate()
    }
  }

  mutating func pass(_ time: Duration) {
    self.harness.now = self.now + time
    self.tell(.timeAdvanced)
    var effects: [UncleanElections.Effect] = []
    self.elections.handle(.timeAdvanced, now: self.now, into: &effects)
    self.carryOut(effects)
    for work in self.upkeep.due(on: self.harness.machine, now: self.now) {
      switch work {
      case .balance(let request): self.run(request)
      case .giveUpTargets(let request): self.run(request)
      case .ask(let questions): for question in questions { self.ask(question, isForced: false) }
      }
    }
  }

  private mutating func ask(_ question: UncleanElections.Question, isForced: Bool) {
    var effects: [UncleanElections.Effect] = []
    self.elections.handle(.begin(question, isForced: isForced), now: self.now, into: &effects)
    self.carryOut(effects)
  }

  /// What comes from nobody, from an earlier incarnation, or from nowhere leaves everything as it is.
  private mutating func forge() {
    let id = self.anyBroker(), epoch = self.image.broker(id)?.epoch ?? .unknown
    let wrong = [BrokerEpoch(epoch.rawValue - 1), BrokerEpoch(epoch.rawValue + 7), .unknown].randomElement(using: &self.generator)!
    let before = self.harness.machine
    self.tell(.heartbeat(id, wrong, metadataOffset: Offset(.max)))
    self.tell(.probeFailed(id, wrong, .refused))
    self.tell(.probeAnswered(id, wrong, incarnationID: .zero))
    let beat = BrokerHeartbeat(
      nodeID: id, epoch: wrong, metadataOffset: Offset(.max), wantsFence: self.chance(50), wantsShutdown: self.chance(50))
    var effects: [BrokerSessions.Effect] = []
    self.harness.machine.heard(beat, now: self.now, into: &effects)
    self.run(beat)
    self.run(FenceBroker(nodeID: id, epoch: wrong))
    if let (_, partition, image) = self.anyPartition() {
      // Whoever does not lead, or knows another epoch.
      let number = Int32.random(in: -2...9, using: &self.generator)
      for (node, leaderEpoch, partitionEpoch) in [
        (image.leader, LeaderEpoch(number), PartitionEpoch(number &+ 1000)), (NodeID(number), image.leaderEpoch, PartitionEpoch(-1)),
        (id, LeaderEpoch(.min), PartitionEpoch(.max)),
      ] {
        let broker = self.image.broker(node)?.epoch ?? wrong
        let members = self.replicas(3).map { AlterPartition.Member($0, wrong) }
        self.run(
          AlterPartition(
            nodeID: node, epoch: broker,
            [.init(partition, leaderEpoch: leaderEpoch, partitionEpoch: partitionEpoch, inSyncReplicas: members, leaderRecoveryState: 7)]))
      }
      self.run(ElectUncleanLeader(partition, partitionEpoch: PartitionEpoch(number), logEnds: [], isForced: true))
    }
    self.count("forged")
    if self.harness.machine.image != before.image || self.harness.machine.sessions != before.sessions {
      self.fail("something forged had an effect")
    }
  }

  /// The process is killed and comes back at once, while requests that know its former self are under way.
  private mutating func bounce(_ id: NodeID) {
    guard self.brokers[id]!.isUp, self.brokers[id]!.epoch != nil else { return }
    self.crash(id)
    self.tell(.connectionLost(id))
    self.start(id)
    self.register(id)
    self.readMetadata(id)
    self.heartbeat(id)
  }

  private mutating func selfFence(_ id: NodeID) {
    // It stops serving before it asks.
    self.brokers[id]!.lease.revoke()
    self.fencesItself = [id]
    self.heartbeat(id, fence: true)
    self.fencesItself = []
  }

  private mutating func replicas(_ count: Int) -> [NodeID] { Array(Self.ids.shuffled(using: &self.generator).prefix(count)) }

  private mutating func administrate() {
    let name = ["a", "b", "c", "d"].randomElement(using: &self.generator)!
    switch Int.random(in: 0..<22, using: &self.generator) {
    case 0..<5:
      let configs = [
        CreateTopics.Topic.Config(name: "min.insync.replicas", value: self.chance(60) ? "2" : "1"),
        .init(name: "unclean.leader.election.enable", value: self.usesLeases && self.chance(60) ? "true" : "false"),
      ]
      self.run(
        CreateTopics([
          .init(
            name, numPartitions: Int32.random(in: 1...3, using: &self.generator),
            replicationFactor: [1, 2, 3, 3, 3].randomElement(using: &self.generator)!, configs: configs)
        ]))
    case 5:
      if self.chance(30) {
        self.run(DeleteTopics([.init(name: name)]))
        for partition in self.committed.keys.sorted() where self.image.partition(partition) == nil { self.committed[partition] = nil }
      }
    case 6: self.run(CreatePartitions([.init(name, count: Int32.random(in: 1...4, using: &self.generator))]))
    case 7...11:
      // Rather where it makes a difference.
      let eligible = self.harness.machine.index.partitionsWithEligible.randomElement(using: &self.generator)
      let name = eligible.flatMap { self.image.topic($0.topicID)?.name } ?? name
      let value = ["1", "2", "3", nil].randomElement(using: &self.generator)!
      self.run(IncrementalAlterConfigs([.init(.topic(name), [.init("min.insync.replicas", value == nil ? .delete : .set, value)])]))
    case 12:
      let value = String(Int.random(in: 1...2, using: &self.generator))
      self.run(IncrementalAlterConfigs([.init(.defaultBroker, [.init("min.insync.replicas", .set, value)])]))
    case 13, 14: self.elect(name)
    case 15...18:
      guard let (topic, id, _) = self.anyPartition() else { return }
      let target = self.replicas(Int.random(in: 1...3, using: &self.generator))
      self.run(AlterPartitionReassignments([.init(topic.name, id.partition, target)]))
    case 19:
      guard let id = self.harness.machine.index.reassigning.randomElement(using: &self.generator) else { return }
      self.run(AlterPartitionReassignments([.init(self.image.topic(id.topicID)!.name, id.partition, nil)]))
    case 20:
      let id = self.anyBroker()
      if !self.brokers[id]!.isUp { self.run(UnregisterBroker(nodeID: id)) }
    default: self.run(GiveUpReassignmentTargets(self.replicas(1)))
    }
  }

  private mutating func elect(_ name: String) {
    let type: Int8 = self.usesLeases && self.chance(50) ? 1 : 0
    let numbers = (0..<3).map { PartitionID($0) }
    guard case .success(let results) = self.run(ElectLeaders(electionType: type, [.init(name, numbers)])) else { return }
    for result in results {
      if case .needsLogEnds(let question) = result.outcome { self.ask(question, isForced: true) }
    }
  }

  /// Every broker comes back and nothing else goes wrong: then each partition gets a leader that can, moves end and all are in sync.
  mutating func settle() {
    for id in Self.ids { self.brokers[id]!.wantsShutdown = false }
    for round in 0..<60 {
      for id in Self.ids {
        self.start(id)
        self.register(id)
        self.readMetadata(id)
        self.heartbeat(id)
        self.readMetadata(id)
      }
      for (partition, _) in self.partitions {
        self.replicate(partition, followers: 100)
        self.proposeInSync(partition, hasty: true)
      }
      while !self.mail.isEmpty { self.deliver() }
      self.pass(.seconds(1))
      // What has lost everything is given up by an administrator.
      if round >= 20, round % 5 == 0, case .success(let results) = self.run(ElectLeaders(electionType: 1, nil)) {
        for result in results {
          if case .needsLogEnds(let question) = result.outcome { self.ask(question, isForced: true) }
        }
      }
      if round % 10 == 9 { self.run(BalanceLeaders(warmUp: .seconds(2), warmUpMax: .seconds(5))) }
      if !self.violations.isEmpty { return }
    }
    for id in self.harness.machine.index.reassigning { self.fail("\(id) is still being moved: \(self.image.partition(id)!)") }
    for (id, partition) in self.partitions {
      if partition.hasLeader {
        if Set(partition.inSyncReplicas) != Set(partition.assignedReplicas) { self.fail("\(id) is not in sync again: \(partition)") }
        if !partition.hasPreferredLeader { self.fail("\(id): its preferred leader does not return: \(partition)") }
        if partition.leaderRecoveryState != .recovered { self.fail("\(id) does not recover: \(partition)") }
      } else {
        self.fail("\(id) has no leader: \(partition)")
      }
    }
  }
}
