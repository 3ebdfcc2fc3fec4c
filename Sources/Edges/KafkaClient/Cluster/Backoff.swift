package import Base

/// Exponential waiting with jitter, so that many clients do not come back at the same moment.
package struct Backoff: Sendable {
  private let base: Duration
  private let maximum: Duration
  private var failures = 0

  /// The first wait is about `base`, each further one twice as long, none longer than `maximum` (each varied by 20 %).
  package init(base: Duration, maximum: Duration) { (self.base, self.maximum) = (base, maximum) }

  /// The wait after one more failure.
  package mutating func next(using generator: inout SeededGenerator) -> Duration {
    // 2^30 times any base is beyond every maximum; the cap keeps the shift in range.
    let nominal = min(self.base * (1 << min(self.failures, 30)), self.maximum)
    self.failures += 1
    let factor = Double.random(in: 0.8...1.2, using: &generator)
    return .nanoseconds(Int64(Double(nominal.wholeNanoseconds) * factor))
  }

  /// It worked: the next wait is the first again.
  package mutating func reset() { self.failures = 0 }
}
