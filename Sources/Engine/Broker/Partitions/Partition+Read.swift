import Environment
import LogCore
import Model
import Records
import Replication
import Storage
import Synchronization

// What clients read of a partition.
extension Partition {
  /// The records a fetch gets, at most `maxBytes` of them, up to the high watermark.
  ///
  /// - Parameter takesOversizedBatch: the first batch is given whole even if it is larger than `maxBytes`.
  func read(_ interest: FetchInterest, for consumer: FetchingConsumer, maxBytes: Int, takesOversizedBatch: Bool) -> FetchRead<File> {
    var failure: StorageError?
    let read = self.state.withLock { state -> FetchRead<File> in
      if let refusal = self.refusal(of: interest, for: consumer, state) { return FetchRead(refusal) }
      let highWatermark = self.environment.makes(.showsUncommitted) ? state.log.logEndOffset : state.highWatermark
      var read = FetchRead<File>()
      read.highWatermark = highWatermark
      read.lastStableOffset = state.follower == nil ? state.leader.lastStableOffset : highWatermark
      read.logStartOffset = state.log.logStartOffset
      if let rack = consumer.rack, state.follower == nil,
        let replica = state.leader.preferredReadReplica(
          rack: rack.name, leaderRack: rack.leader, fetchOffset: interest.fetchOffset, spread: rack.spread)
      {
        read.preferredReadReplica = replica
        return read
      }
      do throws(StorageError) {
        if interest.lastFetchedEpoch != .unknown {
          guard let end = state.log.endOffset(for: interest.lastFetchedEpoch), interest.fetchOffset >= state.log.logStartOffset else {
            return FetchRead(.offsetOutOfRange)
          }
          if end.epoch < interest.lastFetchedEpoch || end.endOffset < interest.fetchOffset {
            read.divergence = end
            return read
          }
        }
        if state.follower == nil, !self.environment.makes(.showsUncommitted), !self.environment.makes(.tellsOlderWatermark) {
          read.highWatermark = state.leader.highWatermark(forConsumerAt: interest.fetchOffset)
        }
        let slice = try state.log.read(
          from: interest.fetchOffset, maxBytes: maxBytes, upTo: highWatermark, minOneBatch: takesOversizedBatch)
        if state.isRefusingReads { state.isRefusingReads = false }
        if let file = slice.file { read.slice = FileSlice(file: file, position: slice.position, byteCount: slice.byteCount) }
        return read
      } catch {
        if !Self.isExpected(error), Self.isNews(error, &state) { failure = error }
        return FetchRead(error.errorCode)
      }
    }
    if let failure { self.events.record(.readFailed(self.topicPartition, interest.fetchOffset, cause: failure)) }
    return read
  }

  /// Why a consumer's fetch is not served here: a follower serves those that may go to one (KIP-392).
  private func refusal(of interest: FetchInterest, for consumer: FetchingConsumer, _ state: State) -> ErrorCode? {
    if let follower = state.follower, consumer.mayReadFollower {
      return follower.refusal(ofConsumerAt: interest.fetchOffset, currentLeaderEpoch: interest.currentLeaderEpoch)
    }
    if let refusal = self.refusal(ofEpoch: interest.currentLeaderEpoch, state) { return refusal.code }
    // The clock and the lease are looked at only where they matter.
    return state.leader.isCatchingUp
      ? state.leader.refusalOfFetch(now: self.environment.now(), lease: self.surroundings.lease.current) : nil
  }

  /// Holds the epoch a client names against ours (KIP-320), and tells whether the partition is gone.
  private func refusal(ofEpoch epoch: LeaderEpoch, _ state: State) -> ErrorCode.Refusal? {
    // After a failure of the disk, what was durable before stays readable; other resignations end the reading.
    if let resignation = state.leader.resignation, resignation != .kafkaStorageError, !self.environment.makes(.servesWhenDeposed) {
      return .init(code: resignation)
    }
    if epoch == .unknown || epoch == state.leader.epoch { return nil }
    return .init(code: epoch < state.leader.epoch ? .fencedLeaderEpoch : .unknownLeaderEpoch)
  }

  /// Answers ListOffsets.
  ///
  /// - Parameter allowsFollower: any replica may answer: for tools that look into one.
  func offset(
    of query: OffsetQuery, currentLeaderEpoch: LeaderEpoch, seesUncommitted: Bool, allowsFollower: Bool = false,
    workspace: RecordWorkspace
  ) -> Result<ListedOffset, ErrorCode.Refusal> {
    var failure: StorageError?
    let result = self.state.withLock { state -> Result<ListedOffset, ErrorCode.Refusal> in
      if !allowsFollower || state.follower == nil, let refusal = self.refusal(ofEpoch: currentLeaderEpoch, state) {
        return .failure(refusal)
      }
      let end = seesUncommitted ? state.log.logEndOffset : state.highWatermark
      func refusalOfLatest() -> ErrorCode? {
        if seesUncommitted || self.environment.makes(.tellsLatestTooEarly) { return nil }
        return state.leader.refusalOfLatest(now: self.environment.now(), lease: self.surroundings.lease.current)
      }
      do throws(StorageError) {
        switch query {
        case .latest:
          if let refusal = refusalOfLatest() { return .failure(.init(code: refusal)) }
          return .success(ListedOffset(offset: end, leaderEpoch: state.follower?.epoch ?? state.leader.epoch))
        case .earliest, .earliestLocal:
          let start = state.log.logStartOffset
          return .success(ListedOffset(offset: start, leaderEpoch: state.log.leaderEpochs.epoch(at: start) ?? .unknown))
        // Nothing is tiered, which Kafka says with the offset -1.
        case .latestTiered, .earliestPendingUpload: return .success(ListedOffset())
        case .maxTimestamp, .time:
          let found: TimestampedOffset?
          if case .time(let timestamp) = query {
            found = try state.log.offset(forTimestamp: timestamp, upTo: end, using: workspace.decompressor)
          } else {
            found = try state.log.offsetOfMaxTimestamp(upTo: end, using: workspace.decompressor)
          }
          guard let found else {
            if let refusal = refusalOfLatest() { return .failure(.init(code: refusal)) }
            return .success(ListedOffset())
          }
          return .success(ListedOffset(timestamp: found.timestamp, offset: found.offset, leaderEpoch: found.leaderEpoch))
        }
      } catch {
        if Self.isNews(error, &state) { failure = error }
        return .failure(.init(code: error.errorCode))
      }
    }
    if let failure { self.events.record(.readFailed(self.topicPartition, .unknown, cause: failure)) }
    return result
  }

  /// Answers OffsetForLeaderEpoch: the largest known epoch not above `epoch`, and where it ends; nil if none is known.
  func endOffset(
    of epoch: LeaderEpoch, currentLeaderEpoch: LeaderEpoch
  ) -> Result<(epoch: LeaderEpoch, endOffset: Offset)?, ErrorCode.Refusal> {
    self.state.withLock { state in
      if let refusal = self.refusal(ofEpoch: currentLeaderEpoch, state) { return .failure(refusal) }
      return .success(state.log.endOffset(for: epoch))
    }
  }

  /// Bytes of records on disk.
  var byteCount: Int64 { self.state.withLock { $0.log.byteCount } }
}
