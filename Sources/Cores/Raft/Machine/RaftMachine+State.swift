import Base
import Election
package import Model

// What a replica is to itself and tells of itself, and the durability of its state.
extension RaftMachine {
  package var term: Term { self.hardState.term }
  var isVoter: Bool { self.log.voters.contains(self.config.local) }
  /// Whether this replica may begin an election. A snapshot that is about to take the log's place must not do so under a leader.
  var mayStand: Bool {
    self.config.isController && self.isEligible && self.installing == nil && !self.isShuttingDown && self.term.next < .max
  }
  /// A replica that its own log does not name a voter may be the only one that can be elected: one whose removal is not committed
  /// (Raft dissertation, section 4.2.2), or whose addition is only in another's log. It shows by a request for its vote which it has
  /// to refuse, because it has entries that the candidate lacks. Such a replica stands and does not count its own vote.
  private var isEligible: Bool { self.isVoter || (self.isWantedAsVoter && !self.log.voters.isEmpty) }
  /// The voters besides this replica.
  var otherVoters: [Voter] { self.log.voters.voters.filter { !$0.key.covers(self.config.local) } }

  /// Whom this replica follows, or itself where it leads. Replicas that gave their leader up do not tell its name.
  package var knownLeader: NodeID? {
    switch self.role {
    case .leader: self.config.local.node
    case .follower: self.following.leaderResigned || self.following.leaderIsGone ? nil : self.following.leader
    case .unattached, .preCandidate, .candidate, .resigned: nil
    }
  }

  /// Whether everything that was committed when the leader last told is known to be committed here. A leader's high watermark means
  /// nothing before it reaches into its own term.
  package var hasCaughtUp: Bool {
    guard self.highWatermark > .zero, self.log.term(at: self.highWatermark - 1) == self.term else { return false }
    return switch self.role {
    case .leader: true
    case .follower: self.following.hasHeard && self.highWatermark >= self.following.leaderHighWatermark
    case .unattached, .preCandidate, .candidate, .resigned: false
    }
  }

  var status: QuorumStatus { self.status(.none) }
  func status(_ error: ErrorCode) -> QuorumStatus {
    // Told is only a leader that is heard: else replicas that lost it would keep sending one another back to it.
    let leader = self.role == .follower && !self.following.hasHeard ? nil : self.knownLeader
    let address = self.role == .leader ? self.config.voter.address(at: self.config.listener) : leader.map { _ in self.following.address }
    return QuorumStatus(error: error, term: self.term, leader: leader, leaderAddress: address)
  }

  // MARK: Hard state

  mutating func change(_ state: HardState) {
    guard state != self.hardState else { return }
    invariant(state.term >= self.term, "\(state) after \(self.hardState)")
    if state.term == self.term {
      invariant(self.hardState.votedFor == nil || self.hardState.votedFor == state.votedFor, "\(state) after \(self.hardState)")
      invariant(self.hardState.leader == nil || self.hardState.leader == state.leader, "\(state) after \(self.hardState)")
    }
    self.hardState = state
    self.stateIsDirty = true
  }

  mutating func completeState(_ token: PersistToken) {
    guard token == self.pendingState else { return self.trace(.stalePersistToken) }
    self.pendingState = nil
  }

  // MARK: Writes to the log

  /// Gives a token to a write after which the log ends where it ends now.
  mutating func beginWrite() -> PersistToken {
    let token = self.nextToken()
    self.pendingWrites.append(PendingWrite(token: token, endIndex: self.log.endIndex))
    return token
  }

  mutating func completeWrite(_ token: PersistToken) {
    guard let place = self.pendingWrites.firstIndex(where: { $0.token == token }) else { return self.trace(.stalePersistToken) }
    self.log.persist(upTo: self.pendingWrites[place].endIndex)
    self.pendingWrites.removeFirst(place + 1)
    switch self.role {
    case .leader: self.advanceHighWatermark()
    case .follower: self.followHighWatermark()
    case .unattached, .preCandidate, .candidate, .resigned: break
    }
  }

  /// Only a fetch leads to this, and there is none while a write is under way: no completion can speak of what is removed.
  mutating func truncateLog(to index: LogIndex) {
    invariant(!self.isWriting, "cut at \(index) while writes are under way: \(self.pendingWrites)")
    let voters = self.log.voters
    self.log.truncate(to: index)
    #if APUS_MUTANTS
    if self.isMutated(.keepsTruncatedVoters) { self.log.keep(voters) }
    #endif
    self.effects.append(.truncate(to: index, self.beginWrite()))
    if self.log.voters != voters { self.trace(.votersChanged(self.log.voters, index: self.log.voterHistory.latestIndex)) }
  }

  // MARK: Answers

  mutating func answer(_ request: RequestID, _ body: OutgoingAnswer.Body = .status) {
    self.outbox.append(.answer(request, OutgoingAnswer(self.status, body)))
  }

  mutating func refuse(_ request: RequestID, _ kind: RequestKind, _ error: ErrorCode, _ why: RequestRefusal) {
    self.trace(.requestRefused(kind, error, why))
    self.outbox.append(.answer(request, OutgoingAnswer(self.status(error))))
  }

  /// Whether a request names another cluster. One that names none is believed, as Kafka does.
  func isForeign(_ clusterID: String?) -> Bool { clusterID.map { $0 != self.config.clusterID } ?? false }

  /// Whether a request is meant for this replica; one that names no directory is for any replica of the node.
  func isAddressed(to voter: ReplicaKey?) -> Bool { voter?.covers(self.config.local) ?? true }

  // MARK: Invariants

  mutating func checkInvariants() {
    guard let broken = self.firstBrokenInvariant() else { return }
    #if APUS_MUTANTS
    if !self.mutants.isEmpty {
      self.brokenInvariant = self.brokenInvariant ?? broken
      return
    }
    #endif
    invariant(false, "\(broken)\n\(self)")
  }

  private func firstBrokenInvariant() -> String? {
    if let broken = self.log.checkInvariants() { return broken }
    if self.log.lastTerm > self.term { return "an entry of term \(self.log.lastTerm) in term \(self.term)" }
    if self.highWatermark > self.log.endIndex || self.highWatermark < self.log.startIndex { return "high watermark outside the log" }
    switch self.role {
    case .unattached, .resigned, .preCandidate: break
    case .follower:
      if self.hardState.leader != self.following.leader { return "follows another than the leader" }
      if self.following.leader == self.config.local.node { return "follows itself" }
    case .candidate:
      if self.hardState.votedFor != self.config.local { return "stands without its own vote" }
    case .leader:
      if self.hardState.leader != self.config.local.node { return "leads a term of another leader" }
      if self.log.lastTerm != self.term { return "leads without an entry of its term" }
      if self.installing != nil { return "leads while its log is being replaced" }
      if self.log.endIndex <= self.leading.startIndex { return "the entry that began the term is gone" }
    }
    if self.role != .leader, self.leading != Leading() { return "a leader's state in role \(self.role)" }
    if self.outbox.count > 0 { return "messages were left behind" }
    return nil
  }
}

extension RaftMachine: CustomStringConvertible {
  /// One line for a crash report or a trace.
  package var description: String {
    let writes = self.pendingWrites.map { "\($0.token):\($0.endIndex)" }.joined(separator: " ")
    return "\(self.config.local) \(self.role) in \(self.hardState); log from \(self.log.base) to \(self.log.end), durable to "
      + "\(self.log.durableEnd), high watermark \(self.highWatermark), voters \(self.log.voters) since \(self.log.voterHistory.latestIndex)"
      + (writes.isEmpty ? "" : ", writing \(writes)")
      + (self.installing.map { ", installing \($0.info.id)" } ?? "")
  }
}
