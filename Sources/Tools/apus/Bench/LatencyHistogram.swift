import Histogram

/// Latencies in an HDR histogram: three significant digits from 1 microsecond to 10 minutes, at a fixed cost per value.
struct LatencyHistogram: Sendable {
  private static let maximum: UInt64 = 600_000_000_000
  private var histogram = Histogram<UInt64>(
    lowestDiscernibleValue: 1000, highestTrackableValue: LatencyHistogram.maximum, numberOfSignificantValueDigits: .three)
  /// The largest value as it was, not as the histogram rounds it.
  private(set) var maxNanoseconds: UInt64 = 0

  /// Takes a latency. Beyond ten minutes it counts as ten minutes.
  mutating func record(nanoseconds: Int64) {
    let value = UInt64(max(0, nanoseconds))
    self.maxNanoseconds = max(self.maxNanoseconds, value)
    self.histogram.record(min(value, Self.maximum))
  }

  mutating func merge(_ other: LatencyHistogram) {
    self.histogram.add(other.histogram)
    self.maxNanoseconds = max(self.maxNanoseconds, other.maxNanoseconds)
  }

  var count: UInt64 { self.histogram.totalCount }

  /// In milliseconds; 0 if nothing was recorded. Never above the maximum, which the histogram's rounding might exceed.
  func percentile(_ percentile: Double) -> Double {
    guard self.count > 0 else { return 0 }
    return Double(min(self.histogram.valueAtPercentile(percentile), self.maxNanoseconds)) / 1e6
  }
  var maxMilliseconds: Double { Double(self.maxNanoseconds) / 1e6 }
}
