import Base
import Broker
import Controller
import Metadata
import Model
import Replication
import Storage
import VirtualWorld

/// What one process of a node reports: kept for the trace, counted, and held against what may be the cause of it.
struct NodeEvents: BrokerEvents {
  let node: SimNode
  let life: Int

  func record(_ event: BrokerEvent) {
    // What is left of an earlier process has nothing to say.
    guard self.node.isAlive(self.life) else { return }
    self.node.board.record(.broker(event), self.node.subject)
    self.count(event)
    if let complaint = self.complaint(about: event) {
      self.node.board.violate(complaint.property, "node \(self.node.id): \(complaint.text)")
    }
    if Self.needsRestart(event) { self.askForRestart() }
  }

  private func count(_ event: BrokerEvent) {
    switch event {
    case .logRecovered(let report):
      self.node.board.count(.recovery)
      if report.removedByteCount > 0 { self.node.board.count(.tornTail) }
    case .becameLeader(let partition, let epoch, _, _):
      self.node.board.count(.partitionLeader)
      self.node.ledger.leads(partition, in: epoch, self.node.id, now: self.node.world.now)
    case .partitionOffline: self.node.board.count(.offlinePartition)
    case .controller(let event): self.count(event)
    case .replica(let partition, .inSyncReplicasChanged(let replicas, let epoch)):
      self.node.ledger.isInSync(partition, in: epoch, replicas)
    case .replica(_, .truncated): self.node.board.count(.truncation)
    case .replica(_, .leaseEnded): self.node.board.count(.leaseEnded)
    case .replica(_, .underMinInSync): self.node.board.count(.underMinInSync)
    default: break
    }
  }

  private func count(_ event: ControllerEvent) {
    switch event {
    case .failed: self.node.board.count(.quorumFailed)
    case .becameActive: self.node.board.count(.quorumLeader)
    case .quorumLeaderChanged(let leader):
      if let id = leader.node { self.node.quorumCheck.leads(id, in: leader.epoch.rawValue) }
    case .brokerFenced(_, _, cause: .sessionEnded), .brokerFenced(_, _, cause: .processDead): self.node.board.count(.fenced)
    case .snapshotLoaded: self.node.board.count(.snapshotLoaded)
    case .partitionChanged(let partition, let change):
      self.node.ledger.isInSync(partition, in: change.after.partitionEpoch, change.after.inSyncReplicas)
      guard let before = change.before else { return }
      if !Set(before.inSyncReplicas).isSubset(of: change.after.inSyncReplicas) { self.node.board.count(.inSyncShrank) }
      if !Set(change.after.inSyncReplicas).isSubset(of: before.inSyncReplicas) { self.node.board.count(.inSyncGrew) }
      if change.reason == .preferredElection { self.node.board.count(.preferredElection) }
      if change.reason == .uncleanElection { self.node.board.count(.uncleanLeader) }
    default: break
    }
  }

  private func complaint(about event: BrokerEvent) -> (property: Violation.Property, text: String)? {
    switch event {
    case .logRecovered(let report):
      for notice in report.notices { if case .syncedDataMissing = notice { return (.durability, "\(notice)") } }
      return nil
    case .storageNotice(let notice):
      if case .syncedDataMissing = notice { return (.durability, "\(notice)") }
      return nil
    case .strayPartition where self.node.settings.plan.movesPartitions: return nil
    case .topicConfigIgnored, .connectionRefused, .strayPartition: return (.process, "\(event)")
    case .partitionOffline, .logDirectoryFailed, .checkpointFailed, .backgroundWorkFailed, .flushDeferred, .appendRefused, .readFailed,
      .metadataCloseFailed, .controller(.failed), .controller(.commitDelayed), .controller(.snapshotFailed):
      return self.node.hadDiskTrouble(self.life) ? nil : (.process, "without any trouble of its disk: \(event)")
    case .failed(.membership(.registrationTimedOut)): return nil
    case .failed: return self.node.hadDiskTrouble(self.life) ? nil : (.process, "without any trouble of its disk: \(event)")
    case .replica(_, .refusedTruncation): return (.committedStays, "\(event)")
    default: return nil
    }
  }

  /// What does not come back without an operator.
  private static func needsRestart(_ event: BrokerEvent) -> Bool {
    switch event {
    case .partitionOffline(_, let cause): !cause.canPass
    case .controller(.failed), .failed, .logDirectoryFailed: true
    default: false
    }
  }

  private func askForRestart() {
    let (node, life) = (self.node, self.life)
    node.world.after(.milliseconds(node.world.draw(500...3_000))) {
      guard node.isCurrent(life) else { return }
      node.board.count(.restartedByOperator)
      node.stop { node.world.after(.milliseconds(200)) { node.begin() } }
    }
  }
}
