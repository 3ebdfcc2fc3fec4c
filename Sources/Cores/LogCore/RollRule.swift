import Base
package import Model

/// Decides whether the active segment must be closed before a batch is appended (Kafka's `LogSegment.shouldRoll`).
package struct RollRule: Hashable, Sendable {
  /// The active segment as it stands.
  package var segmentBaseOffset: Offset
  package var segmentByteCount: Int64
  /// The maximum timestamp of the segment's first batch; `.none` while it is empty or has none.
  package var firstTimestamp: Timestamp
  /// When the segment was created or opened, by the wall clock.
  package var createdAt: Timestamp
  package var offsetIndexEntryCount: Int
  package var timeIndexEntryCount: Int

  package enum Reason: Hashable, Sendable { case byteCount, age, indexFull, offsetRange }

  package init(
    segmentBaseOffset: Offset, segmentByteCount: Int64, firstTimestamp: Timestamp, createdAt: Timestamp,
    offsetIndexEntryCount: Int, timeIndexEntryCount: Int
  ) {
    self.segmentBaseOffset = segmentBaseOffset
    self.segmentByteCount = segmentByteCount
    self.firstTimestamp = firstTimestamp
    self.createdAt = createdAt
    self.offsetIndexEntryCount = offsetIndexEntryCount
    self.timeIndexEntryCount = timeIndexEntryCount
  }

  /// Why a batch of `byteCount` bytes that ends with `lastOffset` cannot go into this segment; nil if it can.
  ///
  /// An empty segment is never rolled for its size or age, whatever the batch: the batch has to go somewhere.
  package func reason(
    toRollFor byteCount: Int, lastOffset: Offset, maxTimestamp: Timestamp, config: LogConfig, now: Timestamp
  ) -> Reason? {
    if lastOffset - self.segmentBaseOffset > Int64(Int32.max) { return .offsetRange }
    guard self.segmentByteCount > 0 else { return nil }
    // An index position is 32 bits, so no configuration lets a segment outgrow that.
    let limit = Swift.min(Int64(config.segmentBytes), Int64(Int32.max))
    if self.segmentByteCount + Int64(byteCount) > limit { return .byteCount }
    // Age counts from the first record's own time, so that replayed or replicated data rolls the same way everywhere;
    // only where records carry no time does the clock decide.
    let age =
      self.firstTimestamp.rawValue >= 0 && maxTimestamp.rawValue >= 0
      ? maxTimestamp.rawValue - self.firstTimestamp.rawValue : now.rawValue - self.createdAt.rawValue
    if age > config.segmentAge.wholeMilliseconds - config.segmentJitter.wholeMilliseconds { return .age }
    if (self.offsetIndexEntryCount + 1) * OffsetIndexEntry.byteCount > config.segmentIndexBytes
      || (self.timeIndexEntryCount + 1) * TimeIndexEntry.byteCount > config.segmentIndexBytes
    {
      return .indexFull
    }
    return nil
  }
}
