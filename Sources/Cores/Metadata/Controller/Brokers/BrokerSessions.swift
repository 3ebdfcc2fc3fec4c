package import Base
package import Model

/// What the active controller knows of the brokers' lives from hearing of them, and what it does about it.
///
/// It is the active controller's alone and begins anew with each one. A session lasts from one heartbeat for `LeaseRule.session`; when it
/// ends, the broker is to be fenced. Sooner it is fenced only if its process is known to be dead: its address refuses connections, or
/// another incarnation answers there. A lost connection alone proves nothing; it is a reason to ask. Silence proves nothing
/// before the session's end.
///
/// ```
/// heard of --connectionLost--> suspected (probe) --refused, another incarnation--> dead (fence)
///     ^                             |
///     +--- the same answers --------+        silent for a whole session --> ended (fence)
/// ```
package struct BrokerSessions: Sendable, Equatable {
  /// What happened.
  package enum Input: Sendable, Hashable {
    /// This node became the active controller. The brokers are those of the image.
    case activated([BrokerRegistration])
    /// This node is no longer the active controller.
    case deactivated
    /// A heartbeat that names the broker's present epoch.
    case heartbeat(NodeID, BrokerEpoch, metadataOffset: Offset)
    /// A connection with the broker's process ended. Also told to controllers that are not active: they ask once they are.
    case connectionLost(NodeID)
    /// Another process wants to register under the id: the one registered may be dead.
    case duplicateRegistered(NodeID)
    case probeFailed(NodeID, BrokerEpoch, ProbeFailure)
    /// A process answered at the broker's address.
    case probeAnswered(NodeID, BrokerEpoch, incarnationID: KafkaUUID)
    /// Only time passed.
    case timeAdvanced
  }

  package enum ProbeFailure: Sendable, Hashable {
    /// Nobody listens at the address: the process is dead.
    case refused
    /// No answer in time, or no way to the address: nothing is known.
    case unanswered
  }

  package enum Effect: Sendable, Hashable {
    /// Connect to the broker's registered address at once and ask which incarnation answers.
    case probe(NodeID, BrokerEpoch, incarnationID: KafkaUUID)
    /// Ask the controller to fence the broker (`FenceBroker`).
    case fence(NodeID, BrokerEpoch, FencingCause)
  }

  private struct Contact: Sendable, Equatable {
    var epoch: BrokerEpoch
    var incarnationID: KafkaUUID
    /// Where the session ends; nil if the broker was not heard of since this controller became active, and is fenced.
    var end: Instant?
    /// The last metadata offset it named.
    var metadataOffset = Offset.unknown
    /// Since when it has been unfenced and heard of.
    var aliveSince: Instant?
    var isFenced: Bool
    var isDead = false
    var isProbed = false
    /// When its fencing is asked for again, should the first time have come to nothing.
    var fencingRetry: Instant?

    /// Its session has ended, or nothing is left that could go on with it.
    func isOver(at now: Instant) -> Bool { self.end.map { self.isDead || $0 <= now } ?? false }
  }

  /// A fencing that was asked for is asked for again after this time, unless it was replayed.
  package static let fencingRetryInterval = Duration.seconds(1)

  package var rule = LeaseRule()
  package private(set) var isActive = false
  /// The latest instant it was told of: what decisions take for now.
  package private(set) var now = Instant.origin
  private var contacts: [NodeID: Contact] = [:]
  /// Whose connections ended while this node was not active.
  private var suspects: [NodeID] = []
  var mutant: ControllerMutant?

  package init() {}

  /// When `timeAdvanced` is due; nil: not at all.
  package var nextDeadline: Instant? {
    // The earliest is the same in any order.
    self.contacts.values.compactMap { $0.fencingRetry ?? $0.end }.min()
  }

  package mutating func handle(_ input: Input, now: Instant, into effects: inout [Effect]) {
    self.now = max(self.now, now)
    switch input {
    case .activated(let brokers): self.activate(brokers, into: &effects)
    case .deactivated:
      self.isActive = false
      self.contacts = [:]
      self.suspects = []
    case .heartbeat(let id, let epoch, let offset): self.heartbeat(id, epoch, offset)
    case .connectionLost(let id): self.suspect(id, into: &effects)
    case .duplicateRegistered(let id): self.suspect(id, into: &effects)
    case .probeFailed(let id, let epoch, let failure): self.probeFailed(id, epoch, failure)
    case .probeAnswered(let id, let epoch, let incarnationID): self.probeAnswered(id, epoch, incarnationID)
    case .timeAdvanced: break
    }
    self.endSessions(into: &effects)
  }

  // MARK: What decisions ask

  /// Whether the broker must be taken to live, and to lead what it led.
  package func isLive(_ id: NodeID, _ epoch: BrokerEpoch) -> Bool {
    guard let contact = self.contacts[id], contact.epoch == epoch, !contact.isDead, let end = contact.end else { return false }
    return self.now < end
  }

  /// The last metadata offset the broker named since this controller became active.
  package func metadataOffset(_ id: NodeID, _ epoch: BrokerEpoch) -> Offset {
    guard let contact = self.contacts[id], contact.epoch == epoch else { return .unknown }
    return contact.metadataOffset
  }

  /// For how long the broker has been heard of without a break; nil if it is not.
  package func aliveFor(_ id: NodeID, _ epoch: BrokerEpoch) -> Duration? {
    guard self.isLive(id, epoch), let since = self.contacts[id]?.aliveSince else { return nil }
    return self.now - since
  }

  // MARK: Told by replay

  /// A registration is a sign of life. Until this node is active nobody's time runs.
  mutating func registered(_ registration: BrokerRegistration) {
    guard self.isActive else { return }
    var contact = Contact(epoch: registration.epoch, incarnationID: registration.incarnationID, isFenced: registration.isFenced)
    if let known = self.contacts[registration.nodeID], known.epoch == registration.epoch {
      contact.metadataOffset = known.metadataOffset
      contact.aliveSince = known.aliveSince
    }
    contact.end = self.now + self.rule.session
    self.contacts[registration.nodeID] = contact
  }

  mutating func unregistered(_ id: NodeID) { self.contacts[id] = nil }

  mutating func fenced(_ id: NodeID, _ epoch: BrokerEpoch) {
    guard var contact = self.contacts[id], contact.epoch == epoch else { return }
    contact.isFenced = true
    contact.aliveSince = nil
    contact.fencingRetry = nil
    if contact.isDead || contact.end.map({ $0 <= self.now }) ?? true { contact.end = nil }
    contact.isDead = false
    self.contacts[id] = contact
  }

  mutating func unfenced(_ id: NodeID, _ epoch: BrokerEpoch) {
    guard var contact = self.contacts[id], contact.epoch == epoch else { return }
    contact.isFenced = false
    contact.aliveSince = self.now
    self.contacts[id] = contact
  }

  // MARK: Inputs

  private mutating func activate(_ brokers: [BrokerRegistration], into effects: inout [Effect]) {
    self.isActive = true
    self.contacts = [:]
    for broker in brokers {
      var contact = Contact(epoch: broker.epoch, incarnationID: broker.incarnationID, isFenced: broker.isFenced)
      if !broker.isFenced {
        contact.end = self.now + self.rule.deposedMax + self.rule.session
        contact.aliveSince = self.now
      }
      self.contacts[broker.nodeID] = contact
    }
    let suspects = self.suspects
    self.suspects = []
    for id in suspects { self.suspect(id, into: &effects) }
  }

  private mutating func heartbeat(_ id: NodeID, _ epoch: BrokerEpoch, _ offset: Offset) {
    guard self.isActive, var contact = self.contacts[id], contact.epoch == epoch else { return }
    // It may be alive after all: a refused connection can be a full queue. Nothing was decided yet, or its epoch would be stale.
    contact.isDead = false
    contact.isProbed = false
    contact.fencingRetry = nil
    contact.end = self.now + self.rule.session
    if !contact.isFenced { contact.aliveSince = contact.aliveSince ?? self.now }
    contact.metadataOffset = max(contact.metadataOffset, offset)
    self.contacts[id] = contact
  }

  private mutating func suspect(_ id: NodeID, into effects: inout [Effect]) {
    guard self.isActive else {
      if !self.suspects.contains(id) { self.suspects.append(id) }
      return
    }
    guard var contact = self.contacts[id], contact.end != nil, !contact.isDead else { return }
    if mutates(self.mutant, .silentBrokerIsFencedEarly) { return self.noteDead(id) }
    // One probe at a time: many connections end together when a process dies.
    if contact.isProbed { return }
    contact.isProbed = true
    self.contacts[id] = contact
    effects.append(.probe(id, contact.epoch, incarnationID: contact.incarnationID))
  }

  private mutating func probeFailed(_ id: NodeID, _ epoch: BrokerEpoch, _ failure: ProbeFailure) {
    guard self.isActive, var contact = self.contacts[id], contact.epoch == epoch else { return }
    contact.isProbed = false
    self.contacts[id] = contact
    if failure == .refused { self.noteDead(id) }
  }

  private mutating func probeAnswered(_ id: NodeID, _ epoch: BrokerEpoch, _ incarnationID: KafkaUUID) {
    guard self.isActive, var contact = self.contacts[id], contact.epoch == epoch else { return }
    contact.isProbed = false
    self.contacts[id] = contact
    // An answer does not prolong the session: a process whose heartbeats do not arrive holds no lease either.
    if incarnationID != contact.incarnationID { self.noteDead(id) }
  }

  private mutating func noteDead(_ id: NodeID) {
    guard var contact = self.contacts[id], !contact.isDead, contact.end != nil else { return }
    contact.isDead = true
    self.contacts[id] = contact
  }

  private mutating func endSessions(into effects: inout [Effect]) {
    let now = self.now
    // With every request that is decided, and mostly there is none.
    guard self.isActive, self.contacts.values.contains(where: { $0.isOver(at: now) }) else { return }
    for id in self.contacts.keys.sorted() {
      guard var contact = self.contacts[id], contact.isOver(at: now) else { continue }
      if contact.isFenced {
        contact.end = nil
        contact.isDead = false
      } else if contact.fencingRetry.map({ $0 <= self.now }) ?? true {
        contact.fencingRetry = self.now + Self.fencingRetryInterval
        effects.append(.fence(id, contact.epoch, contact.isDead ? .processDead : .sessionEnded))
      }
      self.contacts[id] = contact
    }
  }
}

/// Why a broker is fenced. The numbers are in the metadata log; 0 stands there for a cause that was not noted.
package enum FencingCause: Int8, Sendable, Hashable {
  /// No heartbeat for a whole session.
  case sessionEnded = 1
  /// Nothing listens where it did, or another incarnation does.
  case processDead = 2
  /// It asked for it.
  case ownWish = 3
  /// The end of its controlled shutdown.
  case controlledShutdown = 4
  /// All its log directories failed.
  case directoriesFailed = 5
}
