import Environment
import Model
import NIOCore
import Wire

/// What one partition gives to one fetch.
struct FetchRead<File: DiskFile>: Sendable {
  var error = ErrorCode.none
  var highWatermark = Offset.unknown
  var lastStableOffset = Offset.unknown
  var logStartOffset = Offset.unknown
  /// Where the client's log and this one part: the largest epoch both know, and where it ends here.
  var divergence: (epoch: LeaderEpoch, endOffset: Offset)?
  /// Whole batches, as they lie in one segment.
  var slice: FileSlice<File>?
  /// The consumer had better read there (KIP-392).
  var preferredReadReplica: NodeID?
  /// For a follower: where the leader's log ended, and whether it does not know the high watermark or the log start.
  var logEndOffset = Offset.unknown
  var owesOffsets = false
  /// For a follower that is not in sync: what of the records counts against the quota, and whether there are some that it holds back.
  var throttledByteCount = 0
  var isHeldBack = false

  var byteCount: Int { self.slice?.byteCount ?? 0 }
  /// Whether the answer must go out now, whatever it is waiting for.
  var isUrgent: Bool { self.error != .none || self.divergence != nil || self.preferredReadReplica != nil }
  /// Whether a follower has to hear of it.
  var hasNews: Bool { self.isUrgent || self.owesOffsets || self.slice != nil }

  init() {}
  init(_ error: ErrorCode) { self.error = error }
}

/// The limits of one fetch over all its partitions.
struct FetchLimits: Sendable {
  var minBytes: Int
  var maxBytes: Int
  var maxWait: Duration
  var isReadCommitted: Bool
  var consumer = FetchingConsumer()
}

/// What of a consumer decides where it reads (KIP-392).
struct FetchingConsumer: Sendable {
  struct Rack: Sendable {
    var name: String
    /// This broker's.
    var leader: String?
    /// Shares consumers out among the replicas of their rack.
    var spread: UInt64
  }
  /// It knows that replicas differ in what they have (v11).
  var mayReadFollower = false
  /// Nil unless the leader is to send consumers to their racks.
  var rack: Rack?
}

/// A partition of a fetch: what is asked of it, and the partition itself if it is there.
struct FetchTarget<Env: Environment>: Sendable {
  var interest: FetchInterest
  /// The partition, or why it cannot be read.
  var partition: Result<Partition<Env>, ErrorCode.Refusal>
}

extension ErrorCode {
  /// An error code where an `Error` is needed.
  struct Refusal: Error { var code: ErrorCode }
}

/// All partitions of one fetch, read once.
struct FetchReads<Env: Environment>: Sendable {
  /// Up to so many bytes of records are read into the answer; more go out by `sendfile`. A `sendfile` answer is two or three writes where a
  /// copy is one, which is worth it from some tens of kilobytes on (PERFORMANCE.md: 22 us against 17 us at 64 KiB with NIO, equal CPU
  /// there and less from there on); at 16 KiB the copy is two microseconds.
  static var copiedByteCountMax: Int { 16 << 10 }

  private(set) var reads: [FetchRead<Env.Disk.File>] = []
  private(set) var byteCount = 0
  private(set) var isUrgent = false

  /// Reads the partitions in order until the limit is used up; the rest tell their offsets only. The first batch found is given whole even
  /// if it is larger than every limit, so that a client always gets on (KIP-74).
  init(_ targets: [FetchTarget<Env>], limits: FetchLimits) {
    self.reads.reserveCapacity(targets.count)
    var left = limits.maxBytes
    for target in targets {
      let read: FetchRead<Env.Disk.File>
      switch target.partition {
      case .failure(let refusal): read = FetchRead(refusal.code)
      case .success(let partition):
        read = partition.read(
          target.interest, for: limits.consumer, maxBytes: min(left, target.interest.maxByteCount),
          takesOversizedBatch: self.byteCount == 0)
      }
      left = max(0, left - read.byteCount)
      self.byteCount += read.byteCount
      self.isUrgent = self.isUrgent || read.isUrgent
      self.reads.append(read)
    }
  }

  func isEnough(_ limits: FetchLimits) -> Bool { self.isUrgent || self.byteCount >= limits.minBytes }
}
