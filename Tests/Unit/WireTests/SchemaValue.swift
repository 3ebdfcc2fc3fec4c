import Base
import Model

@testable import wiregen

/// A value of any schema type, with every field of a structure whatever the version: the model that generated code is held against.
indirect enum SchemaValue: Equatable {
  case null
  case integer(Int64)
  case boolean(Bool)
  case double(Double)
  case text(String)
  case bytes([UInt8])
  case uuid(KafkaUUID)
  case array([SchemaValue])
  case structure([String: SchemaValue])
}

extension SchemaValue {
  /// The default of a field, as the schema format says.
  static func defaultValue(of field: Field, in message: Message) -> SchemaValue {
    switch field.defaultValue {
    case .null: return .null
    case .integer(let value): return .integer(value)
    case .boolean(let value): return .boolean(value)
    case .text(let text): return .text(text)
    case .natural: break
    }
    switch field.type {
    case .bool: return .boolean(false)
    case .int8, .int16, .int32, .int64, .uint16, .uint32, .error: return .integer(0)
    case .float64: return .double(0)
    case .string: return .text("")
    case .uuid: return .uuid(.zero)
    case .bytes: return .bytes([])
    case .records: return field.nullable == nil ? .bytes([]) : .null
    case .structure(let name): return Self.defaults(of: message.structure(name)!, in: message)
    case .array: return .array([])
    }
  }

  static func defaults(of structure: Structure, in message: Message) -> SchemaValue {
    var fields: [String: SchemaValue] = [:]
    for field in structure.fields { fields[field.name] = Self.defaultValue(of: field, in: message) }
    return .structure(fields)
  }

  /// A structure with every field drawn, null where any version allows it.
  static func random(of structure: Structure, in message: Message, using generator: inout SeededGenerator) -> SchemaValue {
    var fields: [String: SchemaValue] = [:]
    for field in structure.fields {
      if field.nullable != nil, Int.random(in: 0..<4, using: &generator) == 0 {
        fields[field.name] = .null
      } else if Int.random(in: 0..<6, using: &generator) == 0 {
        fields[field.name] = Self.defaultValue(of: field, in: message)
      } else {
        fields[field.name] = Self.random(of: field.type, in: message, using: &generator)
      }
    }
    return .structure(fields)
  }

  private static func random(of type: FieldType, in message: Message, using generator: inout SeededGenerator) -> SchemaValue {
    switch type {
    case .bool: return .boolean(Bool.random(using: &generator))
    case .int8, .int16, .int32, .int64, .uint16, .uint32:
      let range = type.integerRange!
      switch Int.random(in: 0..<4, using: &generator) {
      case 0: return .integer(range.lowerBound)
      case 1: return .integer(range.upperBound)
      default: return .integer(Int64.random(in: range, using: &generator))
      }
    case .error: return .integer(Int64(ErrorCode.allCases.randomElement(using: &generator)!.rawValue))
    case .float64: return .double(Double.random(in: -1e9...1e9, using: &generator))
    case .string: return .text(Self.randomText(using: &generator))
    case .uuid: return .uuid(KafkaUUID(high: generator.next(), low: generator.next()))
    case .bytes, .records:
      return .bytes((0..<Int.random(in: 0..<40, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) })
    case .structure(let name): return Self.random(of: message.structure(name)!, in: message, using: &generator)
    case .array(let element):
      return .array((0..<Int.random(in: 0..<4, using: &generator)).map { _ in Self.random(of: element, in: message, using: &generator) })
    }
  }

  private static func randomText(using generator: inout SeededGenerator) -> String {
    let scalars: [Character] = ["a", "Z", "0", "-", "é", "漢", "😀", "\"", "\\", "\n", "\u{0}"]
    // Long enough at times for a length of two varint bytes.
    let count = Int.random(in: 0..<8, using: &generator) == 0 ? 150 : Int.random(in: 0..<12, using: &generator)
    return String((0..<count).map { _ in scalars.randomElement(using: &generator)! })
  }

  /// What is left of a value after its trip through `version`: fields that the version lacks have their default, and null is empty where
  /// the version has no null.
  static func projected(_ value: SchemaValue, of structure: Structure, in message: Message, version: Int) -> SchemaValue {
    guard case .structure(var fields) = value else { return value }
    for field in structure.fields {
      let original = fields[field.name]!
      guard field.versions.contains(version) else {
        fields[field.name] = Self.defaultValue(of: field, in: message)
        continue
      }
      let projected = Self.projected(original, of: field.type, in: message, version: version)
      fields[field.name] = projected == .null && field.nullable?.contains(version) != true ? Self.empty(field.type) : projected
    }
    return .structure(fields)
  }

  private static func projected(_ value: SchemaValue, of type: FieldType, in message: Message, version: Int) -> SchemaValue {
    guard let structure = type.structureName.flatMap(message.structure) else { return value }
    guard case .array(let elements) = value else { return Self.projected(value, of: structure, in: message, version: version) }
    return .array(elements.map { Self.projected($0, of: structure, in: message, version: version) })
  }

  private static func empty(_ type: FieldType) -> SchemaValue {
    switch type {
    case .string: .text("")
    case .bytes, .records: .bytes([])
    default: .array([])
    }
  }

  /// Canonical JSON of the fields that `version` has (of all fields, if nil): sorted keys, bytes in hex.
  static func text(_ value: SchemaValue, of structure: Structure, in message: Message, version: Int?) -> String {
    guard case .structure(let fields) = value else { return "null" }
    let present = structure.fields.filter { field in version.map { field.versions.contains($0) } ?? true }
    let entries = present.sorted { SwiftNames.lowerCamelCase($0.name) < SwiftNames.lowerCamelCase($1.name) }.map { field in
      "\"\(SwiftNames.lowerCamelCase(field.name))\":\(Self.text(fields[field.name]!, of: field.type, in: message, version: version))"
    }
    return "{" + entries.joined(separator: ",") + "}"
  }

  private static func text(_ value: SchemaValue, of type: FieldType, in message: Message, version: Int?) -> String {
    switch value {
    case .null: return "null"
    case .integer(let value): return "\(value)"
    case .boolean(let value): return "\(value)"
    case .double(let value): return "\(value)"
    case .text(let text): return CanonicalText.quoted(text)
    case .bytes(let bytes): return CanonicalText.hex(bytes)
    case .uuid(let id): return "\"\(id)\""
    case .array(let elements):
      guard case .array(let element) = type else { return "not an array" }
      return "[" + elements.map { Self.text($0, of: element, in: message, version: version) }.joined(separator: ",") + "]"
    case .structure:
      return Self.text(value, of: message.structure(type.structureName!)!, in: message, version: version)
    }
  }
}
