/// Why bytes are not the message they claim to be. Every case names the field and the place where the reader stood.
///
/// The bytes come from a peer or from a file: an error here is theirs, never ours, and the reader stays usable for nothing else.
package indirect enum WireError: Error, Hashable, Sendable {
  /// A field as the schemas name it (`TopicProduceData.name`), and a position counted from the start of the buffer that was given: the
  /// field's first byte, or where a length or an integer of variable length was read, the byte after that.
  package struct Place: Hashable, Sendable {
    package var field: String
    package var position: Int
    package init(field: String, position: Int) { (self.field, self.position) = (field, position) }
  }

  /// The field needs `needed` bytes and only `available` are left in the message, or in the tagged field that encloses it.
  case truncated(Place, needed: Int, available: Int)
  /// A length or an array count below what its type allows: -1 (null) is the only negative one, and only where null is allowed.
  case invalidLength(Place, length: Int)
  /// An array that announces more elements than the bytes left could hold.
  case countBeyondMessage(Place, count: Int, available: Int)
  /// All arrays of one message together hold more elements than `WireReader.elementCountMax`.
  case tooManyElements(Place, max: Int)
  /// Null in a field that cannot be null in this version.
  case unexpectedNull(Place)
  /// A string that is not well-formed UTF-8.
  case invalidUTF8(Place)
  /// A variable-length integer longer than its type, or with bits beyond it.
  case varintTooLong(Place)
  /// The presence byte of a nullable structure is neither 1 (present) nor -1 (null).
  case invalidPresence(Place, byte: Int8)
  /// Tags of one structure must ascend strictly (KIP-482).
  case taggedFieldsOutOfOrder(Place, tag: UInt32, previous: UInt32)
  /// A known tagged field that did not use all the bytes of its announced size.
  case taggedFieldTooLong(Place, tag: UInt32, left: Int)
  /// Bytes after the last field of the message.
  case trailingBytes(Place, count: Int)
  /// A version of `message` that the schema does not have.
  case unsupportedVersion(message: String, version: Int16)
  /// A request's API key that Kafka does not assign.
  case unknownApiKey(Int16)
  /// A metadata record whose frame version is not 1.
  case unknownRecordFrame(version: UInt32)
  /// A metadata record type that the schemas do not have.
  case unknownRecordType(UInt32)
  /// A control record whose key is not of version 0 or later, or of a type that Kafka does not assign.
  case unknownControlRecord(version: Int16, type: Int16)
}

extension WireError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .truncated(let place, let needed, let available): "\(place): needs \(needed) bytes, \(available) are left"
    case .invalidLength(let place, let length): "\(place): length \(length) is not allowed"
    case .countBeyondMessage(let place, let count, let available):
      "\(place): \(count) elements cannot fit into the \(available) bytes left"
    case .tooManyElements(let place, let max): "\(place): the message holds more than \(max) array elements"
    case .unexpectedNull(let place): "\(place): null is not allowed in this version"
    case .invalidUTF8(let place): "\(place): the string is not UTF-8"
    case .varintTooLong(let place): "\(place): the variable-length integer is too long for its type"
    case .invalidPresence(let place, let byte): "\(place): presence byte \(byte) is neither 1 nor -1"
    case .taggedFieldsOutOfOrder(let place, let tag, let previous): "\(place): tag \(tag) follows tag \(previous), tags must ascend"
    case .taggedFieldTooLong(let place, let tag, let left): "\(place): tagged field \(tag) has \(left) bytes too many"
    case .trailingBytes(let place, let count): "\(place): \(count) bytes follow the end of the message"
    case .unsupportedVersion(let message, let version): "\(message) has no version \(version)"
    case .unknownApiKey(let key): "API key \(key) is not known"
    case .unknownRecordFrame(let version): "metadata record frame version \(version) is not 1"
    case .unknownRecordType(let type): "metadata record type \(type) is not known"
    case .unknownControlRecord(let version, let type): "control record of version \(version) and type \(type) is not known"
    }
  }
}

extension WireError.Place: CustomStringConvertible {
  package var description: String { "\(self.field) at byte \(self.position)" }
}
