import Base
import Model

/// One change of one partition, worked out from what shall be: the ISR, the ELR and the leader follow by Kafka's rules
/// (KIP-841, KIP-966, KIP-455, KIP-704). Set what shall be different, then ask for the `change`.
///
/// - The leader is one of the ISR; where the ISR is empty, one of the ELR, which then is the ISR; where both are, the last known
///   leader; and only for `Election.unclean` the replica that the caller chose by its log.
/// - The ELR holds those that left an ISR smaller than `min.insync.replicas`: while it is smaller nothing more is committed, so that they
///   have every committed record. A replica whose log may have lost its end is not among them.
/// - Naming a leader begins a leader epoch. That happens when the leader is another, and when a replica leaves the assignment, since
///   what it still fetches must be refused.
struct PartitionPlan {
  enum Election: Equatable {
    /// Keep a leader that may lead, else elect one.
    case online
    /// The first of the assignment, if it may lead.
    case preferred
    /// As `online`, and if that finds nobody this one: it may lack records that were acknowledged.
    case unclean(NodeID)
  }

  let partition: PartitionImage
  let reason: PartitionChangeReason
  /// Whether the broker is there, may lead, and has the disk the partition is on.
  let mayLead: (NodeID) -> Bool
  /// `min.insync.replicas` as it will be with this change.
  let minInSyncReplicas: Int
  let keepsEligible: Bool
  /// The directory of a replica that is new.
  let newDirectory: (NodeID) -> KafkaUUID
  var mutant: ControllerMutant?

  var election = Election.online
  var inSyncReplicas: [NodeID]
  var assignedReplicas: [NodeID]
  var addingReplicas: [NodeID]
  var removingReplicas: [NodeID]
  var leaderRecoveryState: PartitionImage.LeaderRecoveryState
  /// A replica whose log may have lost its end: neither in the ISR nor in the ELR, and no leader.
  var uncleanReplica: NodeID?
  var directories: [(node: NodeID, directory: KafkaUUID)] = []

  private var eligible: [NodeID] = []
  private var lastKnown: [NodeID] = []

  init(
    _ partition: PartitionImage, reason: PartitionChangeReason, minInSyncReplicas: Int, keepsEligible: Bool,
    mayLead: @escaping (NodeID) -> Bool, newDirectory: @escaping (NodeID) -> KafkaUUID
  ) {
    self.partition = partition
    self.reason = reason
    self.minInSyncReplicas = minInSyncReplicas
    self.keepsEligible = keepsEligible
    self.mayLead = mayLead
    self.newDirectory = newDirectory
    self.inSyncReplicas = partition.inSyncReplicas
    self.assignedReplicas = partition.assignedReplicas
    self.addingReplicas = partition.addingReplicas
    self.removingReplicas = partition.removingReplicas
    self.leaderRecoveryState = partition.leaderRecoveryState
  }

  /// Nil: nothing is to be changed.
  func change() -> PartitionChange? {
    var plan = self
    return plan.build()
  }

  private mutating func build() -> PartitionChange? {
    var change = PartitionChange()
    change.reason = self.reason
    // One that only puts the replicas in another order has nothing to wait for.
    let onlyReorders =
      self.reason == .reassignmentStarted && !self.partition.isReassigning && self.addingReplicas.isEmpty && self.removingReplicas.isEmpty
    if self.completesReassignment() || onlyReorders { change.reason = .reassignmentCompleted }
    self.inSyncReplicas.removeAll { !self.assignedReplicas.contains($0) }
    self.planEligible()
    let leader = self.elect(&change)
    if leader != self.partition.leader || self.replicasLeave { change.leader = leader }
    if self.isMutated(.leaderEpochIsKept), change.leader == self.partition.leader { change.leader = nil }
    self.settleEligible(leader)
    if self.inSyncReplicas != self.partition.inSyncReplicas { change.inSyncReplicas = self.inSyncReplicas }
    if self.eligible != self.partition.eligibleLeaderReplicas { change.eligibleLeaderReplicas = self.eligible }
    if self.lastKnown != self.partition.lastKnownEligibleLeaderReplicas { change.lastKnownEligibleLeaderReplicas = self.lastKnown }
    if self.leaderRecoveryState != self.partition.leaderRecoveryState { change.leaderRecoveryState = self.leaderRecoveryState }
    self.setAssignment(&change)
    return change.isEmpty ? nil : change
  }

  // MARK: Reassignment (KIP-455)

  /// A reassignment is complete once every replica that stays is in sync. Until then the old replicas serve on.
  private mutating func completesReassignment() -> Bool {
    if self.addingReplicas.isEmpty && self.removingReplicas.isEmpty { return false }
    let target = self.assignedReplicas.filter { !self.removingReplicas.contains($0) }
    let inSync = self.inSyncReplicas.filter { !self.removingReplicas.contains($0) }
    let isDone = self.isMutated(.reassignmentEndsEarly) ? !inSync.isEmpty : target.allSatisfy { inSync.contains($0) }
    guard !target.isEmpty, !inSync.isEmpty, isDone else { return false }
    self.assignedReplicas = target
    self.inSyncReplicas = inSync
    self.addingReplicas = []
    self.removingReplicas = []
    return true
  }

  private var replicasLeave: Bool { !self.partition.assignedReplicas.allSatisfy { self.assignedReplicas.contains($0) } }

  private func setAssignment(_ change: inout PartitionChange) {
    if self.assignedReplicas != self.partition.assignedReplicas { change.assignedReplicas = self.assignedReplicas }
    if self.addingReplicas != self.partition.addingReplicas { change.addingReplicas = self.addingReplicas }
    if self.removingReplicas != self.partition.removingReplicas { change.removingReplicas = self.removingReplicas }
    let directories = self.assignedReplicas.map { node -> KafkaUUID in
      if let given = self.directories.first(where: { $0.node == node }) { return given.directory }
      return self.partition.isReplica(node) ? self.partition.directory(of: node) : self.newDirectory(node)
    }
    if directories != self.partition.directories { change.directories = directories }
  }

  // MARK: Eligible leader replicas (KIP-966)

  private mutating func planEligible() {
    self.lastKnown = self.keepsEligible ? self.partition.lastKnownEligibleLeaderReplicas : []
    if !self.keepsEligible || self.inSyncReplicas.count >= self.effectiveMin {
      self.eligible = []
      return
    }
    var candidates = self.partition.eligibleLeaderReplicas
    for node in self.partition.inSyncReplicas where !candidates.contains(node) { candidates.append(node) }
    self.eligible = candidates.filter { node in
      self.assignedReplicas.contains(node)
        && (!self.inSyncReplicas.contains(node) || self.isMutated(.eligibleOverlapsInSync))
        && (node != self.uncleanReplica || self.isMutated(.uncleanReplicaStaysEligible))
    }
  }

  /// No more is asked for than there are replicas, as at the leader.
  private var effectiveMin: Int { min(self.minInSyncReplicas, self.assignedReplicas.count) }

  /// After the election. Without a leader the one who led last is remembered, with a leader it is no longer of interest.
  private mutating func settleEligible(_ leader: NodeID) {
    if !self.keepsEligible { return }
    // A new leader alone may satisfy the minimum: then it can commit without the others.
    if self.inSyncReplicas.count >= self.effectiveMin && !self.isMutated(.eligibleSurvivesTheMinimum) { self.eligible = [] }
    if leader != .none {
      self.lastKnown = []
    } else if self.inSyncReplicas.isEmpty && self.partition.hasLeader {
      self.lastKnown = [self.partition.leader]
    }
    self.lastKnown.removeAll { !self.assignedReplicas.contains($0) }
  }

  // MARK: Election

  /// Who leads after the change; `.none` if nobody may.
  private mutating func elect(_ change: inout PartitionChange) -> NodeID {
    if let leader = self.cleanLeader() {
      if !self.inSyncReplicas.contains(leader) {
        self.inSyncReplicas = [leader]
        self.eligible.removeAll { $0 == leader }
      }
      return leader
    }
    if self.keepsEligible, self.inSyncReplicas.isEmpty, self.eligible.isEmpty,
      self.partition.lastKnownEligibleLeaderReplicas.count == 1, let last = self.partition.lastKnownEligibleLeaderReplicas.first,
      self.assignedReplicas.contains(last), self.acceptable(last)
    {
      self.become(last)
      change.reason = .lastKnownLeaderElection
      return last
    }
    if case .unclean(let chosen) = self.election, self.assignedReplicas.contains(chosen), self.acceptable(chosen) {
      self.become(chosen)
      change.reason = .uncleanElection
      return chosen
    }
    // Without an ELR the last of the ISR stays in it: only it has everything.
    if !self.keepsEligible && self.inSyncReplicas.isEmpty {
      self.inSyncReplicas = self.partition.inSyncReplicas.filter { self.assignedReplicas.contains($0) }
    }
    return .none
  }

  private mutating func become(_ leader: NodeID) {
    self.inSyncReplicas = [leader]
    self.eligible = []
    self.leaderRecoveryState = .recovering
  }

  private func cleanLeader() -> NodeID? {
    if self.election == .preferred, let preferred = self.assignedReplicas.first, self.isClean(preferred) { return preferred }
    if self.isClean(self.partition.leader) && !self.isMutated(.leaderIsNotKept) { return self.partition.leader }
    return self.assignedReplicas.first { self.isClean($0) }
  }

  private func isClean(_ node: NodeID) -> Bool {
    let isIn = self.inSyncReplicas.contains(node) || (self.inSyncReplicas.isEmpty && self.eligible.contains(node))
    if self.isMutated(.anyReplicaIsElected) { return self.assignedReplicas.contains(node) && self.acceptable(node) }
    return isIn && self.acceptable(node)
  }

  private func acceptable(_ node: NodeID) -> Bool {
    self.isMutated(.fencedLeaderIsElected) || (node != self.uncleanReplica && self.mayLead(node))
  }

  private func isMutated(_ mutant: ControllerMutant) -> Bool { mutates(self.mutant, mutant) }
}
