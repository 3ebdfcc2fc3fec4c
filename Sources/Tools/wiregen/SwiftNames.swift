/// How a schema's types, names and defaults are spelled in Swift.
enum SwiftNames {
  private static let keywords: Set<String> = [
    "as", "break", "case", "catch", "class", "continue", "default", "defer", "deinit", "do", "else", "enum", "extension", "fallthrough",
    "false", "fileprivate", "for", "func", "guard", "if", "import", "in", "init", "inout", "internal", "is", "let", "nil", "operator",
    "private", "protocol", "public", "repeat", "rethrows", "return", "self", "static", "struct", "subscript", "super", "switch", "throw",
    "throws", "true", "try", "typealias", "var", "where", "while",
  ]

  /// Kafka's name with its first letter small.
  static func lowerCamelCase(_ name: String) -> String { name.prefix(1).lowercased() + name.dropFirst() }

  /// The property of a field.
  static func property(_ field: Field) -> String { self.escaped(self.lowerCamelCase(field.name)) }

  static func escaped(_ name: String) -> String { self.keywords.contains(name) ? "`\(name)`" : name }

  static func type(_ type: FieldType) -> String {
    switch type {
    case .bool: "Bool"
    case .int8: "Int8"
    case .int16: "Int16"
    case .int32: "Int32"
    case .int64: "Int64"
    case .uint16: "UInt16"
    case .uint32: "UInt32"
    case .float64: "Double"
    case .error: "ErrorCode"
    case .string: "String"
    case .uuid: "KafkaUUID"
    case .bytes: "ByteBuffer"
    case .records: "RecordData"
    case .structure(let name): name
    case .array(let element): "[\(self.type(element))]"
    }
  }

  static func type(_ field: Field) -> String { self.type(field.type) + (field.nullable == nil ? "" : "?") }

  static func defaultValue(_ field: Field) -> String {
    switch field.defaultValue {
    case .null: return "nil"
    case .integer(let value): return String(value)
    case .boolean(let value): return String(value)
    case .text(let text): return "\"\(text)\""
    case .natural: break
    }
    switch field.type {
    case .bool: return "false"
    case .int8, .int16, .int32, .int64, .uint16, .uint32, .float64: return "0"
    case .error: return ".none"
    case .string: return "\"\""
    case .uuid: return ".zero"
    case .bytes: return "ByteBuffer()"
    // As in Kafka, absent records are null where they can be.
    case .records: return field.nullable == nil ? ".empty" : "nil"
    case .structure(let name): return "\(name)()"
    case .array: return "[]"
    }
  }

  /// An expression that is true where `field` holds something else than its default.
  static func differsFromDefault(_ field: Field) -> String {
    let property = "self.\(self.property(field))"
    if field.defaultValue == .natural, field.nullable == nil {
      switch field.type {
      case .bool: return property
      case .string, .array: return "!\(property).isEmpty"
      case .bytes: return "\(property).readableBytes > 0"
      default: break
      }
    }
    return "\(property) != \(self.defaultValue(field))"
  }

  /// A condition on `version` that holds for `range` and, among `bounds`, for nothing else; nil if it always holds.
  static func condition(_ range: VersionRange, within bounds: VersionRange) -> String? {
    if range.contains(bounds) { return nil }
    if range.first == range.last { return "version == \(range.first)" }
    if range.first <= bounds.first { return "version <= \(range.last)" }
    if range.last >= bounds.last { return "version >= \(range.first)" }
    return "(\(range.first)...\(range.last)).contains(version)"
  }
}
