package import Base
package import Model

/// Until when this broker may act as a leader, by its own monotonic clock.
///
/// A broker whose lease has ended acknowledges nothing, for by then the controller may have chosen another leader. The lease comes from the
/// answers to heartbeats that say "not fenced". The other half of the bargain is the controller's: it chooses new leaders only
/// when `LeaseRule.session` has passed since it last let a heartbeat extend the lease (or the process is known dead), and it lets none do
/// so from a broker that was fenced until that broker's metadata reaches past the fencing, so that no lease revives a lost leadership.
package struct BrokerLease: Hashable, Sendable {
  package private(set) var expiry: Instant
  #if APUS_MUTANTS
    package var mutant: Mutant?
  #endif

  private init(expiry: Instant) { self.expiry = expiry }

  /// Nobody granted one yet.
  package static let none = BrokerLease(expiry: Instant(nanoseconds: .min))
  /// The controller is part of this process and chooses no leader while it cannot stop this one.
  package static let unlimited = BrokerLease(expiry: .distantFuture)

  package func isLive(at now: Instant) -> Bool { now < self.expiry }

  /// The controller answered a heartbeat that was sent at `sentAt`, and does not fence us. Answers may come in any order.
  ///
  /// - Returns: whether the lease reaches further than before.
  @discardableResult
  package mutating func grant(sentAt: Instant, answeredAt: Instant, under rule: LeaseRule) -> Bool {
    invariant(sentAt <= answeredAt, "a heartbeat answered before it was sent")
    var start = sentAt
    #if APUS_MUTANTS
      if self.mutant == .leaseFromReceipt { start = answeredAt }
    #endif
    let expiry = start + rule.lease
    guard expiry > self.expiry else { return false }
    self.expiry = expiry
    return true
  }

  /// The controller fenced us, or we give the session up.
  package mutating func revoke() {
    let revoked = BrokerLease.none.expiry
    self.expiry = revoked
  }
}
