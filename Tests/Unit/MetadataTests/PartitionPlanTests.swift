import Model
import Testing

@testable import Metadata

/// The rules of one partition's change, each on its own.
@Suite struct PartitionPlanTests {
  private func partition(
    _ replicas: [Int32], isr: [Int32], leader: Int32, elr: [Int32] = [], last: [Int32] = [], adding: [Int32] = [], removing: [Int32] = []
  ) -> PartitionImage {
    func list(_ ids: [Int32]) -> [NodeID] { ids.map { NodeID($0) } }
    var image = PartitionImage(
      assignedReplicas: list(replicas), inSyncReplicas: list(isr), leader: NodeID(leader), leaderEpoch: LeaderEpoch(4),
      partitionEpoch: PartitionEpoch(9), directories: replicas.map { MachineHarness.directory($0) })
    image.eligibleLeaderReplicas = list(elr)
    image.lastKnownEligibleLeaderReplicas = list(last)
    image.addingReplicas = list(adding)
    image.removingReplicas = list(removing)
    return image
  }

  /// What the partition becomes; nil if nothing changes.
  private func after(
    _ partition: PartitionImage, alive: [Int32], min: Int = 2, keepsEligible: Bool = true, _ edit: (inout PartitionPlan) -> Void = { _ in }
  ) -> PartitionImage? {
    var plan = PartitionPlan(
      partition, reason: .brokerFenced, minInSyncReplicas: min, keepsEligible: keepsEligible,
      mayLead: { alive.contains($0.rawValue) }, newDirectory: { MachineHarness.directory($0.rawValue) })
    edit(&plan)
    guard let change = plan.change() else { return nil }
    var after = partition
    after.apply(change)
    return after
  }

  private func removing(_ id: Int32) -> (inout PartitionPlan) -> Void { { $0.inSyncReplicas.removeAll { $0 == NodeID(id) } } }

  @Test func nothingToDo() {
    #expect(self.after(self.partition([1, 2, 3], isr: [1, 2], leader: 1), alive: [1, 2]) == nil)
  }

  @Test func theFirstOfTheAssignmentThatIsInSyncLeads() throws {
    let after = try #require(self.after(self.partition([1, 3, 2], isr: [1, 2, 3], leader: 1), alive: [2, 3], self.removing(1)))
    #expect(after.leader == NodeID(3))
    #expect(after.inSyncReplicas == nodes(2, 3))
    #expect(after.leaderEpoch == LeaderEpoch(5) && after.partitionEpoch == PartitionEpoch(10))
    #expect(after.eligibleLeaderReplicas == [])
  }

  @Test func aFollowerThatGoesKeepsTheLeaderEpoch() throws {
    let after = try #require(self.after(self.partition([1, 2, 3], isr: [1, 2, 3], leader: 1), alive: [1, 3], self.removing(2)))
    #expect(after.leader == NodeID(1) && after.leaderEpoch == LeaderEpoch(4) && after.partitionEpoch == PartitionEpoch(10))
  }

  @Test func whoLeavesASmallISRIsEligible() throws {
    let after = try #require(self.after(self.partition([1, 2, 3], isr: [1, 2], leader: 1), alive: [2], self.removing(1)))
    #expect(after.inSyncReplicas == nodes(2) && after.eligibleLeaderReplicas == nodes(1) && after.leader == NodeID(2))
    // With a minimum of one the rest commits without it.
    let one = try #require(self.after(self.partition([1, 2, 3], isr: [1, 2], leader: 1), alive: [2], min: 1, self.removing(1)))
    #expect(one.eligibleLeaderReplicas == [])
  }

  @Test func noMoreIsAskedForThanThereAreReplicas() throws {
    let after = try #require(self.after(self.partition([1, 2], isr: [1, 2], leader: 1), alive: [2], min: 5, self.removing(1)))
    #expect(after.eligibleLeaderReplicas == nodes(1))
    let back = self.after(after, alive: [1, 2], min: 5) { $0.inSyncReplicas = nodes(2, 1) }
    #expect(back?.eligibleLeaderReplicas == [])
  }

  @Test func theLastGoesAndIsRemembered() throws {
    let after = try #require(self.after(self.partition([1, 2], isr: [1], leader: 1, elr: [2]), alive: [], self.removing(1)))
    #expect(after.leader == NodeID.none && after.inSyncReplicas == [])
    #expect(after.eligibleLeaderReplicas == nodes(2, 1) && after.lastKnownEligibleLeaderReplicas == nodes(1))
    #expect(after.leaderEpoch == LeaderEpoch(5))
  }

  @Test func theEligibleLeadWhereNobodyIsInSync() throws {
    let offline = self.partition([1, 2, 3], isr: [], leader: -1, elr: [2, 3], last: [2])
    let after = try #require(self.after(offline, alive: [1, 3]))
    #expect(after.leader == NodeID(3) && after.inSyncReplicas == nodes(3) && after.eligibleLeaderReplicas == nodes(2))
    #expect(after.lastKnownEligibleLeaderReplicas == [] && after.leaderRecoveryState == .recovered)
    // 1 is alive and neither: it does not lead.
    #expect(self.after(offline, alive: [1]) == nil)
  }

  /// With a minimum of one the new leader commits alone, and the others cannot stay eligible.
  @Test func aLeaderThatSufficesHasNoEligible() throws {
    let offline = self.partition([1, 2, 3], isr: [], leader: -1, elr: [2, 3], last: [2])
    #expect(try #require(self.after(offline, alive: [3], min: 1)).eligibleLeaderReplicas == [])
  }

  @Test func whoIsInSyncComesBeforeTheEligible() throws {
    let before = self.partition([3, 2, 1], isr: [1, 2], leader: 1, elr: [3])
    let after = try #require(self.after(before, alive: [2, 3], min: 3, self.removing(1)))
    #expect(after.leader == NodeID(2) && after.inSyncReplicas == nodes(2) && after.eligibleLeaderReplicas == nodes(3, 1))
  }

  @Test func theLastKnownLeaderIsElectedUncleanly() throws {
    let offline = self.partition([1, 2], isr: [], leader: -1, last: [2])
    let after = try #require(self.after(offline, alive: [1, 2]))
    #expect(after.leader == NodeID(2) && after.inSyncReplicas == nodes(2) && after.leaderRecoveryState == .recovering)
    #expect(after.reason == .lastKnownLeaderElection)
    #expect(self.after(offline, alive: [1]) == nil)
    // Several: nobody knows which. Without the feature there is none.
    #expect(self.after(self.partition([1, 2], isr: [], leader: -1, last: [1, 2]), alive: [1, 2]) == nil)
    #expect(self.after(self.partition([1, 2], isr: [2], leader: -1), alive: [1], keepsEligible: false) == nil)
  }

  @Test func anUncleanLeaderLeadsAloneAndRecovers() throws {
    let offline = self.partition([1, 2, 3], isr: [], leader: -1, elr: [2], last: [2])
    let after = try #require(self.after(offline, alive: [3]) { $0.election = .unclean(NodeID(3)) })
    #expect(after.leader == NodeID(3) && after.inSyncReplicas == nodes(3) && after.leaderRecoveryState == .recovering)
    #expect(after.eligibleLeaderReplicas == [] && after.lastKnownEligibleLeaderReplicas == [] && after.reason == .uncleanElection)
    // Not where somebody can lead without loss.
    let clean = try #require(self.after(offline, alive: [2, 3]) { $0.election = .unclean(NodeID(3)) })
    #expect(clean.leader == NodeID(2) && clean.leaderRecoveryState == .recovered)
    // Not who is not there, or no replica.
    #expect(self.after(offline, alive: [1]) { $0.election = .unclean(NodeID(3)) } == nil)
    #expect(self.after(offline, alive: [9]) { $0.election = .unclean(NodeID(9)) } == nil)
  }

  @Test func whoMayHaveLostItsEndIsNothing() throws {
    let after = try #require(
      self.after(self.partition([1, 2], isr: [1], leader: 1, elr: [2]), alive: []) { plan in
        plan.uncleanReplica = NodeID(1)
        plan.inSyncReplicas = []
      })
    #expect(after.inSyncReplicas == [] && after.eligibleLeaderReplicas == nodes(2) && after.lastKnownEligibleLeaderReplicas == nodes(1))
  }

  @Test func withoutTheFeatureTheLastStaysInSync() throws {
    let after = try #require(self.after(self.partition([1, 2], isr: [1], leader: 1), alive: [], keepsEligible: false, self.removing(1)))
    #expect(after.leader == NodeID.none && after.inSyncReplicas == nodes(1) && after.eligibleLeaderReplicas == [])
    let back = try #require(self.after(after, alive: [1, 2], keepsEligible: false))
    #expect(back.leader == NodeID(1) && back.leaderRecoveryState == .recovered)
  }

  @Test func thePreferredLeads() throws {
    let partition = self.partition([3, 1], isr: [1, 3], leader: 1)
    #expect(self.after(partition, alive: [1, 3]) == nil)
    #expect(try #require(self.after(partition, alive: [1, 3]) { $0.election = .preferred }).leader == NodeID(3))
    // Not while it is not there.
    #expect(self.after(partition, alive: [1]) { $0.election = .preferred } == nil)
    #expect(self.after(self.partition([3, 1], isr: [1], leader: 1), alive: [1, 3], min: 1) { $0.election = .preferred } == nil)
  }

  // MARK: Reassignment

  @Test func aMoveEndsWhenAllAreInSync() throws {
    let moving = self.partition([3, 4, 1, 2], isr: [1, 2, 3], leader: 1, adding: [3, 4], removing: [1, 2])
    #expect(self.after(moving, alive: [1, 2, 3, 4]) == nil)
    let after = try #require(self.after(moving, alive: [1, 2, 3, 4]) { $0.inSyncReplicas = nodes(1, 2, 3, 4) })
    #expect(after.assignedReplicas == nodes(3, 4) && after.inSyncReplicas == nodes(3, 4))
    #expect(after.leader == NodeID(3) && after.leaderEpoch == LeaderEpoch(5))
    #expect(!after.isReassigning && after.reason == .reassignmentCompleted)
    #expect(after.directories == [MachineHarness.directory(3), MachineHarness.directory(4)])
  }

  /// What the replicas that go still fetch must be refused, so that there is a new epoch even where the leader stays.
  @Test func whenAReplicaLeavesALeaderEpochBegins() throws {
    let moving = self.partition([1, 3, 2], isr: [1, 2], leader: 1, adding: [3], removing: [2])
    let after = try #require(self.after(moving, alive: [1, 2, 3]) { $0.inSyncReplicas = nodes(1, 3) })
    #expect(after.leader == NodeID(1) && after.leaderEpoch == LeaderEpoch(5) && after.assignedReplicas == nodes(1, 3))
  }

  @Test func goneReplicasAreNotEligible() throws {
    let moving = self.partition([3, 1, 2], isr: [1], leader: 1, elr: [2], adding: [3], removing: [1, 2])
    let after = try #require(self.after(moving, alive: [1, 3]) { $0.inSyncReplicas = nodes(1, 3) })
    #expect(after.assignedReplicas == nodes(3) && after.inSyncReplicas == nodes(3) && after.eligibleLeaderReplicas == [])
  }

  // MARK: Numbers

  /// They are in the logs of clusters.
  @Test func reasonsKeepTheirNumbers() {
    #expect(PartitionChangeReason.allCases.map(\.rawValue) == Array(0...21))
    #expect(PartitionChangeReason.created.rawValue == 1 && PartitionChangeReason.uncleanElection.rawValue == 15)
    #expect(PartitionChangeReason.directoryAssigned.rawValue == 21 && PartitionChangeReason.controlledShutdown.rawValue == 4)
  }
}
