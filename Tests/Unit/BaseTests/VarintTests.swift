import Base
import Testing

/// Encodings from the protocol guide's rules, worked out by hand: (signed value, its bytes).
private let signedExamples: [(Int64, [UInt8])] = [
  (0, [0x00]), (-1, [0x01]), (1, [0x02]), (-2, [0x03]), (63, [0x7E]), (-64, [0x7F]), (64, [0x80, 0x01]), (-65, [0x81, 0x01]),
  (300, [0xD8, 0x04]), (8_191, [0xFE, 0x7F]), (-8_192, [0xFF, 0x7F]), (8_192, [0x80, 0x80, 0x01]),
  (Int64(Int32.max), [0xFE, 0xFF, 0xFF, 0xFF, 0x0F]), (Int64(Int32.min), [0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
]
private let signed64Examples: [(Int64, [UInt8])] = [
  (.max, [0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
  (.min, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
]

private func written(_ byteCount: Int, _ write: (UnsafeMutableRawBufferPointer, inout Int) -> Void) -> [UInt8] {
  var bytes = [UInt8](repeating: 0xEE, count: byteCount)
  var position = 0
  bytes.withUnsafeMutableBytes { write($0, &position) }
  #expect(position == byteCount, "the size announced and the bytes written differ")
  return bytes
}

@Suite struct VarintTests {
  @Test func signedValuesAreZigzagCoded() throws {
    for (value, expected) in signedExamples + signed64Examples {
      #expect(Varint.byteCount(signed: value) == expected.count)
      #expect(written(expected.count) { Varint.write(signed: value, to: $0, at: &$1) } == expected)
      var position = 0
      #expect(try expected.withUnsafeBytes { try Varint.readSigned64($0, at: &position) } == value)
      #expect(position == expected.count)
    }
    for (value, expected) in signedExamples {
      var position = 0
      #expect(try expected.withUnsafeBytes { try Varint.readSigned32($0, at: &position) } == Int32(value))
      #expect(position == expected.count)
    }
  }

  @Test func everyBoundaryOfAnUnsignedValueComesBack() throws {
    for shift in 0..<64 {
      let power = UInt64(1) << UInt64(shift)
      for value: UInt64 in [power - 1, power, power + 1, UInt64.max - power] {
        let byteCount = max(1, (64 - value.leadingZeroBitCount + 6) / 7)
        #expect(Varint.byteCount(unsigned: value) == byteCount)
        let bytes = written(byteCount) { Varint.write(unsigned: value, to: $0, at: &$1) }
        var position = 0
        #expect(try bytes.withUnsafeBytes { try Varint.readUnsigned64($0, at: &position) } == value)
        #expect(position == byteCount)
        position = 0
        if value <= UInt64(UInt32.max) {
          #expect(try bytes.withUnsafeBytes { try Varint.readUnsigned32($0, at: &position) } == UInt32(value))
        } else {
          #expect(throws: VarintError.overlong) { try bytes.withUnsafeBytes { try Varint.readUnsigned32($0, at: &position) } }
          #expect(position == 0, "a failed read must not move")
        }
      }
    }
  }

  @Test func aValueCutShortIsTruncatedWhereverItIsCut() {
    let whole: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]
    for count in 0..<whole.count {
      var position = 0
      #expect(throws: VarintError.truncated) { try whole[..<count].withUnsafeBytes { try Varint.readUnsigned64($0, at: &position) } }
      if count < 5 {
        #expect(throws: VarintError.truncated) { try whole[..<count].withUnsafeBytes { try Varint.readUnsigned32($0, at: &position) } }
      }
      #expect(position == 0)
    }
  }

  @Test func aValueOfTooManyBytesOrBitsIsOverlong() {
    func read32(_ bytes: [UInt8]) -> Result<UInt32, VarintError> {
      bytes.withUnsafeBytes { bytes in
        var position = 0
        return Result { () throws(VarintError) -> UInt32 in try Varint.readUnsigned32(bytes, at: &position) }
      }
    }
    func read64(_ bytes: [UInt8]) -> Result<UInt64, VarintError> {
      bytes.withUnsafeBytes { bytes in
        var position = 0
        return Result { () throws(VarintError) -> UInt64 in try Varint.readUnsigned64(bytes, at: &position) }
      }
    }
    let continued = [UInt8](repeating: 0x80, count: 12)
    #expect(read32(continued) == .failure(.overlong))
    #expect(read64(continued) == .failure(.overlong))
    // The fifth byte has room for 4 bits, the tenth for 1.
    #expect(read32([0xFF, 0xFF, 0xFF, 0xFF, 0x0F]) == .success(.max))
    #expect(read32([0xFF, 0xFF, 0xFF, 0xFF, 0x1F]) == .failure(.overlong))
    #expect(read64([UInt8](repeating: 0xFF, count: 9) + [0x01]) == .success(.max))
    #expect(read64([UInt8](repeating: 0xFF, count: 9) + [0x02]) == .failure(.overlong))
    // Padding with zeros is not minimal, but says nothing else and is what Kafka reads.
    #expect(read32([0x81, 0x00]) == .success(1))
  }

  @Test func readingBeginsWhereItIsTold() throws {
    let bytes: [UInt8] = [0xFF, 0x80, 0x01, 0x05]
    var position = 1
    #expect(try bytes.withUnsafeBytes { try Varint.readUnsigned32($0, at: &position) } == 128)
    #expect(position == 3)
    position = 4
    #expect(throws: VarintError.truncated) { try bytes.withUnsafeBytes { try Varint.readUnsigned32($0, at: &position) } }
    position = -1
    #expect(throws: VarintError.truncated) { try bytes.withUnsafeBytes { try Varint.readUnsigned32($0, at: &position) } }
  }
}
