import Base
package import Model

/// The leader of one partition: which offset is committed, who waits for it, and when the log must be flushed.
///
/// The high watermark is the smallest offset up to which every in-sync replica holds the log in the sense of `FlushPolicy`; consumers
/// read below it and `acks=all` waits for it. It never goes back while one leader leads. Until there are followers the
/// in-sync replicas are the leader alone, so the watermark follows the leader's own progress.
///
/// `Token` names a waiting request; the machine hands it back in an effect exactly once, or never after it was cancelled.
/// The machine orders nothing by it and never hashes it.
///
/// ```
/// logStartOffset <= highWatermark <= durable end of every in-sync replica <= logEndOffset
/// flushedOffset <= logEndOffset
/// ```
package struct LeaderMachine<Token: Equatable & Sendable>: Sendable {
  package enum Input: Sendable {
    /// The first input: what an earlier run left unflushed is to be flushed now, since nothing else may ever ask for it.
    case began
    /// This broker was made leader again, in a newer epoch.
    case becameLeader(LeaderEpoch)
    /// The log grew to `endOffset` (exclusive).
    case appended(endOffset: Offset)
    /// A flush begins; appends from here on need another one.
    case flushBegan
    /// Everything below `offset` was synced.
    case flushed(upTo: Offset)
    /// Records below `offset` were deleted, by retention or by a client.
    case logStartAdvanced(to: Offset)
    /// A produce with `acks=all` is to be told when everything below `requiredOffset` is committed.
    case awaitCommit(Token, requiredOffset: Offset)
    /// A fetch is to be woken when something at or after `offset` is committed.
    case awaitFetch(Token, from: Offset)
    /// The produce gave up waiting.
    case cancelCommit(Token)
    /// The fetch was answered from elsewhere or gave up.
    case cancelFetch(Token)
    /// The flush policy was changed by a config.
    case flushPolicyChanged(FlushPolicy)
    /// This broker no longer leads the partition, or its log failed: all who wait are told so with `error`.
    case resigned(ErrorCode)
  }

  package enum Effect: Equatable, Sendable {
    /// Readers may now see everything below `offset`.
    case highWatermarkAdvanced(to: Offset)
    /// The log should be flushed soon. Given once for all appends before the next `flushBegan`.
    case requestFlush
    /// The produce's records are committed.
    case acknowledge(Token)
    /// The produce will not be committed here.
    case fail(Token, ErrorCode)
    /// The fetch has something to look at: new records, a new log start, or an error.
    case wake(Token)
  }

  private struct WaitingCommit: Sendable { var token: Token, requiredOffset: Offset }
  private struct WaitingFetch: Sendable { var token: Token, offset: Offset }

  package private(set) var epoch: LeaderEpoch
  /// Where the log ended when this epoch began: offsets from here on belong to it.
  package private(set) var epochStartOffset: Offset
  package private(set) var flushPolicy: FlushPolicy
  package private(set) var logStartOffset: Offset
  package private(set) var logEndOffset: Offset
  package private(set) var flushedOffset: Offset
  package private(set) var highWatermark: Offset
  /// Not empty while leading; the leader's own id is always among them.
  package private(set) var inSyncReplicas: [NodeID]
  /// Set once this broker stopped leading; every later wait fails with it.
  package private(set) var resignation: ErrorCode?
  /// Whether a flush was requested that has not begun.
  private var flushIsRequested = false
  /// In the order of `requiredOffset`, since offsets are handed out in order.
  private var commits: [WaitingCommit] = []
  private var fetches: [WaitingFetch] = []

  /// - Parameters:
  ///   - highWatermark: the last checkpointed one; it is moved into what the log can vouch for.
  package init(
    leader: NodeID, epoch: LeaderEpoch, flushPolicy: FlushPolicy,
    logStartOffset: Offset, logEndOffset: Offset, flushedOffset: Offset, highWatermark: Offset
  ) {
    invariant(logStartOffset <= logEndOffset, "log starts at \(logStartOffset) and ends at \(logEndOffset)")
    self.epoch = epoch
    self.flushPolicy = flushPolicy
    self.epochStartOffset = logEndOffset
    self.logStartOffset = logStartOffset
    self.logEndOffset = logEndOffset
    self.flushedOffset = min(flushedOffset, logEndOffset)
    self.inSyncReplicas = [leader]
    self.highWatermark = logStartOffset
    self.highWatermark = max(logStartOffset, min(max(highWatermark, self.committableOffset), logEndOffset))
  }

  /// The last stable offset: with no transaction open it is the high watermark.
  package var lastStableOffset: Offset { self.highWatermark }

  /// Nothing may be read at offsets this broker learnt of from an earlier leader until the watermark has passed them (KIP-207).
  package var isCatchingUp: Bool { self.highWatermark < self.epochStartOffset }

  /// How many requests wait, for limits and tests.
  package var waitingCount: Int { self.commits.count + self.fetches.count }

  /// Whether `acks=all` may be accepted when `min.insync.replicas` is `count`.
  package func hasInSyncReplicas(_ count: Int) -> Bool { self.inSyncReplicas.count >= count }

  package mutating func handle(_ input: Input, into effects: inout [Effect]) {
    defer { self.checkInvariants() }
    switch input {
    case .began: self.requestFlushIfNeeded(into: &effects)
    case .becameLeader(let epoch): self.becomeLeader(epoch, into: &effects)
    case .appended(let endOffset): self.append(to: endOffset, into: &effects)
    case .flushBegan: self.flushIsRequested = false
    case .flushed(let offset):
      // A flush that began before another may end after it.
      self.flushedOffset = min(max(self.flushedOffset, offset), self.logEndOffset)
      self.advanceHighWatermark(into: &effects)
    case .logStartAdvanced(let offset): self.advanceLogStart(to: offset, into: &effects)
    case .awaitCommit(let token, let requiredOffset): self.awaitCommit(token, requiredOffset, into: &effects)
    case .awaitFetch(let token, let offset): self.awaitFetch(token, offset, into: &effects)
    case .cancelCommit(let token): self.commits.removeAll { $0.token == token }
    case .cancelFetch(let token): self.cancelFetch(token)
    case .flushPolicyChanged(let policy):
      self.flushPolicy = policy
      self.requestFlushIfNeeded(into: &effects)
      self.advanceHighWatermark(into: &effects)
    case .resigned(let error): self.resign(error, into: &effects)
    }
  }

  // MARK: - Inputs

  private mutating func becomeLeader(_ epoch: LeaderEpoch, into effects: inout [Effect]) {
    invariant(epoch >= self.epoch, "leader epoch \(epoch) after \(self.epoch)")
    // A log whose disk failed does not come back with a new epoch.
    if self.resignation == .kafkaStorageError { return }
    if self.resignation == nil, epoch == self.epoch { return }
    self.epoch = epoch
    self.epochStartOffset = self.logEndOffset
    self.resignation = nil
    self.requestFlushIfNeeded(into: &effects)
    // Those who wait named the epoch before, and have to hear that it is over.
    self.wakeFetches(into: &effects) { _ in true }
    self.advanceHighWatermark(into: &effects)
  }

  private mutating func append(to endOffset: Offset, into effects: inout [Effect]) {
    invariant(endOffset >= self.logEndOffset, "appended to \(endOffset), before the log's end \(self.logEndOffset)")
    self.logEndOffset = endOffset
    self.requestFlushIfNeeded(into: &effects)
    self.advanceHighWatermark(into: &effects)
  }

  private mutating func requestFlushIfNeeded(into effects: inout [Effect]) {
    let unflushed = self.logEndOffset - self.flushedOffset
    guard !self.flushIsRequested, unflushed > 0 else { return }
    guard self.flushPolicy.durability == .flushed || unflushed >= self.flushPolicy.unflushedRecordsMax else { return }
    self.flushIsRequested = true
    effects.append(.requestFlush)
  }

  private mutating func advanceLogStart(to offset: Offset, into effects: inout [Effect]) {
    invariant(offset <= self.highWatermark, "log start \(offset) beyond the high watermark \(self.highWatermark)")
    guard offset > self.logStartOffset else { return }
    self.logStartOffset = offset
    // A fetch that waits below the new start has to learn that its offset is out of range.
    self.wakeFetches(into: &effects) { $0.offset < offset }
  }

  private mutating func awaitCommit(_ token: Token, _ requiredOffset: Offset, into effects: inout [Effect]) {
    if let resignation { return effects.append(.fail(token, resignation)) }
    if requiredOffset <= self.highWatermark { return effects.append(.acknowledge(token)) }
    // Duplicates wait for the offset of their first copy, which may lie below those that wait already.
    var place = self.commits.endIndex
    while place > 0, self.commits[place - 1].requiredOffset > requiredOffset { place -= 1 }
    self.commits.insert(WaitingCommit(token: token, requiredOffset: requiredOffset), at: place)
  }

  private mutating func awaitFetch(_ token: Token, _ offset: Offset, into effects: inout [Effect]) {
    if self.resignation != nil || offset < self.highWatermark || offset < self.logStartOffset {
      effects.append(.wake(token))
    } else {
      self.fetches.append(WaitingFetch(token: token, offset: offset))
    }
  }

  private mutating func cancelFetch(_ token: Token) {
    // Few wait on one partition; the order among them carries no meaning, so the last one fills the gap.
    guard let place = self.fetches.firstIndex(where: { $0.token == token }) else { return }
    self.fetches.swapAt(place, self.fetches.endIndex - 1)
    self.fetches.removeLast()
  }

  private mutating func resign(_ error: ErrorCode, into effects: inout [Effect]) {
    self.resignation = error
    for waiting in self.commits { effects.append(.fail(waiting.token, error)) }
    self.commits.removeAll()
    self.wakeFetches(into: &effects) { _ in true }
  }

  // MARK: - The high watermark

  /// The end of what every in-sync replica holds durably.
  private var committableOffset: Offset {
    switch self.flushPolicy.durability {
    case .written: self.logEndOffset
    case .flushed: self.flushedOffset
    }
  }

  private mutating func advanceHighWatermark(into effects: inout [Effect]) {
    let offset = self.committableOffset
    guard self.resignation == nil, offset > self.highWatermark else { return }
    self.highWatermark = offset
    effects.append(.highWatermarkAdvanced(to: offset))
    let ready = self.commits.firstIndex { $0.requiredOffset > offset } ?? self.commits.endIndex
    if ready > 0 {
      for waiting in self.commits[..<ready] { effects.append(.acknowledge(waiting.token)) }
      self.commits.removeFirst(ready)
    }
    self.wakeFetches(into: &effects) { $0.offset < offset }
  }

  private mutating func wakeFetches(into effects: inout [Effect], where isReady: (WaitingFetch) -> Bool) {
    if self.fetches.isEmpty { return }
    for waiting in self.fetches where isReady(waiting) { effects.append(.wake(waiting.token)) }
    self.fetches.removeAll(where: isReady)
  }

  private func checkInvariants() {
    invariant(
      self.logStartOffset <= self.highWatermark && self.highWatermark <= self.logEndOffset && self.flushedOffset <= self.logEndOffset,
      "start \(self.logStartOffset), watermark \(self.highWatermark), flushed \(self.flushedOffset), end \(self.logEndOffset)")
  }
}

extension LeaderMachine.Effect: Hashable where Token: Hashable {}
