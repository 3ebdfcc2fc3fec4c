import Model
import NIOCore
import Wire

/// A generated value as JSON with sorted keys and hex for bytes, found by reflection: what the fixtures and `SchemaValue` also print.
enum CanonicalText {
  static func of(_ value: Any) -> String {
    switch value {
    case let value as String: return self.quoted(value)
    case let value as Bool: return "\(value)"
    case let value as ErrorCode: return "\(value.rawValue)"
    case let value as KafkaUUID: return "\"\(value)\""
    case let value as Double: return "\(value)"
    case let value as any FixedWidthInteger: return "\(value)"
    case let value as ByteBuffer: return self.hex(value.readableBytesView)
    case let value as RecordData:
      guard case .bytes(let buffer) = value else { return "external" }
      return self.hex(buffer.readableBytesView)
    default: break
    }
    let mirror = Mirror(reflecting: value)
    switch mirror.displayStyle {
    case .optional: return mirror.children.first.map { self.of($0.value) } ?? "null"
    case .collection: return "[" + mirror.children.map { self.of($0.value) }.joined(separator: ",") + "]"
    case .struct:
      let entries = mirror.children.sorted { $0.label! < $1.label! }.map { "\"\($0.label!)\":\(self.of($0.value))" }
      return "{" + entries.joined(separator: ",") + "}"
    default: return "no text for \(value)"
    }
  }

  static func hex(_ bytes: some Sequence<UInt8>) -> String {
    "\"" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "\""
  }

  static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case _ where scalar.value < 0x20:
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
