import Base
import Metadata
import Model
import VirtualWorld

/// Runs a whole cluster, its clients and its troubles in one thread and virtual time, from one seed.
///
/// A run has four parts: the cluster comes up and topics are made; trouble, while clients work; all is made well and must heal within a
/// bounded time, still with work; the work ends, what is left is delivered and read, and everything is audited.
package struct Simulation {
  private let cluster: SimCluster
  private let options: SimulationOptions

  private init(seed: UInt64, options: SimulationOptions) {
    self.cluster = SimCluster(seed: seed, options: options)
    self.options = options
  }

  package static func run(seed: UInt64, options: SimulationOptions) -> SimulationReport {
    let simulation = Simulation(seed: seed, options: options)
    simulation.run()
    defer { simulation.cluster.end() }
    return simulation.report
  }

  private var world: World { self.cluster.world }
  private var board: Board { self.cluster.board }

  private var report: SimulationReport {
    SimulationReport(
      seed: self.cluster.seed, world: self.cluster.plan.summary, violations: self.board.violations, digest: self.world.digest,
      virtualTime: self.world.now - .origin, eventCount: self.world.eventCount, coverage: self.board.coverage,
      trace: self.board.hasViolations ? self.board.traceLines : [], replay: self.options.replay(seed: self.cluster.seed))
  }

  private func run() {
    for node in self.cluster.nodes { node.begin() }
    self.cluster.admin.start()
    guard self.wait(self.cluster.plan.healing, "the topics were not created", until: { self.cluster.admin.isReady }) else { return }
    for producer in self.cluster.producers { producer.start() }
    for consumer in self.cluster.consumers { consumer.start() }
    if self.cluster.plan.clocks.contains(where: { $0.driftPartsPerMillion != 0 }) { self.board.count(.clockError) }
    self.advance(by: max(.zero, self.cluster.plan.calm - (self.world.now - .origin)))

    let injector = FaultInjector(cluster: self.cluster)
    injector.begin()
    self.advance(by: self.cluster.plan.trouble)
    injector.makeAllWell()
    self.heal()
    self.finish()
  }

  /// Lets time pass. False once a promise is broken.
  @discardableResult
  private func advance(by span: Duration) -> Bool {
    let end = self.world.now + span
    while self.world.now < end, !self.board.hasViolations {
      self.world.run(until: min(end, self.world.now + Self.step))
      self.look()
    }
    return !self.board.hasViolations
  }

  /// Looks into the nodes and at their disks, from outside.
  private func look() {
    self.cluster.metadataCheck.look()
    // Reads whole logs.
    guard (self.world.now - .origin).wholeMilliseconds % Self.diskInterval.wholeMilliseconds < Self.step.wholeMilliseconds else { return }
    self.cluster.quorumCheck.look(at: self.cluster.nodes)
    if let image = self.cluster.metadataCheck.newest { ReplicaCheck(cluster: self.cluster).checkInSync(image) }
  }

  private static var diskInterval: Duration { .milliseconds(500) }

  private static var step: Duration { .milliseconds(100) }

  /// Lets time pass until `condition` holds, which it must within `patience`.
  private func wait(
    _ patience: Duration, _ complaint: @autoclosure () -> String, until condition: () -> Bool
  ) -> Bool {
    let end = self.world.now + patience
    while !condition() {
      if !self.advance(by: Self.step) { return false }
      if self.world.now >= end {
        self.board.violate(.healing, "\(complaint()) within \(patience)")
        return false
      }
    }
    return true
  }

  /// All is well: every producer must get an acknowledgement for something that it sends from now on.
  private func heal() {
    let began = self.world.now
    guard
      self.wait(self.cluster.plan.healing, "node \(self.idleNodes) did not serve", until: { self.idleNodes.isEmpty }),
      self.wait(
        self.cluster.plan.healing, "producers \(self.silentProducers(since: began)) got no acknowledgement",
        until: { self.silentProducers(since: began).isEmpty })
    else { return }
    guard
      self.wait(
        self.cluster.plan.healing, "partitions are not as before: \(self.unhealedPartitions)", until: { self.unhealedPartitions.isEmpty })
    else { return }
    // Work goes on for a while.
    self.advance(by: .seconds(1))
  }

  /// Without a leader, or without some of their replicas in sync.
  private var unhealedPartitions: [String] {
    guard let image = self.cluster.metadataCheck.newest else { return ["the metadata"] }
    return self.cluster.plan.topics.flatMap { topic -> [String] in
      guard let registered = image.topic(topic.name) else { return [topic.name] }
      return registered.partitions.enumerated().compactMap { index, partition in
        let isMoving = !partition.addingReplicas.isEmpty || !partition.removingReplicas.isEmpty
        if partition.leader != .none, partition.inSyncReplicas.count == partition.assignedReplicas.count, !isMoving { return nil }
        let ends = partition.assignedReplicas.compactMap { self.cluster.node($0) }.map { node in
          let log = DiskLog(TopicPartition(topic.name, PartitionID(Int32(index))), on: node.disk, durable: false)
          return "\(log.endOffset) of epoch \(log.batches.map(\.epoch).max() ?? .unknown)"
        }
        return "\(topic.name)-\(index) (leader \(partition.leader) in epoch \(partition.leaderEpoch), in sync "
          + "\(partition.inSyncReplicas) of \(partition.assignedReplicas), whose logs end at \(ends))"
      }
    }
  }

  private var idleNodes: [NodeID] { self.cluster.nodes.filter { $0.servingBroker == nil }.map(\.id) }

  private func silentProducers(since time: Instant) -> [UInt32] {
    self.cluster.producers.filter { !$0.plan.partitions.isEmpty && $0.lastAcknowledged <= time }.map(\.plan.number)
  }

  /// The work ends: what was sent is delivered, what was delivered is read, and all of it is looked at.
  private func finish() {
    if self.board.hasViolations { return }
    for producer in self.cluster.producers { producer.stop() }
    let patience = self.cluster.plan.healing
    guard
      self.wait(patience, "\(self.openCount) batches were not acknowledged", until: { self.openCount == 0 }),
      self.wait(patience, "not everything was read", until: { self.cluster.consumers.allSatisfy(\.isAtEnd) })
    else { return }
    for consumer in self.cluster.consumers { consumer.stop() }
    let auditor = self.cluster.auditor()
    auditor.start()
    guard self.wait(patience, "not everything was read again", until: { auditor.isAtEnd }) else { return }
    auditor.stop()
    if let image = self.cluster.metadataCheck.newest { ReplicaCheck(cluster: self.cluster).compare(image) }
    Audit(cluster: self.cluster).check(self.cluster.plan.topics.flatMap(\.partitions).map { ($0, auditor.records(of: $0)) })
  }

  private var openCount: Int { self.cluster.producers.reduce(0) { $0 + $1.openCount } }
}
