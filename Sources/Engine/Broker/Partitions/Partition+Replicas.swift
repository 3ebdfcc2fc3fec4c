import Environment
import LogCore
import Model
import Replication
import Storage
import Synchronization

/// A replica that fetches, as its request names it.
struct FetchingReplica: Hashable, Sendable {
  var node: NodeID
  /// Its incarnation; `.unknown` before v15.
  var brokerEpoch: BrokerEpoch
}

// What a leader gives to its followers.
extension Partition {
  /// What a follower gets: records up to the log's end, and the offsets it should know.
  ///
  /// Whatever this returns with `hasNews` has to reach the follower, or its session has to end: from here on the leader counts it as told.
  ///
  /// - Parameters:
  ///   - isPosition: the follower says where it is, which the leader counts. Otherwise it is only looked after news.
  ///   - mustTell: the follower is told in any case.
  func read(
    _ interest: FetchInterest, for replica: FetchingReplica, isPosition: Bool, mustTell: Bool, maxBytes: Int, takesOversizedBatch: Bool
  ) -> FetchRead<File> {
    var failure: StorageError?
    let read = self.step { state, effects -> FetchRead<File> in
      let fetch = FollowerFetch(
        node: replica.node, brokerEpoch: replica.brokerEpoch, fetchOffset: interest.fetchOffset, logStartOffset: interest.logStartOffset,
        currentLeaderEpoch: interest.currentLeaderEpoch)
      if let refusal = state.leader.refusal(of: fetch) { return FetchRead(refusal) }
      if interest.fetchOffset < state.log.logStartOffset { return FetchRead(.offsetOutOfRange) }
      var read = FetchRead<File>()
      read.highWatermark = state.leader.highWatermark
      read.logStartOffset = state.log.logStartOffset
      if interest.lastFetchedEpoch != .unknown, !self.environment.makes(.ignoresDivergence) {
        guard let end = state.log.endOffset(for: interest.lastFetchedEpoch) else { return FetchRead(.offsetOutOfRange) }
        if end.epoch < interest.lastFetchedEpoch || end.endOffset < interest.fetchOffset {
          read.divergence = end
          return read
        }
      }
      // Beyond our end, and no epoch that tells where the logs part.
      if interest.fetchOffset > state.log.logEndOffset { return FetchRead(.offsetOutOfRange) }
      if isPosition { self.handle(Machine.Input.followerFetched(fetch), &state, &effects) }
      let isThrottled = state.isThrottledLeader && !state.leader.waits(for: replica.node)
      read.isHeldBack =
        isThrottled && interest.fetchOffset < state.log.logEndOffset && self.surroundings.leaderThrottle.isExceeded
      let end = read.isHeldBack ? interest.fetchOffset : state.log.logEndOffset
      do throws(StorageError) {
        let slice = try state.log.read(from: interest.fetchOffset, maxBytes: maxBytes, upTo: end, minOneBatch: takesOversizedBatch)
        if state.isRefusingReads { state.isRefusingReads = false }
        if let file = slice.file { read.slice = FileSlice(file: file, position: slice.position, byteCount: slice.byteCount) }
        if isThrottled { read.throttledByteCount = read.byteCount }
      } catch {
        if !Self.isExpected(error), Self.isNews(error, &state) { failure = error }
        return FetchRead(error.errorCode)
      }
      read.logEndOffset = state.log.logEndOffset
      read.owesOffsets = state.leader.owesOffsets(to: replica.node)
      // The watermark may just have moved with this very fetch.
      read.highWatermark = state.leader.highWatermark
      read.lastStableOffset = state.leader.lastStableOffset
      if read.owesOffsets || mustTell { self.handle(Machine.Input.followerAnswered(replica.node), &state, &effects) }
      return read
    }
    if let failure { self.events.record(.readFailed(self.topicPartition, interest.fetchOffset, cause: failure)) }
    return read
  }

  /// Wakes `waiter` when there is something for the follower at or after `offset`, or other offsets that it should know.
  func awaitFollowerFetch(_ waiter: Waiter<Env>, _ node: NodeID, from offset: Offset) {
    self.step { state, effects in
      // It may wait here already, and would wake itself.
      self.handle(Machine.Input.cancelFetch(waiter), &state, &effects)
      self.handle(Machine.Input.awaitFollowerFetch(waiter, node, from: offset), &state, &effects)
    }
  }

  static func isExpected(_ error: StorageError) -> Bool {
    switch error {
    case .offsetOutOfRange, .offline, .notFound: true
    default: false
    }
  }
}
