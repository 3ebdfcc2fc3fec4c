import Base
import Testing

@testable import Records

/// The quick look at a record against the thorough one.
@Suite struct PlainRecordTests {
  private static func varint(_ value: Int64, _ bytes: inout [UInt8]) {
    var rest = Varint.zigzag(value)
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private static func record(
    timestampDelta: Int64 = 0, offsetDelta: Int64 = 0, key: Int? = nil, value: Int? = 10, headers: Int64 = 0, lengthError: Int64 = 0
  ) -> [UInt8] {
    var body: [UInt8] = [0]
    self.varint(timestampDelta, &body)
    self.varint(offsetDelta, &body)
    self.varint(key.map(Int64.init) ?? -1, &body)
    body += Array(repeating: 0x4B, count: key ?? 0)
    self.varint(value.map(Int64.init) ?? -1, &body)
    body += Array(repeating: 0x56, count: value ?? 0)
    self.varint(headers, &body)
    for _ in 0..<max(0, headers) { body += [2, 0x68, 2, 0x76] }
    var bytes: [UInt8] = []
    self.varint(Int64(body.count) + lengthError, &bytes)
    return bytes + body
  }

  /// What both make of the bytes: the quick look's answer, if it has one, must be the thorough one's.
  private func agree(_ bytes: [UInt8], at position: Int = 0) -> Bool? {
    bytes.withUnsafeBytes { bytes in
      guard let plain = Records.PlainRecord(bytes, at: position) else { return nil }
      guard let raw = try? RawRecord(bytes, at: position) else { return false }
      return Int64(plain.timestampDelta) == raw.timestampDelta && plain.offsetDelta == Int(raw.offsetDelta) && plain.hasKey == raw.hasKey
        && plain.end == raw.end && raw.headerCount == 0
    }
  }

  @Test(arguments: [
    PlainRecordTests.record(), record(timestampDelta: 63, offsetDelta: 63), record(timestampDelta: -8192, offsetDelta: 8191),
    record(key: 0), record(key: 1, value: 1), record(key: 63), record(key: 8100, value: 0), record(value: nil), record(value: 64),
    record(timestampDelta: 1000, offsetDelta: 1000, key: 100, value: 5000),
  ])
  func plainRecordsAreTaken(_ bytes: [UInt8]) {
    // Something must follow for the shortest, as it does in a batch of several records.
    #expect(self.agree(bytes + Array(repeating: 0xFF, count: 16)) == true)
    #expect(self.agree(bytes) == (bytes.count >= 9 ? true : nil))
  }

  @Test(arguments: [
    PlainRecordTests.record(timestampDelta: 8192), record(offsetDelta: -8193), record(key: 8192), record(value: 9000), record(headers: 1),
    record(lengthError: 1), record(lengthError: -1), [], [0], Array(repeating: 0xFF, count: 64), Array(repeating: 0, count: 64),
  ])
  func otherRecordsAreLeftToTheThoroughLook(_ bytes: [UInt8]) {
    #expect(self.agree(bytes + Array(repeating: 0x11, count: 16)) == nil)
  }

  @Test func neverBeyondTheBytes() {
    let bytes = Self.record(timestampDelta: 100, offsetDelta: 100, key: 100, value: 100)
    for count in 0..<bytes.count { #expect(self.agree(Array(bytes[..<count])) == nil, "cut to \(count)") }
  }

  @Test func whateverTheBytesItNeverDisagrees() {
    var generator = SeededGenerator(seed: 20)
    var taken = 0
    for round in 0..<20_000 {
      var bytes: [UInt8] = []
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        bytes += Self.record(
          timestampDelta: .random(in: -9000...9000, using: &generator), offsetDelta: .random(in: 0...200, using: &generator),
          key: Bool.random(using: &generator) ? .random(in: 0...70, using: &generator) : nil,
          value: Bool.random(using: &generator) ? .random(in: 0...150, using: &generator) : nil,
          headers: Int.random(in: 0..<8, using: &generator) == 0 ? 1 : 0)
      }
      for _ in 0..<Int.random(in: 0...3, using: &generator) {
        bytes[Int.random(in: 0..<min(bytes.count, 16), using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      let answer = self.agree(bytes, at: round.isMultiple(of: 4) ? Int.random(in: 0..<bytes.count, using: &generator) : 0)
      #expect(answer != false, "round \(round): \(bytes)")
      if answer == true { taken += 1 }
    }
    #expect(taken > 5_000, "only \(taken) of 20,000 were plain")
  }
}
