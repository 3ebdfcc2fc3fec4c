import Base
import Election
import Model

// Replication as the follower sees it: one fetch at a time, and none before what came by the last is on disk.
extension RaftMachine {
  var isWriting: Bool { !self.pendingWrites.isEmpty && !self.isMutated(.countsUnsynced) }
  private var mayFetch: Bool { self.following.call == nil && self.installing == nil && !self.isWriting }

  var followerDeadline: Instant {
    var next = self.following.silence.deadline
    if let standAt = self.following.standAt { next = min(next, standAt) }
    if self.mayFetch { next = min(next, self.following.askAt) }
    if self.following.joinCall == nil, self.wantedChange != nil { next = min(next, self.following.joinAt) }
    return next
  }

  mutating func advanceFollower() {
    if let standAt = self.following.standAt, self.now >= standAt {
      let leader = self.following.leader
      guard self.mayStand else { return self.becomeUnattached(self.term, .leaderSilent) }
      // The leader itself wants this replica to be elected, so nobody need be asked first whether an election does harm
      // (Raft dissertation, section 3.10).
      let cause = self.following.leaderResigned ? ElectionCause.leaderResigned(leader) : .leaderGone(leader)
      return self.following.isFirstSuccessor ? self.becomeCandidate(cause) : self.becomePreCandidate(cause)
    }
    if self.following.silence.isSuspected(at: self.now) {
      let leader = self.following.leader
      return self.mayStand ? self.becomePreCandidate(.leaderSilent(leader)) : self.becomeUnattached(self.term, .leaderSilent)
    }
    if self.mayFetch, self.now >= self.following.askAt { self.sendFetch() }
    if self.following.joinCall == nil, self.now >= self.following.joinAt, let change = self.wantedChange { self.sendChange(change) }
  }

  var leaderDestination: Destination { Destination(node: self.following.leader, address: self.following.address) }

  func fetchRequest(by replica: ReplicaKey, waitMax: Duration) -> FetchRequest {
    FetchRequest(
      clusterID: self.config.clusterID, replica: replica, term: self.term, position: self.log.end,
      highWatermark: self.highWatermark, waitMax: waitMax, bytesMax: self.config.fetchBytesMax)
  }

  private mutating func sendFetch() {
    if let download = self.following.download {
      let fetch = FetchSnapshotRequest(
        clusterID: self.config.clusterID, replica: self.config.local, term: self.term, snapshot: download.id,
        position: download.position, bytesMax: self.config.snapshotChunkBytesMax)
      self.following.call = self.call(self.leaderDestination, .fetchSnapshot, .fetchSnapshot(fetch))
    } else {
      let fetch = self.fetchRequest(by: self.config.local, waitMax: self.config.fetchWaitMax)
      self.following.call = self.call(self.leaderDestination, .fetch, .fetch(fetch))
    }
  }

  mutating func hearLeader() {
    self.following.hasHeard = true
    self.following.hasRetriedAtOnce = false
    if self.following.leaderIsGone, !self.following.leaderResigned {
      self.following.leaderIsGone = false
      self.following.standAt = nil
    }
    self.following.silence.hear(at: self.now)
  }

  /// What a fetch that failed says of the leader. A connection that broke proves nothing, and is a reason to ask at once. Where nobody
  /// listens any more the silence need not be waited out: this replica stands, after a pause in which another may come before it.
  mutating func noteFailedFetch(_ failure: CallFailure) {
    switch failure {
    case .unanswered: break
    case .broken:
      if self.following.hasRetriedAtOnce { return }
      self.following.hasRetriedAtOnce = true
      self.following.askAt = self.now
    case .refused:
      if self.following.leaderIsGone || self.following.leaderResigned { return }
      self.following.leaderIsGone = true
      let backoff = self.config.retryBackoff
      // An observer does not stand: it looks for the next leader.
      self.following.standAt = self.mayStand ? self.now + backoff / 4 + .drawn(below: backoff, using: &self.generator) : self.now
    }
  }

  // MARK: Answers

  mutating func handleFetchAnswer(_ answer: IncomingAnswer, _ call: PendingCall) {
    guard answer.status.error == .none else { return self.handleFetchError(answer.status, call) }
    guard case .fetch(let fetch) = answer.body, let accepted = self.accept(fetch) else {
      self.trace(.answerIgnored(call.kind, .malformed))
      return self.fail(call)
    }
    self.hearLeader()
    self.following.call = nil
    self.following.askAt = self.now
    if !accepted {
      self.trace(.answerIgnored(call.kind, .contradictsCommitted))
      self.fail(call)
    }
  }

  mutating func handleFetchError(_ status: QuorumStatus, _ call: PendingCall) {
    self.trace(.answerIgnored(call.kind, .error(status.error)))
    self.fail(call)
    // The one that led this term says that it leads no more, and a term is led once.
    if status.error == .notLeaderOrFollower, status.term == self.term, status.leader == nil { self.loseLeader(successors: []) }
  }

  /// Nil if the answer makes no sense; false if it asks to give up what is committed. The state is as before then.
  private mutating func accept(_ fetch: FetchAnswer<EntryRun>) -> Bool? {
    switch fetch.content {
    case .nothing: self.learnHighWatermark(fetch.highWatermark)
    case .entries(let run):
      guard run.isWellFormed, run.start == self.log.endIndex, run.terms[0].term >= self.log.lastTerm,
        run.terms[run.terms.count - 1].term <= self.term, !self.repeatsVoters(run)
      else { return nil }
      self.log.append(run)
      let write = LogAppend(token: self.beginWrite(), start: run.start, end: run.end, content: .fetched(run.payload))
      self.effects.append(.append(write))
      for control in run.controls {
        if case .voters(let voters) = control.entry { self.trace(.votersChanged(voters, index: control.index)) }
      }
      self.learnHighWatermark(fetch.highWatermark)
    case .diverging(let end):
      guard end.index >= .zero, end.term >= .zero, end.term <= self.term else { return nil }
      let target = self.log.truncationPoint(for: end)
      guard target < self.log.endIndex else { return nil }
      guard target >= (self.isMutated(.truncatesCommitted) ? self.log.startIndex : self.highWatermark) else { return false }
      // Whatever the leader has committed, it is not known to be here until the logs agree again.
      self.following.leaderHighWatermark = .zero
      self.trace(.truncated(to: target, toldBy: end))
      self.truncateLog(to: target)
    case .snapshot(let id):
      guard id.term > .zero, id.term <= self.term, id.index > .zero else { return nil }
      guard id.index > self.highWatermark else { return false }
      self.following.leaderHighWatermark = .zero
      self.trace(.snapshotDownloadBegan(id))
      self.following.download = SnapshotDownload(id: id)
    }
    return true
  }

  /// Whether a run has two voter sets or versions at places where the history cannot take them; a leader appends one of each at a time.
  private func repeatsVoters(_ run: EntryRun) -> Bool {
    run.controls.contains { control in
      switch control.entry {
      case .leaderChange: false
      case .voters: control.index <= self.log.voterHistory.latestIndex
      case .kraftVersion: control.index <= self.log.versionHistory.latestIndex
      }
    }
  }

  // MARK: The high watermark

  /// The leader's, as far as this log reaches on disk.
  private mutating func learnHighWatermark(_ index: LogIndex) {
    self.following.leaderHighWatermark = max(self.following.leaderHighWatermark, index)
    self.followHighWatermark()
  }

  mutating func followHighWatermark() {
    self.moveHighWatermark(to: min(self.following.leaderHighWatermark, self.log.durableEnd))
  }
}
