import Base
import Election
import Model

// Leading: what is due, appends, and how far entries are committed.
extension RaftMachine {
  // MARK: Time

  mutating func advanceLeader() {
    if let lost = self.quorumDeadline, self.now >= lost, !self.isMutated(.forgetsCheckQuorum) {
      // Who stands is up to those that are left: this replica does not know who they are.
      return self.becomeResigned(.quorumLost, successors: [])
    }
    self.advanceChange()
    self.advanceReads()
    guard self.role == .leader else { return }
    self.announce()
    self.wakeFetches()
  }

  /// When a majority was not heard for the check-quorum timeout; nil if this replica is a majority by itself.
  var quorumDeadline: Instant? {
    let needed = self.log.voters.majority - (self.isVoter ? 1 : 0)
    let heard = self.leading.voters.map(\.lastHeard)
    return SilenceDetector.deadline(ofLosing: needed, in: heard, timeout: self.config.checkQuorumTimeout)
  }

  var leaderDeadline: Instant {
    var next = min(self.announceDeadline, self.changeDeadline, self.readDeadline)
    if let lost = self.quorumDeadline, !self.isMutated(.forgetsCheckQuorum) { next = min(next, lost) }
    for waiting in self.leading.waitingFetches { next = min(next, waiting.deadline) }
    return next
  }

  // MARK: Appending

  mutating func propose(_ payload: PayloadID, _ count: Int64, _ term: Term) {
    guard self.role == .leader, term == self.term else { return self.effects.append(.refuseProposal(payload, .notLeaderOrFollower)) }
    guard count > 0 else { return self.effects.append(.refuseProposal(payload, .invalidRequest)) }
    guard self.log.endIndex + count - self.highWatermark <= self.config.uncommittedEntriesMax else {
      return self.effects.append(.refuseProposal(payload, .throttlingQuotaExceeded))
    }
    self.append(count, controls: [], .proposed(payload, term: self.term))
  }

  /// Appends control entries of this term. Voters are in force at once.
  mutating func append(_ controls: [ControlEntry]) {
    let start = self.log.endIndex
    let placed = controls.enumerated().map { PlacedControl(index: start + Int64($0), entry: $1) }
    self.append(Int64(controls.count), controls: placed, .controls(controls, term: self.term))
    guard placed.contains(where: { if case .voters = $0.entry { true } else { false } }) else { return }
    self.trace(.votersChanged(self.log.voters, index: self.log.voterHistory.latestIndex))
    self.refreshVoters()
  }

  private mutating func append(_ count: Int64, controls: [PlacedControl], _ content: LogAppend.Content) {
    let start = self.log.endIndex
    self.log.append(count: count, term: self.term, controls: controls)
    self.effects.append(.append(LogAppend(token: self.beginWrite(), start: start, end: self.log.endIndex, content: content)))
    if self.isMutated(.countsUnsynced) { self.advanceHighWatermark() }
  }

  // MARK: Committing

  /// Whether an entry of this leader's term is committed, and with it all before it (Raft, section 5.4.2).
  var termIsEstablished: Bool { self.highWatermark > self.leading.startIndex }

  /// Moves the high watermark to what a majority of the voters has on disk, if that reaches into this term.
  mutating func advanceHighWatermark() {
    var ends = self.leading.voters.map { $0.endIndex ?? .zero }
    if self.isVoter { ends.append(self.isMutated(.countsUnsynced) ? self.log.endIndex : self.log.durableEnd) }
    if self.isMutated(.countsObservers) { ends += self.leading.observers.map { $0.endIndex ?? .zero } }
    let majority = self.log.voters.majority
    guard ends.count >= majority else { return }
    ends.sort(by: >)
    let index = min(ends[majority - 1], self.log.endIndex)
    guard index > self.leading.startIndex || self.isMutated(.commitsEarlierTerms), index > self.highWatermark else { return }
    self.moveHighWatermark(to: index)
    self.completeChange()
  }

  mutating func moveHighWatermark(to index: LogIndex) {
    guard index > self.highWatermark else { return }
    self.highWatermark = index
    self.effects.append(.advanceHighWatermark(to: index))
  }
}
