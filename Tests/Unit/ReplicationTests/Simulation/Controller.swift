import Base
import Model
import Replication

/// A controller that does what the design says, simply: compare-and-set on the partition epoch, leaders from the ISR and then from the
/// ELR, a new leader only when the old one's session has ended by the controller's clock or its process is known dead.
final class Controller {
  enum Record {
    case partition(Int, PartitionRegistration)
    case broker(BrokerStanding)
  }

  struct Broker {
    var epoch = BrokerEpoch.unknown
    var incarnation = 0
    var isFenced = true
    var sessionEnd: Int64 = 0
    /// The metadata a broker must have before it comes back: its own fencing, and what it lost by it.
    var fencedAt = 0
    var knownOffset = 0
  }

  private unowned let world: World
  private(set) var log: [Record] = []
  private(set) var brokers: [Broker]
  private(set) var partitions: [PartitionRegistration] = []
  private(set) var eligible: [[NodeID]] = []
  private(set) var changeCount = 0

  init(world: World) {
    self.world = world
    let profile = world.profile
    self.brokers = Array(repeating: Broker(), count: profile.nodeCount)
    for partition in 0..<profile.partitionCount {
      let replicas = (0..<profile.replicationFactor).map { NodeID(Int32((partition + $0) % profile.nodeCount)) }
      self.partitions.append(
        PartitionRegistration(
          leader: .none, leaderEpoch: LeaderEpoch(0), partitionEpoch: PartitionEpoch(0), assignedReplicas: replicas,
          inSyncReplicas: replicas))
      self.eligible.append([])
      self.log.append(.partition(partition, self.partitions[partition]))
    }
    world.schedule(after: 5_000_000) { [unowned self] in self.expireSessions() }
  }

  private var minInSync: Int { min(self.world.profile.minInSync, self.world.profile.replicationFactor) }

  // MARK: - Brokers

  func register(_ node: Int, incarnation: Int) -> BrokerEpoch? {
    // A registration that was under way when the process died.
    if incarnation < self.brokers[node].incarnation { return nil }
    if incarnation == self.brokers[node].incarnation { return self.brokers[node].epoch }
    // Another incarnation asks: the one before is dead.
    if !self.brokers[node].isFenced { self.fence(node, isVoluntary: false) }
    self.append(.broker(BrokerStanding(node: NodeID(Int32(node)), brokerEpoch: BrokerEpoch(Int64(self.log.count + 1)), isFenced: true)))
    self.brokers[node] = Broker(epoch: BrokerEpoch(Int64(self.log.count)), incarnation: incarnation, fencedAt: self.log.count)
    return self.brokers[node].epoch
  }

  /// Nil: this is not the registered incarnation.
  func heartbeat(_ node: Int, _ epoch: BrokerEpoch, metadataOffset: Int) -> Bool? {
    guard self.brokers[node].epoch == epoch else { return nil }
    self.brokers[node].knownOffset = max(self.brokers[node].knownOffset, metadataOffset)
    if self.brokers[node].isFenced {
      guard metadataOffset >= self.brokers[node].fencedAt else { return true }
      self.brokers[node].isFenced = false
      self.append(.broker(self.standing(node)))
      for partition in self.partitions.indices where self.partitions[partition].leader == .none { self.elect(partition) }
    }
    self.brokers[node].sessionEnd = self.world.time + Profile.session.wholeNanoseconds
    return false
  }

  func isDead(_ node: Int, incarnation: Int) {
    if self.brokers[node].incarnation == incarnation, !self.brokers[node].isFenced { self.fence(node, isVoluntary: false) }
  }

  private func expireSessions() {
    for node in self.brokers.indices where !self.brokers[node].isFenced && self.brokers[node].sessionEnd <= self.world.time {
      self.fence(node, isVoluntary: false)
    }
    self.world.schedule(after: 5_000_000) { [unowned self] in self.expireSessions() }
  }

  private func standing(_ node: Int) -> BrokerStanding {
    BrokerStanding(
      node: NodeID(Int32(node)), brokerEpoch: self.brokers[node].epoch, isFenced: self.brokers[node].isFenced, rack: "rack\(node % 2)")
  }

  private func fence(_ node: Int, isVoluntary: Bool) {
    self.world.log("controller fences \(node)")
    self.brokers[node].isFenced = true
    self.append(.broker(self.standing(node)))
    let id = NodeID(Int32(node))
    for partition in self.partitions.indices {
      var changed = self.partitions[partition]
      let wasInSync = changed.inSyncReplicas.contains(id)
      guard wasInSync || changed.leader == id else { continue }
      self.setInSync(&changed, partition, changed.inSyncReplicas.filter { $0 != id })
      if changed.leader == id { self.chooseLeader(&changed, partition) }
      self.commit(changed, partition, isVoluntary: isVoluntary)
    }
    self.brokers[node].fencedAt = self.log.count
  }

  // MARK: - Leaders

  private func isLive(_ node: NodeID) -> Bool { !self.brokers[Int(node.rawValue)].isFenced }

  private func chooseLeader(_ registration: inout PartitionRegistration, _ partition: Int) {
    registration.leaderEpoch = LeaderEpoch(registration.leaderEpoch.rawValue + 1)
    if let leader = registration.assignedReplicas.first(where: { registration.inSyncReplicas.contains($0) && self.isLive($0) }) {
      registration.leader = leader
    } else if let leader = self.eligible[partition].first(where: self.isLive) {
      registration.leader = leader
      registration.inSyncReplicas = [leader]
      self.eligible[partition].removeAll { $0 == leader }
    } else {
      registration.leader = .none
    }
  }

  private func elect(_ partition: Int) {
    var changed = self.partitions[partition]
    self.chooseLeader(&changed, partition)
    if changed.leader != .none { self.commit(changed, partition, isVoluntary: false) }
  }

  /// Somebody asked for another leader. The old one is alive, and goes on until it hears of it.
  func move(_ partition: Int) {
    var changed = self.partitions[partition]
    let others = changed.inSyncReplicas.filter { $0 != changed.leader && self.isLive($0) }
    guard changed.leader != .none, let leader = others.randomElement(using: &self.world.random) else { return }
    changed.leader = leader
    changed.leaderEpoch = LeaderEpoch(changed.leaderEpoch.rawValue + 1)
    self.commit(changed, partition, isVoluntary: true)
  }

  private func setInSync(_ registration: inout PartitionRegistration, _ partition: Int, _ replicas: [NodeID]) {
    if replicas.count < self.minInSync {
      let removed = registration.inSyncReplicas.filter { !replicas.contains($0) && !self.eligible[partition].contains($0) }
      self.eligible[partition] = (self.eligible[partition] + removed).filter { !replicas.contains($0) }
    } else {
      self.eligible[partition] = []
    }
    registration.inSyncReplicas = replicas
  }

  private func commit(_ registration: PartitionRegistration, _ partition: Int, isVoluntary: Bool) {
    let old = self.partitions[partition]
    if Set(old.inSyncReplicas) != Set(registration.inSyncReplicas) { self.changeCount += 1 }
    self.partitions[partition] = registration
    self.partitions[partition].partitionEpoch = PartitionEpoch(old.partitionEpoch.rawValue + 1)
    self.world.log(
      "controller p\(partition): leader \(registration.leader) epoch \(registration.leaderEpoch) ISR \(registration.inSyncReplicas) "
        + "ELR \(self.eligible[partition]) v\(self.partitions[partition].partitionEpoch)")
    if registration.leaderEpoch > old.leaderEpoch {
      self.world.checker.elected(partition, self.partitions[partition], isVoluntary: isVoluntary)
    }
    self.append(.partition(partition, self.partitions[partition]))
    self.world.checker.checkReplicas(of: partition)
  }

  // MARK: - AlterPartition

  func alter(_ node: Int, _ plan: AlterPartitionPlan<Int>) -> (error: ErrorCode, answers: [AlterPartitionMachine<Int>.Answer]) {
    guard plan.brokerEpoch == self.brokers[node].epoch else { return (.staleBrokerEpoch, []) }
    return (.none, plan.items.map { self.alter(node, $0.key, $0.proposal) })
  }

  private func alter(_ node: Int, _ partition: Int, _ proposal: InSyncProposal) -> AlterPartitionMachine<Int>.Answer {
    var changed = self.partitions[partition]
    guard changed.leader == NodeID(Int32(node)), changed.leaderEpoch == proposal.leaderEpoch else {
      return .init(key: partition, error: .fencedLeaderEpoch)
    }
    guard changed.partitionEpoch == proposal.partitionEpoch else { return .init(key: partition, error: .invalidUpdateVersion) }
    for member in proposal.inSyncReplicas {
      let broker = self.brokers[Int(member.node.rawValue)]
      if broker.isFenced || (member.brokerEpoch != .unknown && member.brokerEpoch != broker.epoch) {
        return .init(key: partition, error: .ineligibleReplica)
      }
    }
    self.setInSync(&changed, partition, proposal.inSyncReplicas.map(\.node))
    self.commit(changed, partition, isVoluntary: true)
    // Applied, and then something goes wrong with saying so.
    if !self.world.isCalm, self.world.has(.longDelay), self.world.chance(25) {
      return .init(key: partition, error: .unknownServerError)
    }
    changed = self.partitions[partition]
    return .init(
      key: partition, leaderEpoch: changed.leaderEpoch, partitionEpoch: changed.partitionEpoch, inSyncReplicas: changed.inSyncReplicas)
  }

  // MARK: - The metadata log

  private func append(_ record: Record) {
    self.log.append(record)
    for node in self.world.nodes {
      let from = self.brokers[node.id].knownOffset
      let records = Array(self.log[from...])
      self.world.send(from: -1, to: node.id) { node.learn(records, from: from) }
    }
  }

  func records(from offset: Int) -> [Record] { Array(self.log[min(offset, self.log.count)...]) }
}
