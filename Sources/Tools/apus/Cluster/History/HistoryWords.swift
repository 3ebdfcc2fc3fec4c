import Metadata
import Model

/// The history in plain words.
enum HistoryWords {
  static func list(_ nodes: [NodeID]) -> String { nodes.isEmpty ? "none" : nodes.map(\.description).joined(separator: ",") }

  private static func brokers(_ nodes: [NodeID]) -> String {
    nodes.count == 1 ? "broker \(nodes[0])" : "brokers \(Self.list(nodes))"
  }

  /// The reason in one word, as tables and scripts want it.
  static func name(_ reason: PartitionChangeReason) -> String { "\(reason)" }

  /// Why a partition changed, as what follows "because".
  ///
  /// - Parameter fencing: why the broker that it is about was fenced, where that is known.
  static func cause(_ transition: PartitionTransition, fencing: FencingCause? = nil) -> String? {
    let before = transition.before
    // Who the change is about: whoever left the ISR, or led before and does not any more.
    var gone = (before?.inSyncReplicas ?? []).filter { !transition.after.inSyncReplicas.contains($0) }
    if let leader = before?.leader, leader != .none, leader != transition.after.leader, !gone.contains(leader) {
      gone.insert(leader, at: 0)
    }
    let come = transition.after.inSyncReplicas.filter { !(before?.inSyncReplicas ?? []).contains($0) }
    let (left, joined) = (gone.isEmpty ? "a replica's broker" : Self.brokers(gone), come.isEmpty ? "a replica" : Self.brokers(come))
    let were = gone.count > 1 ? "were" : "was"
    switch transition.reason {
    case .unspecified: return nil
    case .created: return "it was created"
    case .brokerFenced: return "\(left) \(were) fenced: \(fencing.map(Self.because) ?? "dead, or silent for a whole session")"
    case .brokerUnfenced: return "a replica's broker may lead again"
    case .controlledShutdown: return "\(left) \(gone.count > 1 ? "shut" : "shuts") down in an orderly way"
    case .brokerUnregistered: return "\(left) \(were) unregistered"
    case .brokerRestarted: return "\(left) restarted before it was fenced"
    case .uncleanShutdown: return "\(left) came back without having stopped cleanly, so the end of its log may be lost"
    case .logDirectoryFailed: return "a log directory failed on \(left)"
    case .isrShrink: return "the leader found \(gone.isEmpty ? "a follower" : Self.brokers(gone)) lagging"
    case .isrExpand: return "the leader found \(joined) caught up"
    case .leaderRecovered: return "the leader has recovered from its unclean election"
    case .preferredElection: return "the preferred leader took over"
    case .election: return "a replica that may lead without loss was elected"
    case .lastKnownLeaderElection: return "nobody was in sync or eligible, and the last leader is back"
    case .uncleanElection: return "nobody could lead without loss, and the longest log that answered was elected: records may be lost"
    case .reassignmentStarted: return "its reassignment began"
    case .reassignmentCompleted: return "its reassignment is complete"
    case .reassignmentCancelled: return "its reassignment was cancelled"
    case .minInSyncReplicasChanged: return "min.insync.replicas changed"
    case .eligibleLeaderReplicasDisabled: return "eligible leader replicas were turned off"
    case .directoryAssigned: return "a replica was given a log directory"
    }
  }

  /// What changed of a partition, in one sentence.
  static func text(_ transition: PartitionTransition, fencing: FencingCause? = nil) -> String {
    let after = transition.after
    guard let before = transition.before else {
      let leader = after.hasLeader ? "broker \(after.leader) leads" : "nobody leads"
      return "created: \(leader) (epoch \(after.leaderEpoch)), replicas \(Self.list(after.assignedReplicas)), "
        + "in sync \(Self.list(after.inSyncReplicas))"
    }
    var changes: [String] = []
    if before.leader != after.leader {
      let epochs = "(epoch \(before.leaderEpoch) -> \(after.leaderEpoch))"
      if !after.hasLeader {
        changes.append("no leader any more, it was broker \(before.leader) \(epochs)")
      } else if !before.hasLeader {
        changes.append("broker \(after.leader) leads \(epochs)")
      } else {
        changes.append("leader \(before.leader) -> \(after.leader) \(epochs)")
      }
    } else if before.leaderEpoch != after.leaderEpoch {
      let leader = after.hasLeader ? "broker \(after.leader) leads on" : "still no leader"
      changes.append("\(leader) (epoch \(before.leaderEpoch) -> \(after.leaderEpoch))")
    }
    func changed(_ what: String, _ old: [NodeID], _ new: [NodeID]) {
      if old != new { changes.append("\(what) \(Self.list(old)) -> \(Self.list(new))") }
    }
    changed("replicas", before.assignedReplicas, after.assignedReplicas)
    changed("adding", before.addingReplicas, after.addingReplicas)
    changed("removing", before.removingReplicas, after.removingReplicas)
    changed("in sync", before.inSyncReplicas, after.inSyncReplicas)
    changed("eligible", before.eligibleLeaderReplicas, after.eligibleLeaderReplicas)
    changed("last known", before.lastKnownEligibleLeaderReplicas, after.lastKnownEligibleLeaderReplicas)
    if before.leaderRecoveryState != after.leaderRecoveryState {
      changes.append(after.leaderRecoveryState == .recovering ? "the leader has yet to recover" : "the leader has recovered")
    }
    let what = changes.isEmpty ? "nothing of note changed" : changes.joined(separator: "; ")
    return Self.cause(transition, fencing: fencing).map { "\(what), because \($0)" } ?? what
  }

  static func text(_ node: NodeID, _ change: ClusterHistory.BrokerChange) -> String {
    switch change {
    case .registered(let isFenced, let rack):
      "broker \(node) registered\(rack.map { " in rack \($0)" } ?? "")\(isFenced ? "; it may not lead yet" : "")"
    case .fenced(.controlledShutdown): "broker \(node) has shut down in an orderly way; it may not lead until it is back"
    case .fenced(let cause?): "broker \(node) was fenced: it may not lead, for \(Self.because(cause))"
    case .fenced(nil): "broker \(node) was fenced: it may not lead, for its process is dead, its session ended, or it asked for it"
    case .unfenced: "broker \(node) may lead"
    case .shutdownBegun: "broker \(node) began to shut down in an orderly way"
    case .unregistered: "broker \(node) was unregistered: the cluster forgets it"
    }
  }

  private static func because(_ cause: FencingCause) -> String {
    switch cause {
    case .sessionEnded: "it was silent for a whole session"
    case .processDead: "its process is dead"
    case .ownWish: "it asked for it"
    case .controlledShutdown: "it has shut down in an orderly way"
    case .directoriesFailed: "its log directory failed"
    }
  }

  static func text(_ entry: ClusterHistory.Entry, fencing: FencingCause? = nil) -> String {
    switch entry.event {
    case .controller(let node): "node \(node) became the active controller (quorum epoch \(entry.place.quorumEpoch))"
    case .topicCreated(let name, let id): "topic \(name) was created (id \(id))"
    case .topicRemoved(let name, let id): "topic \(name) was deleted (id \(id))"
    case .topicConfigured(let name, let config, let value?): "\(config) of topic \(name) was set to \(value)"
    case .topicConfigured(let name, let config, nil): "\(config) of topic \(name) was taken off: the brokers' value holds"
    case .partition(_, let transition): Self.text(transition, fencing: fencing)
    case .broker(let node, let change): Self.text(node, change)
    }
  }

  /// A duration such as `350 ms`, `2.5 s`, `4 min`, `3 h`.
  static func duration(milliseconds: Int64) -> String {
    switch milliseconds {
    case ..<1000: "\(milliseconds) ms"
    case ..<120_000: "\(Readable.fixed(Double(milliseconds) / 1000, 1)) s"
    case ..<7_200_000: "\(milliseconds / 60_000) min"
    case ..<172_800_000: "\(milliseconds / 3_600_000) h"
    default: "\(milliseconds / 86_400_000) d"
    }
  }
}
