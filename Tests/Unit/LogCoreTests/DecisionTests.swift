import Base
import LogCore
import Model
import Testing

@Suite struct RollRuleTests {
  let rule = RollRule(
    segmentBaseOffset: Offset(100), segmentByteCount: 900, firstTimestamp: Timestamp(10_000), createdAt: Timestamp(0),
    offsetIndexEntryCount: 10, timeIndexEntryCount: 10)
  let config = LogConfig(segmentBytes: 1000, segmentAge: .seconds(10), segmentJitter: .seconds(1), segmentIndexBytes: 200)

  private func reason(_ byteCount: Int, _ lastOffset: Int64 = 200, _ timestamp: Int64 = 10_000, rule: RollRule? = nil) -> RollRule.Reason? {
    (rule ?? self.rule).reason(
      toRollFor: byteCount, lastOffset: Offset(lastOffset), maxTimestamp: Timestamp(timestamp), config: self.config, now: Timestamp(50_000))
  }

  @Test func aSegmentIsFilledToTheByteAndNotBeyond() {
    #expect(self.reason(100) == nil)
    #expect(self.reason(101) == .byteCount)
  }

  @Test func ageCountsFromTheFirstRecordLessTheJitter() {
    #expect(self.reason(1, 200, 19_000) == nil)
    #expect(self.reason(1, 200, 19_001) == .age)
  }

  @Test func withoutTimestampsTheClockDecides() {
    var rule = self.rule
    rule.firstTimestamp = .none
    #expect(self.reason(1, 200, 10_000, rule: rule) == .age)
    rule.createdAt = Timestamp(45_000)
    #expect(self.reason(1, 200, 10_000, rule: rule) == nil)
  }

  @Test func aFullIndexRolls() {
    var rule = self.rule
    rule.timeIndexEntryCount = 16
    #expect(self.reason(1, 200, 10_000, rule: rule) == .indexFull)
    rule.timeIndexEntryCount = 15
    rule.offsetIndexEntryCount = 25
    #expect(self.reason(1, 200, 10_000, rule: rule) == .indexFull)
  }

  @Test func offsetsBeyond32BitsRollEvenAnEmptySegment() {
    var rule = self.rule
    rule.segmentByteCount = 0
    #expect(self.reason(5000, 100 + Int64(Int32.max), rule: rule) == nil)
    #expect(self.reason(1, 101 + Int64(Int32.max), rule: rule) == .offsetRange)
  }

  @Test func reservationsAreForLogsThatGrow() {
    #expect(ReservationRule.reservation(endPosition: 1 << 20, reserved: 0, segmentBytes: 1 << 30) == nil)
    #expect(ReservationRule.reservation(endPosition: 5 << 20, reserved: 0, segmentBytes: 1 << 30) == 21 << 20)
    #expect(ReservationRule.reservation(endPosition: 21 << 20, reserved: 21 << 20, segmentBytes: 1 << 30) == nil)
    #expect(ReservationRule.reservation(endPosition: 22 << 20, reserved: 21 << 20, segmentBytes: 24 << 20) == 24 << 20)
  }
}

@Suite struct RetentionRuleTests {
  private func segments(_ sizes: [Int64], newest: Int64 = 1_000) -> [SegmentSummary] {
    sizes.enumerated().map { index, size in
      SegmentSummary(baseOffset: Offset(Int64(index) * 10), byteCount: size, largestTimestamp: Timestamp(newest + Int64(index)))
    }
  }
  private func decide(
    _ segments: [SegmentSummary], start: Int64 = 0, end: Int64 = 40, highWatermark: Int64 = 40, bytes: Int64? = nil, age: Duration? = nil,
    now: Int64 = 2_000
  ) -> RetentionRule.Decision {
    RetentionRule.decide(
      segments: segments, logStartOffset: Offset(start), logEndOffset: Offset(end), highWatermark: Offset(highWatermark),
      config: LogConfig(retentionBytes: bytes, retentionAge: age), now: Timestamp(now))
  }

  @Test func bySizeTheOldestGoWhileTheRestStillReachesTheLimit() {
    #expect(self.decide(self.segments([100, 100, 100, 50]), bytes: 150).reasons == [.byteCount, .byteCount])
    #expect(self.decide(self.segments([100, 100, 100, 50]), bytes: 151).reasons == [.byteCount])
    #expect(self.decide(self.segments([100, 100]), bytes: nil).reasons == [])
    #expect(self.decide(self.segments([100, 100]), bytes: -1).reasons == [])
  }

  @Test func byAgeAYoungSegmentShieldsThoseBehindIt() {
    var segments = self.segments([10, 10, 10])
    segments[1].largestTimestamp = Timestamp(5_000)
    #expect(self.decide(segments, end: 30, age: .milliseconds(500)).reasons == [.age])
  }

  @Test func ifAllGoTheActiveOneIsRolledFirst() {
    let decision = self.decide(self.segments([10, 10, 10]), end: 30, age: .milliseconds(100))
    #expect(decision.reasons == [.age, .age, .age] && decision.rollsActiveSegment)
    let empty = self.decide(self.segments([10, 10, 0]), end: 20, age: .milliseconds(100))
    #expect(empty.reasons == [.age, .age] && !empty.rollsActiveSegment)
  }

  @Test func nothingAtOrAboveTheHighWatermarkGoes() {
    #expect(self.decide(self.segments([10, 10, 10]), end: 30, highWatermark: 19, age: .milliseconds(100)).reasons == [.age])
  }

  @Test func segmentsBelowTheLogStartGo() {
    #expect(self.decide(self.segments([10, 10, 10]), start: 20, end: 30).reasons == [.logStartOffset, .logStartOffset])
    #expect(self.decide(self.segments([10, 10, 10]), start: 19, end: 30).reasons == [.logStartOffset])
  }
}

@Suite struct LeaderEpochCacheTests {
  private func cache(_ entries: (Int32, Int64)...) -> LeaderEpochCache {
    var cache = LeaderEpochCache()
    for (epoch, start) in entries { cache.assign(LeaderEpoch(epoch), startOffset: Offset(start)) }
    return cache
  }
  private func pairs(_ cache: LeaderEpochCache) -> [String] { cache.entries.map { "\($0.epoch)@\($0.startOffset)" } }

  @Test func endOffsets() {
    let cache = self.cache((1, 0), (3, 50), (4, 80))
    func end(_ epoch: Int32) -> String? {
      cache.endOffset(for: LeaderEpoch(epoch), logEndOffset: Offset(100)).map { "\($0.epoch)@\($0.endOffset)" }
    }
    #expect(end(-1) == nil)
    #expect(end(0) == "0@0")
    #expect(end(1) == "1@50")
    #expect(end(2) == "1@50")
    #expect(end(3) == "3@80")
    #expect(end(4) == "4@100")
    #expect(end(5) == nil)
  }

  @Test func newKnowledgeReplacesWhatContradictsIt() {
    #expect(self.pairs(self.cache((1, 0), (3, 50), (4, 80), (5, 60))) == ["1@0", "3@50", "5@60"])
    #expect(self.pairs(self.cache((1, 0), (3, 50), (2, 70))) == ["1@0", "2@70"])
    #expect(self.pairs(self.cache((1, 0), (1, 10))) == ["1@0"])
  }

  @Test func truncations() {
    var cache = self.cache((1, 0), (3, 50), (4, 80))
    var changes = [cache.truncate(toEnd: Offset(81)), cache.truncate(toEnd: Offset(80))]
    #expect(changes == [false, true])
    #expect(self.pairs(cache) == ["1@0", "3@50"])
    changes = [cache.truncate(toStart: Offset(60)), cache.truncate(toStart: Offset(60))]
    #expect(changes == [true, false])
    #expect(self.pairs(cache) == ["3@60"])
    #expect(cache.epoch(at: Offset(59)) == nil)
    #expect(cache.epoch(at: Offset(60)) == LeaderEpoch(3))
  }

  @Test func theCheckpointFile() {
    let cache = self.cache((1, 0), (3, 50))
    #expect(cache.checkpointText == "0\n2\n1 0\n3 50\n")
    #expect(LeaderEpochCache(checkpointText: cache.checkpointText) == cache)
    for text in ["", "1\n0\n", "0\n2\n1 0\n", "0\n1\n1 0 0\n", "0\n2\n3 50\n1 60\n", "0\n1\nx 0\n"] {
      #expect(LeaderEpochCache(checkpointText: text) == nil, "\(text)")
    }
  }
}

@Suite struct RecoveryScanTests {
  private func header(_ base: Int64, length: Int32 = 88, magic: Int8 = 2, delta: Int32 = 4) -> RecoveryScan.Header {
    .init(baseOffset: Offset(base), batchLength: length, magic: magic, lastOffsetDelta: delta)
  }

  @Test func aGoodChainGoesOnToTheEnd() {
    var scan = RecoveryScan(segmentBaseOffset: Offset(10), position: 0, nextOffset: Offset(10))
    #expect(scan.offer(self.header(10), remaining: 200) == 100)
    scan.accept(self.header(10), byteCount: 100, checksumMatches: true)
    #expect(scan.offer(self.header(20), remaining: 100) == 100)
    scan.accept(self.header(20), byteCount: 100, checksumMatches: true)
    #expect(scan.validEnd == 200 && scan.nextOffset == Offset(25) && scan.defect == nil)
  }

  @Test(
    arguments: [
      (nil, 30, .cutShort), (.init(baseOffset: .zero, batchLength: 0, magic: 0, lastOffsetDelta: 0), 500, .zeros),
      (.init(baseOffset: Offset(10), batchLength: 48, magic: 2, lastOffsetDelta: 0), 500, .invalidLength(48)),
      (.init(baseOffset: Offset(10), batchLength: -13, magic: 2, lastOffsetDelta: 0), 500, .invalidLength(-13)),
      (.init(baseOffset: Offset(10), batchLength: 88, magic: 1, lastOffsetDelta: 0), 500, .invalidMagic(1)),
      (.init(baseOffset: Offset(10), batchLength: 88, magic: 2, lastOffsetDelta: -1), 500, .invalidOffsetDelta(-1)),
      (
        .init(baseOffset: Offset(9), batchLength: 88, magic: 2, lastOffsetDelta: 0), 500,
        .offsetNotAscending(Offset(9), expected: Offset(10))
      ),
      (
        .init(baseOffset: Offset(.max), batchLength: 88, magic: 2, lastOffsetDelta: 9), 500,
        .offsetNotAscending(Offset(.max), expected: Offset(10))
      ),
      (.init(baseOffset: Offset(10), batchLength: 89, magic: 2, lastOffsetDelta: 0), 100, .cutShort),
      (.init(baseOffset: Offset(10), batchLength: .max, magic: 2, lastOffsetDelta: 0), 100, .cutShort),
    ] as [(RecoveryScan.Header?, Int64, RecoveryScan.Defect)])
  func itStopsAt(header: RecoveryScan.Header?, remaining: Int64, defect: RecoveryScan.Defect) {
    var scan = RecoveryScan(segmentBaseOffset: Offset(10), position: 0, nextOffset: Offset(10))
    #expect(scan.offer(header, remaining: remaining) == nil)
    #expect(scan.defect == defect && scan.validEnd == 0)
  }

  @Test func aWrongChecksumEndsIt() {
    var scan = RecoveryScan(segmentBaseOffset: .zero, position: 50, nextOffset: .zero)
    #expect(scan.offer(self.header(10), remaining: 200) == 100)
    scan.accept(self.header(10), byteCount: 100, checksumMatches: false)
    #expect(scan.defect == .wrongChecksum && scan.validEnd == 50)
  }
}
