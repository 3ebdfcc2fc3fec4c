import Compression
import Foundation
import Model
import NIOCore
import Testing

@testable import Records

/// Batches that kafka-python, aiokafka and librdkafka made (Tests/Golden/records/generate.py), read by us; and ours for them to read.
@Suite struct GoldenBatchTests {
  static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../Golden/records").standardizedFileURL

  struct Golden: CustomTestStringConvertible, Sendable {
    var file: String
    var codec: CompressionCodec
    var set: RecordSet
    var testDescription: String { self.file }
  }

  struct RecordSet: Sendable {
    var name: String
    var producerID: ProducerID
    var producerEpoch: ProducerEpoch
    var baseSequence: Int32
    var isTransactional: Bool
    var records: [PlainRecord]
  }

  static let (sets, goldens) = load()

  private static func load() -> ([RecordSet], [Golden]) {
    do {
      let data = try Data(contentsOf: directory.appendingPathComponent("batches.json"))
      let root = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
      let sets = try (try #require(root["sets"] as? [String: [String: Any]])).map { name, fields in
        RecordSet(
          name: name, producerID: ProducerID(try #require(fields["producerId"] as? Int64)),
          producerEpoch: ProducerEpoch(try #require(fields["producerEpoch"] as? Int16)),
          baseSequence: try #require(fields["baseSequence"] as? Int32),
          isTransactional: try #require(fields["transactional"] as? Bool),
          records: try (try #require(fields["records"] as? [[Any]])).map(Self.record))
      }
      let goldens = try (try #require(root["batches"] as? [[String: String]])).map { entry in
        Golden(
          file: try #require(entry["file"]), codec: try #require(CompressionCodec(name: entry["codec"] ?? "")),
          set: try #require(sets.first { $0.name == entry["set"] }))
      }
      return (sets, goldens)
    } catch { fatalError("Tests/Golden/records/batches.json cannot be read: \(error)") }
  }

  private static func record(_ fields: [Any]) throws -> PlainRecord {
    var record = PlainRecord(try #require(fields[0] as? Int64), nil, nil)
    record.key = try Self.bytes(fields[1])
    record.value = try Self.bytes(fields[2])
    record.headers = try (try #require(fields[3] as? [[Any]])).map { header in
      RecordHeader(key: try #require(header[0] as? String), value: try Self.bytes(header[1]))
    }
    return record
  }

  /// Hexadecimal digits, null, or the rule by which the script made a long value.
  private static func bytes(_ text: Any) throws -> ByteBuffer? {
    if text is NSNull { return nil }
    if let rule = text as? [String: Int] {
      if let count = rule["pattern"] { return ByteBuffer(bytes: (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 / 251) }) }
      return ByteBuffer(repeating: UInt8(try #require(rule["repeat"])), count: try #require(rule["count"]))
    }
    let digits = Array(try #require(text as? String).utf8)
    return ByteBuffer(
      bytes: stride(from: 0, to: digits.count, by: 2).map { UInt8(String(decoding: digits[$0...($0 + 1)], as: UTF8.self), radix: 16)! })
  }

  private static func read(_ golden: Golden) throws -> ByteBuffer {
    ByteBuffer(bytes: try Data(contentsOf: Self.directory.appendingPathComponent(golden.file)))
  }

  @Test func everyCodecOfEveryEncoderIsThere() {
    for encoder in ["kafka-python", "aiokafka", "librdkafka"] {
      for codec in CompressionCodec.allCases {
        #expect(Self.goldens.contains { $0.file.hasPrefix("\(encoder)-\(codec)-") && $0.codec == codec }, "\(encoder) \(codec)")
      }
    }
    #expect(Self.goldens.count >= 59)
  }

  @Test(arguments: goldens)
  func othersBatchesAreReadAndTaken(golden: Golden) throws {
    let bytes = try Self.read(golden)
    let (header, records) = try opened(bytes)
    let set = golden.set
    #expect(header.attributes.codecNumber == golden.codec.rawValue)
    #expect(header.recordCount == set.records.count)
    #expect(header.producerID == set.producerID)
    #expect(header.producerEpoch == set.producerEpoch)
    #expect(header.baseSequence == set.baseSequence)
    #expect(header.attributes.isTransactional == set.isTransactional)
    #expect(header.maxTimestamp.rawValue == set.records.map(\.timestamp).max())
    #expect(records == set.records)

    let validator = RecordBatchValidator(rules: BatchRules(scansCompressedRecords: true))
    let now = Timestamp(1_700_000_000_000)
    let batch = try validator.validate(bytes, produceVersion: 9, now: now, workspace: RecordWorkspace())
    #expect(batch.header == header)
    // Nothing that the CRC covers was changed.
    #expect(batch.patchedHeader(baseOffset: Offset(1), leaderEpoch: LeaderEpoch(2)).crc == header.crc)
  }

  /// What other clients wrote says the same behind every other codec, and its header as well but for codec, length and CRC.
  @Test(arguments: goldens, CompressionCodec.allCases)
  func recompressedTheySayTheSame(golden: Golden, target: CompressionCodec) throws {
    let bytes = try Self.read(golden)
    let validator = RecordBatchValidator(rules: BatchRules(timestampAfterMaximum: .max))
    let workspace = RecordWorkspace()
    let batch = try validator.validate(bytes, produceVersion: 9, now: Timestamp(1_700_000_000_000), workspace: workspace)
    let other = try validator.recompressed(batch, codec: target, workspace: workspace)
    let (header, records) = try opened(other.bytes)
    #expect(records == golden.set.records)
    var expected = batch.header
    expected.attributes.codecNumber = target.rawValue
    expected.batchLength = header.batchLength
    expected.crc = header.crc
    #expect(header == expected)
  }

  /// Without a codec there is one way to write a batch, so that ours are theirs byte for byte.
  @Test(arguments: goldens.filter { $0.codec == .none })
  func oursAreTheSameBytes(golden: Golden) throws {
    let theirs = try Self.read(golden)
    let epoch = try RecordBatchView(frontOf: theirs).header.partitionLeaderEpoch
    let set = golden.set
    let ours = try batch(
      set.records,
      .init(
        leaderEpoch: epoch, producerID: set.producerID, producerEpoch: set.producerEpoch, baseSequence: set.baseSequence,
        isTransactional: set.isTransactional))
    #expect(ours == theirs)
  }

  /// With `APUS_GOLDEN_OUT` set to a directory, writes our batches there for `generate.py --check` to decode; reads them back anyway.
  @Test(arguments: CompressionCodec.allCases)
  func oursAreReadBack(codec: CompressionCodec) throws {
    for set in Self.sets {
      let bytes = try batch(
        set.records,
        .init(
          codec: codec, producerID: set.producerID, producerEpoch: set.producerEpoch, baseSequence: set.baseSequence,
          isTransactional: set.isTransactional))
      #expect(try opened(bytes).records == set.records)
      if let directory = ProcessInfo.processInfo.environment["APUS_GOLDEN_OUT"] {
        let file = URL(fileURLWithPath: directory).appendingPathComponent("apus-\(codec)-\(set.name).batch")
        try Data(bytes.readableBytesView).write(to: file)
      }
    }
  }
}
