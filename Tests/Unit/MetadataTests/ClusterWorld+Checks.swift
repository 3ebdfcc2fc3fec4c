import Base
import Model
import Replication

@testable import Metadata

/// What must hold after every decision, told from outside.
extension ClusterWorld {
  mutating func check(after before: ControllerMachine, _ records: [MetadataChange]) {
    if !records.isEmpty {
      for transition in self.harness.delta.transitions { self.check(transition, after: before) }
    }
    self.count("records", records.count)
    for (id, partition) in self.partitions { self.check(id, partition) }
    if self.harness.machine.index != ReplicaIndex(self.image) { self.fail("the index is not that of the image") }
  }

  private mutating func check(_ id: TopicIDPartition, _ partition: PartitionImage) {
    let inSync = Set(partition.inSyncReplicas), eligible = Set(partition.eligibleLeaderReplicas), assigned = Set(partition.assignedReplicas)
    func isWrong(_ condition: Bool, _ what: String) -> String? { condition ? "\(id): \(what): \(partition)" : nil }
    let wrongs = [
      isWrong(partition.hasLeader && !inSync.contains(partition.leader), "its leader is not in its ISR"),
      isWrong(!inSync.isSubset(of: assigned) || inSync.count != partition.inSyncReplicas.count, "its ISR is not made of its replicas"),
      isWrong(
        !eligible.isSubset(of: assigned) || eligible.count != partition.eligibleLeaderReplicas.count,
        "its ELR is not made of its replicas"),
      isWrong(!eligible.isDisjoint(with: inSync), "its ELR and ISR overlap"),
      isWrong(!eligible.isEmpty && inSync.count >= self.minInSync(id, self.image), "it has an ELR and its ISR is large enough"),
      isWrong(partition.directories.count != partition.assignedReplicas.count, "directories are missing"),
      isWrong(!assigned.isSuperset(of: partition.addingReplicas + partition.removingReplicas), "it moves replicas it does not have"),
      // The only replica keeps its place while its broker restarts.
      isWrong(assigned.count > 1 && inSync.contains { !self.image.isActive($0) }, "somebody in the ISR is not active"),
      isWrong(
        !partition.hasLeader && !self.isCutOff && inSync.union(eligible).contains { self.image.isActive($0) },
        "nobody leads it, and somebody could"),
    ]
    for wrong in wrongs.compactMap({ $0 }) { self.fail(wrong) }
  }

  private mutating func check(_ transition: PartitionTransition, after machine: ControllerMachine) {
    guard let before = transition.before else { return }
    let after = transition.after, id = transition.partition
    self.count("\(transition.reason)")
    if after.partitionEpoch.rawValue != before.partitionEpoch.rawValue + 1 { self.fail("\(id): its partition epoch leaps") }
    let isBumped = after.leaderEpoch.rawValue == before.leaderEpoch.rawValue + 1
    if !isBumped && after.leaderEpoch != before.leaderEpoch { self.fail("\(id): its leader epoch leaps") }
    let leaves = !before.assignedReplicas.allSatisfy { after.isReplica($0) }
    if (after.leader != before.leader || leaves) && !isBumped { self.fail("\(id): a leader or a replica goes in the same leader epoch") }
    if before.isReassigning && !after.isReassigning && transition.reason == .reassignmentCompleted {
      if !after.assignedReplicas.allSatisfy({ after.inSyncReplicas.contains($0) }) { self.fail("\(id): moved to who is not in sync") }
      self.committedStaysWhereItIs(id, after)
    }
    if after.leader == before.leader { return }
    if transition.reason == .unspecified { self.fail("\(id): nobody knows why its leader changed") }
    if after.hasLeader { self.checkElection(transition, before) } else { self.count("leader lost") }
    self.checkLease(transition, before, machine)
    if before.hasLeader, after.inSyncReplicas.contains(before.leader), self.image.isActive(before.leader),
      transition.reason != .preferredElection
    {
      self.fail("\(id): a leader that could stay was replaced: \(transition)")
    }
  }

  /// Whether the process that runs is the one that the controller knows.
  private func isRegistered(_ node: NodeID) -> Bool {
    self.brokers[node]!.isUp && self.brokers[node]!.epoch == self.image.broker(node)?.epoch
  }

  private mutating func committedStaysWhereItIs(_ id: TopicIDPartition, _ partition: PartitionImage) {
    let committed = self.committed[id] ?? []
    // A process that died and is not known to have is in the ISR until it comes back.
    for node in partition.inSyncReplicas where self.isRegistered(node) {
      let log = self.brokers[node]!.replicas[id]?.log ?? []
      if !log.starts(with: committed) { self.fail("\(id): \(node) is in sync and lacks committed records") }
    }
  }

  private mutating func checkElection(_ transition: PartitionTransition, _ before: PartitionImage) {
    let after = transition.after, id = transition.partition, leader = after.leader
    if !self.image.isActive(leader) { self.fail("\(id): \(leader) was elected and is not active") }
    let isLossy = transition.reason == .uncleanElection || transition.reason == .lastKnownLeaderElection
    if isLossy {
      if after.leaderRecoveryState != .recovering { self.fail("\(id): an unclean leader need not recover") }
      if before.inSyncReplicas.contains(leader) || before.eligibleLeaderReplicas.contains(leader) {
        self.fail("\(id): \(leader) could be elected without loss and was not")
      }
      // What the new leader has is what there is.
      let log = self.brokers[leader]!.replicas[id]?.log ?? []
      let committed = self.committed[id] ?? []
      self.committed[id] = zip(committed, log).prefix { $0 == $1 }.map(\.0)
      return
    }
    // The request that completes a move may bring its new leader into the ISR.
    let isIn = before.inSyncReplicas.contains(leader) || before.eligibleLeaderReplicas.contains(leader)
    if !isIn && transition.reason != .reassignmentCompleted {
      self.fail("\(id): \(leader) was elected from outside the ISR and the ELR: \(transition)")
    }
    // A dead process that is not known to be dead may be elected; it never serves, and comes back without proof.
    guard self.isRegistered(leader) else { return }
    let log = self.brokers[leader]!.replicas[id]?.log ?? []
    if after.assignedReplicas.count > 1 && !log.starts(with: self.committed[id] ?? []) {
      self.fail("\(id): \(leader) was elected with \(log), and \(self.committed[id] ?? []) was committed: \(transition)")
    } else if !log.starts(with: self.committed[id] ?? []) {
      self.committed[id] = zip(self.committed[id] ?? [], log).prefix { $0 == $1 }.map(\.0)
    }
  }

  /// Whoever leads by its lease is not replaced behind its back. What it asked for itself, or was ordered, it learns.
  private mutating func checkLease(_ transition: PartitionTransition, _ before: PartitionImage, _ machine: ControllerMachine) {
    guard before.hasLeader, let broker = self.brokers[before.leader] else { return }
    switch transition.reason {
    case .brokerFenced, .brokerUnregistered, .brokerRestarted, .uncleanShutdown:
      let isServing = broker.isUp && broker.lease.isLive(at: self.now) && broker.epoch == machine.image.broker(before.leader)?.epoch
      if isServing && !self.fencesItself.contains(before.leader) {
        self.fail("\(before.leader) held its lease and was replaced: \(transition)")
      }
    case .unspecified, .created, .brokerUnfenced, .controlledShutdown, .logDirectoryFailed, .isrShrink, .isrExpand, .leaderRecovered,
      .preferredElection, .election, .lastKnownLeaderElection, .uncleanElection, .reassignmentStarted, .reassignmentCompleted,
      .reassignmentCancelled, .minInSyncReplicasChanged, .eligibleLeaderReplicasDisabled, .directoryAssigned:
      break
    }
  }
}
