import Base
import Testing

@Suite("Timer wheel")
struct TimerWheelTests {
  private func instant(_ milliseconds: Int64, _ extra: Int64 = 0) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000 + extra) }

  @Test("Never early, rounded up to a millisecond, and a cancelled deadline does not fire")
  func basics() {
    var wheel = TimerWheel<String>(now: self.instant(1_000))
    let early = wheel.insert("early", at: self.instant(1_005, 1))
    let late = wheel.insert("late", at: self.instant(31_000))
    _ = wheel.insert("past", at: self.instant(3))
    var due: [String] = []
    wheel.advance(to: self.instant(1_005, 999_999), into: &due)
    #expect(due == ["past"])
    wheel.advance(to: self.instant(1_006), into: &due)
    #expect(due == ["past", "early"])
    #expect(wheel.cancel(early) == nil)
    #expect(wheel.cancel(late) == "late")
    #expect(wheel.cancel(late) == nil)
    #expect(wheel.count == 0)
    #expect(wheel.nextInstant == nil)
    wheel.advance(to: self.instant(99_000), into: &due)
    #expect(due.count == 2)
  }

  @Test("A deadline without end has a place and does not fire")
  func distantFuture() {
    var wheel = TimerWheel<Int>(now: self.instant(0))
    _ = wheel.insert(1, at: .distantFuture)
    var due: [Int] = []
    wheel.advance(to: self.instant(86_400_000 * 365), into: &due)
    #expect(due.isEmpty)
    #expect(wheel.nextInstant != nil)
  }

  @Test("The same as a sorted list, over seeded runs of inserting, cancelling and advancing", arguments: UInt64(1)...20)
  func againstSortedList(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var now: Int64 = 5_000_000
    var wheel = TimerWheel<Int>(now: self.instant(now))
    var model: [(deadline: Int64, id: Int, handle: TimerWheel<Int>.Handle)] = []
    for id in 0..<3_000 {
      switch random.next() % 10 {
      case 0..<6:
        let spans: [Int64] = [1, 50, 500, 30_000, 5_000_000, 400_000_000]
        let deadline = now + Int64(random.next() % UInt64(spans[Int(random.next() % 6)])) - 1
        model.append((deadline, id, wheel.insert(id, at: self.instant(deadline))))
      case 6..<8:
        if model.isEmpty { continue }
        let chosen = model.remove(at: Int(random.next() % UInt64(model.count)))
        #expect(wheel.cancel(chosen.handle) == chosen.id)
      default:
        let earliest = model.map(\.deadline).min()
        if let next = wheel.nextInstant { #expect(earliest.map { max($0, now) * 1_000_000 >= next.nanoseconds } == true) }
        now += Int64(random.next() % 2 == 0 ? random.next() % 100 : random.next() % 1_000_000)
        var due: [Int] = []
        wheel.advance(to: self.instant(now), into: &due)
        #expect(due.sorted() == model.filter { $0.deadline <= now }.map(\.id).sorted())
        model.removeAll { $0.deadline <= now }
      }
      #expect(wheel.count == model.count)
    }
  }
}
