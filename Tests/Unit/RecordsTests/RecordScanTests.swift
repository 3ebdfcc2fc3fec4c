import Base
import Compression
import Model
import NIOCore
import Testing

@testable import Records

/// Records that come in pieces are judged as those that come whole.
@Suite struct RecordScanTests {
  /// The largest timestamp, or the code of the refusal.
  private enum Outcome: Equatable {
    case taken(Timestamp)
    case refused(ErrorCode)
  }

  private func scan(_ records: [UInt8], count: Int32, cuts: [Int], needsKeys: Bool = false) -> Outcome {
    let bytes = batch(recordBytes: [], count: count)
    let header = bytes.withUnsafeReadableBytes { BatchHeader(reading: $0)! }
    var scan = RecordScan(header: header, accepted: .min ... .max, needsKeys: needsKeys)
    do throws(BatchRefusal) {
      var start = 0
      for cut in cuts + [records.count] {
        // A copy of its own, so that reading on beyond the piece is found by the sanitizer and by chance alike.
        let piece = Array(records[start..<cut])
        let result = piece.withUnsafeBytes { piece in Result { () throws(BatchRefusal) in try scan.read(piece) } }
        try result.get()
        start = cut
      }
      return .taken(try scan.finish())
    } catch { return .refused(error.code) }
  }

  private func recordBytes(_ records: [PlainRecord]) throws -> [UInt8] { Array(try batch(records).array[61...]) }

  @Test func oneCutAnywhereChangesNothing() throws {
    var generator = SeededGenerator(seed: 11)
    for _ in 0..<40 {
      let records = randomRecords(count: 1 + Int(generator.next() % 4), using: &generator)
      let bytes = try self.recordBytes(records)
      let whole = self.scan(bytes, count: Int32(records.count), cuts: [])
      guard case .taken = whole else {
        Issue.record("a good batch was refused: \(whole)")
        return
      }
      for cut in 0...bytes.count {
        #expect(self.scan(bytes, count: Int32(records.count), cuts: [cut]) == whole, "cut at \(cut) of \(bytes.count)")
      }
      #expect(self.scan(bytes, count: Int32(records.count), cuts: Array(0..<bytes.count)) == whole, "byte by byte")
      #expect(self.scan(bytes, count: Int32(records.count) + 1, cuts: [bytes.count / 2]) == .refused(.invalidRecord))
      if records.count > 1 {
        #expect(self.scan(bytes, count: Int32(records.count) - 1, cuts: [bytes.count / 2]) == .refused(.invalidRecord))
      }
    }
  }

  @Test func brokenRecordsAreBrokenHoweverTheyCome() throws {
    var generator = SeededGenerator(seed: 12)
    var refusedCount = 0
    for _ in 0..<2_000 {
      let records = randomRecords(count: 3, using: &generator)
      var bytes = try self.recordBytes(records)
      for _ in 0...(generator.next() % 3) {
        bytes[Int(generator.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: generator.next())
      }
      if generator.next() % 4 == 0 { bytes.removeLast(Int(generator.next() % UInt64(bytes.count))) }
      let whole = self.scan(bytes, count: 3, cuts: [])
      let cuts = (0..<3).map { _ in Int(generator.next() % UInt64(bytes.count + 1)) }.sorted()
      #expect(self.scan(bytes, count: 3, cuts: cuts) == whole, "cuts at \(cuts): \(bytes)")
      if case .refused = whole { refusedCount += 1 }
    }
    #expect(refusedCount > 200, "hardly anything was broken: the test does not go deep")
  }

  @Test func aKeyIsMissedInASplitRecordToo() throws {
    let bytes = try self.recordBytes([PlainRecord(1, "k", "v"), PlainRecord(1, nil, "v")])
    for cut in 0...bytes.count {
      #expect(self.scan(bytes, count: 2, cuts: [cut], needsKeys: true) == .refused(.invalidRecord))
    }
  }

  // MARK: Windows

  private func validate(_ bytes: ByteBuffer, _ rules: BatchRules, _ workspace: RecordWorkspace) -> BatchRefusal? {
    do throws(BatchRefusal) {
      _ = try RecordBatchValidator(rules: rules)
        .validate(bytes, produceVersion: 9, now: Timestamp(1_700_000_000_000), workspace: workspace)
      return nil
    } catch { return error }
  }

  /// Records that lie across windows, and one that is larger than a window.
  @Test(arguments: [CompressionCodec.gzip, .snappy, .lz4, .zstd])
  func moreThanAWindowIsLookedAt(codec: CompressionCodec) throws {
    var generator = SeededGenerator(seed: 13)
    let large = String(repeating: "0123456789abcdef", count: RecordWorkspace.windowByteCount / 16 + 100)
    var records = (0..<3_000).map { PlainRecord(1_700_000_000_000, "k\($0)", "\(generator.next())" + String(repeating: "y", count: 700)) }
    records.insert(PlainRecord(1_700_000_000_000, "large", large), at: 1_500)
    let rules = BatchRules(maximumByteCount: 64 << 20)
    let workspace = RecordWorkspace()
    #expect(self.validate(try batch(records, .init(codec: codec)), rules, workspace) == nil)
    // The last record is broken: all before it was looked at and found good.
    var bytes = try self.recordBytes(records)
    bytes[bytes.count - 1] = 0x7F
    var small: [UInt8] = []
    try bytes.withUnsafeBytes { try Compressor().compress($0, codec: codec, into: &small) }
    let broken = batch(recordBytes: small, count: Int32(records.count), codec: codec.rawValue)
    #expect(self.validate(broken, rules, workspace)?.code == .invalidRecord)
    #expect(self.validate(broken, rules, workspace)?.message.contains("Record \(records.count - 1)") == true)
    #expect(self.validate(try batch(records, .init(codec: codec)), rules, workspace) == nil, "the workspace goes on")
  }

  @Test(arguments: [CompressionCodec.gzip, .lz4, .zstd])
  func aBombIsRefusedByItsLimit(codec: CompressionCodec) throws {
    let bomb = try batch([PlainRecord(1_700_000_000_000, "k", String(repeating: "\0", count: 24 << 20))], .init(codec: codec))
    let refusal = try #require(self.validate(bomb, BatchRules(maximumDecompressedByteCount: 16 << 20), RecordWorkspace()))
    #expect(refusal.code == .messageTooLarge)
    #expect(refusal.message.contains("\(16 << 20) bytes"))
    #expect(bomb.readableBytes < 1 << 20, "it would not be a bomb")
  }

  /// A zstd frame (RFC 8878, section 3.1.1) that demands a window of `2 ** windowLog` bytes: `head`, then blocks of 128 KiB zeros.
  private func zstdFrame(windowLog: UInt8, head: [UInt8], zeroBlocks: Int) -> [UInt8] {
    func block(type: Int, size: Int, isLast: Bool = false) -> [UInt8] {
      let header = size << 3 | type << 1 | (isLast ? 1 : 0)
      return [UInt8(header & 0xFF), UInt8(header >> 8 & 0xFF), UInt8(header >> 16)]
    }
    var bytes: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD, 0, (windowLog - 10) << 3]
    bytes += block(type: 0, size: head.count) + head
    for number in 1...zeroBlocks { bytes += block(type: 1, size: 128 << 10, isLast: number == zeroBlocks) + [0] }
    return bytes
  }

  /// All of the one record before its zeros, of which the last says that it has no headers.
  private func head(zeros: Int) -> [UInt8] {
    func varint(_ value: Int) -> [UInt8] {
      var (rest, bytes) = (UInt(value) << 1, [UInt8]())
      while rest > 0x7F { (bytes, rest) = (bytes + [UInt8(rest & 0x7F) | 0x80], rest >> 7) }
      return bytes + [UInt8(rest)]
    }
    // Attributes, deltas, no key, and the value's length.
    let fields = [0, 0, 0, 1] + varint(zeros - 1)
    return varint(fields.count + zeros) + fields
  }

  /// A batch of a few kilobytes that is far larger inside, and demands the largest window that is granted.
  @Test func aBombWithTheLargestWindowIsRefusedByItsLimit() throws {
    let workspace = RecordWorkspace()
    for (windowLog, code) in [(UInt8(27), ErrorCode.messageTooLarge), (28, .invalidRecord)] {
      let frame = self.zstdFrame(windowLog: windowLog, head: self.head(zeros: 2_000 << 17), zeroBlocks: 2_000)
      let bomb = batch(recordBytes: frame, count: 1, codec: CompressionCodec.zstd.rawValue)
      #expect(bomb.readableBytes < 10_000)
      let refusal = try #require(self.validate(bomb, BatchRules(), workspace))
      #expect(refusal.code == code, "\(refusal.message)")
    }
    // With a record that is not too large the same is taken: what was refused is the size.
    let small = self.zstdFrame(windowLog: 27, head: self.head(zeros: 20 << 17), zeroBlocks: 20)
    let bytes = batch(recordBytes: small, count: 1, codec: CompressionCodec.zstd.rawValue)
    let refusal = self.validate(bytes, BatchRules(), workspace)
    #expect(refusal == nil, "\(refusal?.message ?? "")")
  }
}
