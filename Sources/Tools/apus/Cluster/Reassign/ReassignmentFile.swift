import JSON
import KafkaClient

/// Assignments as `kafka-reassign-partitions.sh` reads and writes them, so that files of the one can be given to the other:
/// `{"version":1,"partitions":[{"topic":"orders","partition":0,"replicas":[1,2,3],"log_dirs":["any","any","any"]}]}`.
struct ReassignmentFile: Equatable {
  struct Failure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
  }

  var assignments: [TopicPartition: [Int32]]

  init(_ assignments: [TopicPartition: [Int32]]) { self.assignments = assignments }

  init(parsing bytes: [UInt8]) throws(Failure) {
    let value: JSONValue
    do throws(JSONParser.Failure) {
      let result = bytes.withUnsafeBytes { bytes in Result { () throws(JSONParser.Failure) in try JSONParser.parse(bytes) } }
      value = try result.get()
    } catch { throw Failure("it is not JSON: \(error)") }
    guard case .object = value else { throw Failure("it is no JSON object") }
    switch value["version"] {
    case .integer(1)?, nil: break
    case let other?: throw Failure("its version is \(other.text), and only 1 is known")
    }
    guard case .array(let partitions)? = value["partitions"] else { throw Failure("it has no array \"partitions\"") }
    self.assignments = [:]
    for (index, partition) in partitions.enumerated() {
      let (id, replicas) = try Self.partition(partition, "partitions[\(index)]")
      guard self.assignments.updateValue(replicas, forKey: id) == nil else { throw Failure("\(id) is there twice") }
    }
  }

  private static func partition(_ value: JSONValue, _ place: String) throws(Failure) -> (TopicPartition, [Int32]) {
    guard case .string(let topic)? = value["topic"], !topic.isEmpty else { throw Failure("\(place) has no topic") }
    guard case .integer(let number)? = value["partition"], let partition = Int32(exactly: number), partition >= 0 else {
      throw Failure("\(place) has no partition number")
    }
    guard case .array(let values)? = value["replicas"], !values.isEmpty else { throw Failure("\(place) has no replicas") }
    var replicas: [Int32] = []
    for value in values {
      guard case .integer(let number) = value, let replica = Int32(exactly: number), replica >= 0 else {
        throw Failure("\(place) has \(value.text) for a broker")
      }
      if replicas.contains(replica) { throw Failure("\(place) has broker \(replica) twice") }
      replicas.append(replica)
    }
    if case .array(let directories)? = value["log_dirs"], directories.contains(where: { $0 != .string("any") }) {
      throw Failure("\(place) asks for a log directory: only \"any\" is possible here")
    }
    return (TopicPartition(topic: topic, partition: partition), replicas)
  }

  var json: JSONValue {
    .object([
      ("version", .integer(1)),
      ("partitions", .array(self.assignments.sorted { $0.key < $1.key }.map { id, replicas in
        .object([
          ("topic", .string(id.topic)), ("partition", .integer(Int64(id.partition))), ("replicas", ClusterText.json(replicas)),
          ("log_dirs", .array(replicas.map { _ in .string("any") })),
        ])
      })),
    ])
  }

  // MARK: Files

  private static let byteCountMax = 64 << 20

  /// - Parameter path: `-` is the standard input.
  static func read(_ path: String) throws(CommandFailure) -> ReassignmentFile {
    do {
      let name = path == "-" ? "/dev/stdin" : path
      return try ReassignmentFile(parsing: try Descriptor.readAll(name, byteCountMax: Self.byteCountMax))
    } catch { throw CommandFailure("\(path == "-" ? "the standard input" : path): \(error)") }
  }

  func write(_ path: String) throws(CommandFailure) {
    do throws(SystemFailure) { try Descriptor.create(path, Array((self.json.text + "\n").utf8)) } catch {
      throw CommandFailure("\(path) cannot be written: \(error)")
    }
  }
}
