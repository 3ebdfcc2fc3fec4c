import JSON
import KafkaClient
import Testing

@testable import apus

@Suite struct JSONTests {
  private func escaped(_ bytes: [UInt8]) -> String {
    var output: [UInt8] = []
    bytes.withUnsafeBytes { JSONText.append($0, to: &output) }
    return String(decoding: output, as: UTF8.self)
  }

  @Test func stringsAreEscaped() {
    #expect(self.escaped(Array("plain".utf8)) == #""plain""#)
    #expect(self.escaped([]) == #""""#)
    #expect(self.escaped(Array("a\"b\\c\nd\te\r".utf8)) == #""a\"b\\c\nd\te\r""#)
    #expect(self.escaped([0x00, 0x1F, 0x7F]) == "\"\\u0000\\u001f\u{7F}\"")
    #expect(self.escaped(Array("a\"ü\n€".utf8)) == #""a\"ü\n€""#)
    #expect(self.escaped([0x61, 0xFF, 0x62]) == "\"a\u{FFFD}b\"")
  }

  @Test func whatIsWrittenIsReadBack() throws {
    let value = JSONValue.object([
      ("a", .array([.null, .bool(true), .integer(-12), .number(1.5), .string("x\"\\\u{1}ü")])), ("b", .object([])), ("c", .array([])),
    ])
    #expect(try JSONParser.parse(value.text) == value)
    #expect(try JSONParser.parse(#" {"a" : "\u00fc\ud83d\ude00\/\b\f"} "#)["a"] == .string("ü😀/\u{8}\u{C}"))
    #expect(try JSONParser.parse("9223372036854775808") == .number(9223372036854775808))
    #expect(try JSONParser.parse("-0.5e3") == .number(-500))
  }

  @Test(arguments: [
    "", "{", "[1,]", "{\"a\"}", "{\"a\":1,}", "tru", "01", "1.", "+1", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"",
    "\"a\nb\"", "1 2", "nul", "--1", "{a:1}", String(repeating: "[", count: 100_000),
  ])
  func whatIsNotJSONIsRefused(text: String) {
    #expect(throws: JSONParser.Failure.self) { try JSONParser.parse(text) }
  }

  private func record(_ line: String) throws -> ProducerRecord {
    try Array(line.utf8).withUnsafeBytes { try JSONRecord.parse($0, topic: "t") }
  }

  @Test func envelopes() throws {
    let full = try self.record(
      #"{"topic":"x","partition":2,"offset":9,"tstype":"create","ts":1234,"headers":["a","b","c",null],"key":"k","payload":"v"}"#)
    #expect(full.topic == "t")
    #expect(full.partition == 2)
    #expect(full.timestamp == 1234)
    #expect(full.headers == [RecordHeader("a", text: "b"), RecordHeader("c", nil)])
    #expect(full.key == Array("k".utf8))
    #expect(full.value == Array("v".utf8))
    #expect(try self.record(#"{"payload":null}"#).value == nil)
    #expect(try self.record(#"{"value":{"n":1},"headers":{"h":"x"}}"#).value == Array(#"{"n":1}"#.utf8))
    for bad in [#"[]"#, #"{"partition":-1}"#, #"{"partition":"0"}"#, #"{"headers":["a"]}"#, #"{"headers":[1,"a"]}"#, #"{"ts":1.5}"#, "x"] {
      #expect(throws: JSONRecord.Failure.self, "\(bad)") { try self.record(bad) }
    }
    // A misspelt name would lose its value in silence.
    let unknown = #expect(throws: JSONRecord.Failure.self) { try self.record(#"{"key":"k","valeu":"v"}"#) }
    for word in ["'valeu'", "payload", "value", "key", "headers", "partition", "ts"] {
      #expect(unknown?.description.contains(word) == true, "\(unknown?.description ?? "")")
    }
    #expect(throws: JSONRecord.Failure.self) { try self.record(#"{"payload":"a","value":"b"}"#) }
  }
}
