package import Model

/// What a node must never forget: Kafka's `quorum-state`. It is on disk before any message leaves that rests on it.
///
/// Within one term neither the vote nor the leader is ever taken back or changed.
package struct HardState: Hashable, Sendable, CustomStringConvertible {
  package var term: Term
  /// Whom this replica voted for in `term`, itself included.
  package var votedFor: ReplicaKey?
  /// Who was elected in `term`, as far as this replica heard.
  package var leader: NodeID?
  package init(term: Term = .zero, votedFor: ReplicaKey? = nil, leader: NodeID? = nil) {
    (self.term, self.votedFor, self.leader) = (term, votedFor, leader)
  }
  package var description: String {
    "term \(self.term)" + (self.votedFor.map { ", voted for \($0)" } ?? "") + (self.leader.map { ", led by \($0)" } ?? "")
  }
}
