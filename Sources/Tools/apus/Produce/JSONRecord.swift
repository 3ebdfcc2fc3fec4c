import JSON
import KafkaClient

/// A record in the JSON envelope that `consume --json` writes and kcat calls `-J`.
enum JSONRecord {
  struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
  }

  /// What makes a record, by the names that are told to people.
  private static let fields = ["payload", "value", "key", "headers", "partition", "ts"]
  /// What only describes a stored record, in the output of `consume --json` and of kcat; of no use here.
  private static let descriptions = ["topic", "offset", "tstype", "broker"]

  /// Reads one line. `payload` or `value` is the value, absent or null a tombstone; `key`, `partition`, `ts` (milliseconds) and `headers`
  /// (a list of alternating names and values, or an object) may be left out. Members that only describe a stored record are ignored, others
  /// refused: a name that is misspelt would lose its value.
  static func parse(_ line: UnsafeRawBufferPointer, topic: String) throws(Failure) -> ProducerRecord {
    let value: JSONValue
    do throws(JSONParser.Failure) { value = try JSONParser.parse(line) } catch { throw Failure("the line is not JSON: \(error)") }
    guard case .object(let members) = value else { throw Failure("the line is not a JSON object") }
    for (name, _) in members where !Self.fields.contains(name) && !Self.descriptions.contains(name) {
      let known = Self.fields.joined(separator: ", ")
      throw Failure("'\(name)' is not a field of a record; there are \(known) (and \(Self.descriptions.joined(separator: ", ")), ignored)")
    }
    if value["payload"] != nil, value["value"] != nil { throw Failure("'payload' and 'value' are the same; give one") }
    var record = ProducerRecord(topic: topic, value: try Self.bytes(value["payload"] ?? value["value"], "payload"))
    record.key = try Self.bytes(value["key"], "key")
    switch value["partition"] {
    case nil, .null?: break
    case .integer(let number)? where number >= 0 && number <= Int64(Int32.max): record.partition = Int32(number)
    default: throw Failure("'partition' is not the number of a partition")
    }
    switch value["ts"] {
    case nil, .null?: break
    case .integer(let milliseconds)? where milliseconds >= -1: record.timestamp = milliseconds
    default: throw Failure("'ts' is not a time in milliseconds since 1970")
    }
    record.headers = try Self.headers(value["headers"])
    return record
  }

  private static func bytes(_ value: JSONValue?, _ name: String) throws(Failure) -> [UInt8]? {
    switch value {
    case nil, .null?: return nil
    case .string(let text)?: return Array(text.utf8)
    // Another value is taken as its text, so that JSON documents need no quoting.
    case let other?: return other.bytes
    }
  }

  private static func headers(_ value: JSONValue?) throws(Failure) -> [RecordHeader] {
    switch value {
    case nil, .null?: return []
    case .object(let members)?:
      var headers: [RecordHeader] = []
      for (name, value) in members { headers.append(RecordHeader(name, try Self.bytes(value, name))) }
      return headers
    case .array(let values)? where values.count % 2 == 0:
      var headers: [RecordHeader] = []
      for index in stride(from: 0, to: values.count, by: 2) {
        guard case .string(let name) = values[index] else { throw Failure("the name of a header is not a string") }
        headers.append(RecordHeader(name, try Self.bytes(values[index + 1], name)))
      }
      return headers
    default: throw Failure("'headers' is neither an object nor a list of names and values")
    }
  }
}
