import Base
import Compression
import KafkaClient
import Model
import NIOCore
import Records
import Testing

@testable import apus

/// How records become text and text becomes records.
@Suite struct RecordTextTests {
  private func render(_ format: String?, key: String? = "k", value: String? = "v", headers: [Records.RecordHeader] = []) throws -> [UInt8] {
    var builder = RecordBatchBuilder()
    try builder.append(
      timestamp: Timestamp(1234), key: key.map { ByteBuffer(string: $0) }, value: value.map { ByteBuffer(string: $0) }, headers: headers)
    let batch = try RecordBatchView(frontOf: try builder.finish(using: Compressor()))
    let consumed = ConsumedBatch(
      partition: .init(topic: "t", partition: 3), view: batch, from: 0, highWatermark: 1, pool: DecompressorPool(), limit: 1 << 20)
    let parsed = try format.map { try RecordFormat($0) }
    var output: [UInt8] = []
    try consumed.forEachRaw { offset, timestamp, raw, bytes in
      let record = StoredRecord(
        partition: consumed.partition, offset: offset + 42, timestamp: timestamp, isLogAppendTime: false, raw: raw, bytes: bytes)
      if let parsed { parsed.append(record, topic: Array("t".utf8), to: &output) } else { RecordEnvelope.append(record, to: &output) }
      return true
    }
    return output
  }

  private func text(_ format: String?, key: String? = "k", value: String? = "v", headers: [Records.RecordHeader] = []) throws -> String {
    String(decoding: try self.render(format, key: key, value: value, headers: headers), as: UTF8.self)
  }

  @Test func tokens() throws {
    #expect(try self.text(#"%t/%p@%o %T %k(%K)=%s(%S)%%\n"#) == "t/3@42 1234 k(1)=v(1)%\n")
    #expect(try self.text(#"%k|%K|%s|%S"#, key: nil, value: nil) == "|-1||-1")
    #expect(try self.text(#"a\tb\\c\x41\r\q"#) == "a\tb\\cA\rq")
    #expect(try self.render(#"%R\0"#, value: String(repeating: "x", count: 258)) == [0, 0, 1, 2, 0])
    let headers = [Records.RecordHeader(key: "a", value: ByteBuffer(string: "1")), Records.RecordHeader(key: "b", value: nil)]
    #expect(try self.text("%h", headers: headers) == "a=1,b=NULL")
    #expect(try self.text("") == "")
    for bad in ["%", "%q", #"\"#, #"\x4"#, #"\xzz"#] { #expect(throws: RecordFormat.Failure.self, "\(bad)") { try RecordFormat(bad) } }
  }

  @Test func envelope() throws {
    let headers = [Records.RecordHeader(key: "a", value: ByteBuffer(string: "\"")), Records.RecordHeader(key: "b", value: nil)]
    #expect(try self.text(nil, key: nil, value: "x\ny", headers: headers) == #"""
      {"topic":"t","partition":3,"offset":42,"tstype":"create","ts":1234,"headers":["a","\"","b",null],"key":null,"payload":"x\ny"}

      """#)
    let line = try self.render(nil, key: "ü", value: nil)
    let record = try line.dropLast().withUnsafeBytes { try JSONRecord.parse($0, topic: "t") }
    #expect(record.key == Array("ü".utf8))
    #expect(record.value == nil)
    #expect(record.timestamp == 1234)
  }

  @Test func numbers() {
    for value: Int64 in [0, 7, -1, 10, 1_234_567_890, .max, .min] {
      var output: [UInt8] = []
      DecimalText.append(value, to: &output)
      #expect(String(decoding: output, as: UTF8.self) == "\(value)")
    }
  }

  @Test func keysAreSplitAtTheFirstSeparator() {
    func split(_ line: String, _ separator: String?) -> [String?] {
      let parser = LineParser(topic: "t", partition: nil, keySeparator: separator.map { Array($0.utf8) }, isJSON: false, headers: [])
      return Array(line.utf8).withUnsafeBytes { line in
        let (key, value) = parser.split(line)
        return [key.map { String(decoding: $0, as: UTF8.self) }, String(decoding: value, as: UTF8.self)]
      }
    }
    #expect(split("a:b:c", ":") == ["a", "b:c"])
    #expect(split("a::b", "::") == ["a", "b"])
    #expect(split("a:b::c", "::") == ["a:b", "c"])
    #expect(split("abc", ":") == [nil, "abc"])
    #expect(split(":b", ":") == ["", "b"])
    #expect(split("a:", ":") == ["a", ""])
    #expect(split("", ":") == [nil, ""])
    #expect(split("a:b", nil) == [nil, "a:b"])
  }
}
