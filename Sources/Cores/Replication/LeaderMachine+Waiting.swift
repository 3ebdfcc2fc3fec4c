import Base
import Model

// Who waits for what, and the high watermark that most of them wait for.
extension LeaderMachine {
  // MARK: - The high watermark

  /// The end of what every replica that may count holds durably.
  private var committableOffset: Offset {
    var durability = self.settings.flushPolicy.durability
    if self.mutant == .countsUnflushed { durability = .written }
    var end = self.log.durableEnd(durability)
    for follower in self.followers where follower.durableEnd < end {
      if self.mutant == .ignoresProposedReplicas, !follower.isInSync { continue }
      if self.mutant == .shrinksBeforeCommitted, self.pending != nil, !follower.isProposed { continue }
      if follower.countsForHighWatermark { end = follower.durableEnd }
    }
    return end
  }

  mutating func advanceHighWatermark(_ now: Instant, _ lease: BrokerLease, into effects: inout [Effect]) {
    let offset = self.committableOffset
    guard self.resignation == nil, offset > self.log.highWatermark else { return }
    if self.isUnderMinInSync, self.mutant != .ignoresMinInSync { return }
    guard self.holds(lease, at: now) else { return self.awaitLease(into: &effects) }
    self.log.highWatermark = offset
    effects.append(.highWatermarkAdvanced(to: offset))
    self.completeCommits(upTo: offset, into: &effects)
    self.wakeReaders(into: &effects)
    if self.mutant != .withholdsHighWatermark {
      // Followers serve consumers too, and one of them leads next: they hear of it without waiting for new records.
      for index in self.followers.indices {
        let follower = self.followers[index]
        if follower.parkedAt != nil, follower.sentHighWatermark < offset { self.wakeFollower(index, into: &effects) }
      }
    }
  }

  func holds(_ lease: BrokerLease, at now: Instant) -> Bool { lease.isLive(at: now) || self.mutant == .forgetsLease }

  private mutating func awaitLease(into effects: inout [Effect]) {
    if self.isAwaitingLease { return }
    self.isAwaitingLease = true
    effects.append(.trace(.leaseEnded(highWatermark: self.log.highWatermark)))
    effects.append(.awaitLease)
  }

  // MARK: - Produces

  mutating func awaitCommit(
    _ token: Token, _ requiredOffset: Offset, _ now: Instant, _ lease: BrokerLease, into effects: inout [Effect]
  ) {
    if let resignation { return effects.append(.fail(token, resignation)) }
    if self.mutant == .acknowledgesEarly { return effects.append(.acknowledge(token)) }
    if requiredOffset <= self.log.highWatermark {
      // What was committed stays committed, but whether we still may say so is another matter.
      return effects.append(self.holds(lease, at: now) ? .acknowledge(token) : .fail(token, .notLeaderOrFollower))
    }
    if self.isUnderMinInSync, self.mutant != .ignoresMinInSync { return effects.append(.fail(token, .notEnoughReplicasAfterAppend)) }
    // Duplicates wait for the offset of their first copy, which may lie below those that wait already.
    var place = self.commits.endIndex
    while place > 0, self.commits[place - 1].offset > requiredOffset { place -= 1 }
    self.commits.insert(WaitingOffset(token: token, offset: requiredOffset), at: place)
  }

  private mutating func completeCommits(upTo offset: Offset, into effects: inout [Effect]) {
    var ready = 0
    while ready < self.commits.count, self.commits[ready].offset <= offset {
      effects.append(.acknowledge(self.commits[ready].token))
      ready += 1
    }
    // Mostly all of them: then the array keeps its place without moving anything.
    if ready == self.commits.count { self.commits.removeAll(keepingCapacity: true) } else { self.commits.removeFirst(ready) }
  }

  /// Called when the ISR may have changed. Kafka lets a produce that was appended wait for its timeout; here it hears at once.
  mutating func noteMinInSync(into effects: inout [Effect]) {
    let isUnder = self.isUnderMinInSync
    if isUnder, !self.wasUnderMinInSync {
      effects.append(.trace(.underMinInSync(count: self.inSyncCount, min: self.minInSyncReplicas)))
      if self.mutant != .ignoresMinInSync {
        for waiting in self.commits { effects.append(.fail(waiting.token, .notEnoughReplicasAfterAppend)) }
        self.commits.removeAll()
      }
    }
    self.wasUnderMinInSync = isUnder
  }

  // MARK: - Fetches

  mutating func awaitFetch(_ token: Token, _ offset: Offset, _ seesUncommitted: Bool, into effects: inout [Effect]) {
    if self.resignation != nil || offset < self.readableEnd(seesUncommitted) || offset < self.log.logStartOffset {
      effects.append(.wake(token))
    } else {
      self.fetches.append(WaitingFetch(token: token, offset: offset, seesUncommitted: seesUncommitted))
    }
  }

  mutating func awaitFollowerFetch(_ token: Token, _ node: NodeID, _ offset: Offset, into effects: inout [Effect]) {
    guard self.resignation == nil, let index = self.index(of: node), offset >= self.log.logStartOffset, offset >= self.log.logEndOffset,
      !self.owesOffsets(to: node)
    else { return effects.append(.wake(token)) }
    if self.followers[index].parkedAt != nil { self.wakeFollower(index, into: &effects) }
    self.followers[index].parkedAt = offset
    self.parked.append(ParkedFetch(token: token, node: node))
  }

  mutating func cancelFetch(_ token: Token) {
    // Few wait on one partition; the order among them carries no meaning, so the last one fills the gap.
    if let place = self.fetches.firstIndex(where: { $0.token == token }) {
      self.fetches.swapAt(place, self.fetches.endIndex - 1)
      self.fetches.removeLast()
    } else if let place = self.parked.firstIndex(where: { $0.token == token }) {
      let parked = self.parked.remove(at: place)
      if let index = self.index(of: parked.node) { self.followers[index].parkedAt = nil }
    }
  }

  func readableEnd(_ seesUncommitted: Bool) -> Offset { seesUncommitted ? self.log.highWatermark : self.lastStableOffset }

  mutating func wakeReaders(into effects: inout [Effect]) {
    let (highWatermark, lastStable) = (self.log.highWatermark, self.lastStableOffset)
    self.wakeFetches(into: &effects) { $0.offset < ($0.seesUncommitted ? highWatermark : lastStable) }
  }

  mutating func wakeFetches(into effects: inout [Effect], where isReady: (WaitingFetch) -> Bool) {
    if self.fetches.isEmpty { return }
    for waiting in self.fetches where isReady(waiting) { effects.append(.wake(waiting.token)) }
    self.fetches.removeAll(where: isReady)
  }

  mutating func wakeFollowers(into effects: inout [Effect], where isReady: (Offset) -> Bool) {
    for index in self.followers.indices {
      if let offset = self.followers[index].parkedAt, isReady(offset) { self.wakeFollower(index, into: &effects) }
    }
  }

  mutating func wakeFollower(_ index: Int, into effects: inout [Effect]) {
    self.followers[index].parkedAt = nil
    let node = self.followers[index].node
    for place in self.parked.indices where self.parked[place].node == node {
      effects.append(.wake(self.parked[place].token))
      // Their order means nothing, so the last one fills the gap.
      self.parked.swapAt(place, self.parked.endIndex - 1)
      self.parked.removeLast()
      return
    }
  }

  mutating func wakeAll(into effects: inout [Effect]) {
    self.wakeFetches(into: &effects) { _ in true }
    self.wakeFollowers(into: &effects) { _ in true }
  }

  // MARK: - Deletions

  mutating func awaitLowWatermark(_ token: Token, _ offset: Offset, into effects: inout [Effect]) {
    if let resignation { return effects.append(.fail(token, resignation)) }
    if self.lowWatermark >= offset { return effects.append(.acknowledge(token)) }
    self.deletions.append(WaitingOffset(token: token, offset: offset))
  }

  mutating func completeDeletions(into effects: inout [Effect]) {
    if self.deletions.isEmpty { return }
    let lowWatermark = self.lowWatermark
    for waiting in self.deletions where waiting.offset <= lowWatermark { effects.append(.acknowledge(waiting.token)) }
    self.deletions.removeAll { $0.offset <= lowWatermark }
  }
}
