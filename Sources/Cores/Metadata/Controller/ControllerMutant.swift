/// A mistake made on purpose, to see that the tests find it. Debug builds only: in others none can be switched on.
package enum ControllerMutant: String, Sendable, Hashable, CaseIterable {
  case leaderEpochIsKept
  case reassignmentEndsEarly
  case eligibleOverlapsInSync
  case uncleanReplicaStaysEligible
  case eligibleSurvivesTheMinimum
  case leaderIsNotKept
  case anyReplicaIsElected
  case fencedLeaderIsElected
  case fencedStaysInSync
  case staleAlterPartitionIsTaken
  case brokerEpochsAreNotChecked
  case duplicateBrokerIsTaken
  case silentBrokerIsFencedEarly
  case unfencedWithoutMetadata
  case shutdownWhileLeading
  case unfencingElectsNobody
  case uncleanTakesTheFirst
  case snapshotForgetsEpochs
  case registrationKeepsSync
}

/// Whether this build makes the mistake.
@inline(__always)
func mutates(_ chosen: ControllerMutant?, _ mutant: ControllerMutant) -> Bool {
  #if APUS_MUTANTS
    return chosen == mutant
  #else
    return false
  #endif
}
