import Base
import Model
import Replication
import Testing

/// A broker's membership told step by step; times are milliseconds since the start.
@Suite("A broker's life in its cluster")
struct BrokerLifecycleTests {
  /// A machine and what it said.
  private struct Story {
    var machine: BrokerLifecycleMachine
    var now = Instant.origin

    init() {
      let settings = BrokerLifecycleSettings(
        session: .milliseconds(700), heartbeatInterval: .milliseconds(100), registrationTimeout: .seconds(60))
      self.machine = BrokerLifecycleMachine(settings)
    }

    mutating func at(_ milliseconds: Int64, _ input: BrokerLifecycleInput) -> [BrokerLifecycleEffect] {
      self.now = .origin + .milliseconds(milliseconds)
      var effects: [BrokerLifecycleEffect] = []
      self.machine.handle(input, now: self.now, into: &effects)
      return effects
    }

    /// Registered with epoch 7 at 0, knows itself at 20, loaded at 30, unfenced at 40.
    static func serving() -> Story {
      var story = Story()
      _ = story.at(0, .started)
      _ = story.at(10, .registrationEnded(1, .registered(BrokerEpoch(7))))
      _ = story.at(20, .metadataApplied(Offset(7), knownEpoch: BrokerEpoch(7)))
      _ = story.at(25, .heartbeatEnded(2, .answered(.init(isFenced: true))))
      _ = story.at(26, .heartbeatEnded(3, .answered(.init(isFenced: true))))
      _ = story.at(30, .partitionsLoaded)
      _ = story.at(40, .heartbeatEnded(4, .answered(.init(isFenced: false))))
      return story
    }
  }

  private static func beat(
    _ number: UInt64, _ offset: Int64, epoch: Int64 = 7, wantsFence: Bool = false, wantsShutdown: Bool = false, offline: [KafkaUUID] = []
  ) -> BrokerLifecycleEffect {
    .heartbeat(
      .init(
        number: number, epoch: BrokerEpoch(epoch), metadataOffset: Offset(offset), wantsFence: wantsFence, wantsShutdown: wantsShutdown,
        offlineDirectories: offline))
  }

  @Test("It registers, reads of itself, loads, asks to be unfenced and serves")
  func joining() {
    var story = Story()
    #expect(story.machine.nextDeadline == nil)
    #expect(story.at(0, .started) == [.register(1)])
    #expect(story.at(0, .metadataApplied(Offset(3), knownEpoch: nil)) == [])
    // It is there, and not to lead yet.
    #expect(
      story.at(10, .registrationEnded(1, .registered(BrokerEpoch(7)))) == [
        .registered(BrokerEpoch(7)), Self.beat(2, 3, wantsFence: true),
      ])
    #expect(story.machine.phase == .catchingUp)
    #expect(story.at(20, .metadataApplied(Offset(7), knownEpoch: BrokerEpoch(7))) == [.load])
    #expect(story.at(25, .heartbeatEnded(2, .answered(.init(isFenced: true)))) == [Self.beat(3, 7, wantsFence: true)])
    #expect(story.at(26, .heartbeatEnded(3, .answered(.init(isFenced: true)))) == [])
    #expect(story.at(30, .partitionsLoaded) == [Self.beat(4, 7)])
    #expect(!story.machine.lease.isLive(at: story.now))
    let effects = story.at(40, .heartbeatEnded(4, .answered(.init(isFenced: false))))
    // From when it was sent, by the session of its own configuration.
    let end = Instant.origin + .milliseconds(30) + LeaseRule(session: .milliseconds(700)).lease
    #expect(story.machine.lease.expiry == end)
    #expect(effects == [.event(.unfenced), .leaseChanged(story.machine.lease, isRevived: true), .serving])
    #expect(story.machine.phase == .unfenced)
    #expect(story.machine.nextDeadline == .origin + .milliseconds(130))
    #expect(story.at(130, .timerFired) == [Self.beat(5, 7)])
    let renewed = story.at(135, .heartbeatEnded(5, .answered(.init(isFenced: false, session: .milliseconds(300)))))
    #expect(renewed == [], "a shorter session from here on does not take back what was granted")
    #expect(story.machine.lease.expiry == end)
  }

  private static let directory = KafkaUUID(high: 4, low: 2)

  @Test("A log directory that failed: the lease ends at once, the controller is told, and then the process ends")
  func failedDirectory() {
    var story = Story.serving()
    #expect(story.machine.lease.isLive(at: story.now))
    let effects = story.at(50, .directoriesFailed([Self.directory]))
    #expect(effects == [.leaseChanged(.none, isRevived: false), Self.beat(5, 7, wantsFence: true, offline: [Self.directory])])
    #expect(story.at(51, .directoriesFailed([Self.directory])) == [], "once")
    // The answer to a heartbeat of before gives nothing back.
    #expect(story.at(60, .heartbeatEnded(5, .answered(.init(isFenced: true)))) == [.failed(.directoriesFailed)])
    #expect(story.machine.phase == .failed && story.machine.nextDeadline == nil)
  }

  @Test("An answer to a heartbeat that was sent before the failure renews nothing")
  func answerAfterFailure() {
    var story = Story.serving()
    #expect(story.at(140, .timerFired) == [Self.beat(5, 7)])
    #expect(story.at(150, .directoriesFailed([Self.directory])).count == 2)
    #expect(story.at(160, .heartbeatEnded(5, .answered(.init(isFenced: false)))) == [])
    #expect(!story.machine.lease.isLive(at: story.now))
    #expect(story.at(170, .heartbeatEnded(6, .answered(.init(isFenced: true)))).last == .failed(.directoriesFailed))
  }

  @Test("Nobody answers: the process ends all the same, soon")
  func failedDirectoryUnheard() {
    var story = Story.serving()
    _ = story.at(50, .directoriesFailed([Self.directory]))
    _ = story.at(60, .heartbeatEnded(5, .noAnswer))
    while let deadline = story.machine.nextDeadline, story.machine.phase != .failed {
      #expect(deadline <= .origin + .milliseconds(550))
      _ = story.at((deadline - .origin).wholeMilliseconds, .timerFired)
    }
    #expect(story.machine.phase == .failed && story.now == .origin + .milliseconds(550))
  }

  @Test("Whoever is not registered has nobody to tell, and whoever is leaving leaves")
  func failedDirectoryElsewhere() {
    var early = Story()
    _ = early.at(0, .started)
    #expect(early.at(5, .directoriesFailed([Self.directory])) == [.failed(.directoriesFailed)])
    var leaving = Story.serving()
    _ = leaving.at(50, .shutDown(isControlled: true))
    let effects = leaving.at(60, .directoriesFailed([Self.directory]))
    #expect(effects == [.leaseChanged(.none, isRevived: false), Self.beat(6, 7, wantsShutdown: true, offline: [Self.directory])])
    #expect(leaving.at(70, .heartbeatEnded(6, .answered(.init(isFenced: true, shouldShutDown: true)))) == [.left(.allowed)])
  }

  @Test("An earlier incarnation in the metadata is not itself")
  func anotherIncarnation() {
    var story = Story()
    _ = story.at(0, .started)
    _ = story.at(0, .metadataApplied(Offset(3), knownEpoch: nil))
    _ = story.at(10, .registrationEnded(1, .registered(BrokerEpoch(7))))
    #expect(story.at(20, .metadataApplied(Offset(6), knownEpoch: BrokerEpoch(5))) == [])
    #expect(story.machine.phase == .catchingUp)
    #expect(story.at(21, .metadataApplied(Offset(7), knownEpoch: BrokerEpoch(7))) == [.load])
  }

  @Test("Registration is tried until the time for it is over; each reason is told once")
  func registrationTimesOut() {
    var story = Story()
    _ = story.at(0, .started)
    let duplicate = RegistrationRefusal.error(.duplicateBrokerRegistration)
    #expect(
      story.at(5, .registrationEnded(1, .refused(.duplicateBrokerRegistration))) == [.event(.registrationDelayed(duplicate))])
    #expect(story.machine.nextDeadline == .origin + .milliseconds(25))
    #expect(story.at(25, .timerFired) == [.register(2)])
    #expect(story.at(26, .registrationEnded(2, .refused(.duplicateBrokerRegistration))) == [])
    #expect(story.at(27, .controllerChanged) == [.register(3)], "another controller is asked at once")
    #expect(story.at(28, .registrationEnded(3, .noAnswer)) == [.event(.registrationDelayed(.noAnswer))])
    #expect(story.at(60_000, .timerFired) == [.failed(.registrationTimedOut(.noAnswer))])
    #expect(story.machine.nextDeadline == nil)
    #expect(story.at(60_001, .timerFired) == [])
  }

  @Test("What asking again cannot change ends the process at once", arguments: [
    ErrorCode.inconsistentClusterId, .unsupportedVersion, .invalidRegistration,
  ])
  func finalRefusal(error: ErrorCode) {
    var story = Story()
    _ = story.at(0, .started)
    #expect(story.at(1, .registrationEnded(1, .refused(error))) == [.failed(.registrationRefused(error))])
    #expect(story.machine.phase == .failed)
  }

  @Test("Heartbeats do not wait for slow answers, up to a bound")
  func slowAnswers() {
    var story = Story.serving()
    var sent: [UInt64] = []
    for tick in 1...12 as ClosedRange<Int64> {
      for case .heartbeat(let beat) in story.at(30 + tick * 100, .timerFired) { sent.append(beat.number) }
    }
    #expect(sent.count == 8)
    #expect(!story.machine.lease.isLive(at: story.now))
    let effects = story.at(1_300, .heartbeatEnded(sent[6], .answered(.init(isFenced: false))))
    #expect(effects.contains(.leaseChanged(story.machine.lease, isRevived: true)), "and the partitions that waited are told")
  }

  @Test("A fencing ends the lease; an answer that it has overtaken does not bring it back")
  func fenced() {
    var story = Story.serving()
    _ = story.at(130, .timerFired)
    _ = story.at(230, .timerFired)
    let effects = story.at(240, .heartbeatEnded(6, .answered(.init(isFenced: true))))
    #expect(effects == [.leaseChanged(.none, isRevived: false), .event(.fenced)])
    #expect(story.machine.phase == .fenced)
    #expect(story.at(241, .heartbeatEnded(5, .answered(.init(isFenced: false)))) == [])
    #expect(!story.machine.lease.isLive(at: story.now))
    // What it lost is news; having read of it, it asks at once.
    #expect(story.at(250, .metadataApplied(Offset(9), knownEpoch: BrokerEpoch(7))) == [Self.beat(7, 9)])
    let back = story.at(255, .heartbeatEnded(7, .answered(.init(isFenced: false))))
    #expect(back == [.event(.unfenced), .leaseChanged(story.machine.lease, isRevived: true)], "it is loaded, and serves already")
  }

  @Test("A broker whose registration is gone registers anew and loads nothing twice", arguments: [
    ErrorCode.staleBrokerEpoch, .brokerIdNotRegistered,
  ])
  func registrationLost(error: ErrorCode) {
    var story = Story.serving()
    _ = story.at(130, .timerFired)
    _ = story.at(230, .timerFired)
    #expect(
      story.at(240, .heartbeatEnded(5, .refused(error))) == [
        .event(.registrationLost(error)), .leaseChanged(.none, isRevived: false), .register(7),
      ])
    #expect(story.at(241, .heartbeatEnded(6, .answered(.init(isFenced: false)))) == [], "an answer for the epoch that is no more")
    #expect(!story.machine.lease.isLive(at: story.now))
    #expect(story.at(250, .registrationEnded(7, .registered(BrokerEpoch(20)))).first == .registered(BrokerEpoch(20)))
    #expect(story.at(255, .metadataApplied(Offset(20), knownEpoch: BrokerEpoch(20))) == [])
    #expect(story.machine.phase == .fenced)
  }

  @Test("Where the controller is gone the next is asked soon, and at once when it is known")
  func controllerGone() {
    var story = Story.serving()
    _ = story.at(130, .timerFired)
    #expect(story.at(131, .heartbeatEnded(5, .refused(.notController))) == [])
    #expect(story.machine.nextDeadline == .origin + .milliseconds(151))
    #expect(story.at(140, .controllerChanged) == [Self.beat(6, 7)])
    #expect(story.at(141, .heartbeatEnded(6, .noAnswer)) == [])
    #expect(story.machine.nextDeadline == .origin + .milliseconds(161))
    #expect(story.machine.lease.isLive(at: story.now), "a lease is no better or worse for it")
  }

  @Test("It asks to go, serves until its leaderships have moved, and goes when it may")
  func controlledShutdown() {
    var story = Story.serving()
    #expect(story.at(50, .shutDown(isControlled: true)) == [Self.beat(5, 7, wantsShutdown: true)])
    _ = story.at(60, .heartbeatEnded(5, .answered(.init(isFenced: false))))
    #expect(story.machine.lease.isLive(at: story.now))
    #expect(story.at(65, .metadataApplied(Offset(9), knownEpoch: BrokerEpoch(7))) == [Self.beat(6, 9, wantsShutdown: true)])
    #expect(
      story.at(70, .heartbeatEnded(6, .answered(.init(isFenced: true, shouldShutDown: true)))) == [
        .leaseChanged(.none, isRevived: false), .left(.allowed),
      ])
    #expect(story.machine.nextDeadline == nil)
    #expect(story.at(71, .shutDown(isControlled: true)) == [])
  }

  @Test("A broker that nobody answers goes all the same")
  func shutdownWithoutController() {
    var story = Story.serving()
    _ = story.at(50, .shutDown(isControlled: true))
    _ = story.at(55, .heartbeatEnded(5, .noAnswer))
    #expect(story.at(3_049, .timerFired).contains(.left(.noController)) == false)
    #expect(story.at(3_050, .timerFired) == [.left(.noController)])
  }

  @Test("A controller that never lets it go is waited for so long and no longer")
  func shutdownTimesOut() {
    var story = Story.serving()
    var effects = story.at(50, .shutDown(isControlled: true))
    var time: Int64 = 50
    while !effects.contains(where: { if case .left = $0 { true } else { false } }) {
      time += 10
      var outcomes: [BrokerLifecycleInput] = []
      for case .heartbeat(let beat) in effects { outcomes.append(.heartbeatEnded(beat.number, .answered(.init(isFenced: false)))) }
      effects = story.at(time, .timerFired)
      for outcome in outcomes { effects += story.at(time, outcome) }
      if time > 40_000 { break }
    }
    #expect(effects.contains(.left(.timedOut)))
    #expect(time == 30_050)
  }

  @Test("Without a registration, or without wanting to, there is nothing to wait for")
  func shutdownAtOnce() {
    var story = Story()
    _ = story.at(0, .started)
    #expect(story.at(1, .shutDown(isControlled: true)) == [.left(.notRegistered)])
    var other = Story.serving()
    #expect(other.at(50, .shutDown(isControlled: false)) == [.left(.unasked)])
    #expect(other.machine.lease.isLive(at: other.now), "what waits for the disk may still be acknowledged")
  }

  // MARK: - Whatever happens

  @Test("Whatever the controller says and however answers are lost, the lease is one that was granted", arguments: 0..<60 as Range<UInt64>)
  func random(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var story = Story()
    var time: Int64 = 0
    var open: [(isBeat: Bool, number: UInt64, sentAt: Instant)] = []
    var effects = story.at(0, .started)
    /// Of heartbeats that were answered with "not fenced" since the last fencing.
    var bestGrant: Instant?
    var offset: Int64 = 0
    var epoch: Int64 = 0
    for _ in 0..<600 {
      for effect in effects {
        switch effect {
        case .register(let number): open.append((false, number, story.now))
        case .heartbeat(let beat): open.append((true, beat.number, story.now))
        case .leaseChanged(let lease, _): if lease == .none { bestGrant = nil }
        case .left, .failed, .registered, .load, .serving, .event: break
        }
      }
      if let deadline = story.machine.nextDeadline {
        #expect(deadline > story.now, "nothing that is due is left for later")
      }
      if story.machine.lease != .none, let bestGrant {
        #expect(story.machine.lease.expiry <= bestGrant + LeaseRule(session: .milliseconds(700)).lease)
      }
      #expect(story.machine.lease == .none || bestGrant != nil)
      #expect(!(story.machine.phase == .registering && story.machine.lease.isLive(at: story.now)))
      let stepMax: Int64 = Int64.random(in: 1...60, using: &generator)
      time += Int64.random(in: 0...stepMax, using: &generator)
      switch Int.random(in: 0..<10, using: &generator) {
      case 0..<5 where !open.isEmpty:
        let place = Int.random(in: 0..<min(3, open.count), using: &generator)
        let asked = open.remove(at: place)
        guard asked.isBeat else {
          epoch += 1
          let outcome: RegistrationOutcome = generator.next() % 4 == 0 ? .noAnswer : .registered(BrokerEpoch(epoch))
          effects = story.at(time, .registrationEnded(asked.number, outcome))
          continue
        }
        switch generator.next() % 10 {
        case 0: effects = story.at(time, .heartbeatEnded(asked.number, .noAnswer))
        case 1: effects = story.at(time, .heartbeatEnded(asked.number, .refused(.staleBrokerEpoch)))
        case 2: effects = story.at(time, .heartbeatEnded(asked.number, .answered(.init(isFenced: true))))
        default:
          effects = story.at(time, .heartbeatEnded(asked.number, .answered(.init(isFenced: false))))
          bestGrant = max(bestGrant ?? asked.sentAt, asked.sentAt)
        }
      case 5, 6:
        offset += 1
        effects = story.at(time, .metadataApplied(Offset(offset), knownEpoch: BrokerEpoch(epoch)))
      case 7: effects = story.at(time, .partitionsLoaded)
      case 8: effects = story.at(time, .controllerChanged)
      default: effects = story.at(time, .timerFired)
      }
    }
  }
}
