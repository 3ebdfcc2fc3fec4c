package import Base

/// The failure detector: a peer that was not heard for `timeout` is suspected. It may be wrong about a slow peer, never about one that is
/// silent for good, so an algorithm may rest liveness on it and never safety.
package struct SilenceDetector: Hashable, Sendable {
  package var timeout: Duration
  package private(set) var lastHeard: Instant

  /// - Parameter heard: when the benefit of the doubt begins.
  package init(timeout: Duration, heard: Instant) { (self.timeout, self.lastHeard) = (timeout, heard) }

  /// The first instant at which the peer is suspected.
  package var deadline: Instant { self.lastHeard + self.timeout }
  package func isSuspected(at now: Instant) -> Bool { now >= self.deadline }

  package mutating func hear(at now: Instant) { self.lastHeard = max(self.lastHeard, now) }

  /// The first instant at which fewer than `needed` of the peers are unsuspected; nil if there are fewer than that anyway, or none is
  /// needed.
  package static func deadline(ofLosing needed: Int, in heard: [Instant], timeout: Duration) -> Instant? {
    guard needed > 0, heard.count >= needed else { return nil }
    return heard.sorted(by: >)[needed - 1] + timeout
  }
}
