import Base
import Broker
import Controller
import Model
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
    case .controller(.logFailed): self.node.board.count(.quorumFailed)
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
    case .topicConfigIgnored, .connectionRefused, .strayPartition: return (.process, "\(event)")
    case .partitionOffline, .checkpointFailed, .backgroundWorkFailed, .flushDeferred, .appendRefused, .readFailed, .metadataCloseFailed,
      .controller(.logFailed), .controller(.commitDelayed), .controller(.appendFailed):
      return self.node.hadDiskTrouble(self.life) ? nil : (.process, "without any trouble of its disk: \(event)")
    default: return nil
    }
  }

  /// What does not come back without an operator.
  private static func needsRestart(_ event: BrokerEvent) -> Bool {
    switch event {
    case .partitionOffline(_, let cause): !cause.canPass
    case .controller(.logFailed): true
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
