package import Model

/// An entry that concerns the log itself rather than what is replicated: a control record. Its payload is known here because Raft acts
/// on it as soon as it is in the log, committed or not.
package enum ControlEntry: Hashable, Sendable {
  /// The first entry of every term: who was elected, by whom.
  case leaderChange(leader: NodeID, voters: [ReplicaKey], grantedBy: [ReplicaKey])
  case voters(VoterSet)
  case kraftVersion(KRaftVersion)
}

/// A control entry at its place.
package struct PlacedControl: Hashable, Sendable {
  package var index: LogIndex
  package var entry: ControlEntry
  package init(index: LogIndex, entry: ControlEntry) { (self.index, self.entry) = (index, entry) }
}
