import Base
import Compression
import Model
import NIOCore
import Testing

@testable import Records

@Suite struct RecompressionTests {
  private let now = Timestamp(1_700_000_000_000)

  private func validated(_ codec: CompressionCodec, _ rules: BatchRules = BatchRules()) throws -> (ValidatedBatch, [PlainRecord]) {
    let records = (0..<50).map { PlainRecord(self.now.rawValue + Int64($0), "k\($0)", "value value value", [("h", "x")]) }
    let bytes = try batch(
      records, .init(codec: codec, producerID: ProducerID(4), producerEpoch: ProducerEpoch(1), baseSequence: 9, isTransactional: true))
    let taken = try RecordBatchValidator(rules: rules)
      .validate(bytes, produceVersion: 9, now: self.now, workspace: RecordWorkspace())
    return (taken, records)
  }

  @Test(arguments: CompressionCodec.allCases, CompressionCodec.allCases)
  func theRecordsStayAndTheCodecChanges(source: CompressionCodec, target: CompressionCodec) throws {
    for timestampType in TimestampType.allCases {
      let rules = BatchRules(timestampType: timestampType)
      let (taken, records) = try self.validated(source, rules)
      let other = try RecordBatchValidator(rules: rules).recompressed(taken, codec: target, workspace: RecordWorkspace())
      if source == target { #expect(other == taken) }
      let stored = other.withPatchedHeader(baseOffset: Offset(70), leaderEpoch: LeaderEpoch(3)) { head in
        var bytes = ByteBuffer(bytes: head)
        bytes.writeImmutableBuffer(other.body)
        return bytes
      }
      let (header, read) = try opened(stored)
      #expect(header.attributes.codecNumber == target.rawValue)
      #expect(header.totalByteCount == stored.readableBytes)
      #expect(header.baseOffset == Offset(70) && header.nextOffset == Offset(120))
      #expect(header.producerID == ProducerID(4) && header.baseSequence == 9 && header.attributes.isTransactional)
      #expect(read.map(\.value) == records.map(\.value) && read.map(\.headers) == records.map(\.headers))
      #expect(read.map(\.timestamp) == (timestampType == .createTime ? records.map(\.timestamp) : records.map { _ in self.now.rawValue }))
    }
  }

  @Test func anyRecordsGoThroughAnyCodecs() throws {
    var generator = SeededGenerator(seed: 21)
    let workspace = RecordWorkspace()
    let validator = RecordBatchValidator(rules: BatchRules(timestampAfterMaximum: .max))
    for _ in 0..<200 {
      let records = randomRecords(count: 1 + Int(generator.next() % 30), using: &generator)
      let codecs = CompressionCodec.allCases.shuffled(using: &generator)
      let bytes = try batch(records, .init(codec: codecs[0]))
      var taken = try validator.validate(bytes, produceVersion: 9, now: self.now, workspace: workspace)
      let original = taken.header
      for codec in codecs.dropFirst() {
        let lowest = codec == .zstd ? 1 : codec.levels?.lowerBound ?? 0
        let level = codec.levels.map { lowest + Int(generator.next() % UInt64($0.upperBound - lowest + 1)) }
        taken = try validator.recompressed(taken, codec: codec, level: level, workspace: workspace)
      }
      let (header, read) = try opened(taken.bytes)
      #expect(read == records)
      #expect(header.maxTimestamp == original.maxTimestamp && header.recordCount == original.recordCount)
    }
  }

  @Test func theResultIsHeldAgainstTheLimits() throws {
    let (taken, _) = try self.validated(.zstd)
    for (rules, code) in [
      (BatchRules(maximumByteCount: taken.byteCount), ErrorCode.messageTooLarge),
      (BatchRules(maximumDecompressedByteCount: 100), .messageTooLarge),
    ] {
      let error = try #require(throws: BatchRefusal.self) {
        try RecordBatchValidator(rules: rules).recompressed(taken, codec: .none, workspace: RecordWorkspace())
      }
      #expect(error.code == code)
    }
    // Validation by the header alone lets broken bytes through; they are found here.
    let broken = batch(recordBytes: [1, 2, 3], count: 1, codec: CompressionCodec.gzip.rawValue)
    let validator = RecordBatchValidator(rules: BatchRules(scansCompressedRecords: false))
    let passed = try validator.validate(broken, produceVersion: 9, now: self.now, workspace: RecordWorkspace())
    let error = try #require(throws: BatchRefusal.self) {
      try validator.recompressed(passed, codec: .lz4, workspace: RecordWorkspace())
    }
    #expect(error.code == .invalidRecord)
  }
}
