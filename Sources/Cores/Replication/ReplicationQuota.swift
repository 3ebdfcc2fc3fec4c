package import Base

/// How much replication may copy in a second, on one side of it (KIP-73): what was copied lately, and until when there is to be no more.
///
/// The rate is Kafka's: what the last windows hold, over the time since the first of them began, and over one window at least. So a
/// quota is an average over `windowCount` windows. One answer may exceed it; what follows waits until the average is right again.
package struct ReplicationQuota: Hashable, Sendable {
  package struct Settings: Hashable, Sendable {
    /// `leader.` or `follower.replication.throttled.rate`, at least 0; nil: no limit.
    package var bytesPerSecond: Int64?
    /// `replication.quota.window.num`, at least 1: how many windows are remembered, with the one that is filled now.
    package var windowCount: Int
    /// `replication.quota.window.size.seconds`.
    package var window: Duration
    package init(bytesPerSecond: Int64? = nil, windowCount: Int = 11, window: Duration = .seconds(1)) {
      (self.bytesPerSecond, self.windowCount, self.window) = (bytesPerSecond, windowCount, window)
    }
  }

  private struct Sample: Hashable, Sendable {
    var began: Instant
    var byteCount: Int64
  }

  package var settings: Settings
  /// In their order; at most `windowCount`, each as long as a window at least.
  private var samples: [Sample] = []
  /// Of all samples.
  private var total: Int64 = 0

  package init(_ settings: Settings = Settings()) { self.settings = settings }

  /// Whether there is a limit that `record` and `exceededUntil` go by.
  package var isLimited: Bool { self.settings.bytesPerSecond != nil }

  /// - Parameter byteCount: what was copied just now. A quota without limit remembers it, too: one that is set soon counts it.
  package mutating func record(_ byteCount: Int, now: Instant) {
    self.forget(now)
    let (total, overflow) = self.total.addingReportingOverflow(Int64(byteCount))
    if overflow { return }
    if let last = self.samples.last, now - last.began < self.settings.window {
      self.samples[self.samples.endIndex - 1].byteCount += Int64(byteCount)
    } else {
      self.samples.append(Sample(began: now, byteCount: Int64(byteCount)))
    }
    self.total = total
  }

  /// When the rate will be within the quota if nothing more is recorded; nil: it is now.
  package func exceededUntil(_ now: Instant) -> Instant? {
    guard let limit = self.settings.bytesPerSecond else { return nil }
    var (total, time) = (self.total, now)
    for sample in self.samples {
      // While this sample is the oldest: the rate sinks as time goes by, until the sample is forgotten.
      let end = sample.began + self.memory
      if time < end {
        guard let needed = Self.time(for: total, at: limit) else {
          total -= sample.byteCount
          time = end
          continue
        }
        let free = needed <= self.settings.window ? time : max(time, sample.began + needed)
        if free < end { return free > now ? free : nil }
        time = end
      }
      total -= sample.byteCount
    }
    return time > now ? time : nil
  }

  /// How long a sample counts.
  private var memory: Duration { self.settings.window * self.settings.windowCount }

  private mutating func forget(_ now: Instant) {
    let memory = self.memory
    while let first = self.samples.first, now - first.began >= memory {
      self.total -= first.byteCount
      self.samples.removeFirst()
    }
  }

  /// How long `byteCount` takes at this rate, rounded up; nil: for ever.
  private static func time(for byteCount: Int64, at bytesPerSecond: Int64) -> Duration? {
    if byteCount <= 0 { return .zero }
    if bytesPerSecond <= 0 { return nil }
    let product = UInt64(byteCount).multipliedFullWidth(by: 1_000_000_000)
    let divisor = UInt64(bytesPerSecond)
    if product.high >= divisor { return nil }
    let (quotient, remainder) = divisor.dividingFullWidth(product)
    guard let nanoseconds = Int64(exactly: quotient), nanoseconds < .max else { return nil }
    return .nanoseconds(nanoseconds + (remainder > 0 ? 1 : 0))
  }
}
