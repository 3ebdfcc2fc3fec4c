import Base
import Election
import Model

// Linearizable reads (Raft, section 8): the leader makes sure that it still was the leader after the read was asked for.
//
// It takes a message from the leader that each of a majority answers. A fetch that arrives after the read will not do: it may have been
// sent before, by a voter that has elected another leader since. So a round of BeginQuorumEpoch goes to all voters; an answer without
// error says that the voter was in this term when it got the request, and hence that no newer leader had its vote then.
extension RaftMachine {
  mutating func beginRead(_ id: ReadID) {
    guard self.role == .leader else { return self.effects.append(.refuseRead(id, .notLeaderOrFollower)) }
    guard self.leading.reads.count < self.config.waitingReadsMax else {
      return self.effects.append(.refuseRead(id, .throttlingQuotaExceeded))
    }
    // Until an entry of the term is committed, the high watermark may lack what earlier leaders committed.
    let index = max(self.highWatermark, self.leading.startIndex + 1)
    if self.isMutated(.readsUnconfirmed) { return self.effects.append(.confirmRead(id, index: index)) }
    if !self.leading.roundIsOpen { self.openRound() }
    // A round that is under way began before this read, unless it began just now.
    let round = self.leading.reads.isEmpty ? self.leading.round : self.leading.round + 1
    self.leading.reads.append(WaitingRead(id: id, index: index, round: round, deadline: self.now + self.config.requestTimeout))
  }

  private mutating func openRound() {
    self.leading.round += 1
    self.leading.roundIsOpen = true
    for place in self.leading.voters.indices {
      self.leading.voters[place].confirmCall = nil
      self.leading.voters[place].confirmAt = self.now
    }
  }

  private var roundIsConfirmed: Bool {
    let round = self.leading.round
    return self.leading.voters.count { $0.confirmedRound == round } + (self.isVoter ? 1 : 0) >= self.log.voters.majority
  }

  mutating func handleConfirmed(_ answer: IncomingAnswer, _ voter: ReplicaKey, _ round: UInt64, _ call: PendingCall) {
    guard answer.status.error == .none else {
      self.trace(.answerIgnored(call.kind, .error(answer.status.error)))
      return self.fail(call)
    }
    guard let place = self.leading.voters.firstIndex(where: { $0.replica == voter }) else { return }
    self.leading.voters[place].confirmedRound = max(self.leading.voters[place].confirmedRound, round)
    if self.leading.round == round { self.leading.voters[place].confirmCall = nil }
  }

  /// Only a mutant's.
  mutating func confirmRound(by replica: ReplicaKey) {
    for place in self.leading.voters.indices where self.leading.voters[place].replica.covers(replica) {
      self.leading.voters[place].confirmedRound = self.leading.round
    }
  }

  // MARK: Time

  var readDeadline: Instant {
    var next = Instant.distantFuture
    for read in self.leading.reads { next = min(next, read.deadline) }
    guard self.leading.roundIsOpen else { return next }
    for progress in self.leading.voters where self.isToConfirm(progress) { next = min(next, progress.confirmAt) }
    return next
  }

  private func isToConfirm(_ progress: ReplicaProgress) -> Bool {
    progress.confirmedRound < self.leading.round && progress.confirmCall == nil && self.destination(ofVoter: progress.replica) != nil
  }

  mutating func advanceReads() {
    guard !self.leading.reads.isEmpty || self.leading.roundIsOpen else { return }
    if self.leading.roundIsOpen, self.roundIsConfirmed { self.leading.roundIsOpen = false }
    let confirmed = self.leading.roundIsOpen ? self.leading.round - 1 : self.leading.round
    for read in self.leading.reads {
      if read.round <= confirmed, read.index <= self.highWatermark {
        self.effects.append(.confirmRead(read.id, index: read.index))
      } else if self.now >= read.deadline {
        self.effects.append(.refuseRead(read.id, .requestTimedOut))
      }
    }
    self.leading.reads.removeAll { ($0.round <= confirmed && $0.index <= self.highWatermark) || self.now >= $0.deadline }
    if self.leading.reads.isEmpty { return self.leading.roundIsOpen = false }
    if !self.leading.roundIsOpen, self.leading.reads.contains(where: { $0.round > confirmed }) {
      self.openRound()
      // With no other voter to ask, this one is a majority.
      if self.roundIsConfirmed { return self.advanceReads() }
    }
    guard self.leading.roundIsOpen else { return }
    for place in self.leading.voters.indices {
      let progress = self.leading.voters[place]
      guard self.isToConfirm(progress), self.now >= progress.confirmAt, let destination = self.destination(ofVoter: progress.replica)
      else { continue }
      self.leading.voters[place].confirmCall = self.call(
        destination, .confirm(progress.replica, round: self.leading.round), .beginQuorum(self.beginQuorum(progress.replica)))
    }
  }
}
