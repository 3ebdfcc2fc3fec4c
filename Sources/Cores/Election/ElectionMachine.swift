package import Base
package import Model

/// What a node believes about who leads. Two claims with one ballot and different leaders are what an election must never bring forth.
package struct LeaderClaim: Hashable, Sendable, CustomStringConvertible {
  /// Counts elections: Raft's term.
  package var ballot: Int64
  package var leader: NodeID
  package init(ballot: Int64, leader: NodeID) { (self.ballot, self.leader) = (ballot, leader) }
  package var description: String { "node \(self.leader) in ballot \(self.ballot)" }
}

/// A way to choose a leader, without I/O: it is told what happened and says what is to be done.
///
/// The driver hands in every input with its node's monotonic time, runs the effects in the order they have, and arms one timer for
/// `nextDeadline`, at which it hands in whatever input means "time has passed". Every random choice comes from a generator in the state,
/// so that the same inputs always give the same effects.
package protocol ElectionMachine: Sendable {
  associatedtype Input: Sendable
  associatedtype Effect: Sendable

  /// When the machine has something to do though nothing happens. Always later than the last `now`; nil if it only waits for input.
  var nextDeadline: Instant? { get }
  /// Whom this node takes for the leader.
  var leaderClaim: LeaderClaim? { get }

  /// Appends to `effects` and removes nothing. `now` never goes back; an earlier one is taken for the last.
  mutating func handle(_ input: Input, now: Instant, into effects: inout [Effect])
}
