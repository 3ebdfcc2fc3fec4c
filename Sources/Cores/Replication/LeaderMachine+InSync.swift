package import Base
import Model

// The in-sync replicas: who is counted, who is proposed, and what the controller said (KIP-497, KIP-841, KIP-903, KIP-966).
extension LeaderMachine {
  // MARK: - Followers

  mutating func observe(_ fetch: FollowerFetch, _ now: Instant, _ lease: BrokerLease, into effects: inout [Effect]) {
    guard self.refusal(of: fetch) == nil, let index = self.index(of: fetch.node), fetch.fetchOffset <= self.log.logEndOffset else {
      return
    }
    let logStartMoved = fetch.logStartOffset != self.followers[index].logStartOffset
    self.followers[index].fetch(fetch, leaderEnd: self.log.logEndOffset, now: now)
    self.observeSteadiness(index, now)
    self.proposeExpansion(now, into: &effects)
    self.advanceHighWatermark(now, lease, into: &effects)
    if logStartMoved { self.completeDeletions(into: &effects) }
  }

  mutating func change(_ standing: BrokerStanding, _ now: Instant, _ lease: BrokerLease, into effects: inout [Effect]) {
    guard let index = self.index(of: standing.node), self.followers[index].standing != standing else { return }
    self.followers[index].standing = standing
    self.followers[index].refusedUntil = nil
    self.proposeExpansion(now, into: &effects)
    self.completeDeletions(into: &effects)
  }

  /// Takes the ISR and the assignment from what the controller committed. Whatever was proposed on an older basis can no longer be applied.
  mutating func adopt(_ registration: PartitionRegistration, _ now: Instant, into effects: inout [Effect]) {
    self.partitionEpoch = registration.partitionEpoch
    let lost = self.pending == nil ? [] : self.followers.filter { $0.isInSync && !$0.isProposed }.map(\.node)
    self.dropProposal()
    if registration.assignedReplicas != self.assignedReplicas {
      self.assignedReplicas = registration.assignedReplicas
      // Who is a replica no more has to hear of it.
      for index in self.followers.indices where !registration.assignedReplicas.contains(self.followers[index].node) {
        self.wakeFollower(index, into: &effects)
      }
      self.followers = registration.assignedReplicas.filter { $0 != self.node }.map { node in
        self.followers.first { $0.node == node } ?? FollowerProgress(node: node, isInSync: false, standing: nil, now: now)
      }
    }
    let before = self.inSyncReplicas
    for index in self.followers.indices {
      let node = self.followers[index].node
      let isInSync = registration.inSyncReplicas.contains(node)
      if isInSync, !self.followers[index].isInSync {
        // Counted as caught up from here on: it was when it was proposed, and a change of leader is no reason to doubt it.
        self.followers[index].caughtUpAt = max(self.followers[index].caughtUpAt, now)
      } else if !isInSync, self.followers[index].isInSync {
        self.followers[index].isOnProbation = lost.contains(node)
        self.followers[index].steadySince = nil
      }
      self.followers[index].isInSync = isInSync
    }
    if self.inSyncReplicas != before { effects.append(.trace(.inSyncReplicasChanged(self.inSyncReplicas, self.partitionEpoch))) }
    self.noteMinInSync(into: &effects)
  }

  func hasLagged(_ follower: FollowerProgress, _ now: Instant) -> Bool {
    follower.lag(leaderEnd: self.log.logEndOffset, now: now) > self.settings.lagTimeMax
  }

  // MARK: - Proposals

  /// A replica that lagged comes back when it has kept well within the limit for a tenth of it: at the edge it would come and go.
  private mutating func observeSteadiness(_ index: Int, _ now: Instant) {
    guard self.followers[index].isOnProbation else { return }
    if self.followers[index].lag(leaderEnd: self.log.logEndOffset, now: now) > self.settings.lagTimeMax / 2 {
      self.followers[index].steadySince = nil
    } else if self.followers[index].steadySince == nil {
      self.followers[index].steadySince = now
    }
  }

  private var probation: Duration { self.settings.lagTimeMax / 10 }

  /// It must hold all that may be committed: everything up to the watermark, and everything earlier leaders left in our log, for
  /// until the watermark has passed that, the watermark itself is only what we have heard of it.
  private func mayJoin(_ follower: FollowerProgress, _ now: Instant) -> Bool {
    guard !follower.isInSync, follower.durableEnd >= self.log.highWatermark else { return false }
    if follower.durableEnd < self.epochStartOffset, self.mutant != .expandsBelowEpochStart { return false }
    if !follower.isEligible { return false }
    if let refusedUntil = follower.refusedUntil, now < refusedUntil { return false }
    if self.hasLagged(follower, now) { return false }
    guard follower.isOnProbation else { return true }
    return follower.steadySince.map { now - $0 >= self.probation } ?? false
  }

  mutating func proposeExpansion(_ now: Instant, into effects: inout [Effect]) {
    guard self.pending == nil, self.resignation == nil else { return }
    // Nearly always nobody is to join, and a fetch must not pay for more than a look; a closure would copy the machine.
    var joining: [NodeID] = []
    for index in self.followers.indices where self.mayJoin(self.followers[index], now) { joining.append(self.followers[index].node) }
    if joining.isEmpty { return }
    self.propose({ $0.isInSync || joining.contains($0.node) }, .caughtUp(joining), into: &effects)
  }

  private mutating func proposeShrink(_ now: Instant, into effects: inout [Effect]) {
    guard self.pending == nil, self.resignation == nil else { return }
    let lagging = self.followers.filter { $0.isInSync && self.hasLagged($0, now) }.map(\.node)
    if lagging.isEmpty { return }
    self.propose({ $0.isInSync && !lagging.contains($0.node) }, .lagging(lagging), into: &effects)
  }

  private mutating func propose(
    _ isMember: (FollowerProgress) -> Bool, _ cause: ReplicationEvent.ProposalCause, into effects: inout [Effect]
  ) {
    var members: [InSyncReplica] = []
    for node in self.assignedReplicas {
      if node == self.node {
        members.append(InSyncReplica(node, .unknown))
      } else if let index = self.index(of: node), isMember(self.followers[index]) {
        self.followers[index].isProposed = true
        let follower = self.followers[index]
        // One that has not fetched from us yet is named by the incarnation of the metadata log.
        members.append(
          InSyncReplica(node, follower.brokerEpoch == .unknown ? follower.standing?.brokerEpoch ?? .unknown : follower.brokerEpoch))
      }
    }
    let proposal = InSyncProposal(leaderEpoch: self.epoch, partitionEpoch: self.partitionEpoch, inSyncReplicas: members)
    self.pending = PendingProposal(proposal: proposal, state: .sent, attempts: 1)
    effects.append(.trace(.proposed(proposal, cause)))
    effects.append(.propose(proposal))
  }

  mutating func dropProposal() {
    self.pending = nil
    for index in self.followers.indices { self.followers[index].isProposed = false }
  }

  // MARK: - Answers

  mutating func conclude(_ answer: ProposalAnswer, _ now: Instant, _ lease: BrokerLease, into effects: inout [Effect]) {
    if self.mutant == .trustsStaleAnswers, answer.verdict == .accepted { return self.accept(answer, now, lease, into: &effects) }
    guard var pending, pending.proposal.partitionEpoch == answer.basis, answer.basis == self.partitionEpoch else {
      return effects.append(.trace(.staleAnswer(basis: answer.basis)))
    }
    switch answer.verdict {
    case .accepted:
      guard answer.leaderEpoch == self.epoch, answer.partitionEpoch >= self.partitionEpoch else {
        return effects.append(.trace(.staleAnswer(basis: answer.basis)))
      }
      return self.accept(answer, now, lease, into: &effects)
    case .refused:
      let isShrink = !self.followers.contains { $0.isProposed && !$0.isInSync }
      for index in self.followers.indices where self.followers[index].isProposed && !self.followers[index].isInSync {
        self.followers[index].refusedUntil = now + self.settings.proposalLifetime
      }
      if pending.attempts > 1 || answer.sendCount > 1 {
        // The refusal speaks for one copy. Another may yet arrive at a controller that has changed its mind about the replica.
        pending.state = .refused(until: now + self.settings.proposalLifetime)
        self.pending = pending
      } else if isShrink {
        // Kept for a while, as the same would be proposed again at once. It holds nothing up: who is to leave counts either way.
        pending.state = .refused(until: now + self.settings.proposalBackoff)
        self.pending = pending
      } else {
        self.dropProposal()
      }
    case .superseded:
      pending.state = .awaitingMetadata
      self.pending = pending
    case .uncertain:
      pending.state = .retrying(at: now + self.settings.proposalBackoff)
      self.pending = pending
      if self.mutant == .dropsUncertainProposal { self.dropProposal() }
    }
    effects.append(.trace(.proposalFailed(answer.error, basis: answer.basis)))
    self.advanceHighWatermark(now, lease, into: &effects)
  }

  private mutating func accept(_ answer: ProposalAnswer, _ now: Instant, _ lease: BrokerLease, into effects: inout [Effect]) {
    let registration = PartitionRegistration(
      leader: self.node, leaderEpoch: self.epoch, partitionEpoch: max(answer.partitionEpoch, self.partitionEpoch),
      assignedReplicas: self.assignedReplicas, inSyncReplicas: answer.inSyncReplicas)
    self.adopt(registration, now, into: &effects)
    self.proposeExpansion(now, into: &effects)
    self.advanceHighWatermark(now, lease, into: &effects)
  }

  // MARK: - Time

  /// When `timerFired` is due; nil while nothing depends on time: for a partition whose followers hold everything, that is always.
  package var nextDeadline: Instant? {
    if self.resignation != nil { return nil }
    switch self.pending?.state {
    case .retrying(let at): return at
    case .refused(let until): return until
    case .sent, .awaitingMetadata: return nil
    case nil: break
    }
    var deadline: Instant?
    func consider(_ instant: Instant) { deadline = min(deadline ?? instant, instant) }
    for follower in self.followers {
      if follower.isInSync {
        if follower.durableEnd < self.log.logEndOffset { consider(follower.caughtUpAt + self.settings.lagTimeMax + .nanoseconds(1)) }
      } else if let instant = self.joinTime(of: follower) {
        consider(instant)
      }
    }
    return deadline
  }

  /// When a follower may join that only time keeps from it; nil if something has to happen first.
  private func joinTime(of follower: FollowerProgress) -> Instant? {
    guard follower.isEligible, follower.durableEnd >= self.log.highWatermark, follower.durableEnd >= self.epochStartOffset,
      !follower.isOnProbation || follower.steadySince != nil
    else { return nil }
    let instants = [follower.refusedUntil, follower.steadySince.map { $0 + self.probation }].compactMap { $0 }
    guard let instant = instants.max() else { return nil }
    // By then it would lag, and only its next fetch can tell that it does not.
    return follower.durableEnd < self.log.logEndOffset && instant > follower.caughtUpAt + self.settings.lagTimeMax ? nil : instant
  }

  mutating func timerFired(_ now: Instant, _ lease: BrokerLease, into effects: inout [Effect]) {
    guard let deadline = self.nextDeadline, now >= deadline else { return }
    switch self.pending?.state {
    case .retrying:
      guard var pending else { return }
      pending.state = .sent
      pending.attempts += 1
      self.pending = pending
      effects.append(.trace(.proposed(pending.proposal, .unanswered)))
      effects.append(.propose(pending.proposal))
      return
    case .refused:
      self.dropProposal()
      self.advanceHighWatermark(now, lease, into: &effects)
    case .sent, .awaitingMetadata: return
    case nil: break
    }
    self.forgiveSleep(now, deadline, into: &effects)
    self.proposeShrink(now, into: &effects)
    self.proposeExpansion(now, into: &effects)
    // What has passed is no deadline any more, or the timer would fire for it for ever.
    for index in self.followers.indices where !self.followers[index].isInSync {
      if let until = self.followers[index].refusedUntil, until <= now { self.followers[index].refusedUntil = nil }
      if self.hasLagged(self.followers[index], now) { self.followers[index].steadySince = nil }
    }
  }

  /// A process that was stopped finds its timers late and its followers silent, though they may have asked all the while.
  private mutating func forgiveSleep(_ now: Instant, _ deadline: Instant, into effects: inout [Effect]) {
    guard now - deadline > self.settings.lagTimeMax / 4 else { return }
    effects.append(.trace(.slept(now - deadline)))
    for index in self.followers.indices where self.followers[index].isInSync { self.followers[index].caughtUpAt = now }
  }
}
