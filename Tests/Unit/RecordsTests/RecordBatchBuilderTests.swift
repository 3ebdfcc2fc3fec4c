import Base
import Compression
import Model
import NIOCore
import Testing

@testable import Records

@Suite struct RecordBatchBuilderTests {
  @Test(arguments: CompressionCodec.allCases)
  func whatIsBuiltIsIteratedAgain(codec: CompressionCodec) throws {
    var generator = SeededGenerator(seed: UInt64(codec.rawValue) + 100)
    let workspace = RecordWorkspace()
    for round in 0..<60 {
      let records = randomRecords(count: 1 + Int(generator.next() % 40), using: &generator)
      let attributes = RecordBatchBuilder.Attributes(
        codec: codec, baseOffset: Offset(Int64(generator.next() % 1_000_000)), leaderEpoch: LeaderEpoch(Int32(round)),
        producerID: ProducerID(Int64(round) - 1), producerEpoch: ProducerEpoch(Int16(round)), baseSequence: Int32(round),
        isTransactional: round % 2 == 1)
      let bytes = try batch(records, attributes, workspace: workspace)
      let (header, read) = try opened(bytes)
      #expect(read == records)
      #expect(header.totalByteCount == bytes.readableBytes)
      #expect(header.baseOffset == attributes.baseOffset)
      #expect(header.lastOffset == attributes.baseOffset + Int64(records.count - 1))
      #expect(header.partitionLeaderEpoch == attributes.leaderEpoch)
      #expect(header.producerID == attributes.producerID)
      #expect(header.producerEpoch == attributes.producerEpoch)
      #expect(header.baseSequence == attributes.baseSequence)
      #expect(header.attributes.isTransactional == attributes.isTransactional)
      #expect(!header.attributes.isControl && !header.attributes.isLogAppendTime)
      #expect(header.baseTimestamp.rawValue == records[0].timestamp)
      #expect(header.maxTimestamp.rawValue == records.map(\.timestamp).max())
      // The broker's rules take what our own producer builds, offset 0 given.
      let produced = resealed(bytes) { $0.baseOffset = .zero }
      let validator = RecordBatchValidator(rules: BatchRules(timestampAfterMaximum: .max, scansCompressedRecords: true))
      _ = try validator.validate(produced, produceVersion: 9, now: Timestamp(0), workspace: workspace)
    }
  }

  @Test func oneBuilderMakesBatchAfterBatch() throws {
    let workspace = RecordWorkspace()
    for codec in [CompressionCodec.none, .zstd] {
      var builder = RecordBatchBuilder(.init(codec: codec), capacity: 100)
      var batches: [ByteBuffer] = []
      for number in 0..<4 {
        #expect(builder.isEmpty && builder.uncompressedByteCount == 61)
        for record in 0...number {
          try builder.append(timestamp: Timestamp(Int64(record)), key: nil, value: ByteBuffer(string: "v\(number)"))
        }
        #expect(builder.recordCount == number + 1)
        builder.attributes.baseSequence = Int32(number)
        batches.append(try builder.finish(using: workspace.compressor))
      }
      // The first is not overwritten by the last.
      for (number, bytes) in batches.enumerated() {
        let (header, records) = try opened(bytes)
        #expect(header.baseSequence == Int32(number))
        #expect(records == (0...number).map { PlainRecord(Int64($0), nil, "v\(number)") })
      }
    }
  }

  @Test func theSizeIsKnownBeforehand() throws {
    var generator = SeededGenerator(seed: 5)
    var builder = RecordBatchBuilder()
    for record in randomRecords(count: 300, using: &generator) {
      let before = builder.uncompressedByteCount
      try builder.append(timestamp: Timestamp(record.timestamp), key: record.key, value: record.value, headers: record.headers)
      let bound = RecordBatchBuilder.maximumByteCount(
        keyByteCount: record.key?.readableBytes ?? 0, valueByteCount: record.value?.readableBytes ?? 0, headers: record.headers)
      #expect(builder.uncompressedByteCount - before <= bound)
      #expect(builder.uncompressedByteCount - before > bound - 80)
    }
    let expected = builder.uncompressedByteCount
    #expect(try builder.finish(using: Compressor()).readableBytes == expected)
  }

  @Test func compactionKeepsItsGaps() throws {
    var builder = RecordBatchBuilder(.init(codec: .lz4, baseOffset: Offset(100)))
    for delta in [Int32(3), 10, 11] {
      try builder.append(timestamp: Timestamp(1), key: ByteBuffer(string: "k"), value: nil, offsetDelta: delta)
    }
    // The next without a delta follows the last one.
    try builder.append(timestamp: Timestamp(1), key: nil, value: nil)
    for delta in [Int32(12), 0, -1] {
      #expect(throws: RecordError.offsetDelta(index: 4, delta: delta)) {
        try builder.append(timestamp: Timestamp(1), key: nil, value: ByteBuffer(), offsetDelta: delta)
      }
    }
    let bytes = try builder.finish(using: Compressor(), lastOffsetDelta: 20)
    let view = try RecordBatchView(frontOf: bytes)
    var iterator = try view.records(using: Decompressor())
    var offsets: [Int64] = []
    while let record = try iterator.next() { offsets.append(record.offset.rawValue) }
    #expect(offsets == [103, 110, 111, 112])
    #expect(view.header.nextOffset == Offset(121))
    #expect(view.header.recordCount == 4)
  }

  @Test func aBatchThatCompactionEmptiedIsKept() throws {
    for codec in CompressionCodec.allCases {
      var builder = RecordBatchBuilder(.init(codec: codec, baseOffset: Offset(7)))
      let bytes = try builder.finish(using: Compressor(), lastOffsetDelta: 4)
      let (header, records) = try opened(bytes)
      #expect(records.isEmpty && header.nextOffset == Offset(12))
      #expect(throws: RecordError.self) { try builder.finish(using: Compressor()) }
    }
    var builder = RecordBatchBuilder()
    try builder.append(timestamp: Timestamp(0), key: nil, value: nil)
    try builder.append(timestamp: Timestamp(0), key: nil, value: nil)
    #expect(throws: RecordError.self) { try builder.finish(using: Compressor(), lastOffsetDelta: 0) }
  }

  @Test func offsetsAndTimestampsBeyondTheFormatAreRefused() throws {
    var builder = RecordBatchBuilder()
    try builder.append(timestamp: Timestamp(.min), key: nil, value: nil, offsetDelta: .max)
    #expect(throws: RecordError.self) { try builder.append(timestamp: Timestamp(0), key: nil, value: nil) }
    var other = RecordBatchBuilder()
    try other.append(timestamp: Timestamp(.min), key: nil, value: nil)
    #expect(throws: RecordError.timestampDelta(index: 1, delta: 1)) { try other.append(timestamp: Timestamp(1), key: nil, value: nil) }
    // What was refused left nothing behind.
    #expect(try opened(try other.finish(using: Compressor())).records.count == 1)
  }

  @Test func appendTimeStandsForEveryRecord() throws {
    let bytes = try batch([PlainRecord(1, "k", "v"), PlainRecord(2, "k", "v")], .init(logAppendTime: Timestamp(99)))
    let (header, records) = try opened(bytes)
    #expect(header.attributes.isLogAppendTime && header.maxTimestamp == Timestamp(99))
    #expect(records.map(\.timestamp) == [99, 99])
  }

  @Test func anUnusableLevelIsAnError() throws {
    #expect(throws: RecordError.compression(.unsupportedLevel(.gzip, level: 77))) {
      try batch([PlainRecord(1, "k", "v")], .init(codec: .gzip, level: 77))
    }
  }

  @Test func transactionMarkersAreControlBatches() throws {
    let workspace = RecordWorkspace()
    for isCommit in [true, false] {
      let marker = EndTransactionMarker(isCommit: isCommit, coordinatorEpoch: 12)
      let bytes = try marker.batch(
        producerID: ProducerID(5), producerEpoch: ProducerEpoch(2), timestamp: Timestamp(1_000), using: workspace)
      let view = try RecordBatchView(frontOf: bytes)
      try view.checkChecksum()
      #expect(view.header.attributes.isControl && view.header.attributes.isTransactional)
      #expect(view.header.producerID == ProducerID(5) && view.header.baseSequence == -1)
      var iterator = try view.records(using: workspace.decompressor)
      let record = try #require(try iterator.next())
      // Key: version 0, type 0 abort or 1 commit. Value: version 0, coordinator epoch (Kafka protocol guide, "Control Batches").
      #expect(record.key?.array == [0, 0, 0, isCommit ? 1 : 0])
      #expect(record.value?.array == [0, 0, 0, 0, 0, 12])
      #expect(try EndTransactionMarker(record) == marker)
      #expect(try iterator.next() == nil)
    }
  }

  @Test func malformedControlRecordsAreErrors() throws {
    func first(_ key: ByteBuffer?, _ value: ByteBuffer?) throws -> RecordView {
      var builder = RecordBatchBuilder(.init(isControl: true))
      try builder.append(timestamp: Timestamp(0), key: key, value: value)
      var iterator = try RecordBatchView(frontOf: try builder.finish(using: Compressor())).records(using: Decompressor())
      return try #require(try iterator.next())
    }
    let commit = ControlRecordKey(.commit).bytes
    #expect(throws: RecordError.self) { try EndTransactionMarker(try first(nil, nil)) }
    #expect(throws: RecordError.self) { try EndTransactionMarker(try first(ByteBuffer(bytes: [0, 0, 0]), nil)) }
    #expect(throws: RecordError.self) { try EndTransactionMarker(try first(ByteBuffer(bytes: [0xFF, 0xFF, 0, 1]), nil)) }
    #expect(throws: RecordError.self) { try EndTransactionMarker(try first(commit, nil)) }
    #expect(throws: RecordError.self) { try EndTransactionMarker(try first(commit, ByteBuffer(bytes: [0, 0, 0, 0, 1]))) }
    #expect(throws: RecordError.self) { try EndTransactionMarker(try first(commit, ByteBuffer(bytes: [0x80, 0, 0, 0, 0, 1]))) }
    #expect(try EndTransactionMarker(try first(ControlRecordKey(.leaderChange).bytes, nil)) == nil)
    #expect(try EndTransactionMarker(try first(ByteBuffer(bytes: [0, 0, 0, 99]), nil)) == nil)
    #expect(try ControlRecordKey(ByteBuffer(bytes: [0, 0, 0, 99])).type == nil)
    // A later version with more fields is read as far as we know it.
    #expect(try ControlRecordKey(ByteBuffer(bytes: [0, 1, 0, 2, 9])).type == .leaderChange)
  }
}
