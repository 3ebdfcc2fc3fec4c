import Base
import Model
import Replication
import Testing

@Suite("A broker's lease")
struct BrokerLeaseTests {
  private let rule = LeaseRule(session: .seconds(9), driftMaxPerMille: 1)

  @Test("It counts from when the heartbeat was sent, less a margin for two clocks that drift apart")
  func grant() {
    var lease = BrokerLease.none
    #expect(!lease.isLive(at: .origin))
    let reachesFurther = lease.grant(sentAt: .origin, answeredAt: .origin + .seconds(8), under: self.rule)
    #expect(reachesFurther)
    #expect(lease.expiry == .origin + .nanoseconds(8_982_017_982))
    #expect(lease.isLive(at: lease.expiry + .nanoseconds(-1)))
    #expect(!lease.isLive(at: lease.expiry))
  }

  @Test("However two clocks drift within the bound, it ends before the controller's session does", arguments: [1, 50, 400] as [Int64])
  func drift(perMille: Int64) {
    let rule = LeaseRule(session: .seconds(9), driftMaxPerMille: perMille)
    let drift = Double(perMille) / 1000
    // Ours runs slow, so that its seconds are long; the controller's runs fast.
    let ours = Double(rule.lease.wholeNanoseconds) / (1 - drift)
    let theirs = Double(rule.session.wholeNanoseconds) / (1 + drift)
    #expect(ours <= theirs * 1.000001)
  }

  @Test("Answers that come in the wrong order do not shorten it; a fencing ends it")
  func order() {
    var lease = BrokerLease.none
    lease.grant(sentAt: .origin + .seconds(2), answeredAt: .origin + .seconds(3), under: self.rule)
    let expiry = lease.expiry
    let reachesFurther = lease.grant(sentAt: .origin + .seconds(1), answeredAt: .origin + .seconds(4), under: self.rule)
    #expect(!reachesFurther)
    #expect(lease.expiry == expiry)
    lease.revoke()
    #expect(!lease.isLive(at: .origin))
    #expect(BrokerLease.unlimited.isLive(at: .origin + .seconds(1_000_000_000)))
  }
}
