import Base
import Model
import Replication

@testable import Metadata

/// A cluster around the controller's machine, small enough to be true at a glance: brokers that live, die and come back with what their
/// disks kept, leaders that append, followers that copy, and requests that arrive late. What the controller decides is held against it.
///
/// A record is a number that no other record has. A partition's committed records are known from outside; whoever is elected without
/// loss must hold them all.
struct ClusterWorld {
  struct Replica {
    var log: [Int] = []
    /// The leader epoch of each record of `log`.
    var epochs: [Int32] = []
  }

  /// What a leader knows in one leader epoch.
  struct Leading {
    var epoch: LeaderEpoch
    /// How far each follower has copied, and in which incarnation.
    var fetched: [NodeID: (end: Int, broker: BrokerEpoch)] = [:]
    var highWatermark = 0
    /// Sent and not answered: they count as in sync for committing, as KIP-497 has it.
    var proposed: [NodeID] = []
  }

  struct Broker {
    var isUp = false
    var incarnation: UInt64 = 0
    /// Nil until its registration is answered.
    var epoch: BrokerEpoch?
    /// With which it last stopped in an orderly way, if nothing went wrong since.
    var cleanEpoch = BrokerEpoch.unknown
    var wantsShutdown = false
    var lease: BrokerLease
    /// The metadata as far as it has read it.
    var view: MetadataImage
    var replicas: [TopicIDPartition: Replica] = [:]
    var leading: [TopicIDPartition: Leading] = [:]
  }

  static let rule = LeaseRule(session: .seconds(9), deposedMax: .seconds(2))
  static let ids = (1...5).map { NodeID($0) }

  var harness: MachineHarness
  var generator: SeededGenerator
  var brokers: [NodeID: Broker] = [:]
  var committed: [TopicIDPartition: [Int]] = [:]
  /// Requests under way.
  var mail: [AlterPartition] = []
  var elections = UncleanElections()
  var upkeep = ControllerUpkeep()
  var nextRecord = 0
  /// What the controller did wrong.
  var violations: [String] = []
  /// What happened how often.
  var counts: [String: Int] = [:]
  /// Brokers that just now ask to be fenced.
  var fencesItself: [NodeID] = []
  /// The offset of each broker's present registration.
  var registrationOffsets: [NodeID: Offset] = [:]
  let mutant: ControllerMutant?
  /// What the last controller began is not at its end.
  var isCutOff = false
  /// Leaders serve by their leases. Where they do not, what is committed is still safe as long as nobody is elected uncleanly.
  let usesLeases: Bool

  init(seed: UInt64, mutant: ControllerMutant? = nil) {
    self.mutant = mutant
    self.usesLeases = seed % 4 != 3
    self.harness = MachineHarness(seed: seed)
    self.harness.machine.mutant = mutant
    self.harness.machine.sessions.rule = Self.rule
    self.generator = SeededGenerator(seed: seed)
    for id in Self.ids { self.brokers[id] = Broker(lease: BrokerLease.none, view: self.harness.image) }
    self.harness.activate()
    self.upkeep.activate(now: self.harness.now)
  }

  var image: MetadataImage { self.harness.image }
  var now: Instant { self.harness.now }

  mutating func count(_ what: String, _ number: Int = 1) { self.counts[what, default: 0] += number }
  mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self.generator) < percent }
  mutating func anyBroker() -> NodeID { Self.ids.randomElement(using: &self.generator)! }
  mutating func anyPartition() -> (topic: TopicImage, id: TopicIDPartition, image: PartitionImage)? {
    guard let topic = self.image.topicsByName.randomElement(using: &self.generator) else { return nil }
    let number = Int.random(in: 0..<topic.partitions.count, using: &self.generator)
    return (topic, TopicIDPartition(topic.id, PartitionID(Int32(number))), topic.partitions[number])
  }
  var partitions: [(id: TopicIDPartition, image: PartitionImage)] {
    self.image.topicsByName.flatMap { topic in
      topic.partitions.enumerated().map { (TopicIDPartition(topic.id, PartitionID(Int32($0))), $1) }
    }
  }

  // MARK: The controller

  /// Decides, commits, and holds what came of it against the world.
  @discardableResult
  mutating func run<Request: ControllerRequest>(_ request: Request) -> Result<Request.Response, ApiError> {
    let before = self.harness.machine
    do {
      let decision = try request.decide(on: before, nextOffset: self.harness.nextOffset)
      if decision.records.isEmpty { return .success(decision.response) }
      if decision.isDivisible && decision.records.count > 1 && self.chance(3) { return .failure(self.cutOff(decision.records)) }
      self.harness.commit(decision.records)
      self.check(after: before, decision.records)
      return .success(decision.response)
    } catch { return .failure(error) }
  }

  /// The controller dies over a decision of several batches: the first records are in the log, the others are not.
  private mutating func cutOff(_ records: [MetadataChange]) -> ApiError {
    self.count("cut off")
    let before = self.harness.machine
    self.isCutOff = true
    self.harness.commit(Array(records.prefix(Int.random(in: 1..<records.count, using: &self.generator))))
    self.check(after: before, records)
    self.changeController()
    self.isCutOff = false
    self.check(after: self.harness.machine, [])
    return ApiError(.notController)
  }

  mutating func tell(_ input: BrokerSessions.Input) {
    var effects: [BrokerSessions.Effect] = []
    self.harness.machine.sessions.handle(input, now: self.now, into: &effects)
    self.carryOut(effects)
  }

  mutating func carryOut(_ effects: [BrokerSessions.Effect]) {
    for effect in effects {
      switch effect {
      case .fence(let id, let epoch, let cause):
        self.count("\(cause)")
        self.run(FenceBroker(nodeID: id, epoch: epoch))
      case .probe(let id, let epoch, _):
        let broker = self.brokers[id]!
        if self.chance(20) {
          self.tell(.probeFailed(id, epoch, .unanswered))
        } else if !broker.isUp {
          self.tell(.probeFailed(id, epoch, .refused))
        } else {
          self.tell(.probeAnswered(id, epoch, incarnationID: Self.incarnation(id, broker.incarnation)))
        }
      }
    }
  }

  static func incarnation(_ id: NodeID, _ number: UInt64) -> KafkaUUID { KafkaUUID(high: UInt64(id.rawValue), low: number) }

  mutating func carryOut(_ effects: [UncleanElections.Effect]) {
    for effect in effects {
      switch effect {
      case .ask(let id, let partition, let epoch):
        var more: [UncleanElections.Effect] = []
        let broker = self.brokers[id]!
        if !broker.isUp || self.chance(20) {
          self.elections.handle(.failed(partition, epoch, id), now: self.now, into: &more)
        } else {
          let replica = broker.replicas[partition] ?? Replica()
          let end = UncleanElections.LogEnd(
            id, leaderEpoch: LeaderEpoch(replica.epochs.last ?? -1), endOffset: Offset(Int64(replica.log.count)))
          self.elections.handle(.answered(partition, epoch, end), now: self.now, into: &more)
        }
        self.carryOut(more)
      case .elect(let request):
        guard case .success(let leader) = self.run(request) else { continue }
        guard self.image.partition(request.partition)?.reason == .uncleanElection else { continue }
        self.count("unclean election")
        let best = request.logEnds.filter { self.image.isActive($0.replica) }.map { ($0.leaderEpoch, $0.endOffset) }.max { $0 < $1 }
        let chosen = request.logEnds.first { $0.replica == leader }
        if chosen.map({ ($0.leaderEpoch, $0.endOffset) == best! }) != true {
          self.fail("\(leader) has not the longest log of \(request.logEnds)")
        }
      case .gaveUp: break
      }
    }
  }

  /// Another controller takes over, with nothing but the log, or a snapshot and the log behind it.
  mutating func changeController() {
    self.count("controller change")
    var image = MetadataImage(clusterID: MachineHarness.clusterID)
    var first = 0
    if self.chance(50), !self.harness.log.isEmpty {
      first = Int.random(in: 0..<self.harness.log.count, using: &self.generator)
      var delta = MetadataDelta()
      do {
        for (index, change) in self.harness.log[..<first].enumerated() { try image.apply(change, at: Offset(Int64(index)), into: &delta) }
        let snapshot = MetadataSnapshot(image, mutant: self.mutant)
        let rebuilt = try MetadataImage(clusterID: image.clusterID, snapshot: snapshot, offset: image.offset)
        if rebuilt != image { self.fail("a snapshot at \(image.offset) is not the image it was made from") }
        image = rebuilt
      } catch { self.fail("a snapshot cannot be made: \(error)") }
    }
    let old = self.harness.machine
    var machine = ControllerMachine(image: image, settings: old.settings, seed: self.generator.next())
    machine.mutant = self.mutant
    machine.sessions.rule = Self.rule
    // The deposed controller's connections are closed with it, as its process may be.
    let lost = self.anyBroker()
    var effects: [BrokerSessions.Effect] = []
    machine.sessions.handle(.connectionLost(lost), now: self.now, into: &effects)
    var delta = MetadataDelta()
    do {
      for (index, change) in self.harness.log.enumerated().dropFirst(first) {
        try machine.replay(change, at: Offset(Int64(index)), into: &delta)
      }
    } catch { self.fail("the log cannot be replayed: \(error)") }
    if machine.image != old.image { self.fail("another controller sees another image") }
    if machine.index != old.index { self.fail("another controller has another index") }
    self.harness.machine = machine
    self.elections = UncleanElections()
    self.upkeep.activate(now: self.now)
    machine.sessions.handle(.activated(machine.image.brokers), now: self.now, into: &effects)
    self.harness.machine = machine
    if !effects.isEmpty { self.count("probe of a suspect") }
    self.carryOut(effects)
    self.run(ElectOfflineLeaders())
  }

  mutating func fail(_ what: String) { if self.violations.count < 20 { self.violations.append(what) } }
}
