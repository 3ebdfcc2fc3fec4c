/// What a partition log is told about itself: the topic's configuration, with Kafka's names in the comments.
package struct LogConfig: Hashable, Sendable {
  /// `segment.bytes`: a segment is rolled before it would grow beyond this.
  package var segmentBytes: Int
  /// `segment.ms`: a segment is rolled when its first record is this much older than the record to append.
  package var segmentAge: Duration
  /// Taken off `segmentAge`, so that the segments of many partitions do not roll at one time. Drawn by the owner from
  /// `0 ..< min(segment.jitter.ms, segment.ms)` whenever a log is opened.
  package var segmentJitter: Duration
  /// `segment.index.bytes`: a segment is rolled when one of its indexes would grow beyond this.
  package var segmentIndexBytes: Int
  /// `index.interval.bytes`: how many bytes of log lie between two entries of the offset index.
  package var indexIntervalBytes: Int
  /// `retention.bytes`; nil is Kafka's -1, no limit.
  package var retentionBytes: Int64?
  /// `retention.ms`; nil is Kafka's -1, no limit.
  package var retentionAge: Duration?
  /// `file.delete.delay.ms`: how long a deleted segment's files stay, renamed, for those who still read them.
  package var fileDeleteDelay: Duration
  /// `producer.id.expiration.ms`.
  package var producerIDExpiration: Duration
  /// Whether a log that grows fast reserves blocks ahead of its end (file size unchanged). See `ReservationRule`.
  package var reservesAhead: Bool
  /// Whether files with bytes that were not synced are held open against the limit on open files. Where answers wait for
  /// the sync (`flush.policy=fsync`) this is needed, because an error of the device is reported to open descriptors only.
  package var holdsUnsyncedFiles: Bool

  package init(
    segmentBytes: Int = 1 << 30, segmentAge: Duration = .seconds(7 * 86_400), segmentJitter: Duration = .zero,
    segmentIndexBytes: Int = 10 << 20, indexIntervalBytes: Int = 4096, retentionBytes: Int64? = nil,
    retentionAge: Duration? = .seconds(7 * 86_400), fileDeleteDelay: Duration = .seconds(60),
    producerIDExpiration: Duration = .seconds(86_400), reservesAhead: Bool = true, holdsUnsyncedFiles: Bool = true
  ) {
    self.segmentBytes = segmentBytes
    self.segmentAge = segmentAge
    self.segmentJitter = segmentJitter
    self.segmentIndexBytes = segmentIndexBytes
    self.indexIntervalBytes = indexIntervalBytes
    self.retentionBytes = retentionBytes
    self.retentionAge = retentionAge
    self.fileDeleteDelay = fileDeleteDelay
    self.producerIDExpiration = producerIDExpiration
    self.reservesAhead = reservesAhead
    self.holdsUnsyncedFiles = holdsUnsyncedFiles
  }
}

/// When to reserve disk blocks ahead of a log's end.
///
/// Measured on ext4: 64 KiB appends cost 0.15-0.20 s of CPU per GB with blocks reserved 16 MiB at a time and 0.26-0.9 s
/// without; one reservation of 16 MiB takes 50 us, one of 64 MiB 260 us. A log of a few megabytes reserves nothing, so
/// that ten thousand idle partitions hold no more than their data.
package enum ReservationRule {
  package static let chunkByteCount: Int64 = 16 << 20
  package static let smallestLogByteCount: Int64 = 4 << 20

  /// The size up to which to reserve now, for a segment that is about to end at `endPosition`; nil if enough is reserved
  /// or the segment is small. Never beyond `segmentBytes`, for the rest would be given back at once.
  package static func reservation(endPosition: Int64, reserved: Int64, segmentBytes: Int) -> Int64? {
    guard endPosition >= self.smallestLogByteCount, endPosition > reserved else { return nil }
    let target = min(endPosition + self.chunkByteCount, max(Int64(segmentBytes), endPosition))
    return target > reserved ? target : nil
  }
}
