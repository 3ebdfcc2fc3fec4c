import Base
import Environment
import LogCore
import Model
import NIOCore
import Records
import Replication
import Storage
import Synchronization
import Wire

/// What a follower removes of its log.
enum LogCut: Hashable, Sendable {
  /// Everything from this offset on.
  case end(Offset)
  /// Everything: the log begins anew at this offset.
  case restart(Offset)
}

// What the partition does while another broker leads it.
extension Partition {
  /// Steps the follower, and does to the log what it says as far as that does not block.
  ///
  /// - Parameter records: what came with the answer that is handled.
  func handle(_ input: Follower.Input, _ state: inout State, _ effects: inout Effects, records: ByteBuffer? = nil) {
    guard state.follower != nil else { return }
    var made: [Follower.Effect] = []
    state.follower!.handle(input, now: self.environment.now(), into: &made)
    // What became of the log is told when all effects of this input are noted, or an older position would follow a newer one.
    var outcomes: [Follower.Input] = []
    for effect in made {
      switch effect {
      case .append: outcomes.append(self.append(records ?? ByteBuffer(), &state, &effects))
      case .advanceLogStart(let offset):
        do throws(StorageError) {
          try state.log.advanceLogStart(to: offset)
          outcomes.append(.logStartAdvanced(to: state.log.logStartOffset))
        } catch {
          effects.failure = error
        }
      case .truncate(let offset):
        state.pendingCut = .end(offset)
        effects.follower.append(effect)
      case .restart(let offset):
        state.pendingCut = .restart(offset)
        effects.follower.append(effect)
      case .fetch, .stopFetching, .askLeaderOffsets, .requestFlush, .highWatermarkAdvanced, .wake, .trace: effects.follower.append(effect)
      }
    }
    for outcome in outcomes { self.handle(outcome, &state, &effects) }
  }

  /// Carries out what the follower asked for, one effect after the other, whichever threads asked.
  func deliver() {
    let isFirst = self.state.withLock { state in
      defer { state.isDelivering = true }
      return !state.isDelivering
    }
    guard isFirst else { return }
    while true {
      let (effects, leader, epoch, isThrottled) = self.state.withLock { state in
        let effects = state.outbox
        state.outbox = []
        if effects.isEmpty { state.isDelivering = false }
        return (effects, state.follower?.leader ?? .none, state.follower?.epoch ?? .unknown, state.isHeldToQuota)
      }
      if effects.isEmpty { return }
      for effect in effects { self.perform(effect, leader: leader, epoch: epoch, isThrottled: isThrottled) }
    }
  }

  private func perform(_ effect: Follower.Effect, leader: NodeID, epoch: LeaderEpoch, isThrottled: Bool) {
    switch effect {
    case .fetch(let position, let notBefore):
      // One of an earlier leader is followed by another for the present one.
      guard position.currentLeaderEpoch == epoch else { return }
      self.surroundings.fetchers.ready(self, leader: leader, position, notBefore: notBefore, isThrottled: isThrottled)
    case .stopFetching: self.surroundings.fetchers.remove(self)
    case .truncate, .restart: self.environment.submit(to: .background) { self.cut() }
    case .askLeaderOffsets(let asked, let notBefore):
      guard asked == epoch else { return }
      self.surroundings.fetchers.askOffsets(for: self, leader: leader, asked, notBefore: notBefore)
    case .requestFlush: self.surroundings.syncer.request(self)
    case .wake(.fetch(let fetch, let place)): fetch.wake(place)
    case .wake: invariant(false, "a waiter was told what it did not wait for")
    case .trace(let event): self.tell(event)
    case .highWatermarkAdvanced, .append, .advanceLogStart: return
    }
  }

  // MARK: - The leader's answers

  /// The leader answered a fetch from `position`. Its records are appended as they lie in the network's buffer.
  func answered(_ data: FetchResponse.PartitionData, to position: FetchPosition) {
    var answer = FetchAnswer(
      position: position, error: data.errorCode, highWatermark: Offset(data.highWatermark), logStartOffset: Offset(data.logStartOffset))
    var records: ByteBuffer?
    if case .bytes(let bytes)? = data.records, let range = Self.range(of: bytes) {
      records = bytes
      // The leader's log may begin in the middle of a batch. One that holds what we ask for begins there for us.
      answer.records = .init(baseOffset: min(max(range.lowerBound, position.fetchOffset), range.upperBound), endOffset: range.upperBound)
    }
    let copied = self.step { state, effects -> Int in
      // By what this very answer says of the leader, as Kafka.
      let counts = state.isThrottledFollower && !state.isInSync && position.fetchOffset < answer.highWatermark
      if data.divergingEpoch.endOffset >= 0 {
        let end = EpochEnd(epoch: LeaderEpoch(data.divergingEpoch.epoch), endOffset: Offset(data.divergingEpoch.endOffset))
        let own = state.log.endOffset(for: end.epoch).map { EpochEnd(epoch: $0.epoch, endOffset: $0.endOffset) }
        answer.divergence = .init(leaderEnd: end, ownEnd: own)
      }
      self.handle(Follower.Input.answered(answer), &state, &effects, records: records)
      return counts ? records?.readableBytes ?? 0 : 0
    }
    if copied > 0 { self.surroundings.fetchers.copied(copied) }
  }

  /// The offsets of the whole batches in `bytes`; nil if there is none.
  private static func range(of bytes: ByteBuffer) -> Range<Offset>? {
    bytes.withUnsafeReadableBytes { bytes in
      var (rest, first, end) = (bytes, Offset?.none, Offset.zero)
      while let header = BatchHeader(reading: rest), header.totalByteCount >= BatchHeader.byteCount, header.totalByteCount <= rest.count {
        first = first ?? header.baseOffset
        end = header.nextOffset
        rest = UnsafeRawBufferPointer(rebasing: rest[header.totalByteCount...])
      }
      return first.flatMap { $0 < end ? $0..<end : nil }
    }
  }

  /// Returns what became of it.
  private func append(_ records: ByteBuffer, _ state: inout State, _ effects: inout Effects) -> Follower.Input {
    let now = self.environment.wallClock()
    do throws(StorageError) {
      let start = state.log.logStartOffset
      if start == state.log.logEndOffset, let range = Self.range(of: records), range.lowerBound < start {
        // The leader deleted records up to the middle of this batch, and our log is to begin there as well.
        try state.log.truncateFully(to: range.lowerBound, now: now)
      }
      let appended = try state.log.appendAsFollower(records, now: now)
      if state.log.logStartOffset < start { try state.log.advanceLogStart(to: min(start, state.log.logEndOffset)) }
      if appended == nil { return .appendFailed(.corruptMessage) }
      state.isRefusingAppends = false
      if let interval = state.settings.flushInterval { self.scheduleFlush(after: interval, &state) }
      if appended?.didRoll == true { self.segmentClosed(state) }
      return .appended(endOffset: state.log.logEndOffset, lastEpoch: Self.lastEpoch(state.log))
    } catch {
      if state.log.state != .online {
        effects.failure = error
        return .appendFailed(error.errorCode)
      }
      if !state.isRefusingAppends {
        state.isRefusingAppends = true
        self.events.record(.appendRefused(self.topicPartition, cause: error))
      }
      // Between two segments a part may be there already.
      if let follower = state.follower, state.log.logEndOffset > follower.log.logEndOffset {
        return .appended(endOffset: state.log.logEndOffset, lastEpoch: Self.lastEpoch(state.log))
      }
      return .appendFailed(error.errorCode)
    }
  }

  // MARK: - Cutting

  /// Cuts what the leader does not have. Blocks, with the partition's lock: on the background lane, and rare.
  private func cut() {
    self.step { state, effects in
      guard let cut = state.pendingCut, state.follower != nil, state.log.state == .online else { return }
      state.pendingCut = nil
      let now = self.environment.wallClock()
      do throws(StorageError) {
        switch cut {
        case .end(let offset):
          if !self.environment.makes(.keepsDivergingTail) { try state.log.truncate(to: offset, now: now) }
          let (end, epoch) = (state.log.logEndOffset, Self.lastEpoch(state.log))
          self.handle(Follower.Input.truncated(endOffset: end, lastEpoch: epoch), &state, &effects)
        case .restart(let offset):
          try state.log.truncateFully(to: offset, now: now)
          self.handle(Follower.Input.restarted(at: offset), &state, &effects)
        }
      } catch {
        // A log that is still in service is as before: the leader says again what is to go.
        if state.log.state == .online {
          self.handle(Follower.Input.appendFailed(error.errorCode), &state, &effects)
        } else {
          effects.failure = error
        }
      }
    }
  }

  // MARK: - The leader's offsets

  /// What the leader said about where its log begins and ends.
  func leaderOffsetsLearned(_ offsets: LeaderOffsets) {
    self.step { state, effects in self.handle(Follower.Input.leaderOffsetsLearned(offsets), &state, &effects) }
  }
}
