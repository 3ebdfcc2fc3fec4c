package import Base
package import Model

/// A broker's membership in its cluster, as it sees it: registers, catches up with the metadata, has its partitions loaded, asks to be
/// unfenced, keeps its session and with it its lease alive, and leaves in good order (KIP-631, KIP-500).
///
/// ```
/// registering --epoch--> catching up --knows itself--> loading --loaded--> fenced <--answers--> unfenced
///      ^                                                                      |                     |
///      +------------------- the registration is not the present one ----------+---------------------+
///              a log directory failed, from anywhere --> the controller is told --> failed
///                                              shutDown, from anywhere --> leaving --may go, or enough waited--> left
/// ```
///
/// Whoever drives it sends what it says to the active controller and tells the outcome of every request by its number, in any order and
/// exactly once. Heartbeats do not wait for each other, so that a slow answer costs no more of the lease than its own time.
package struct BrokerLifecycleMachine: Sendable {
  package let settings: BrokerLifecycleSettings
  package private(set) var phase = BrokerPhase.idle
  /// Of the present registration; `unknown` while there is none.
  package private(set) var epoch = BrokerEpoch.unknown
  /// By the last answer. A broker is registered fenced.
  package private(set) var isFenced = true
  package private(set) var lease = BrokerLease.none
  #if APUS_MUTANTS
    package var mutant: Mutant? {
      get { self.lease.mutant }
      set { self.lease.mutant = newValue }
    }
  #endif

  /// A heartbeat whose outcome is not known.
  private struct Beat: Sendable, Equatable {
    var number: UInt64
    var sentAt: Instant
    var metadataOffset: Offset
    var wasAskedToShutDown: Bool
    var toldOfFailure: Bool
  }

  /// Everything up to it is applied to the partitions.
  private var metadataOffset = Offset.unknown
  /// The epoch under which the applied metadata knows this incarnation.
  private var knownEpoch: BrokerEpoch?
  private var loading = Loading.notBegun
  private var hasServed = false

  private var lastNumber: UInt64 = 0
  private var registration: UInt64?
  private var registerAt: Instant?
  private var registrationDeadline: Instant?
  private var registrationFailures = 0
  private var lastRefusal: RegistrationRefusal?

  private var beats: [Beat] = []
  private var beatAt: Instant?
  private var beatFailures = 0
  /// Of the latest heartbeat whose answer was taken; those of earlier ones are of no interest.
  private var answeredNumber: UInt64 = 0

  private var leaving: Leaving?
  private var offlineDirectories: [KafkaUUID] = []
  /// When to end, whether or not the controller has heard of what failed.
  private var failureNoticeEnd: Instant?

  private enum Loading: Sendable, Equatable { case notBegun, underWay, done }

  private struct Leaving: Sendable, Equatable {
    /// When to go without having been let go.
    var deadline: Instant
    /// When to give the controller up, unless something is heard of it.
    var silenceEnd: Instant
  }

  package init(_ settings: BrokerLifecycleSettings) { self.settings = settings }

  // MARK: - Input

  package mutating func handle(_ input: BrokerLifecycleInput, now: Instant, into effects: inout [BrokerLifecycleEffect]) {
    switch input {
    case .started:
      guard self.phase == .idle else { break }
      self.registrationDeadline = now + self.settings.registrationTimeout
      self.becomeRegistering(now)
    case .registrationEnded(let number, let outcome):
      guard number == self.registration else { break }
      self.registration = nil
      self.endRegistration(outcome, now, into: &effects)
    case .heartbeatEnded(let number, let outcome):
      guard let place = self.beats.firstIndex(where: { $0.number == number }) else { break }
      self.endHeartbeat(self.beats.remove(at: place), outcome, now, into: &effects)
    case .metadataApplied(let offset, let knownEpoch):
      let isNews = offset > self.metadataOffset
      self.metadataOffset = max(self.metadataOffset, offset)
      self.knownEpoch = knownEpoch
      // Being unfenced, and being let go, may wait for just this.
      if isNews, self.isFenced || self.leaving != nil, self.beats.isEmpty, self.beatAt != nil { self.beatAt = now }
    case .partitionsLoaded:
      guard self.loading == .underWay else { break }
      self.loading = .done
      if self.beatAt != nil { self.beatAt = now }
    case .controllerChanged:
      if self.registerAt != nil { self.registerAt = now }
      if self.beatAt != nil { self.beatAt = now }
      (self.registrationFailures, self.beatFailures) = (0, 0)
    case .directoriesFailed(let directories): self.noteFailed(directories, now, into: &effects)
    case .shutDown(let isControlled): self.beginLeaving(isControlled, now, into: &effects)
    case .timerFired: break
    }
    self.advance(now, into: &effects)
  }

  /// When `timerFired` is due; nil: not at all.
  package var nextDeadline: Instant? {
    if self.phase == .idle || self.isOver { return nil }
    var next: Instant?
    func consider(_ instant: Instant?) { if let instant { next = min(next ?? instant, instant) } }
    if self.registration == nil { consider(self.registerAt) }
    if self.beats.count < self.settings.beatsInFlightMax { consider(self.beatAt) }
    consider(self.registrationDeadline)
    consider(self.leaving?.deadline)
    consider(self.leaving?.silenceEnd)
    consider(self.failureNoticeEnd)
    return next
  }

  private var isOver: Bool { self.phase == .left || self.phase == .failed }

  // MARK: - What is due

  private mutating func advance(_ now: Instant, into effects: inout [BrokerLifecycleEffect]) {
    if self.phase == .idle || self.isOver { return }
    if let deadline = self.registrationDeadline, deadline <= now {
      return self.fail(.registrationTimedOut(self.lastRefusal ?? .noAnswer), into: &effects)
    }
    if let end = self.failureNoticeEnd, end <= now { return self.fail(.directoriesFailed, into: &effects) }
    if let leaving = self.leaving {
      if leaving.deadline <= now { return self.leave(.timedOut, into: &effects) }
      if leaving.silenceEnd <= now { return self.leave(.noController, into: &effects) }
    }
    if self.phase == .catchingUp, self.knowsItself {
      if self.loading == .notBegun {
        self.loading = .underWay
        effects.append(.load)
      }
      self.phase = .loading
    }
    if self.phase == .loading, self.loading == .done { self.phase = .fenced }
    if let due = self.registerAt, due <= now, self.registration == nil {
      self.registerAt = nil
      self.registration = self.nextNumber()
      effects.append(.register(self.lastNumber))
    }
    if let due = self.beatAt, due <= now, self.beats.count < self.settings.beatsInFlightMax { self.beat(now, into: &effects) }
  }

  /// The applied metadata has this registration, so that what this incarnation leads by it is meant for it.
  private var knowsItself: Bool { self.epoch != .unknown && self.knownEpoch == self.epoch }

  private mutating func nextNumber() -> UInt64 {
    self.lastNumber += 1
    return self.lastNumber
  }

  // MARK: - Registering

  private mutating func becomeRegistering(_ now: Instant) {
    self.phase = .registering
    self.epoch = .unknown
    self.isFenced = true
    self.beats = []
    self.beatAt = nil
    self.registerAt = now
    self.registrationFailures = 0
    self.lastRefusal = nil
  }

  private mutating func endRegistration(
    _ outcome: RegistrationOutcome, _ now: Instant, into effects: inout [BrokerLifecycleEffect]
  ) {
    guard self.phase == .registering else { return }
    switch outcome {
    case .registered(let epoch):
      self.epoch = epoch
      self.registrationDeadline = nil
      self.phase = .catchingUp
      self.beatAt = now
      self.beatFailures = 0
      effects.append(.registered(epoch))
    case .refused(let error) where Self.isFinal(error): self.fail(.registrationRefused(error), into: &effects)
    case .refused(let error): self.retryRegistration(.error(error), now, into: &effects)
    case .noAnswer: self.retryRegistration(.noAnswer, now, into: &effects)
    }
  }

  private mutating func retryRegistration(
    _ refusal: RegistrationRefusal, _ now: Instant, into effects: inout [BrokerLifecycleEffect]
  ) {
    if refusal != self.lastRefusal { effects.append(.event(.registrationDelayed(refusal))) }
    self.lastRefusal = refusal
    self.registerAt = now + self.backoff(self.registrationFailures)
    self.registrationFailures += 1
  }

  /// What asking again does not change.
  private static func isFinal(_ error: ErrorCode) -> Bool {
    error == .inconsistentClusterId || error == .unsupportedVersion || error == .invalidRegistration
  }

  private func backoff(_ failures: Int) -> Duration {
    min(self.settings.retryBackoff * (1 << min(failures, 10)), self.settings.retryBackoffMax)
  }

  private mutating func fail(_ failure: BrokerLifecycleFailure, into effects: inout [BrokerLifecycleEffect]) {
    self.phase = .failed
    self.endLease(into: &effects)
    effects.append(.failed(failure))
  }

  // MARK: - Heartbeats

  private mutating func beat(_ now: Instant, into effects: inout [BrokerLifecycleEffect]) {
    let wantsShutdown = self.leaving != nil
    let heartbeat = BrokerLifecycleHeartbeat(
      number: self.nextNumber(), epoch: self.epoch, metadataOffset: self.metadataOffset,
      wantsFence: !wantsShutdown && (!self.offlineDirectories.isEmpty || !(self.loading == .done && self.knowsItself)),
      wantsShutdown: wantsShutdown, offlineDirectories: self.offlineDirectories)
    self.beats.append(
      Beat(
        number: heartbeat.number, sentAt: now, metadataOffset: self.metadataOffset, wasAskedToShutDown: wantsShutdown,
        toldOfFailure: !self.offlineDirectories.isEmpty))
    self.beatAt = now + (wantsShutdown ? self.settings.leavingInterval : self.settings.heartbeatInterval)
    effects.append(.heartbeat(heartbeat))
  }

  private mutating func endHeartbeat(
    _ beat: Beat, _ outcome: BeatOutcome, _ now: Instant, into effects: inout [BrokerLifecycleEffect]
  ) {
    switch outcome {
    case .noAnswer, .refused(.notController):
      // There is another controller, or there will be one; it may be known already.
      if self.beatAt != nil { self.beatAt = min(self.beatAt!, now + self.backoff(self.beatFailures)) }
      self.beatFailures += 1
    case .refused(let error) where error == .staleBrokerEpoch || error == .brokerIdNotRegistered:
      effects.append(.event(.registrationLost(error)))
      self.endLease(into: &effects)
      if self.leaving != nil { return self.leave(.notRegistered, into: &effects) }
      if !self.offlineDirectories.isEmpty { return self.fail(.directoriesFailed, into: &effects) }
      self.becomeRegistering(now)
    case .refused(let error): effects.append(.event(.heartbeatRefused(error)))
    case .answered(let answer):
      self.beatFailures = 0
      self.leaving?.silenceEnd = now + self.settings.leavingSilenceMax
      guard beat.number > self.answeredNumber else { return }
      self.answeredNumber = beat.number
      if beat.toldOfFailure, self.leaving == nil { return self.fail(.directoriesFailed, into: &effects) }
      if beat.wasAskedToShutDown, answer.shouldShutDown {
        self.endLease(into: &effects)
        return self.leave(.allowed, into: &effects)
      }
      self.note(answer, of: beat, now, into: &effects)
    }
  }

  private mutating func note(
    _ answer: HeartbeatAnswer, of beat: Beat, _ now: Instant, into effects: inout [BrokerLifecycleEffect]
  ) {
    if answer.isFenced {
      self.endLease(into: &effects)
      if !self.isFenced { effects.append(.event(.fenced)) }
      self.isFenced = true
      if self.phase == .unfenced { self.phase = .fenced }
      // More has been applied since it was asked, which may be what is missing.
      if self.metadataOffset > beat.metadataOffset, self.beats.isEmpty { self.beatAt = now }
      return
    }
    if self.isFenced { effects.append(.event(.unfenced)) }
    self.isFenced = false
    if self.phase == .fenced { self.phase = .unfenced }
    // Before the partitions follow the metadata there is nothing to serve, whatever the controller says.
    guard self.phase == .unfenced || self.phase == .leaving, self.offlineDirectories.isEmpty else { return }
    self.renewLease(from: beat.sentAt, answer.session ?? self.settings.session, now, into: &effects)
    if !self.hasServed, self.phase == .unfenced {
      self.hasServed = true
      effects.append(.serving)
    }
  }

  private mutating func renewLease(
    from sentAt: Instant, _ session: Duration, _ now: Instant, into effects: inout [BrokerLifecycleEffect]
  ) {
    let wasLive = self.lease.isLive(at: now)
    let rule = LeaseRule(session: session, driftMaxPerMille: self.settings.driftMaxPerMille)
    if self.lease.grant(sentAt: sentAt, answeredAt: now, under: rule) {
      effects.append(.leaseChanged(self.lease, isRevived: !wasLive && self.lease.isLive(at: now)))
    }
  }

  private mutating func endLease(into effects: inout [BrokerLifecycleEffect]) {
    if self.lease == .none { return }
    self.lease.revoke()
    effects.append(.leaseChanged(self.lease, isRevived: false))
  }

  // MARK: - Failed directories

  /// Nothing is acknowledged any more. The controller is told, so that others lead at once, and why is known; then the process ends, as
  /// Kafka's does when its last directory fails. One that is leaving anyway goes on with that.
  private mutating func noteFailed(
    _ directories: [KafkaUUID], _ now: Instant, into effects: inout [BrokerLifecycleEffect]
  ) {
    if self.phase == .idle || self.isOver || !self.offlineDirectories.isEmpty { return }
    self.offlineDirectories = directories
    self.endLease(into: &effects)
    if self.leaving != nil {
      self.beatAt = now
    } else if self.epoch == .unknown {
      self.fail(.directoriesFailed, into: &effects)
    } else {
      self.failureNoticeEnd = now + self.settings.failureNoticeMax
      self.beatAt = now
    }
  }

  // MARK: - Leaving

  private mutating func beginLeaving(_ isControlled: Bool, _ now: Instant, into effects: inout [BrokerLifecycleEffect]) {
    if self.isOver || self.leaving != nil { return }
    guard isControlled, self.epoch != .unknown else {
      // What was granted holds to its end: what waits for the disk may still be acknowledged.
      return self.leave(isControlled ? .notRegistered : .unasked, into: &effects)
    }
    self.leaving = Leaving(deadline: now + self.settings.leavingTimeout, silenceEnd: now + self.settings.leavingSilenceMax)
    self.phase = .leaving
    self.beatAt = now
  }

  private mutating func leave(_ end: BrokerLeaving, into effects: inout [BrokerLifecycleEffect]) {
    self.phase = .left
    self.beatAt = nil
    self.registerAt = nil
    effects.append(.left(end))
  }
}
