internal import Base

/// One record whose bytes come in several pieces, as at the edges of a window of decompressed data. Only what a broker wants to know of
/// it is kept, so that a record of any size takes no memory.
///
/// Checks what `RawRecord` checks, in the same order. Only that the record goes beyond the end of its batch is not seen here but by
/// whoever runs out of pieces.
struct SplitRecord {
  private enum Field {
    case length, attributes, timestampDelta, offsetDelta, keyLength, valueLength, headerCount, headerKeyLength, headerValueLength, end

    var isLong: Bool { self == .timestampDelta }
  }

  private(set) var timestampDelta: Int64 = 0
  private(set) var offsetDelta: Int32 = 0
  private(set) var hasKey = false

  /// What comes next.
  private var field = Field.length
  /// Bytes of the record that have not come yet, once its length is known.
  private var remaining = 0
  /// Of those, bytes to pass over before `field`.
  private var passing = 0
  private var headersLeft = 0
  /// The bytes of an integer that has not ended yet.
  private var digits = InlineArray<10, UInt8>(repeating: 0)
  private var digitCount = 0

  /// Reads on at `position` and moves it. True once the record is whole; false if it takes more than there is.
  mutating func read(_ bytes: UnsafeRawBufferPointer, at position: inout Int) throws(RecordFault) -> Bool {
    while true {
      if self.passing > 0 {
        let count = min(self.passing, bytes.count - position)
        position += count
        self.passing -= count
        self.remaining -= count
        if self.passing > 0 { return false }
      }
      if self.field == .end {
        guard self.remaining == 0 else { throw .trailingBytes(self.remaining) }
        return true
      }
      if self.field != .length, self.remaining == 0 { throw .truncated }
      guard position < bytes.count else { return false }
      if self.field == .attributes {
        self.passing = 1
        self.field = .timestampDelta
        continue
      }
      let byte = bytes[position]
      position += 1
      if self.field != .length { self.remaining -= 1 }
      if let value = try self.integer(endingWith: byte) { try self.take(value) }
    }
  }

  /// Adds a byte to the integer under way; its value if that was the last.
  private mutating func integer(endingWith byte: UInt8) throws(RecordFault) -> Int64? {
    self.digits[self.digitCount] = byte
    self.digitCount += 1
    let isLong = self.field.isLong
    let countMax = isLong ? Varint.maximumByteCount64 : Varint.maximumByteCount32
    guard byte < 0x80 || self.digitCount == countMax else { return nil }
    let count = self.digitCount
    self.digitCount = 0
    let result: Result<Int64, VarintError> = self.digits.span.withUnsafeBytes { digits in
      let digits = UnsafeRawBufferPointer(rebasing: digits[..<count])
      return Result { () throws(VarintError) -> Int64 in
        var position = 0
        return isLong ? try Varint.readSigned64(digits, at: &position) : Int64(try Varint.readSigned32(digits, at: &position))
      }
    }
    switch result {
    case .success(let value): return value
    case .failure(let error): throw RecordFault(error)
    }
  }

  private mutating func take(_ value: Int64) throws(RecordFault) {
    let number = Int(value)
    switch self.field {
    case .length:
      guard number >= 0 else { throw .negativeLength }
      self.remaining = number
      self.field = .attributes
    case .timestampDelta:
      self.timestampDelta = value
      self.field = .offsetDelta
    case .offsetDelta:
      self.offsetDelta = Int32(truncatingIfNeeded: number)
      self.field = .keyLength
    case .keyLength:
      self.hasKey = try self.pass(number)
      self.field = .valueLength
    case .valueLength:
      _ = try self.pass(number)
      self.field = .headerCount
    case .headerCount:
      // A header takes two bytes at least.
      guard number >= 0, number <= self.remaining / 2 else { throw .headerCount(number) }
      self.headersLeft = number
      self.field = number == 0 ? .end : .headerKeyLength
    case .headerKeyLength:
      guard try self.pass(number) else { throw .nullHeaderKey }
      self.field = .headerValueLength
    case .headerValueLength:
      _ = try self.pass(number)
      self.headersLeft -= 1
      self.field = self.headersLeft == 0 ? .end : .headerKeyLength
    case .attributes, .end: break
    }
  }

  /// The bytes of a field come next; false if it is null.
  private mutating func pass(_ byteCount: Int) throws(RecordFault) -> Bool {
    guard byteCount >= -1 else { throw .negativeLength }
    guard byteCount <= self.remaining else { throw .truncated }
    self.passing = max(0, byteCount)
    return byteCount >= 0
  }
}
