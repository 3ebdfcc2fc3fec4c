import Base
import Compression
import Model
import NIOCore
import Testing

@testable import Records

private let now = Timestamp(1_700_000_000_000)

private func validate(
  _ records: ByteBuffer?, _ rules: BatchRules = BatchRules(), version: Int16 = 9
) throws(BatchRefusal) -> ValidatedBatch {
  try RecordBatchValidator(rules: rules).validate(records, produceVersion: version, now: now, workspace: RecordWorkspace())
}

/// Why the batch is refused; nil if it is taken.
private func whyRefused(_ records: ByteBuffer?, _ rules: BatchRules = BatchRules(), version: Int16 = 9) -> BatchRefusal? {
  do {
    _ = try validate(records, rules, version: version)
    return nil
  } catch { return error }
}

private func plainBatch(_ attributes: RecordBatchBuilder.Attributes = .init(), count: Int = 3) throws -> ByteBuffer {
  try batch((0..<count).map { PlainRecord(now.rawValue + Int64($0), "key \($0)", "value \($0)") }, attributes)
}

@Suite struct RecordBatchValidatorTests {
  @Test(arguments: CompressionCodec.allCases, [false, true])
  func aGoodBatchIsTaken(codec: CompressionCodec, scans: Bool) throws {
    let bytes = try plainBatch(.init(codec: codec))
    let taken = try validate(bytes, BatchRules(scansCompressedRecords: scans))
    #expect(taken.recordCount == 3)
    #expect(taken.bytes == bytes)
    #expect(taken.byteCount == bytes.readableBytes)
    #expect(taken.body.array == Array(bytes.array[61...]))
    #expect(taken.header.maxTimestamp == Timestamp(now.rawValue + 2))
    #expect(taken.logAppendTime == nil)
  }

  // MARK: Frame

  @Test func nothingIsRefused() {
    for records in [nil, ByteBuffer()] {
      let refusal = whyRefused(records)
      #expect(refusal?.code == .invalidRecord)
      #expect(refusal?.message.contains("exactly one record batch") == true)
    }
  }

  @Test func aBatchCutAnywhereIsRefused() throws {
    let whole = try plainBatch()
    for count in 1..<whole.readableBytes {
      #expect(whyRefused(whole.prefix(count))?.code == .invalidRecord, "cut to \(count) bytes")
    }
  }

  @Test func moreThanOneBatchIsRefused() throws {
    let one = try plainBatch()
    for rest in [one, ByteBuffer(bytes: [0])] {
      var two = one
      two.writeImmutableBuffer(rest)
      #expect(whyRefused(two)?.code == .invalidRecord)
      #expect(whyRefused(two)?.message.contains("\(rest.readableBytes) bytes follow") == true)
    }
  }

  @Test func otherFormatsAreRefused() throws {
    for (magic, code) in [(Int8(0), ErrorCode.invalidRecord), (1, .invalidRecord), (3, .corruptMessage), (-1, .corruptMessage)] {
      let bytes = resealed(try plainBatch()) { $0.magic = magic }
      #expect(whyRefused(bytes)?.code == code)
      #expect(whyRefused(bytes)?.message.contains("message format \(magic)".lowercased()) ?? false || magic < 2)
    }
  }

  @Test func aWrongLengthIsRefused() throws {
    let whole = try plainBatch()
    let right = Int32(whole.readableBytes - 12)
    for (length, code) in [
      (right + 1, ErrorCode.invalidRecord), (right - 1, .invalidRecord), (48, .corruptMessage), (0, .corruptMessage), (-1, .corruptMessage),
      (.max, .invalidRecord), (.min, .corruptMessage),
    ] {
      #expect(whyRefused(resealed(whole) { $0.batchLength = length })?.code == code, "length \(length)")
    }
  }

  @Test func aFlippedBitAnywhereBehindTheCRCIsCorrupt() throws {
    let whole = try plainBatch()
    for position in BatchHeader.crcCoverageStart - 4..<whole.readableBytes {
      var bytes = whole
      bytes.setInteger(whole.getInteger(at: position, as: UInt8.self)! ^ 0x10, at: position)
      #expect(whyRefused(bytes)?.code == .corruptMessage, "byte \(position)")
    }
  }

  @Test func aLargeBatchIsRefused() throws {
    let bytes = try plainBatch()
    #expect(whyRefused(bytes, BatchRules(maximumByteCount: bytes.readableBytes)) == nil)
    #expect(whyRefused(bytes, BatchRules(maximumByteCount: bytes.readableBytes - 1))?.code == .messageTooLarge)
  }

  // MARK: Header

  @Test(arguments: [CompressionCodec.none, .gzip])
  func countsMustAgree(codec: CompressionCodec) throws {
    // Behind a codec only the header can tell.
    let small = try plainBatch(.init(codec: codec))
    for (count, delta) in [
      (Int32(0), Int32(-1)), (-1, -2), (4, 2), (2, 2), (3, 1), (.max, 2), (.min, 2), (3, .max), (3, -1), (.min, .max),
    ] {
      let bytes = resealed(small) {
        $0.recordCount = count
        $0.lastOffsetDelta = delta
      }
      #expect(whyRefused(bytes)?.code == .invalidRecord, "\(count) records, last delta \(delta)")
    }
    let whole = try plainBatch(count: 3)
    for (count, delta) in [(Int32(4), Int32(3)), (2, 1), (.max, .max - 1)] {
      let bytes = resealed(whole) {
        $0.recordCount = count
        $0.lastOffsetDelta = delta
      }
      #expect(whyRefused(bytes)?.code == .invalidRecord, "\(count) records claimed of 3")
    }
  }

  @Test func theBrokersFieldsMustBeLeftAlone() throws {
    let whole = try plainBatch()
    #expect(whyRefused(resealed(whole) { $0.baseOffset = Offset(1) })?.code == .invalidRecord)
    #expect(whyRefused(resealed(whole) { $0.baseOffset = Offset(.min) })?.code == .invalidRecord)
    #expect(whyRefused(resealed(whole) { $0.attributes.isControl = true })?.code == .invalidRecord)
    #expect(whyRefused(resealed(whole) { $0.attributes.hasDeleteHorizon = true })?.code == .invalidRecord)
    #expect(whyRefused(resealed(whole) { $0.attributes.isLogAppendTime = true })?.code == .invalidTimestamp)
    for bit in 7..<16 {
      #expect(whyRefused(resealed(whole) { $0.attributes.rawValue |= 1 << bit })?.code == .invalidRecord, "bit \(bit)")
    }
    // The leader epoch is overwritten whatever it says.
    #expect(whyRefused(resealed(whole) { $0.partitionLeaderEpoch = LeaderEpoch(7) }) == nil)
  }

  @Test func unknownCodecsAreRefused() throws {
    for number in Int16(5)...7 {
      #expect(whyRefused(resealed(try plainBatch()) { $0.attributes.codecNumber = number })?.code == .unsupportedCompressionType)
    }
  }

  @Test func zstdNeedsProduceVersion7() throws {
    let bytes = try plainBatch(.init(codec: .zstd))
    #expect(whyRefused(bytes, version: 7) == nil)
    #expect(whyRefused(bytes, version: 6)?.code == .unsupportedCompressionType)
    #expect(whyRefused(try plainBatch(.init(codec: .lz4)), version: 3) == nil)
  }

  @Test func producerFieldsMustAgree() throws {
    func bytes(_ id: Int64, _ epoch: Int16, _ sequence: Int32, transactional: Bool = false) throws -> ByteBuffer {
      try plainBatch(
        .init(
          producerID: ProducerID(id), producerEpoch: ProducerEpoch(epoch), baseSequence: sequence, isTransactional: transactional))
    }
    #expect(whyRefused(try bytes(7, 0, 0)) == nil)
    #expect(whyRefused(try bytes(7, 0, .max, transactional: true)) == nil)
    #expect(whyRefused(try bytes(7, -1, 0))?.code == .invalidRecord)
    #expect(whyRefused(try bytes(7, 0, -1))?.code == .invalidRecord)
    #expect(whyRefused(try bytes(-2, 0, 0))?.code == .invalidRecord)
    #expect(whyRefused(try bytes(-1, -1, -1, transactional: true))?.code == .invalidRecord)
    // Some clients leave zeros where there is no producer.
    #expect(whyRefused(try bytes(-1, 0, 0)) == nil)
  }

  // MARK: Records

  @Test func malformedRecordsAreRefusedWhereTheyAreLookedAt() throws {
    // length 7: attributes, timestamp delta 0, offset delta 0, null key, value of 1 byte, no headers
    let good: [UInt8] = [0x0E, 0, 0, 0, 0x01, 0x02, 0x76, 0x00]
    #expect(whyRefused(batch(recordBytes: good, count: 1), BatchRules(timestampBeforeMaximum: .max)) == nil)
    let bad: [(String, [UInt8])] = [
      ("a negative record length", [0x01] + good[1...]),
      ("a record longer than the batch", [0x10] + good[1...]),
      ("a record shorter than its fields", [0x0C] + good[1...]),
      ("an empty record", [0x00]),
      ("a byte more than its fields", [0x10] + good[1...] + [0]),
      ("a key longer than the record", [0x0E, 0, 0, 0, 0x0C, 0x02, 0x76, 0x00]),
      ("a key length of -2", [0x0E, 0, 0, 0, 0x03, 0x02, 0x76, 0x00]),
      ("a value longer than the record", [0x0E, 0, 0, 0, 0x01, 0x06, 0x76, 0x00]),
      ("a negative header count", [0x0E, 0, 0, 0, 0x01, 0x02, 0x76, 0x01]),
      ("more headers than there is room for", [0x0E, 0, 0, 0, 0x01, 0x02, 0x76, 0x02]),
      ("a header without a key", [0x12, 0, 0, 0, 0x01, 0x02, 0x76, 0x02, 0x01, 0x01]),
      ("a header value longer than the record", [0x12, 0, 0, 0, 0x01, 0x02, 0x76, 0x02, 0x00, 0x02]),
      ("an overlong varint", [0x16, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0x01, 0x02, 0x76, 0x00]),
      ("a second record", good + good),
      ("an offset delta of 1", [0x0E, 0, 0, 0x02, 0x01, 0x02, 0x76, 0x00]),
      ("an offset delta of -1", [0x0E, 0, 0, 0x01, 0x01, 0x02, 0x76, 0x00]),
      ("nothing", []),
    ]
    for (what, records) in bad {
      #expect(whyRefused(batch(recordBytes: records, count: 1))?.code == .invalidRecord, "\(what)")
      // The same behind a codec is found unless it is not looked for.
      var small: [UInt8] = []
      try records.withUnsafeBytes { try Compressor().compress($0, codec: .gzip, into: &small) }
      let compressed = batch(recordBytes: small, count: 1, codec: CompressionCodec.gzip.rawValue)
      #expect(whyRefused(compressed, BatchRules(scansCompressedRecords: false)) == nil, "\(what)")
      #expect(whyRefused(compressed)?.code == .invalidRecord, "\(what)")
    }
    let header: [UInt8] = [0x12, 0, 0, 0, 0x01, 0x02, 0x76, 0x02, 0x00, 0x01]
    #expect(whyRefused(batch(recordBytes: header, count: 1)) == nil, "an empty header name and a null value are allowed")
  }

  @Test func aTimestampDeltaThatOverflowsIsRefused() throws {
    let bytes = resealed(try plainBatch()) { $0.baseTimestamp = Timestamp(.max) }
    #expect(whyRefused(bytes)?.code == .invalidRecord)
  }

  @Test func brokenCompressionIsFoundWhenLookedAt() throws {
    for codec in CompressionCodec.allCases where codec != .none {
      let bytes = batch(recordBytes: [1, 2, 3, 4, 5, 6, 7, 8], count: 1, codec: codec.rawValue)
      #expect(whyRefused(bytes, BatchRules(scansCompressedRecords: false)) == nil)
      #expect(whyRefused(bytes)?.code == .invalidRecord)
      #expect(whyRefused(bytes, BatchRules(isCompacted: true, scansCompressedRecords: false))?.code == .invalidRecord)
    }
  }

  @Test func recordsMayNotDecompressToMoreThanAllowed() throws {
    let bytes = try batch([PlainRecord(now.rawValue, "k", String(repeating: "x", count: 100_000))], .init(codec: .zstd))
    #expect(whyRefused(bytes, BatchRules(scansCompressedRecords: true, maximumDecompressedByteCount: 100_100)) == nil)
    #expect(
      whyRefused(bytes, BatchRules(scansCompressedRecords: true, maximumDecompressedByteCount: 99_999))?.code == .messageTooLarge)
  }

  @Test(arguments: [CompressionCodec.none, .lz4])
  func compactedTopicsNeedKeys(codec: CompressionCodec) throws {
    let records = (0..<5).map { PlainRecord(now.rawValue, $0 % 2 == 1 ? nil : "k", "v") }
    let bytes = try batch(records, .init(codec: codec))
    #expect(whyRefused(bytes) == nil)
    let refusal = try #require(whyRefused(bytes, BatchRules(isCompacted: true)))
    #expect(refusal.code == .invalidRecord)
    #expect(refusal.records.map(\.index) == [1, 3])
    #expect(refusal.records.allSatisfy { $0.message.contains("key") })
    #expect(refusal.description.contains("record 3"))
    // An empty key is a key.
    let empty = try batch([PlainRecord(now.rawValue, "", "v")], .init(codec: codec))
    #expect(whyRefused(empty, BatchRules(isCompacted: true)) == nil)
  }

  @Test func notMoreThanAHundredRecordsAreListed() throws {
    let bytes = try batch((0..<250).map { _ in PlainRecord(now.rawValue, nil, "v") })
    let refusal = try #require(whyRefused(bytes, BatchRules(isCompacted: true)))
    #expect(refusal.records.count == 100)
    #expect(refusal.message.hasPrefix("250 of"))
  }

  // MARK: Timestamps

  @Test(arguments: [CompressionCodec.none, .snappy], [false, true])
  func timestampsMustBeNearTheBrokersClock(codec: CompressionCodec, scans: Bool) throws {
    let rules = BatchRules(timestampBeforeMaximum: 100, timestampAfterMaximum: 50, scansCompressedRecords: scans)
    for (difference, isTaken) in [(Int64(-100), true), (-101, false), (50, true), (51, false), (0, true)] {
      let bytes = try batch(
        [PlainRecord(now.rawValue, "k", "v"), PlainRecord(now.rawValue + difference, "k", "v")], .init(codec: codec))
      let refusal = whyRefused(bytes, rules)
      if codec == .snappy, !scans, difference < 0 {
        // By the header alone, a record earlier than the first cannot be seen.
        #expect(refusal == nil)
      } else {
        #expect((refusal == nil) == isTaken, "\(difference) ms")
        if !isTaken { #expect(refusal?.code == .invalidTimestamp) }
        if !isTaken, codec == .none || scans { #expect(refusal?.records.map(\.index) == [1]) }
      }
      // Where the broker sets the time, the producer's does not matter.
      var appendTime = rules
      appendTime.timestampType = .logAppendTime
      #expect(whyRefused(bytes, appendTime) == nil)
    }
    let first = try batch([PlainRecord(now.rawValue - 101, "k", "v")], .init(codec: codec))
    #expect(whyRefused(first, rules)?.code == .invalidTimestamp)
    // -1 says that there is none.
    let none = try batch([PlainRecord(-1, "k", "v")], .init(codec: codec))
    #expect(whyRefused(none, rules) == nil)
  }

  @Test func oneBadTimestampDecidesTheCode() throws {
    let records = [PlainRecord(now.rawValue, nil, "v"), PlainRecord(0, "k", "v")]
    let refusal = try #require(whyRefused(try batch(records), BatchRules(timestampBeforeMaximum: 1, isCompacted: true)))
    #expect(refusal.code == .invalidTimestamp)
    #expect(refusal.records.map(\.index) == [0, 1])
  }

  @Test func limitsAtTheEndsOfTimeDoNotOverflow() throws {
    let rules = BatchRules(timestampBeforeMaximum: .max, timestampAfterMaximum: .max)
    for timestamp in [-(Int64(1) << 62), -2, 0, .max] {
      #expect(whyRefused(try batch([PlainRecord(timestamp, "k", "v")]), rules) == nil)
    }
  }

  @Test(arguments: [CompressionCodec.none, .gzip])
  func aWrongMaximumIsCorrected(codec: CompressionCodec) throws {
    // Too small shows in the header, too large only in the records.
    for wrong in [now.rawValue - 5, now.rawValue + 500] {
      let bytes = resealed(try plainBatch(.init(codec: codec))) { $0.maxTimestamp = Timestamp(wrong) }
      let taken = try validate(bytes, BatchRules(scansCompressedRecords: wrong > now.rawValue))
      #expect(taken.header.maxTimestamp == Timestamp(now.rawValue + 2))
      #expect(try opened(stored(taken)).header.maxTimestamp == Timestamp(now.rawValue + 2))
    }
  }

  // MARK: Patching

  @Test(arguments: CompressionCodec.allCases)
  func theStoredBatchIsTheReceivedOneBehindANewHeader(codec: CompressionCodec) throws {
    let bytes = try plainBatch(.init(codec: codec, producerID: ProducerID(9), producerEpoch: ProducerEpoch(1), baseSequence: 4))
    let taken = try validate(bytes)
    let (header, records) = try opened(stored(taken))
    var expected = try RecordBatchView(frontOf: bytes).header
    expected.baseOffset = Offset(1_234_567_890_123)
    expected.partitionLeaderEpoch = LeaderEpoch(42)
    #expect(header == expected)
    #expect(records == (try opened(bytes).records))
    #expect(header.lastSequence == 6)
    #expect(header.nextOffset == Offset(1_234_567_890_126))
  }

  @Test(arguments: CompressionCodec.allCases)
  func appendTimeIsWrittenIntoTheHeader(codec: CompressionCodec) throws {
    let bytes = try batch([PlainRecord(5, "k", "v"), PlainRecord(now.rawValue + 99_999_999, "k", "w")], .init(codec: codec))
    let taken = try validate(bytes, BatchRules(timestampType: .logAppendTime))
    #expect(taken.logAppendTime == now)
    let (header, records) = try opened(stored(taken))
    #expect(header.attributes.isLogAppendTime)
    #expect(header.maxTimestamp == now)
    #expect(records.map(\.timestamp) == [now.rawValue, now.rawValue])
  }

  /// What a partition writes: the patched header and the rest of what came.
  private func stored(_ batch: ValidatedBatch) -> ByteBuffer {
    batch.withPatchedHeader(baseOffset: Offset(1_234_567_890_123), leaderEpoch: LeaderEpoch(42)) { head in
      #expect(head.count == 61)
      var bytes = ByteBuffer(bytes: head)
      bytes.writeImmutableBuffer(batch.body)
      return bytes
    }
  }

  @Test func aSliceInTheMiddleOfARequestIsTakenAsItLies() throws {
    let inner = try plainBatch()
    var request = ByteBuffer(repeating: 0xAA, count: 37)
    request.writeImmutableBuffer(inner)
    request.writeRepeatingByte(0xBB, count: 11)
    let slice = try #require(request.getSlice(at: 37, length: inner.readableBytes))
    #expect(try validate(slice).body == (try validate(inner)).body)
    // And one whose reader index is not at its start.
    var moved = request
    moved.moveReaderIndex(forwardBy: 37)
    moved.moveWriterIndex(to: 37 + inner.readableBytes)
    #expect(try validate(moved).body == (try validate(inner)).body)
  }
}
