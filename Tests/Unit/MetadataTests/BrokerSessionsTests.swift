import Base
import Model
import Testing

@testable import Metadata

@Suite struct BrokerSessionsTests {
  private let epoch = BrokerEpoch(7)
  private let incarnation = KafkaUUID(high: 1, low: 1)
  private func registration(_ id: Int32, fenced: Bool = false) -> BrokerRegistration {
    BrokerRegistration(nodeID: NodeID(id), incarnationID: self.incarnation, epoch: self.epoch, endpoints: [], isFenced: fenced)
  }

  /// The sessions of brokers 1 and 2, unfenced, and 3, fenced. Their times begin at 0.
  private struct Story {
    var sessions = BrokerSessions()
    var effects: [BrokerSessions.Effect] = []
    mutating func at(_ time: Duration, _ input: BrokerSessions.Input) -> [BrokerSessions.Effect] {
      var effects: [BrokerSessions.Effect] = []
      self.sessions.handle(input, now: .origin + time, into: &effects)
      return effects
    }
  }
  private func story() -> Story {
    var story = Story()
    story.sessions.rule = LeaseRule(session: .seconds(9), deposedMax: .seconds(2))
    _ = story.at(.zero, .activated([self.registration(1), self.registration(2), self.registration(3, fenced: true)]))
    return story
  }

  @Test func timesBeginAnewWithAController() {
    var story = self.story()
    #expect(story.sessions.nextDeadline == .origin + .seconds(11))
    #expect(story.at(.milliseconds(10_999), .timeAdvanced) == [])
    #expect(story.sessions.isLive(NodeID(1), self.epoch))
    #expect(
      story.at(.seconds(11), .timeAdvanced)
        == [.fence(NodeID(1), self.epoch, .sessionEnded), .fence(NodeID(2), self.epoch, .sessionEnded)])
    #expect(!story.sessions.isLive(NodeID(1), self.epoch))
  }

  @Test func aHeartbeatProlongsTheSession() {
    var story = self.story()
    _ = story.at(.seconds(1), .heartbeat(NodeID(1), self.epoch, metadataOffset: Offset(5)))
    _ = story.at(.seconds(3), .heartbeat(NodeID(2), self.epoch, metadataOffset: Offset(4)))
    #expect(story.sessions.metadataOffset(NodeID(1), self.epoch) == Offset(5))
    #expect(story.sessions.metadataOffset(NodeID(1), BrokerEpoch(6)) == .unknown)
    #expect(story.sessions.nextDeadline == .origin + .seconds(10))
    #expect(story.at(.seconds(10), .timeAdvanced) == [.fence(NodeID(1), self.epoch, .sessionEnded)])
    #expect(story.sessions.isLive(NodeID(2), self.epoch))
    // Offsets do not go back: a late heartbeat says nothing new.
    _ = story.at(.seconds(10), .heartbeat(NodeID(2), self.epoch, metadataOffset: Offset(1)))
    #expect(story.sessions.metadataOffset(NodeID(2), self.epoch) == Offset(4))
  }

  @Test func anotherEpochIsNoSignOfLife() {
    var story = self.story()
    _ = story.at(.seconds(5), .heartbeat(NodeID(1), BrokerEpoch(6), metadataOffset: Offset(5)))
    #expect(story.at(.seconds(11), .timeAdvanced).contains(.fence(NodeID(1), self.epoch, .sessionEnded)))
    #expect(!story.sessions.isLive(NodeID(1), BrokerEpoch(6)))
  }

  @Test func aLostConnectionIsAReasonToAsk() {
    var story = self.story()
    #expect(story.at(.seconds(1), .connectionLost(NodeID(1))) == [.probe(NodeID(1), self.epoch, incarnationID: self.incarnation)])
    // One question at a time.
    #expect(story.at(.seconds(1), .connectionLost(NodeID(1))) == [])
    #expect(story.at(.seconds(1), .probeFailed(NodeID(1), self.epoch, .unanswered)) == [])
    #expect(story.sessions.isLive(NodeID(1), self.epoch))
    #expect(story.at(.seconds(2), .connectionLost(NodeID(1))).count == 1)
    #expect(story.at(.seconds(2), .probeAnswered(NodeID(1), self.epoch, incarnationID: self.incarnation)) == [])
    #expect(story.sessions.isLive(NodeID(1), self.epoch))
    // An answer is no heartbeat.
    #expect(story.sessions.nextDeadline == .origin + .seconds(11))
  }

  @Test func aRefusedConnectionMeansDeath() {
    var story = self.story()
    _ = story.at(.seconds(1), .connectionLost(NodeID(1)))
    #expect(story.at(.milliseconds(1_005), .probeFailed(NodeID(1), self.epoch, .refused)) == [.fence(NodeID(1), self.epoch, .processDead)])
    #expect(!story.sessions.isLive(NodeID(1), self.epoch))
    #expect(story.sessions.isLive(NodeID(2), self.epoch))
  }

  @Test func anotherIncarnationMeansDeath() {
    var story = self.story()
    _ = story.at(.seconds(1), .duplicateRegistered(NodeID(2)))
    let other = KafkaUUID(high: 2, low: 2)
    #expect(
      story.at(.seconds(1), .probeAnswered(NodeID(2), self.epoch, incarnationID: other)) == [.fence(NodeID(2), self.epoch, .processDead)])
  }

  /// What was found out about an earlier incarnation says nothing about this one.
  @Test func lateAnswersAreOfNoUse() {
    var story = self.story()
    _ = story.at(.seconds(1), .connectionLost(NodeID(1)))
    #expect(story.at(.seconds(1), .probeFailed(NodeID(1), BrokerEpoch(6), .refused)) == [])
    #expect(story.at(.seconds(1), .probeAnswered(NodeID(1), BrokerEpoch(6), incarnationID: .zero)) == [])
    #expect(story.at(.seconds(1), .probeFailed(NodeID(9), self.epoch, .refused)) == [])
    #expect(story.sessions.isLive(NodeID(1), self.epoch))
  }

  @Test func aSilentBrokerIsNotFenced() {
    var story = self.story()
    _ = story.at(.seconds(1), .heartbeat(NodeID(1), self.epoch, metadataOffset: .zero))
    #expect(story.at(.milliseconds(1_200), .timeAdvanced) == [])
    _ = story.at(.milliseconds(1_200), .connectionLost(NodeID(1)))
    #expect(story.at(.milliseconds(1_400), .probeFailed(NodeID(1), self.epoch, .unanswered)) == [])
    #expect(story.sessions.isLive(NodeID(1), self.epoch))
  }

  /// A full queue refuses connections too: who is heard of again before it was fenced is alive.
  @Test func theDeadMaySpeak() {
    var story = self.story()
    _ = story.at(.seconds(1), .connectionLost(NodeID(1)))
    _ = story.at(.seconds(1), .probeFailed(NodeID(1), self.epoch, .refused))
    _ = story.at(.seconds(1), .heartbeat(NodeID(1), self.epoch, metadataOffset: .zero))
    #expect(story.sessions.isLive(NodeID(1), self.epoch))
    #expect(story.at(.seconds(9), .timeAdvanced) == [])
  }

  @Test func fencingIsAskedForAgainUntilItIsDone() {
    var story = self.story()
    #expect(story.at(.seconds(11), .timeAdvanced).count == 2)
    #expect(story.sessions.nextDeadline == .origin + .seconds(12))
    #expect(story.at(.milliseconds(11_999), .timeAdvanced) == [])
    story.sessions.fenced(NodeID(2), self.epoch)
    #expect(story.at(.seconds(12), .timeAdvanced) == [.fence(NodeID(1), self.epoch, .sessionEnded)])
    story.sessions.fenced(NodeID(1), self.epoch)
    #expect(story.sessions.nextDeadline == nil)
  }

  /// The session of a fenced broker ends without a word.
  @Test func theFencedAreNotFencedAgain() {
    var story = self.story()
    _ = story.at(.seconds(1), .heartbeat(NodeID(3), self.epoch, metadataOffset: .zero))
    #expect(story.sessions.isLive(NodeID(3), self.epoch))
    _ = story.at(.seconds(10), .heartbeat(NodeID(1), self.epoch, metadataOffset: .zero))
    _ = story.at(.seconds(10), .heartbeat(NodeID(2), self.epoch, metadataOffset: .zero))
    #expect(story.at(.seconds(10), .timeAdvanced) == [])
    #expect(!story.sessions.isLive(NodeID(3), self.epoch))
    #expect(story.at(.seconds(10), .connectionLost(NodeID(3))) == [])
  }

  /// Connections that ended while another controller was active are looked into at once.
  @Test func suspectsAreProbedByTheNextController() {
    var story = Story()
    #expect(story.at(.zero, .connectionLost(NodeID(2))) == [])
    #expect(story.at(.zero, .connectionLost(NodeID(9))) == [])
    let effects = story.at(.seconds(1), .activated([self.registration(1), self.registration(2)]))
    #expect(effects == [.probe(NodeID(2), self.epoch, incarnationID: self.incarnation)])
    #expect(story.at(.seconds(2), .deactivated) == [])
    #expect(story.sessions.nextDeadline == nil)
    #expect(story.at(.seconds(3), .activated([self.registration(2)])) == [])
  }

  @Test func whoIsHeardOfForHowLong() {
    var story = self.story()
    _ = story.at(.seconds(3), .heartbeat(NodeID(1), self.epoch, metadataOffset: .zero))
    #expect(story.sessions.aliveFor(NodeID(1), self.epoch) == .seconds(3))
    #expect(story.sessions.aliveFor(NodeID(3), self.epoch) == nil)
    _ = story.at(.seconds(4), .heartbeat(NodeID(3), self.epoch, metadataOffset: .zero))
    #expect(story.sessions.aliveFor(NodeID(3), self.epoch) == nil)
    story.sessions.unfenced(NodeID(3), self.epoch)
    _ = story.at(.seconds(6), .heartbeat(NodeID(3), self.epoch, metadataOffset: .zero))
    #expect(story.sessions.aliveFor(NodeID(3), self.epoch) == .seconds(2))
  }

  // MARK: Leases

  @Test func theLeaseEndsBeforeTheSession() {
    #expect(LeaseRule(session: .seconds(9), driftMaxPerMille: 0).lease == .seconds(9))
    #expect(LeaseRule(session: .milliseconds(1_010), driftMaxPerMille: 10).lease == .milliseconds(990))
    // In all its corners: the broker's slowest count ends no later than the controller's fastest.
    for session in [1, 999, 9_000, 3_600_000] as [Int64] {
      for drift in [0, 1, 10, 500, 999] as [Int64] {
        let rule = LeaseRule(session: .milliseconds(session), driftMaxPerMille: drift)
        let broker = Double(rule.lease.wholeNanoseconds) / (1 - Double(drift) / 1000)
        let controller = Double(rule.session.wholeNanoseconds) / (1 + Double(drift) / 1000)
        #expect(broker <= controller * 1.000001, "\(session) \(drift)")
      }
    }
  }
}
