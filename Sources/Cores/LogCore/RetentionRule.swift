import Base
package import Model

/// A segment as the decisions about it need it.
package struct SegmentSummary: Hashable, Sendable {
  package var baseOffset: Offset
  package var byteCount: Int64
  /// The youngest record's time; where records carry none, when the segment was last written as far as is known.
  package var largestTimestamp: Timestamp

  package init(baseOffset: Offset, byteCount: Int64, largestTimestamp: Timestamp) {
    (self.baseOffset, self.byteCount, self.largestTimestamp) = (baseOffset, byteCount, largestTimestamp)
  }
}

/// Decides which segments at the start of a log are to be deleted (Kafka's `UnifiedLog.deleteOldSegments`).
package enum RetentionRule {
  package enum Reason: Hashable, Sendable { case age, byteCount, logStartOffset }

  package struct Decision: Hashable, Sendable {
    /// Why each of the first segments goes; empty if none does.
    package var reasons: [Reason]
    /// All of them go, so that the active one must be rolled first.
    package var rollsActiveSegment: Bool
  }

  /// - Parameter segments: all segments in order, the active one last.
  /// - Parameter highWatermark: nothing at or above it goes, for it could still be undone.
  package static func decide(
    segments: [SegmentSummary], logStartOffset: Offset, logEndOffset: Offset, highWatermark: Offset, config: LogConfig, now: Timestamp
  ) -> Decision {
    var reasons: [Reason] = []
    let retentionBytes = config.retentionBytes.flatMap { $0 >= 0 ? $0 : nil }
    let retentionMilliseconds = config.retentionAge.map { $0.wholeMilliseconds }.flatMap { $0 >= 0 ? $0 : nil }
    var excess = retentionBytes.map { limit in segments.reduce(0) { $0 + $1.byteCount } - limit } ?? 0
    var agedOut = true
    for (index, segment) in segments.enumerated() {
      let isActive = index == segments.count - 1
      if isActive, segment.byteCount == 0 { break }
      let endOffset = isActive ? logEndOffset : segments[index + 1].baseOffset
      guard endOffset <= highWatermark else { break }
      // An age limit takes a run of segments from the start: a young one shields those behind it.
      agedOut = agedOut && retentionMilliseconds.map { now.rawValue - segment.largestTimestamp.rawValue > $0 } ?? false
      if agedOut {
        reasons.append(.age)
      } else if retentionBytes != nil, excess >= segment.byteCount {
        reasons.append(.byteCount)
      } else if endOffset <= logStartOffset {
        // The active segment holds no live record then, and goes like the others.
        reasons.append(.logStartOffset)
      } else {
        break
      }
      excess -= segment.byteCount
    }
    return Decision(reasons: reasons, rollsActiveSegment: !reasons.isEmpty && reasons.count == segments.count)
  }
}
