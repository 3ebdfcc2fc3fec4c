import Testing

@testable import Records

/// What exactly is wrong with a record: a fault that is found by accident, one byte too far, is another fault.
@Suite struct RawRecordTests {
  private func parse(_ bytes: [UInt8], at position: Int = 0) -> Result<RawRecord, RecordFault> {
    bytes.withUnsafeBytes { bytes in Result { () throws(RecordFault) -> RawRecord in try RawRecord(bytes, at: position) } }
  }

  /// The fault that is found byte by byte; bytes that end too soon are no fault of the record's own.
  private func parseInPieces(_ bytes: [UInt8]) -> RecordFault? {
    var record = SplitRecord()
    do throws(RecordFault) {
      for byte in bytes {
        let result = withUnsafeBytes(of: byte) { byte in
          Result { () throws(RecordFault) -> Bool in
            var position = 0
            return try record.read(byte, at: &position)
          }
        }
        if try result.get() { return nil }
      }
      return .truncated
    } catch { return error }
  }

  @Test func theFaultIsNamed() {
    let good: [UInt8] = [0x0E, 0, 0, 0, 0x01, 0x02, 0x76, 0x00]
    let cases: [(RecordFault, [UInt8])] = [
      (.truncated, []),
      (.truncated, [0x80]),
      (.truncated, Array(good.dropLast())),
      (.negativeLength, [0x01] + good[1...]),
      (.negativeLength, [0x0E, 0, 0, 0, 0x03, 0x02, 0x76, 0x00]),
      // The header count goes on behind the record, where the bytes of the next one would end it.
      (.truncated, [0x0E, 0, 0, 0, 0x01, 0x02, 0x76, 0x80] + good),
      (.truncated, [0x10, 0, 0, 0, 0x01, 0x02, 0x76, 0x80, 0x80] + good),
      // The key goes on behind the record.
      (.truncated, [0x0E, 0, 0, 0, 0x20, 0x02, 0x76, 0x00] + [UInt8](repeating: 0, count: 30)),
      (.overlongInteger, [0x18, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0]),
      (.trailingBytes(1), [0x10] + good[1...] + [0]),
      (.headerCount(-1), [0x0E, 0, 0, 0, 0x01, 0x02, 0x76, 0x01]),
      (.headerCount(1), [0x0E, 0, 0, 0, 0x01, 0x02, 0x76, 0x02]),
      (.headerCount(2), [0x14, 0, 0, 0, 0x01, 0x02, 0x76, 0x04, 0x00, 0x00, 0x00]),
      (.nullHeaderKey, [0x12, 0, 0, 0, 0x01, 0x02, 0x76, 0x02, 0x01, 0x01]),
    ]
    for (fault, bytes) in cases {
      #expect(self.parse(bytes) == .failure(fault), "\(bytes)")
      #expect(self.parseInPieces(bytes) == fault, "in pieces: \(bytes)")
    }
    #expect(self.parse(good, at: 8) == .failure(.truncated))
  }

  @Test func thePartsAreWhereTheyAre() throws {
    // Behind 3 bytes of something else: timestamp delta 300, offset delta -70000, key "ab", no value, header "h" of null.
    let record: [UInt8] = [0x1C, 0, 0xD8, 0x04, 0xDF, 0xC5, 0x08, 0x04, 0x61, 0x62, 0x01, 0x02, 0x02, 0x68, 0x01]
    let raw = try self.parse([9, 9, 9] + record + [9], at: 3).get()
    #expect(raw.timestampDelta == 300 && raw.offsetDelta == -70_000)
    #expect(raw.keyRange == 11..<13 && raw.keyByteCount == 2 && raw.hasKey)
    #expect(raw.valueRange == nil && raw.valueByteCount == -1)
    #expect(raw.headerCount == 1 && raw.headersStart == 15 && raw.end == 18)
    var position = raw.headersStart
    let header = try ([9, 9, 9] + record).withUnsafeBytes { try RawHeader($0, at: &position) }
    #expect(header.keyStart == 16 && header.keyByteCount == 1 && header.valueByteCount == -1 && position == 18)
  }
}
