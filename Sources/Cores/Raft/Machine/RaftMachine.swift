package import Base
package import Election
import Model

/// A replica of a Raft log in KRaft's variant: KIP-595 (pull replication), KIP-630 (snapshots), KIP-853 (voter changes) and KIP-996
/// (pre-vote).
///
/// It owns the hard state, the roles, what is known of the log and of the other replicas, and every timer. It never touches entries: the
/// driver moves bytes as the effects say. The effects of one `handle` are to be run in their order, before the next input.
///
/// Safety rests on these, all checked from outside by the simulation in the tests:
/// - no message leaves before the hard state it rests on is on disk: every `call` and `answer` names the token it waits for;
/// - a replica that fetches from an index has everything below on disk, and a leader counts of its own log only what is;
/// - a leader commits by counting only up to an entry of its own term, and never moves the high watermark back;
/// - a term is led once: a replica that starts again neither stands nor leads in a term it knew.
package struct RaftMachine: Sendable, Equatable {
  package let config: RaftConfig
  package internal(set) var hardState: HardState
  package internal(set) var role: RaftRole = .unattached
  package internal(set) var log: LogSummary
  /// Everything below is committed. Never goes back; after a start it is the end of the latest snapshot, until a leader tells more.
  package internal(set) var highWatermark: LogIndex

  var campaign = Campaign()
  var search = LeaderSearch()
  var following = Following()
  var leading = Leading()
  var resigning = Resigning()
  /// When an unattached voter stands.
  var electionDeadline = Instant.distantFuture
  /// The latest term whose leader is known to lead no more.
  var endedTerm = Term.zero
  /// Since the last leader, somebody asked for this replica's vote that could not get it for its log.
  var isWantedAsVoter = false
  /// Rounds lost since there was a leader: the pauses between them grow.
  var failedRounds = 0
  var isShuttingDown = false
  var shutDownIsReported = false

  var calls: [PendingCall] = []
  var pendingWrites: [PendingWrite] = []
  /// The snapshot that is taking the log's place; nothing is written to the log meanwhile.
  var installing: (token: PersistToken, info: SnapshotInfo)?
  /// The latest write of the hard state, while it is not on disk.
  var pendingState: PersistToken?
  var stateIsDirty = false
  var lastToken = PersistToken.none
  var lastCall = CallID(0)

  var generator: SeededGenerator
  /// The latest time that was handed in.
  var now: Instant
  /// What the driver was last told of the leader.
  var reportedClaim: LeaderClaim?
  /// Filled by one `handle`, empty between.
  var effects: [RaftEffect] = []
  var outbox: [Outgoing] = []

  #if APUS_MUTANTS
  package var mutants: RaftMutant = []
  /// The first invariant that broke, where a mutant may be the reason.
  package internal(set) var brokenInvariant: String?
  #endif

  /// A message that waits for the end of `handle`, when it is known whether a write has to come before it.
  enum Outgoing: Equatable, Sendable {
    case call(CallID, Destination, RaftRequest)
    case answer(RequestID, OutgoingAnswer)
  }

  /// A replica as it starts, with what it finds on its disk. The driver hands in `timerFired` next.
  ///
  /// - Parameters:
  ///   - log: as recovered; all of it counts as durable. It reaches at least as far as its latest snapshot.
  ///   - seed: of every random choice. Replicas of one quorum need different ones.
  ///   - mutants: bugs to have; without effect where they are not built in.
  package init(
    config: RaftConfig, hardState: HardState, log: LogSummary, seed: UInt64, now: Instant, mutants: RaftMutant = []
  ) {
    invariant(log.durableEnd == log.endIndex, "the log is durable up to \(log.durableEnd) of \(log.endIndex)")
    self.config = config
    self.log = log
    self.highWatermark = log.startIndex
    self.generator = SeededGenerator(seed: seed)
    self.now = now
    self.hardState = hardState
    #if APUS_MUTANTS
    self.mutants = mutants
    if mutants.contains(.forgetsVote) { self.hardState.votedFor = nil }
    #endif
    if log.lastTerm > hardState.term {
      // The log was synced and the state was not: nothing that rests on the term has left.
      self.hardState = HardState(term: log.lastTerm)
      self.stateIsDirty = true
    }
    if let latest = log.latestSnapshot {
      invariant(latest.id.index <= log.endIndex, "the log ends at \(log.end), before its snapshot \(latest.id)")
      // What is in a snapshot was committed when it was taken.
      self.effects.append(.loadSnapshot(latest.id))
      self.moveHighWatermark(to: latest.id.index)
    }
    self.start()
  }

  package static func == (a: RaftMachine, b: RaftMachine) -> Bool {
    a.config == b.config && a.hardState == b.hardState && a.role == b.role && a.log == b.log && a.highWatermark == b.highWatermark
      && a.campaign == b.campaign && a.search == b.search && a.following == b.following && a.leading == b.leading
      && a.resigning == b.resigning && a.electionDeadline == b.electionDeadline && a.calls == b.calls
      && a.pendingWrites == b.pendingWrites && a.pendingState == b.pendingState && a.isShuttingDown == b.isShuttingDown
      && a.installing?.token == b.installing?.token
  }

  package mutating func handle(_ input: RaftInput, now: Instant, into effects: inout [RaftEffect]) {
    self.now = max(self.now, now)
    // Those of the start.
    if !self.effects.isEmpty {
      effects += self.effects
      self.effects.removeAll()
    }
    // The buffer is the caller's, so that nothing is allocated here once it has grown.
    swap(&self.effects, &effects)
    defer { swap(&self.effects, &effects) }
    switch input {
    case .timerFired: break
    case .request(let id, let request): self.receive(request, id)
    case .answer(let call, let answer): self.receive(answer, to: call)
    case .callFailed(let call, let failure): self.endCall(call).map { self.fail($0, failure) }
    case .statePersisted(let token): self.completeState(token)
    case .logPersisted(let token): self.completeWrite(token)
    case .snapshotInstalled(let token, let summary): self.completeInstallation(token, summary)
    case .snapshotUnusable(let token): self.abandonInstallation(token)
    case .snapshotTaken(let info): self.addSnapshot(info)
    case .prefixExpendable(let snapshot): self.dropPrefix(to: snapshot)
    case .propose(let payload, let count, let term): self.propose(payload, count, term)
    case .read(let id): self.beginRead(id)
    case .raiseVersion(let id, let version): self.raiseVersion(to: version, id)
    case .shutDown: self.beginShutDown()
    }
    self.advance()
    self.flush()
    self.checkInvariants()
  }

  private mutating func receive(_ request: RaftRequest, _ id: RequestID) {
    switch request {
    case .vote(let vote): self.handleVote(vote, id)
    case .beginQuorum(let begin): self.handleBeginQuorum(begin, id)
    case .endQuorum(let end): self.handleEndQuorum(end, id)
    case .fetch(let fetch): self.handleFetch(fetch, id)
    case .fetchSnapshot(let fetch): self.handleFetchSnapshot(fetch, id)
    case .addVoter(let add): self.handleAddVoter(add, id)
    case .removeVoter(let remove): self.handleRemoveVoter(remove, id)
    case .updateVoter(let update): self.handleUpdateVoter(update, id)
    case .versions: self.answer(id, .versions(self.config.versions))
    }
  }

  // MARK: Time

  /// Does what is due. A role that changes may leave something else due at once, so it goes on until nothing changes.
  private mutating func advance() {
    self.expireCalls()
    var before: RaftRole
    var term: Term
    repeat {
      (before, term) = (self.role, self.hardState.term)
      switch self.role {
      case .unattached: self.advanceUnattached()
      case .preCandidate, .candidate: self.advanceCampaign()
      case .follower: self.advanceFollower()
      case .leader: self.advanceLeader()
      case .resigned: self.advanceResigned()
      }
    } while (before, term) != (self.role, self.hardState.term)
    if self.isShuttingDown, self.role != .resigned, !self.shutDownIsReported {
      self.shutDownIsReported = true
      self.effects.append(.shutDownCompleted)
    }
  }

  package var nextDeadline: Instant? {
    var next = Instant.distantFuture
    for call in self.calls { next = min(next, call.deadline) }
    switch self.role {
    case .unattached: next = min(next, self.unattachedDeadline)
    case .preCandidate, .candidate: next = min(next, self.campaignDeadline)
    case .follower: next = min(next, self.followerDeadline)
    case .leader: next = min(next, self.leaderDeadline)
    case .resigned: next = min(next, self.resignedDeadline)
    }
    return next == .distantFuture ? nil : next
  }

  // MARK: The end of a step

  /// Gives out what was decided, in the order that makes it safe.
  private mutating func flush() {
    if self.stateIsDirty {
      self.stateIsDirty = false
      let token = self.nextToken()
      self.pendingState = token
      self.effects.append(.persist(self.hardState, token))
    }
    let after = self.isMutated(.sendsBeforePersist) ? nil : self.pendingState
    for message in self.outbox {
      switch message {
      case .call(let id, let destination, let request): self.effects.append(.call(id, destination, request, after: after))
      case .answer(let id, let answer): self.effects.append(.answer(id, answer, after: after))
      }
    }
    self.outbox.removeAll(keepingCapacity: true)
    if self.leaderClaim != self.reportedClaim {
      self.reportedClaim = self.leaderClaim
      self.effects.append(.leaderChanged(self.hardState.term, leader: self.leaderClaim?.leader))
    }
  }

  mutating func nextToken() -> PersistToken {
    self.lastToken = self.lastToken.next
    return self.lastToken
  }

  mutating func trace(_ trace: RaftTrace) { self.effects.append(.trace(trace)) }

  /// A constant outside debug builds.
  @inline(__always)
  func isMutated(_ mutant: RaftMutant) -> Bool {
    #if APUS_MUTANTS
    return self.mutants.contains(mutant)
    #else
    return false
    #endif
  }
}

extension RaftMachine: ElectionMachine {
  package var leaderClaim: LeaderClaim? {
    self.knownLeader.map { LeaderClaim(ballot: Int64(self.hardState.term.rawValue), leader: $0) }
  }
}
