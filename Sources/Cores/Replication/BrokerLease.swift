package import Base

/// How long a broker may lead after it last heard from the controller: what both sides agree on before any heartbeat.
///
/// The controller counts the session from the moment a heartbeat *arrived*, the broker from the moment it was *sent*, which is earlier.
/// What is left to go wrong is that the two clocks run at different rates, and the margin covers that: if every clock gains or loses at
/// most the fraction `d` of real time, a broker that counts to `session * (1 - d) / (1 + d)` stops before the controller may act.
package struct LeaseTerms: Hashable, Sendable {
  /// `broker.session.timeout.ms` as the controller applies it.
  package let session: Duration
  /// What the broker leaves of it unused.
  package let margin: Duration

  /// - Parameter clockDriftMax: parts per million that any clock may gain or lose; quartz stays below 200, a steered clock below 500.
  package init(session: Duration, clockDriftMax: Int = 1000) {
    invariant(session > .zero && (0..<500_000).contains(clockDriftMax), "a lease of \(session) with drift \(clockDriftMax) ppm")
    self.session = session
    self.margin = .nanoseconds(session.wholeNanoseconds / 1_000_000 * 2 * Int64(clockDriftMax) + 1)
  }

  package var length: Duration { self.session - self.margin }
}

/// Until when this broker may act as a leader, by its own monotonic clock.
///
/// A broker whose lease has ended acknowledges nothing, for by then the controller may have chosen another leader. The lease comes from the
/// answers to heartbeats that say "not fenced". The other half of the bargain is the controller's: it chooses new leaders only
/// when `LeaseTerms.session` has passed since it last let a heartbeat extend the lease (or the process is known dead), and it lets none do
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
  package mutating func grant(sentAt: Instant, answeredAt: Instant, terms: LeaseTerms) -> Bool {
    invariant(sentAt <= answeredAt, "a heartbeat answered before it was sent")
    var start = sentAt
    #if APUS_MUTANTS
      if self.mutant == .leaseFromReceipt { start = answeredAt }
    #endif
    let expiry = start + terms.length
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
