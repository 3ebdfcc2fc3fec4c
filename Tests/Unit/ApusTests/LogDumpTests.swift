import Base
import Compression
import Foundation
import JSON
import LogCore
import Model
import NIOCore
import Records
import Testing
import Wire

@testable import apus

/// Runs the dump on files made here and reads what it would print.
@Suite struct LogDumpTests {
  private func withDirectory<R>(_ body: (String) throws -> R) throws -> R {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("apus-dump-\(UUID().uuidString)/__cluster_metadata-0").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: (path as NSString).deletingLastPathComponent) }
    return try body(path)
  }

  private func write(_ bytes: [UInt8], _ path: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }

  private func batch(_ values: [[UInt8]], offset: Int64 = 0, codec: CompressionCodec = .none) throws -> [UInt8] {
    var builder = RecordBatchBuilder(.init(codec: codec, baseOffset: Offset(offset), leaderEpoch: LeaderEpoch(0)))
    for value in values {
      try value.withUnsafeBytes { try builder.append(timestamp: Timestamp(1_709_208_000_250), key: nil, value: $0) }
    }
    return Array(try builder.finish(using: Compressor()).readableBytesView)
  }

  /// The process's own binary is not at hand in a test, so the output goes to a file through the descriptor.
  private func dump(_ path: String, _ run: (inout DumpOutput) throws(DumpFailure) -> Void) throws -> (lines: [String], hasFailed: Bool) {
    let capture = path + ".out"
    try self.write([], capture)
    let handle = try #require(FileHandle(forWritingAtPath: capture))
    var failed = false
    do {
      var output = DumpOutput(isJSON: true, descriptor: handle.fileDescriptor)
      do throws(DumpFailure) { try run(&output) } catch { output.report(path, error) }
      failed = output.hasFailed
      output.flush()
    }
    try handle.close()
    let text = try String(contentsOfFile: capture, encoding: .utf8)
    return (text.split(separator: "\n").map(String.init), failed)
  }

  private func segment(_ bytes: [UInt8], isMetadata: Bool = false) throws -> (lines: [JSONValue], hasFailed: Bool) {
    try self.withDirectory { directory in
      let path = directory + "/00000000000000000000.log"
      try self.write(bytes, path)
      let (lines, failed) = try self.dump(path) { output throws(DumpFailure) in
        try SegmentDump(path: path, isMetadata: isMetadata, batchesOnly: false).run(&output)
      }
      return (try lines.map { try JSONParser.parse($0) }, failed)
    }
  }

  private func types(_ lines: [JSONValue]) -> [String] {
    lines.map { line in if case .string(let type)? = line["type"] { type } else { "?" } }
  }

  @Test func segments() throws {
    let first = try self.batch([Array("a".utf8), Array("b\u{1}".utf8)])
    let second = try self.batch([Array("c".utf8)], offset: 2, codec: .zstd)
    let (lines, failed) = try self.segment(first + second)
    #expect(!failed)
    #expect(self.types(lines) == ["batch", "record", "record", "batch", "record"])
    #expect(lines[1]["value"] == "a")
    #expect(lines[2]["value"] == "0x6201")
    #expect(lines[3]["position"] == .integer(Int64(first.count)))
    #expect(lines[3]["codec"] == "zstd")
    #expect(lines[4]["offset"] == 2)
  }

  @Test func corruptSegmentsAreShownWithPositionAndReason() throws {
    let first = try self.batch([Array("a".utf8)])
    var flipped = try self.batch([Array("b".utf8)], offset: 1)
    flipped[flipped.count - 2] ^= 0xFF
    let third = try self.batch([Array("c".utf8)], offset: 2)

    let wrong = try self.segment(first + flipped + third)
    #expect(wrong.hasFailed)
    #expect(self.types(wrong.lines) == ["batch", "record", "corrupt", "batch", "batch", "record"])
    #expect(wrong.lines[2]["position"] == .integer(Int64(first.count)))
    #expect(wrong.lines[3]["sound"] == false)

    let torn = try self.segment(first + third.dropLast(3))
    #expect(torn.hasFailed)
    #expect(self.types(torn.lines) == ["batch", "record", "corrupt"])
    #expect(torn.lines[2]["position"] == .integer(Int64(first.count)))
    let short = try self.segment(first + [1, 2, 3])
    #expect(self.types(short.lines) == ["batch", "record", "corrupt"])
    let zeros = try self.segment(first + [UInt8](repeating: 0, count: 100))
    #expect(self.types(zeros.lines) == ["batch", "record", "corrupt"])
    let backwards = try self.segment(third + first)
    #expect(backwards.hasFailed)
    var huge = first
    huge.replaceSubrange(8..<12, with: [0x7F, 0xFF, 0xFF, 0xFF])
    #expect(try self.segment(huge).hasFailed)
    #expect(try self.segment([]).hasFailed == false)
  }

  @Test func metadataRecordsAreDecoded() throws {
    let topic = TopicRecord(name: "orders", topicId: KafkaUUID(high: 1, low: 2))
    let value = Array(MetadataRecord.topic(topic).encoded().readableBytesView)
    let (lines, failed) = try self.segment(try self.batch([value]), isMetadata: true)
    #expect(!failed)
    #expect(lines[1]["record"] == "TopicRecord")
    #expect(lines[1]["value"]?["name"] == "orders")
    #expect(lines[1]["value"]?["topicId"] == .string("\(KafkaUUID(high: 1, low: 2))"))
    let bad = try self.segment(try self.batch([[9, 9, 9]]), isMetadata: true)
    #expect(bad.hasFailed)
  }

  @Test func indexes() throws {
    try self.withDirectory { directory in
      let path = directory + "/00000000000000000100.index"
      var bytes: [UInt8] = []
      for entry in [OffsetIndexEntry(offset: Offset(110), position: 4096), OffsetIndexEntry(offset: Offset(120), position: 9000)] {
        entry.encode(baseOffset: Offset(100), into: &bytes)
      }
      try self.write(bytes + [UInt8](repeating: 0, count: 16), path)
      let (lines, failed) = try self.dump(path) { output throws(DumpFailure) in
        try IndexDump.offsets(path, baseOffset: Offset(100), &output)
      }
      #expect(!failed)
      #expect(lines == [
        #"{"type":"entry","offset":110,"position":4096}"#, #"{"type":"entry","offset":120,"position":9000}"#,
        #"{"type":"padding","bytes":16}"#,
      ])
      try self.write(bytes + bytes, path)
      #expect(try self.dump(path) { output throws(DumpFailure) in try IndexDump.offsets(path, baseOffset: Offset(100), &output) }.hasFailed)
      try self.write(bytes + [1], path)
      #expect(try self.dump(path) { output throws(DumpFailure) in try IndexDump.offsets(path, baseOffset: Offset(100), &output) }.hasFailed)
      let time = directory + "/00000000000000000100.timeindex"
      var entries: [UInt8] = []
      TimeIndexEntry(timestamp: Timestamp(5000), offset: Offset(110)).encode(baseOffset: Offset(100), into: &entries)
      try self.write(entries, time)
      let times = try self.dump(time) { output throws(DumpFailure) in try IndexDump.times(time, baseOffset: Offset(100), &output) }
      #expect(times.lines == [#"{"type":"entry","timestamp":5000,"offset":110}"#])
    }
  }

  @Test func smallFiles() throws {
    try self.withDirectory { directory in
      let epochs = directory + "/leader-epoch-checkpoint"
      try self.write(Array("0\n2\n0 0\n3 17\n".utf8), epochs)
      let (lines, failed) = try self.dump(epochs) { output throws(DumpFailure) in try SmallFileDump.leaderEpochs(epochs, &output) }
      #expect(!failed)
      #expect(lines == [#"{"type":"leaderEpoch","epoch":0,"startOffset":0}"#, #"{"type":"leaderEpoch","epoch":3,"startOffset":17}"#])
      try self.write(Array("0\n3\n0 0\n".utf8), epochs)
      #expect(try self.dump(epochs) { output throws(DumpFailure) in try SmallFileDump.leaderEpochs(epochs, &output) }.hasFailed)

      let offsets = directory + "/recovery-point-offset-checkpoint"
      try self.write(Array("0\n1\nmy-topic 3 42\n".utf8), offsets)
      let points = try self.dump(offsets) { output throws(DumpFailure) in try SmallFileDump.offsets(offsets, &output) }
      #expect(points.lines == [#"{"type":"offset","topic":"my-topic","partition":3,"offset":42}"#])

      let snapshot = directory + "/00000000000000000007.snapshot"
      var table = ProducerTable(endOffset: Offset(0))
      table.record(ProducerBatch(
        producerID: ProducerID(5), epoch: ProducerEpoch(1), baseSequence: 0, lastSequence: 6, baseOffset: Offset(0), lastOffset: Offset(6),
        maxTimestamp: Timestamp(9), isTransactional: false, isControl: false))
      let bytes = ProducerSnapshot.encode(table)
      try self.write(bytes, snapshot)
      let producers = try self.dump(snapshot) { output throws(DumpFailure) in try SmallFileDump.producers(snapshot, &output) }
      #expect(!producers.hasFailed)
      #expect(producers.lines.first?.hasPrefix(#"{"type":"producer","producerId":5,"epoch":1,"#) == true)
      try self.write(Array(bytes.dropLast()), snapshot)
      #expect(try self.dump(snapshot) { output throws(DumpFailure) in try SmallFileDump.producers(snapshot, &output) }.hasFailed)
      let missing = directory + "/missing"
      #expect(try self.dump(missing) { output throws(DumpFailure) in try SmallFileDump.producers(missing, &output) }.hasFailed)
    }
  }

  @Test func whatIsNoFileOfABrokersIsNotCalledCorrupt() throws {
    try self.withDirectory { directory in
      let path = directory + "/notes.txt"
      try self.write([1, 2, 3], path)
      let unknown = try self.dump(path) { output throws(DumpFailure) in output.report(path, DumpFailure("who knows", kind: .unknown)) }
      #expect(self.types(try unknown.lines.map { try JSONParser.parse($0) }) == ["unknown"])
      #expect(!unknown.hasFailed)
      let missing = try self.dump(path) { output throws(DumpFailure) in
        try SegmentDump(path: directory + "/missing.log", isMetadata: false, batchesOnly: false).run(&output)
      }
      #expect(self.types(try missing.lines.map { try JSONParser.parse($0) }) == ["unreadable"])
      #expect(missing.hasFailed)
    }
  }
}
