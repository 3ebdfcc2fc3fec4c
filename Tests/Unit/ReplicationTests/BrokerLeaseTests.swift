import Base
import Model
import Replication
import Testing

@Suite("A broker's lease")
struct BrokerLeaseTests {
  private let terms = LeaseTerms(session: .seconds(9), clockDriftMax: 1000)

  @Test("It counts from when the heartbeat was sent, less a margin for two clocks that drift apart")
  func grant() {
    var lease = BrokerLease.none
    #expect(!lease.isLive(at: .origin))
    let reachesFurther = lease.grant(sentAt: .origin, answeredAt: .origin + .seconds(8), terms: self.terms)
    #expect(reachesFurther)
    #expect(lease.expiry == .origin + .milliseconds(8982) + .nanoseconds(-1))
    #expect(lease.isLive(at: lease.expiry + .nanoseconds(-1)))
    #expect(!lease.isLive(at: lease.expiry))
  }

  @Test("However two clocks drift within the bound, it ends before the controller's session does", arguments: [1000, 50_000, 400_000])
  func drift(ppm: Int) {
    let terms = LeaseTerms(session: .seconds(9), clockDriftMax: ppm)
    let drift = Double(ppm) / 1_000_000
    // Ours runs slow, so that its seconds are long; the controller's runs fast.
    let ours = Double(terms.length.wholeNanoseconds) / (1 - drift)
    let theirs = Double(terms.session.wholeNanoseconds) / (1 + drift)
    #expect(ours <= theirs)
  }

  @Test("Answers that come in the wrong order do not shorten it; a fencing ends it")
  func order() {
    var lease = BrokerLease.none
    lease.grant(sentAt: .origin + .seconds(2), answeredAt: .origin + .seconds(3), terms: self.terms)
    let expiry = lease.expiry
    let reachesFurther = lease.grant(sentAt: .origin + .seconds(1), answeredAt: .origin + .seconds(4), terms: self.terms)
    #expect(!reachesFurther)
    #expect(lease.expiry == expiry)
    lease.revoke()
    #expect(!lease.isLive(at: .origin))
    #expect(BrokerLease.unlimited.isLive(at: .origin + .seconds(1_000_000_000)))
  }
}
