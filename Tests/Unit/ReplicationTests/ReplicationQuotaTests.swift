import Base
import Replication
import Testing

@Suite("What a replication quota lets through")
struct ReplicationQuotaTests {
  private let start = Instant.origin + .seconds(50)

  private func quota(_ rate: Int64?, windows: Int = 11, window: Duration = .seconds(1)) -> ReplicationQuota {
    ReplicationQuota(.init(bytesPerSecond: rate, windowCount: windows, window: window))
  }

  @Test("One answer may be too much; then nothing until the average is right again")
  func oneAnswer() {
    var quota = self.quota(1000)
    #expect(quota.exceededUntil(self.start) == nil)
    quota.record(1000, now: self.start)
    #expect(quota.exceededUntil(self.start) == nil, "the rate is the quota, not more")
    quota.record(4000, now: self.start)
    // 5,000 bytes at 1,000 a second, counted from the beginning of the first window.
    #expect(quota.exceededUntil(self.start) == self.start + .seconds(5))
    #expect(quota.exceededUntil(self.start + .seconds(5)) == nil)
  }

  @Test("In the long run the rate is the quota, whatever the size of an answer", arguments: [100, 3000, 50_000])
  func steady(answer: Int) {
    var (quota, now, total) = (self.quota(10_000), self.start, 0)
    while now < self.start + .seconds(100) {
      quota.record(answer, now: now)
      total += answer
      now = max(now + .milliseconds(1), quota.exceededUntil(now) ?? now)
    }
    #expect(abs(total - 1_000_000) <= max(110_000, 2 * answer), "\(total) bytes in 100 s")
  }

  @Test("What is older than the windows is forgotten, and a quota of nothing lets something through then")
  func forgetting() {
    var quota = self.quota(0)
    quota.record(1, now: self.start)
    #expect(quota.exceededUntil(self.start) == self.start + .seconds(11))
    quota.record(1, now: self.start + .seconds(3))
    #expect(quota.exceededUntil(self.start + .seconds(4)) == self.start + .seconds(14))
  }

  @Test("Without a limit nothing is exceeded, and one that is set counts what was before it")
  func limits() {
    var quota = self.quota(nil)
    quota.record(.max / 4, now: self.start)
    #expect(quota.exceededUntil(self.start) == nil)
    quota.settings.bytesPerSecond = 1
    #expect(quota.exceededUntil(self.start) == self.start + .seconds(11))
    quota.settings.bytesPerSecond = .max
    #expect(quota.exceededUntil(self.start) == nil)
    // More than a number holds is not counted rather than a trap.
    for _ in 0..<10 { quota.record(.max / 4, now: self.start) }
    #expect(quota.exceededUntil(self.start + .seconds(12)) == nil)
  }

  @Test("As a table of all moments says", arguments: 0..<200 as Range<UInt64>)
  func model(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let window = Int64.random(in: 1...9, using: &random)
    let windows = Int.random(in: 1...5, using: &random)
    let rate = Int64.random(in: 0...4, using: &random)
    var quota = self.quota(rate * 1_000_000_000, windows: windows, window: .nanoseconds(window))
    var samples: [(began: Int64, bytes: Int64)] = []
    var now: Int64 = 1000
    func isExceeded(_ time: Int64) -> Bool {
      let live = samples.filter { time - $0.began < window * Int64(windows) }
      guard let first = live.first else { return false }
      return live.reduce(0) { $0 + $1.bytes } > rate * max(time - first.began, window)
    }
    for _ in 0..<60 {
      now += Int64.random(in: 0...window * 2, using: &random)
      let bytes = Int64.random(in: 0...20, using: &random)
      quota.record(Int(bytes), now: Instant(nanoseconds: now))
      samples.removeAll { now - $0.began >= window * Int64(windows) }
      if let last = samples.last, now - last.began < window {
        samples[samples.count - 1].bytes += bytes
      } else {
        samples.append((now, bytes))
      }
      let free = (now...).first { !isExceeded($0) }!
      #expect(quota.exceededUntil(Instant(nanoseconds: now)) == (free == now ? nil : Instant(nanoseconds: free)), "seed \(seed)")
    }
  }
}
