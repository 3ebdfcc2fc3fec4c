import Base
import Model
import NIOCore
import Records

/// Records of one producer with numbers in a row: those of one batch. From its number and its producer a record's bytes follow, so that
/// whoever reads it can tell whether they are right.
struct RecordSpan: Hashable, Sendable, CustomStringConvertible {
  var producer: UInt32
  var first: UInt32
  var count: Int32

  var description: String { "p\(self.producer):\(self.first)" + (self.count > 1 ? "-\(self.first + UInt32(self.count) - 1)" : "") }
}

/// What one record says of itself.
struct RecordID: Hashable, Sendable, CustomStringConvertible {
  var producer: UInt32
  var number: UInt32

  var description: String { "p\(self.producer):\(self.number)" }

  /// The value that the record with this id has: the id, and bytes that follow from it.
  func value(byteCountMax: Int) -> ByteBuffer {
    var generator = SeededGenerator(seed: UInt64(self.producer) << 32 | UInt64(self.number))
    let count = Int.random(in: 0...max(0, byteCountMax), using: &generator)
    var value = ByteBuffer()
    value.reserveCapacity(12 + count + 8)
    value.writeInteger(self.producer)
    value.writeInteger(self.number)
    value.writeInteger(UInt32(byteCountMax))
    var written = 0
    while written < count {
      value.writeInteger(generator.next())
      written += 8
    }
    return value
  }

  /// The id that a value names, if all of it is what that record has.
  init?(of value: ByteBuffer) {
    guard let producer = value.getInteger(at: value.readerIndex, as: UInt32.self),
      let number = value.getInteger(at: value.readerIndex + 4, as: UInt32.self),
      let byteCountMax = value.getInteger(at: value.readerIndex + 8, as: UInt32.self), byteCountMax < 1 << 24
    else { return nil }
    self.init(producer: producer, number: number)
    if self.value(byteCountMax: Int(byteCountMax)) != value { return nil }
  }

  init(producer: UInt32, number: UInt32) { (self.producer, self.number) = (producer, number) }
}
