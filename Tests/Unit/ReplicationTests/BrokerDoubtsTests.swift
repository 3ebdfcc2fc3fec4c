import Base
import Model
import Replication
import Testing

@Suite("Doubts about brokers whose connections ended")
struct BrokerDoubtsTests {
  private let start = Instant.origin
  private let (one, two) = (NodeID(1), NodeID(2))

  @Test("A doubt begins with the first failure, and ends with news of the broker")
  func beginAndEnd() {
    var doubts = BrokerDoubts(doubtMax: .seconds(1))
    #expect(doubts.isEmpty && doubts.doubted(self.one, now: self.start) == nil)
    doubts.connectionEnded(with: self.one, now: self.start)
    doubts.connectionEnded(with: self.one, now: self.start + .milliseconds(100))
    #expect(doubts.doubted(self.one, now: self.start + .milliseconds(200)) == self.start)
    #expect(doubts.doubted(self.two, now: self.start) == nil)
    let wasNoted = doubts.settled(self.one)
    #expect(wasNoted && doubts.isEmpty)
    let isNotedAgain = doubts.settled(self.one)
    #expect(!isNotedAgain)
  }

  @Test("A doubt runs out, and further failures to connect do not begin a new one until the broker was heard of")
  func runsOut() {
    var doubts = BrokerDoubts(doubtMax: .seconds(1))
    doubts.connectionEnded(with: self.one, now: self.start)
    #expect(doubts.doubted(self.one, now: self.start + .milliseconds(999)) != nil)
    #expect(doubts.doubted(self.one, now: self.start + .seconds(1)) == nil)
    doubts.connectionEnded(with: self.one, now: self.start + .seconds(2))
    #expect(doubts.doubted(self.one, now: self.start + .seconds(2)) == nil)
    _ = doubts.settled(self.one)
    doubts.connectionEnded(with: self.one, now: self.start + .seconds(3))
    #expect(doubts.doubted(self.one, now: self.start + .seconds(3)) == self.start + .seconds(3))
    doubts.connectionEnded(with: self.two, now: self.start + .seconds(3))
    #expect(doubts.nodes == [self.one, self.two])
  }
}
