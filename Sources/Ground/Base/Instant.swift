/// A point on a node's monotonic clock, in nanoseconds since an origin that means nothing outside the process.
///
/// Cores receive it as an argument and never ask for it, so that a simulated clock serves as well as a real one.
package struct Instant: Hashable, Comparable, Sendable {
  package var nanoseconds: Int64

  package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  package static let origin = Instant(nanoseconds: 0)
  /// Later than any instant a run can reach: "no deadline".
  package static let distantFuture = Instant(nanoseconds: .max)

  package static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }
  package static func + (a: Instant, b: Duration) -> Instant {
    let (sum, overflow) = a.nanoseconds.addingReportingOverflow(b.wholeNanoseconds)
    return overflow ? (b < .zero ? Instant(nanoseconds: .min) : .distantFuture) : Instant(nanoseconds: sum)
  }
  package static func - (a: Instant, b: Instant) -> Duration { .nanoseconds(a.nanoseconds &- b.nanoseconds) }
}

extension Duration {
  /// The duration in nanoseconds, saturated to what an `Int64` holds (292 years).
  package var wholeNanoseconds: Int64 {
    let (seconds, attoseconds) = self.components
    let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return seconds < 0 ? .min : .max }
    let (sum, carry) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000)
    return carry ? (seconds < 0 ? .min : .max) : sum
  }
  /// The duration in whole milliseconds, rounded towards zero.
  package var wholeMilliseconds: Int64 { self.wholeNanoseconds / 1_000_000 }
}
