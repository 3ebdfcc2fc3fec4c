import Base
import Compression
import Model
import NIOCore
import Testing

@testable import Records

/// Batches changed at random: whatever comes, it is taken or refused, within the limits, and nothing traps.
@Suite struct MutatedBatchTests {
  /// Everything that reads bytes from elsewhere, run over them. Free of global state, so that a fuzzer may drive it as well.
  private func readEverything(_ bytes: ByteBuffer, workspace: RecordWorkspace) -> (isTaken: Bool, records: Int) {
    var isTaken = false
    for rules in [
      BatchRules(maximumDecompressedByteCount: 1 << 16),
      BatchRules(
        timestampType: .logAppendTime, timestampBeforeMaximum: 1_000, isCompacted: true, maximumDecompressedByteCount: 1 << 16),
    ] {
      do {
        let batch = try RecordBatchValidator(rules: rules)
          .validate(bytes, produceVersion: 9, now: Timestamp(1_700_000_000_000), workspace: workspace)
        let header = batch.patchedHeader(baseOffset: Offset(77), leaderEpoch: LeaderEpoch(1))
        #expect(header.totalByteCount == bytes.readableBytes)
        isTaken = true
      } catch { #expect(error.code != .none && !error.message.isEmpty) }
    }
    var records = 0
    for checksChecksums in [true, false] {
      var sequence = BatchSequence(bytes, checksChecksums: checksChecksums)
      do {
        while let batch = try sequence.next() {
          var iterator = try batch.records(using: workspace.decompressor, limit: 1 << 16)
          while let record = try iterator.next() {
            records += 1
            _ = (record.key, record.value, Array(record.headers))
            if batch.header.attributes.isControl { _ = try EndTransactionMarker(record) }
          }
        }
      } catch { #expect(error.code != .none && !error.description.isEmpty) }
    }
    return (isTaken, records)
  }

  @Test(arguments: CompressionCodec.allCases)
  func anythingMayCome(codec: CompressionCodec) throws {
    var generator = SeededGenerator(seed: 0xA9B5 + UInt64(codec.rawValue))
    let workspace = RecordWorkspace()
    var (taken, refused) = (0, 0)
    for round in 0..<1_500 {
      let count = 1 + Int(generator.next() % 6)
      var bytes = try batch(
        randomRecords(count: count, using: &generator), .init(codec: codec, isControl: round % 10 == 0), workspace: workspace)
      for _ in 0..<(1 + generator.next() % 3) {
        let position = Int(generator.next() % UInt64(bytes.readableBytes))
        let choices: [UInt8] = [0, 1, 0x7F, 0x80, 0xFF, UInt8(truncatingIfNeeded: generator.next())]
        bytes.setInteger(choices[Int(generator.next() % 6)], at: position)
      }
      if generator.next() % 8 == 0 { bytes.moveWriterIndex(to: Int(generator.next() % UInt64(bytes.readableBytes + 1))) }
      // As most are: with a CRC and a length that fit, so that what lies behind them is reached.
      if generator.next() % 8 != 0, bytes.readableBytes >= BatchHeader.byteCount {
        let length = Int32(bytes.readableBytes - BatchHeader.logOverhead)
        bytes = resealed(bytes) {
          $0.batchLength = length
          if round % 2 == 0 { $0.magic = 2 }
        }
      }
      if self.readEverything(bytes, workspace: workspace).isTaken { taken += 1 } else { refused += 1 }
    }
    // Both happen, or the mutations are not worth their time.
    #expect(taken > 50 && refused > 50, "\(taken) taken, \(refused) refused")
  }

  @Test func garbageIsRefused() {
    var generator = SeededGenerator(seed: 3)
    let workspace = RecordWorkspace()
    for _ in 0..<2_000 {
      var bytes = ByteBuffer()
      for _ in 0..<(generator.next() % 200) { bytes.writeInteger(UInt8(truncatingIfNeeded: generator.next())) }
      let (isTaken, records) = self.readEverything(bytes, workspace: workspace)
      #expect(!isTaken && records == 0)
    }
  }

  /// Every single byte of a batch set to every value: the CRC made right, nothing traps and nothing is read out of bounds.
  @Test func everyByteMayBeAnything() throws {
    let workspace = RecordWorkspace()
    let whole = try batch([PlainRecord(0, "k", "v", [("h", "x")]), PlainRecord(1, nil, nil)], workspace: workspace)
    for position in 8..<whole.readableBytes {
      for value in UInt8.min ... .max {
        var bytes = whole
        bytes.setInteger(value, at: position)
        _ = self.readEverything(position >= 17 && position < 21 ? bytes : resealed(bytes), workspace: workspace)
      }
    }
  }
}
