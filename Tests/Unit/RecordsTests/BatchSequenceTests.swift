import Base
import Compression
import Model
import NIOCore
import Testing

@testable import Records

@Suite struct BatchSequenceTests {
  private func threeBatches() throws -> [ByteBuffer] {
    try [CompressionCodec.none, .zstd, .none].enumerated().map { number, codec in
      try batch(
        (0...number).map { PlainRecord(Int64($0), "k", "v\($0)") }, .init(codec: codec, baseOffset: Offset(Int64(number) * 10)))
    }
  }

  private func joined(_ batches: [ByteBuffer]) -> ByteBuffer {
    var bytes = ByteBuffer()
    for batch in batches { bytes.writeImmutableBuffer(batch) }
    return bytes
  }

  @Test func wholeBatchesAreWalkedAndAPartialOneIsLeft() throws {
    let batches = try self.threeBatches()
    let whole = self.joined(batches)
    var ends: [Int] = []
    for batch in batches { ends.append((ends.last ?? 0) + batch.readableBytes) }
    for count in 0...whole.readableBytes {
      var sequence = BatchSequence(whole.prefix(count))
      var walked: [RecordBatchView] = []
      while let batch = try sequence.next() { walked.append(batch) }
      let expected = ends.filter { $0 <= count }
      #expect(walked.map(\.bytes) == Array(batches[..<expected.count]))
      #expect(walked.map(\.header.baseOffset.rawValue) == Array([0, 10, 20][..<expected.count]))
      #expect(sequence.remainingByteCount == count - (expected.last ?? 0))
    }
  }

  @Test func aBadChecksumIsAnErrorUnlessNotAskedFor() throws {
    let batches = try self.threeBatches()
    var bytes = self.joined(batches)
    let position = batches[0].readableBytes + 70
    bytes.setInteger(bytes.getInteger(at: position, as: UInt8.self)! ^ 1, at: position)
    var sequence = BatchSequence(bytes)
    #expect(try sequence.next()?.header.baseOffset == .zero)
    for _ in 0..<2 {
      #expect(throws: RecordError.self) { try sequence.next() }
    }
    #expect(sequence.remainingByteCount == batches[1].readableBytes + batches[2].readableBytes)
    sequence = BatchSequence(bytes, checksChecksums: false)
    var count = 0
    while try sequence.next() != nil { count += 1 }
    #expect(count == 3)
  }

  @Test func messageSetsOfOldAreRefusedByName() throws {
    // Offset, size, CRC, magic 0 or 1, attributes, key and value: less than 61 bytes, as old messages may be.
    for magic in [UInt8(0), 1] {
      var bytes = ByteBuffer()
      bytes.writeInteger(Int64(5))
      bytes.writeInteger(Int32(16))
      bytes.writeInteger(UInt32(0xABCD))
      bytes.writeBytes([magic, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1, 0x41])
      var sequence = BatchSequence(bytes)
      let error = try #require(throws: RecordError.self) { try sequence.next() }
      #expect(error == .unsupportedMagic(Int8(magic)))
      #expect(error.code == .unsupportedForMessageFormat)
      #expect(error.description.contains("before Kafka 0.11"))
    }
    #expect(RecordError.unsupportedMagic(9).code == .corruptMessage)
  }

  @Test func impossibleHeadersAreErrors() throws {
    let good = try batch([PlainRecord(0, "k", "v"), PlainRecord(0, "k", "v")], .init(baseOffset: Offset(5)))
    let changes: [(inout BatchHeader) -> Void] = [
      { $0.batchLength = 48 }, { $0.batchLength = -1 }, { $0.batchLength = .min }, { $0.baseOffset = Offset(-1) },
      { $0.baseOffset = Offset(.max) }, { $0.baseOffset = Offset(.max - 1) }, { $0.lastOffsetDelta = -1 },
      { $0.lastOffsetDelta = 0 }, { $0.recordCount = -1 }, { $0.recordCount = 3 }, { $0.recordCount = .max },
    ]
    for change in changes {
      let bytes = resealed(good, change)
      var sequence = BatchSequence(bytes)
      #expect(throws: RecordError.self) { try sequence.next() }
      // Asking the header all the same must not trap.
      let header = bytes.withUnsafeReadableBytes { BatchHeader(reading: $0) }
      _ = (header?.lastOffset, header?.nextOffset, header?.lastSequence, header?.totalByteCount)
    }
  }

  @Test func keysValuesAndHeadersAreSlices() throws {
    let bytes = try batch([PlainRecord(0, "key", "value", [("h", "1"), ("h", nil), ("", "")])])
    var iterator = try RecordBatchView(frontOf: bytes).records(using: Decompressor())
    let record = try #require(try iterator.next())
    #expect(record.headers.count == 3)
    #expect(record.headers.map(\.key) == ["h", "h", ""])
    #expect(record.headers.map(\.value) == [ByteBuffer(string: "1"), nil, ByteBuffer()])
    // The storage is the batch's own: no copy was made.
    let address = bytes.withVeryUnsafeBytes { $0.baseAddress }
    #expect(record.value?.withVeryUnsafeBytes { $0.baseAddress } == address.map { $0 + 61 + 9 })
  }

  @Test func iterationChecksTheRecords() throws {
    let record: [UInt8] = [0x0E, 0, 0, 0, 0x01, 0x02, 0x76, 0x00]
    func iterate(_ bytes: ByteBuffer) throws -> Int {
      var iterator = try RecordBatchView(frontOf: bytes).records(using: Decompressor())
      var count = 0
      while try iterator.next() != nil { count += 1 }
      return count
    }
    #expect(try iterate(batch(recordBytes: record, count: 1)) == 1)
    #expect(throws: RecordError.trailingBytes(8)) { try iterate(batch(recordBytes: record + record, count: 1)) }
    #expect(throws: RecordError.offsetDelta(index: 1, delta: 0)) { try iterate(batch(recordBytes: record + record, count: 2)) }
    #expect(throws: RecordError.malformedRecord(index: 1, .truncated)) { try iterate(batch(recordBytes: record, count: 2)) }
    let far = [record[0], 0, 0, 0x02] + record[4...]
    #expect(throws: RecordError.offsetDelta(index: 0, delta: 1)) { try iterate(batch(recordBytes: far, count: 1)) }
    // With a gap left by compaction it is as it should be.
    #expect(try iterate(resealed(batch(recordBytes: far, count: 1)) { $0.lastOffsetDelta = 1 }) == 1)
    #expect(throws: RecordError.unknownCodec(6)) { try iterate(batch(recordBytes: record, count: 1, codec: 6)) }
    #expect(throws: RecordError.timestampDelta(index: 0, delta: -1)) {
      let bytes = batch(recordBytes: [0x0E, 0, 1, 0, 0x01, 0x02, 0x76, 0x00], count: 1)
      return try iterate(resealed(bytes) { $0.baseTimestamp = Timestamp(.min) })
    }
  }

  @Test func theDeclaredLimitHoldsWhenReading() throws {
    let bytes = try batch([PlainRecord(0, "k", String(repeating: "x", count: 50_000))], .init(codec: .gzip))
    #expect(throws: RecordError.compression(.tooLarge(.gzip, limit: 50_000))) { try opened(bytes, limit: 50_000) }
    #expect(try opened(bytes, limit: 50_100).records.count == 1)
  }

  @Test func sequencesWrapAsKafkas() {
    var header = BatchHeader(reading: UnsafeRawBufferPointer(start: nil, count: 0))
    #expect(header == nil)
    let bytes = [UInt8](repeating: 0, count: 61)
    header = bytes.withUnsafeBytes { BatchHeader(reading: $0) }
    header!.baseSequence = .max - 1
    header!.lastOffsetDelta = 3
    // After 2147483647 comes 0 (KIP-98).
    #expect(header!.lastSequence == 1)
    header!.baseSequence = -1
    #expect(header!.lastSequence == -1)
  }
}
