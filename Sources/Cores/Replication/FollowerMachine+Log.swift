import Base
package import Model

/// The leader's answer to a follower's fetch, of one partition.
package struct FetchAnswer: Hashable, Sendable {
  /// The position that was asked from.
  package var position: FetchPosition
  package var error: ErrorCode
  package var highWatermark: Offset
  package var logStartOffset: Offset
  /// The records that came: all of them whole batches. Nil if none did.
  package var records: Records?
  /// The leader's log parts from ours: the end of the newest epoch it knows that is not newer than our last.
  package var divergence: Divergence?

  package struct Records: Hashable, Sendable {
    package var baseOffset: Offset
    /// Exclusive.
    package var endOffset: Offset
    package init(baseOffset: Offset, endOffset: Offset) { (self.baseOffset, self.endOffset) = (baseOffset, endOffset) }
  }

  package struct Divergence: Hashable, Sendable {
    package var leaderEnd: EpochEnd
    /// The same of our own log: the newest epoch not newer than the leader's, and its end. Nil if we have none such.
    package var ownEnd: EpochEnd?
    package init(leaderEnd: EpochEnd, ownEnd: EpochEnd?) { (self.leaderEnd, self.ownEnd) = (leaderEnd, ownEnd) }
  }

  package init(
    position: FetchPosition, error: ErrorCode = .none, highWatermark: Offset = .unknown, logStartOffset: Offset = .unknown,
    records: Records? = nil, divergence: Divergence? = nil
  ) {
    self.position = position
    self.error = error
    self.highWatermark = highWatermark
    self.logStartOffset = logStartOffset
    self.records = records
    self.divergence = divergence
  }
}

/// The leader's answer to ListOffsets for its earliest and latest offset.
package struct LeaderOffsets: Hashable, Sendable {
  /// The epoch that was named in the request.
  package var leaderEpoch: LeaderEpoch
  package var error: ErrorCode
  package var logStartOffset: Offset
  package var logEndOffset: Offset
  package init(leaderEpoch: LeaderEpoch, error: ErrorCode = .none, logStartOffset: Offset, logEndOffset: Offset) {
    self.leaderEpoch = leaderEpoch
    self.error = error
    self.logStartOffset = logStartOffset
    self.logEndOffset = logEndOffset
  }
}

// What the leader's answers do to the log.
extension FollowerMachine {
  // MARK: - Answers

  mutating func conclude(_ answer: FetchAnswer, _ now: Instant, into effects: inout [Effect]) {
    // An answer to a request of another epoch, or from before a truncation.
    guard self.phase == .fetching else { return }
    var asked = answer.position
    asked.logStartOffset = self.log.logStartOffset
    // Whoever fetches for us holds the partition back until it hears of a position again.
    guard asked == self.position else { return self.resume(into: &effects) }
    guard answer.error == .none else { return self.refused(answer.error, now, into: &effects) }
    self.failures = 0
    if let divergence = answer.divergence { return self.cut(divergence, into: &effects) }
    self.leaderHighWatermark = answer.highWatermark
    self.advanceHighWatermark(into: &effects)
    if answer.logStartOffset > self.log.logStartOffset, self.log.highWatermark > self.log.logStartOffset {
      effects.append(.advanceLogStart(to: min(answer.logStartOffset, self.log.highWatermark)))
    }
    guard let records = answer.records else { return self.resume(into: &effects) }
    guard records.baseOffset >= self.log.logEndOffset, records.endOffset > records.baseOffset else {
      return self.backOff(.corruptMessage, now, into: &effects)
    }
    effects.append(.append)
  }

  private mutating func refused(_ error: ErrorCode, _ now: Instant, into effects: inout [Effect]) {
    switch error {
    case .fencedLeaderEpoch:
      // The leader knows a newer epoch than we do; the metadata log is about to tell it.
      self.phase = .idle
      effects.append(.stopFetching)
      effects.append(.trace(.stoppedFollowing(error)))
    case .offsetOutOfRange:
      self.phase = .askingOffsets
      effects.append(.stopFetching)
      effects.append(.askLeaderOffsets(self.epoch, notBefore: nil))
    default: self.backOff(error, now, into: &effects)
    }
  }

  mutating func backOff(_ error: ErrorCode, _ now: Instant, into effects: inout [Effect]) {
    guard self.phase == .fetching || self.phase == .askingOffsets else { return }
    let wait = min(self.settings.backoff * (1 << min(self.failures, 16)), self.settings.backoffMax)
    self.failures += 1
    effects.append(.trace(.fetchFailed(error, retryAfter: wait)))
    if self.phase == .askingOffsets {
      effects.append(.askLeaderOffsets(self.epoch, notBefore: now + wait))
    } else {
      effects.append(.fetch(self.position, notBefore: now + wait))
    }
  }

  // MARK: - Growing

  mutating func append(to endOffset: Offset, _ lastEpoch: LeaderEpoch, into effects: inout [Effect]) {
    invariant(endOffset >= self.log.logEndOffset, "appended to \(endOffset), before the log's end \(self.log.logEndOffset)")
    self.log.logEndOffset = endOffset
    self.lastEpoch = lastEpoch
    self.requestFlushIfNeeded(into: &effects)
    self.advanceHighWatermark(into: &effects)
    self.resume(into: &effects)
  }

  mutating func flush(upTo offset: Offset, into effects: inout [Effect]) {
    let wasDurable = self.durableEnd == self.log.logEndOffset
    self.log.flushedOffset = min(max(self.log.flushedOffset, offset), self.log.logEndOffset)
    self.advanceHighWatermark(into: &effects)
    if !wasDurable { self.resume(into: &effects) }
  }

  mutating func requestFlushIfNeeded(into effects: inout [Effect]) {
    let unflushed = self.log.logEndOffset - self.log.flushedOffset
    guard !self.flushIsRequested, unflushed > 0 else { return }
    let policy = self.settings.flushPolicy
    guard policy.durability == .flushed || unflushed >= policy.unflushedRecordsMax else { return }
    self.flushIsRequested = true
    effects.append(.requestFlush)
  }

  mutating func advanceHighWatermark(into effects: inout [Effect]) {
    // What we do not hold durably a crash could take from a consumer that has read it here.
    let offset = min(self.leaderHighWatermark, self.durableEnd)
    guard offset > self.log.highWatermark else { return }
    self.log.highWatermark = offset
    effects.append(.highWatermarkAdvanced(to: offset))
    self.wakeFetches(into: &effects) { $0.offset < offset }
  }

  mutating func advanceLogStart(to offset: Offset, into effects: inout [Effect]) {
    guard offset > self.log.logStartOffset else { return }
    self.log.logStartOffset = offset
    self.log.highWatermark = max(self.log.highWatermark, offset)
    self.wakeFetches(into: &effects) { $0.offset < offset }
    // The leader counts our log start for deletions, so it is told with the next request.
    self.resume(into: &effects)
  }

  // MARK: - Cutting

  /// Cuts to the largest offset that may be common, which the next fetch puts to the test.
  private mutating func cut(_ divergence: FetchAnswer.Divergence, into effects: inout [Effect]) {
    var target = divergence.leaderEnd.endOffset
    if let own = divergence.ownEnd, self.mutant != .truncatesOnce {
      // Where the epochs differ, what follows ours belongs to epochs that the leader has not.
      target = own.epoch == divergence.leaderEnd.epoch ? min(own.endOffset, target) : own.endOffset
    }
    target = min(target, self.log.logEndOffset)
    self.cut(to: target, .divergence(divergence.leaderEnd), isAllowed: false, into: &effects)
  }

  mutating func cut(to offset: Offset, _ cause: ReplicationEvent.TruncationCause, isAllowed: Bool, into effects: inout [Effect]) {
    let target = max(offset, self.log.logStartOffset)
    if offset < self.log.highWatermark, !isAllowed, !self.isRecovering, !self.settings.allowsUncleanTruncation {
      self.phase = .halted(truncationTo: offset)
      self.cutCause = cause
      effects.append(.stopFetching)
      return effects.append(.trace(.refusedTruncation(to: offset, highWatermark: self.log.highWatermark, cause)))
    }
    self.phase = .fetching
    effects.append(.trace(.truncated(from: self.log.logEndOffset, to: target, cause)))
    effects.append(.truncate(to: target))
  }

  mutating func truncate(to endOffset: Offset, _ lastEpoch: LeaderEpoch, into effects: inout [Effect]) {
    invariant(endOffset <= self.log.logEndOffset, "truncated to \(endOffset), beyond the log's end \(self.log.logEndOffset)")
    self.log.logEndOffset = endOffset
    self.log.flushedOffset = min(self.log.flushedOffset, endOffset)
    self.log.highWatermark = min(self.log.highWatermark, endOffset)
    self.lastEpoch = lastEpoch
    if self.mutant == .truncatesOnce { self.lastEpoch = .unknown }
    self.resume(into: &effects)
  }

  // MARK: - Out of range

  /// The fetch offset lies outside the leader's log.
  mutating func compare(_ offsets: LeaderOffsets, _ now: Instant, into effects: inout [Effect]) {
    guard self.phase == .askingOffsets, offsets.leaderEpoch == self.epoch else { return }
    guard offsets.error == .none else { return self.backOff(offsets.error, now, into: &effects) }
    if self.log.logEndOffset < offsets.logStartOffset {
      // The leader deleted what we lack, so nobody needs what we have.
      self.phase = .fetching
      effects.append(.trace(.restarted(at: offsets.logStartOffset, from: self.log.logEndOffset)))
      effects.append(.restart(at: offsets.logStartOffset))
    } else if self.log.logEndOffset > offsets.logEndOffset {
      self.cut(to: offsets.logEndOffset, .beyondLeaderEnd, isAllowed: false, into: &effects)
    } else {
      self.phase = .fetching
      self.resume(into: &effects)
    }
  }

  mutating func restart(at offset: Offset, into effects: inout [Effect]) {
    self.log = LogPositions(logStartOffset: offset, logEndOffset: offset, flushedOffset: offset, highWatermark: offset)
    self.lastEpoch = .unknown
    self.wakeFetches(into: &effects) { $0.offset < offset }
    self.resume(into: &effects)
  }
}
