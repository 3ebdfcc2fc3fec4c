package import Compression
package import Model

/// Why the bytes of a batch could not be read.
package enum RecordError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The bytes end before the batch does.
  case incomplete(expected: Int, available: Int)
  /// A `batchLength` that no batch can have.
  case invalidLength(Int32)
  /// 0 and 1 are the message sets of before Kafka 0.11; more than 2 is not known.
  case unsupportedMagic(Int8)
  case checksumMismatch(stored: UInt32, computed: UInt32)
  case unknownCodec(Int16)
  case compression(CompressionError)
  /// Base offset, last offset delta and record count that cannot belong together.
  case invalidOffsets(baseOffset: Offset, lastOffsetDelta: Int32, recordCount: Int32)
  case malformedRecord(index: Int, RecordFault)
  /// The record's offset delta does not follow the one before it, or lies beyond the batch's last.
  case offsetDelta(index: Int, delta: Int32)
  /// The record's timestamp does not fit 64 bits.
  case timestampDelta(index: Int, delta: Int64)
  /// Bytes behind the last of the records that the header counts.
  case trailingBytes(Int)
  /// The batch would be larger than its 32-bit length can say.
  case batchTooLarge(Int)
  /// A control record's key or value is not as its type demands.
  case malformedControlRecord(String)

  /// The code Kafka uses for it.
  package var code: ErrorCode {
    switch self {
    case .incomplete, .invalidLength, .checksumMismatch: .corruptMessage
    case .unsupportedMagic(let magic): magic == 0 || magic == 1 ? .unsupportedForMessageFormat : .corruptMessage
    case .unknownCodec: .unsupportedCompressionType
    case .compression(.tooLarge), .batchTooLarge: .messageTooLarge
    case .compression(.failed): .unknownServerError
    case .compression, .invalidOffsets, .malformedRecord, .offsetDelta, .timestampDelta, .trailingBytes, .malformedControlRecord:
      .invalidRecord
    }
  }

  package var description: String {
    switch self {
    case .incomplete(let expected, let available): "A record batch of \(expected) bytes has only \(available)."
    case .invalidLength(let length): "A record batch cannot have a length of \(length)."
    case .unsupportedMagic(let magic) where magic == 0 || magic == 1:
      "Message format \(magic) (before Kafka 0.11) is not supported: only record batches of format 2 are."
    case .unsupportedMagic(let magic): "There is no message format \(magic)."
    case .checksumMismatch(let stored, let computed):
      "The record batch is corrupt: its CRC-32C is \(computed), but the header says \(stored)."
    case .unknownCodec(let number): "There is no compression codec \(number)."
    case .compression(let error): error.description
    case .invalidOffsets(let baseOffset, let lastOffsetDelta, let recordCount):
      "A record batch cannot have base offset \(baseOffset), last offset delta \(lastOffsetDelta) and \(recordCount) records."
    case .malformedRecord(let index, let fault): "Record \(index) of the batch is malformed: \(fault)."
    case .offsetDelta(let index, let delta): "Record \(index) of the batch has the offset delta \(delta), which is out of order."
    case .timestampDelta(let index, let delta): "Record \(index) of the batch has the timestamp delta \(delta), which overflows."
    case .trailingBytes(let count): "\(count) bytes follow the last record of the batch."
    case .batchTooLarge(let byteCount): "A record batch of \(byteCount) bytes is more than its length field can say."
    case .malformedControlRecord(let reason): "The control record is malformed: \(reason)."
    }
  }
}
