import Base
import Election
import Testing

@Suite("Suspicion and chance")
struct DetectorTests {
  private func at(_ milliseconds: Int64) -> Instant { .origin + .milliseconds(milliseconds) }

  @Test("A peer is suspected from the timeout on, and an older sign of life changes nothing")
  func silence() {
    var detector = SilenceDetector(timeout: .milliseconds(100), heard: self.at(50))
    #expect(!detector.isSuspected(at: self.at(149)))
    #expect(detector.isSuspected(at: self.at(150)))
    detector.hear(at: self.at(120))
    detector.hear(at: self.at(80))
    #expect(detector.deadline == self.at(220))
  }

  @Test("A quorum is lost when the last of those that are needed falls silent")
  func quorum() {
    let heard = [self.at(10), self.at(30), self.at(20)]
    func lost(_ needed: Int) -> Instant? { SilenceDetector.deadline(ofLosing: needed, in: heard, timeout: .milliseconds(100)) }
    #expect(lost(1) == self.at(130))
    #expect(lost(2) == self.at(120))
    #expect(lost(3) == self.at(110))
    #expect(lost(0) == nil, "whoever needs nobody loses nobody")
    #expect(lost(4) == nil)
  }

  @Test("A spread duration is at least the base and less than twice it, and evenly so")
  func spread() {
    var generator = SeededGenerator(seed: 1)
    let drawn = (0..<1000).map { _ in Duration.milliseconds(100).spread(using: &generator) }
    #expect(drawn.allSatisfy { $0 >= .milliseconds(100) && $0 < .milliseconds(200) })
    let late = drawn.count { $0 >= .milliseconds(150) }
    #expect((400...600).contains(late))
    #expect(Duration.drawn(below: .zero, using: &generator) == .zero)
    #expect(Duration.drawn(below: .milliseconds(-5), using: &generator) == .zero)
  }

  @Test("Tokens ascend from the first")
  func tokens() { #expect(PersistToken.none < PersistToken.none.next) }
}
