import Base

/// How long a broker may lead on the strength of a heartbeat, and how long the controller must wait before it lets another lead:
/// both sides work it out from the same numbers, so that the broker always stops first.
///
/// The broker counts from when it *sent* a heartbeat that was answered, the controller from when it *received* one. A heartbeat is
/// received after it was sent, so with perfect clocks both could count `broker.session.timeout.ms`. Clocks drift: each may run wrong
/// by `driftMax`, and the broker counts less by as much as the two can differ.
///
/// ```
/// broker's clock   lease   = session * (1 - d) / (1 + d)     real time <= lease / (1 - d)
/// controller's     session                                   real time >= session / (1 + d) = lease / (1 - d)
/// ```
package struct LeaseRule: Sendable, Hashable {
  /// `broker.session.timeout.ms`.
  package var session: Duration
  /// By how many thousandths of a duration a clock may be wrong. Real clocks keep below one.
  package var driftMaxPerMille: Int64
  /// For how long a controller that was deposed may go on answering heartbeats without knowing it: the time after which a leader of the
  /// quorum that hears from no majority resigns. The next controller begins to count that much later.
  package var deposedMax: Duration

  package init(session: Duration = .seconds(9), driftMaxPerMille: Int64 = 10, deposedMax: Duration = .seconds(2)) {
    invariant(session > .zero, "a session of \(session)")
    invariant((0..<1000).contains(driftMaxPerMille), "a drift of \(driftMaxPerMille) in a thousand")
    invariant(deposedMax >= .zero, "\(deposedMax) as a deposed controller")
    (self.session, self.driftMaxPerMille, self.deposedMax) = (session, driftMaxPerMille, deposedMax)
  }

  /// What the broker counts, rounded down.
  package var lease: Duration {
    // By thousandths first: nine hours of nanoseconds times a thousand still fit into 64 bits.
    let (slow, fast) = (1000 - self.driftMaxPerMille, 1000 + self.driftMaxPerMille)
    let total = self.session.wholeNanoseconds
    return .nanoseconds(total / fast * slow + total % fast * slow / fast)
  }
}
