/// An inclusive range of message versions.
struct VersionRange: Equatable {
  var first: Int
  var last: Int

  func contains(_ version: Int) -> Bool { self.first <= version && version <= self.last }
  func contains(_ other: VersionRange) -> Bool { self.first <= other.first && other.last <= self.last }

  /// The versions in both; nil if there are none.
  func intersection(_ other: VersionRange) -> VersionRange? {
    let (first, last) = (max(self.first, other.first), min(self.last, other.last))
    return first <= last ? VersionRange(first: first, last: last) : nil
  }

  /// The smallest range that contains both.
  func hull(_ other: VersionRange) -> VersionRange {
    VersionRange(first: min(self.first, other.first), last: max(self.last, other.last))
  }
}

/// The type of a field, or of an array's elements.
indirect enum FieldType: Equatable, Sendable {
  case bool, int8, int16, int32, int64, uint16, uint32, float64
  /// An `int16` that reads as Model's `ErrorCode`.
  case error
  case string, uuid, bytes, records
  case structure(String)
  case array(FieldType)

  static let primitives: [String: FieldType] = [
    "bool": .bool, "int8": .int8, "int16": .int16, "int32": .int32, "int64": .int64, "uint16": .uint16, "uint32": .uint32,
    "float64": .float64, "error": .error, "string": .string, "uuid": .uuid, "bytes": .bytes, "records": .records,
  ]

  /// The structure that the type is or is an array of.
  var structureName: String? {
    switch self {
    case .structure(let name): name
    case .array(let element): element.structureName
    default: nil
    }
  }

  /// The values that an integer type can hold, nil for other types.
  var integerRange: ClosedRange<Int64>? {
    switch self {
    case .int8: Int64(Int8.min)...Int64(Int8.max)
    case .int16: Int64(Int16.min)...Int64(Int16.max)
    case .int32: Int64(Int32.min)...Int64(Int32.max)
    case .int64: Int64.min...Int64.max
    case .uint16: 0...Int64(UInt16.max)
    case .uint32: 0...Int64(UInt32.max)
    case .bool, .float64, .error, .string, .uuid, .bytes, .records, .structure, .array: nil
    }
  }
}

/// What a field holds where nothing was said: in a new value, and after decoding a version that lacks the field.
enum DefaultValue: Equatable {
  /// 0, false, empty, all zero, or the structure of defaults.
  case natural
  case null
  case integer(Int64)
  case boolean(Bool)
  case text(String)
}

/// What of the request a field of the response repeats when all of the request is refused.
enum Mirror: Equatable {
  /// These fields of what the enclosing structure was made for; for an array, an element for each of theirs. A path goes through arrays.
  case fields([[String]])
  /// One element for the request itself.
  case request
}

struct Field: Equatable {
  /// Kafka's spelling, a capital first.
  var name: String
  var type: FieldType
  /// The versions that have the field, within those of the enclosing structure.
  var versions: VersionRange
  /// The versions in which it may be null, nil for none.
  var nullable: VersionRange?
  /// Set: the field is encoded among the tagged fields, if it is not the default.
  var tag: Int?
  /// A version without the field may drop its value without harm.
  var isIgnorable: Bool
  var defaultValue: DefaultValue
  var mirror: Mirror? = nil
  var line: Int
}

/// A structure with its fields in the order of their bytes.
struct Structure: Equatable {
  var name: String
  var fields: [Field]
  var line: Int
}

/// One request, response or stored record: the fields of its own and the structures nested in it, by name.
struct Message: Equatable {
  var root: Structure
  var structures: [Structure]

  func structure(_ name: String) -> Structure? { self.structures.first { $0.name == name } }

  /// The versions in which each structure can occur at all, the root in `versions`. Recursion was refused before.
  func versions(ofRootIn versions: VersionRange) -> [String: VersionRange] {
    var result: [String: VersionRange] = [:]
    func visit(_ structure: Structure, _ range: VersionRange) {
      result[structure.name] = result[structure.name]?.hull(range) ?? range
      for field in structure.fields {
        guard let name = field.type.structureName, let inner = self.structure(name), let range = field.versions.intersection(range)
        else { continue }
        visit(inner, range)
      }
    }
    visit(self.root, versions)
    return result
  }
}

/// A whole schema file.
struct Schema: Equatable {
  enum Kind: Equatable {
    case api(key: Int, request: Message, response: Message)
    case metadata(type: Int, Message)
    case record(Message)
  }
  var name: String
  var versions: VersionRange
  /// The first flexible version, nil if no version is.
  var firstFlexible: Int?
  var kind: Kind

  var messages: [Message] {
    switch self.kind {
    case .api(_, let request, let response): [request, response]
    case .metadata(_, let message), .record(let message): [message]
    }
  }

  func isFlexible(_ version: Int) -> Bool { self.firstFlexible.map { version >= $0 } ?? false }
}

/// What is wrong with a schema, and where.
struct SchemaError: Error, Equatable, CustomStringConvertible {
  var file: String
  var line: Int
  var message: String
  var description: String { "\(self.file):\(self.line): error: \(self.message)" }
}
