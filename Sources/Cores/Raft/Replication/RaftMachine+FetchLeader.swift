import Base
import Election
import Model

// Replication as the leader sees it: who fetched up to where, and what it is told.
extension RaftMachine {
  // MARK: Whom the leader keeps track of

  /// Makes the list of voters anew after their set changed, with what is known of them already.
  mutating func refreshVoters() {
    let known = self.leading.voters + self.leading.observers
    let voters = self.otherVoters
    self.leading.voters = voters.map { voter in
      if var progress = known.first(where: { voter.key.covers($0.replica) }) {
        progress.announceAt = max(progress.announceAt, self.now)
        return progress
      }
      var progress = ReplicaProgress(replica: voter.key, heard: self.now)
      progress.announceAt = self.now
      return progress
    }
    self.leading.observers = known.filter { progress in
      progress.hasFetched && !voters.contains { $0.key.covers(progress.replica) }
    }
  }

  /// Notes that `replica` fetched. A `position` that agrees with the log says what it has on disk.
  mutating func note(_ replica: ReplicaKey, at position: LogIndex?) {
    let end = self.log.endIndex
    let now = self.now
    var wentBack: LogIndex?
    func note(in progress: inout ReplicaProgress) {
      // A voter from the configuration is known by its node alone until it fetches.
      progress.lastHeard = now
      progress.hasFetched = true
      progress.directory = replica.directory
      guard let position else { return }
      if let before = progress.endIndex, before > position { wentBack = before }
      progress.endIndex = position
      // To have now what the leader had at the fetch before is to keep pace with it.
      if position >= end || (position >= progress.leaderEndAtFetch && progress.leaderEndAtFetch > .zero) { progress.lastCaughtUp = now }
      progress.leaderEndAtFetch = end
    }
    if self.log.voters.contains(replica), let place = self.leading.voters.firstIndex(where: { $0.replica.node == replica.node }) {
      note(in: &self.leading.voters[place])
    } else if let place = self.leading.observers.firstIndex(where: { $0.replica == replica }) {
      note(in: &self.leading.observers[place])
    } else {
      self.leading.observers.removeAll { self.now >= $0.lastHeard + self.config.observerSession }
      guard self.leading.observers.count < self.config.observersMax else { return }
      var progress = ReplicaProgress(replica: replica, heard: self.now)
      note(in: &progress)
      self.leading.observers.append(progress)
    }
    if let wentBack, let position { self.trace(.progressWentBack(replica, from: wentBack, to: position)) }
  }

  /// The voters to hand over to, the most caught up first.
  var successors: [ReplicaKey] {
    self.leading.voters.sorted { ($0.endIndex ?? LogIndex(-1), $1.replica) > ($1.endIndex ?? LogIndex(-1), $0.replica) }.map(\.replica)
  }

  // MARK: Fetches

  mutating func handleFetch(_ fetch: FetchRequest, _ request: RequestID) {
    if let (error, why) = self.refusal(of: fetch) { return self.refuse(request, .fetch, error, why) }
    if fetch.replica.node == .none {
      // Whoever does not say who it is reads and is not kept track of.
      return self.answerFetch(fetch, request, mayWait: true)
    }
    let position = self.position(of: fetch)
    // A replica asks for one thing at a time: what it asked for before is of no interest to it any more.
    self.answerWaitingFetches { $0.replica == fetch.replica }
    self.note(fetch.replica, at: position == .valid ? fetch.position.index : nil)
    if self.isMutated(.confirmsReadsByFetch) { self.confirmRound(by: fetch.replica) }
    if position == .valid { self.advanceHighWatermark() }
    // The fetch of a voter may have completed this leader's own removal.
    guard self.role == .leader else { return self.refuse(request, .fetch, .notLeaderOrFollower, .notLeading) }
    self.answerFetch(fetch, request, mayWait: true)
  }

  private func refusal(of fetch: FetchRequest) -> (ErrorCode, RequestRefusal)? {
    if self.isForeign(fetch.clusterID) { return (.inconsistentClusterId, .otherCluster) }
    if fetch.waitMax < .zero || fetch.position.index < .zero || fetch.position.term < .zero || fetch.position.term > fetch.term {
      return (.invalidRequest, .malformed)
    }
    if let refusal = self.leaderRefusal(fetch.term) { return refusal }
    if fetch.replica.node == self.config.local.node { return (.invalidRequest, .forged) }
    // Entries of this term come from here, so nobody can have one that is not here.
    if fetch.position.term == self.term, fetch.position.index > self.log.endIndex { return (.invalidRequest, .forged) }
    return nil
  }

  /// Why a request that only the leader of `term` can serve is not served here.
  func leaderRefusal(_ term: Term) -> (ErrorCode, RequestRefusal)? {
    if term < self.term { return (.fencedLeaderEpoch, .staleTerm) }
    if term > self.term { return (.unknownLeaderEpoch, .unknownTerm) }
    return self.role == .leader ? nil : (.notLeaderOrFollower, .notLeading)
  }

  private func position(of fetch: FetchRequest) -> FetchPosition {
    if self.isMutated(.skipsLogMatching), fetch.position.index >= self.log.startIndex, fetch.position.index <= self.log.endIndex {
      return .valid
    }
    return self.log.validate(fetch.position)
  }

  /// Answers if there is something to tell, or else lets the fetch wait.
  private mutating func answerFetch(_ fetch: FetchRequest, _ request: RequestID, mayWait: Bool) {
    let content: FetchAnswer<EntryRange>.Content
    switch self.position(of: fetch) {
    case .diverging(let end): content = .diverging(end)
    case .snapshot(let id): content = .snapshot(id)
    case .valid where fetch.position.index < self.log.endIndex:
      content = .entries(EntryRange(start: fetch.position.index, end: self.log.endIndex, bytesMax: fetch.bytesMax))
    case .valid:
      let isNews = fetch.highWatermark.map { $0 < self.highWatermark } ?? false
      if mayWait, !isNews, fetch.waitMax > .zero, self.leading.waitingFetches.count < self.config.waitingFetchesMax {
        let deadline = self.now + min(fetch.waitMax, self.config.fetchWaitMax)
        return self.leading.waitingFetches.append(WaitingFetch(request: request, fetch: fetch, deadline: deadline))
      }
      content = .nothing
    }
    let answer = FetchAnswer(highWatermark: self.highWatermark, logStart: self.log.startIndex, content: content)
    self.answer(request, .fetch(answer))
  }

  private mutating func answerWaitingFetches(where isReady: (FetchRequest) -> Bool) {
    var place = 0
    while place < self.leading.waitingFetches.count {
      let waiting = self.leading.waitingFetches[place]
      guard isReady(waiting.fetch) || self.now >= waiting.deadline else {
        place += 1
        continue
      }
      self.leading.waitingFetches.remove(at: place)
      self.answerFetch(waiting.fetch, waiting.request, mayWait: false)
    }
  }

  /// Answers all for which there is something by now.
  mutating func wakeFetches() {
    let (end, highWatermark) = (self.log.endIndex, self.highWatermark)
    self.answerWaitingFetches { fetch in
      fetch.position.index < end || fetch.highWatermark.map { $0 < highWatermark } ?? false
    }
  }

  // MARK: Announcements

  /// Makes the leader known to voters that do not fetch, until they do.
  mutating func announce() {
    for place in self.leading.voters.indices {
      let progress = self.leading.voters[place]
      let silence = SilenceDetector(timeout: self.config.fetchTimeout / 2, heard: progress.lastHeard)
      guard !progress.hasFetched || silence.isSuspected(at: self.now), progress.announceCall == nil, self.now >= progress.announceAt,
        let destination = self.destination(ofVoter: progress.replica)
      else { continue }
      let begin = self.beginQuorum(progress.replica)
      self.leading.voters[place].announceCall = self.call(destination, .announce(progress.replica), .beginQuorum(begin))
    }
  }

  func destination(ofVoter replica: ReplicaKey) -> Destination? { self.log.voters[replica.node].flatMap { self.destination(of: $0) } }

  func beginQuorum(_ replica: ReplicaKey) -> BeginQuorumRequest {
    BeginQuorumRequest(
      clusterID: self.config.clusterID, voter: replica, term: self.term, leader: self.config.local.node, endpoints: self.config.endpoints)
  }

  mutating func handleAnnounced(_ answer: IncomingAnswer, _ voter: ReplicaKey, _ call: PendingCall) {
    guard answer.status.error == .none else {
      self.trace(.answerIgnored(call.kind, .error(answer.status.error)))
      return self.fail(call)
    }
    guard let place = self.leading.voters.firstIndex(where: { $0.replica == voter }) else { return }
    self.leading.voters[place].announceCall = nil
    self.leading.voters[place].announceAt = self.now + self.config.fetchTimeout / 2
  }

  /// When the next announcement is due.
  var announceDeadline: Instant {
    self.leading.voters.reduce(.distantFuture) { next, progress in
      guard progress.announceCall == nil, self.destination(ofVoter: progress.replica) != nil else { return next }
      let silentAt = progress.hasFetched ? progress.lastHeard + self.config.fetchTimeout / 2 : .origin
      return min(next, max(progress.announceAt, silentAt))
    }
  }
}
