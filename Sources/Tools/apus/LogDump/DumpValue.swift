import JSON
import Model
import NIOCore

/// Values of files as JSON.
enum DumpValue {
  /// Bytes as text where they are UTF-8 without control characters but line ends and tabs, else as `0x…`. Nil is null.
  static func json(_ bytes: ByteBuffer?) -> JSONValue {
    guard let bytes else { return .null }
    if let text = String(validating: bytes.readableBytesView, as: UTF8.self),
      !text.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\n" && $0 != "\r" && $0 != "\t" || $0.value == 0x7F })
    {
      return .string(text)
    }
    let digits = Array("0123456789abcdef".utf8)
    var hex = Array("0x".utf8)
    for byte in bytes.readableBytesView {
      hex.append(digits[Int(byte >> 4)])
      hex.append(digits[Int(byte & 15)])
    }
    return .string(String(decoding: hex, as: UTF8.self))
  }

  /// A decoded message field by field.
  static func reflect(_ value: Any) -> JSONValue {
    switch value {
    case let value as String: return .string(value)
    case let value as Bool: return .bool(value)
    case let value as any FixedWidthInteger: return .integer(Int64(clamping: value))
    case let value as Double: return .number(value)
    case let value as KafkaUUID: return .string("\(value)")
    case let value as ErrorCode: return .string("\(value)")
    case let value as ByteBuffer: return Self.json(value)
    default: break
    }
    let mirror = Mirror(reflecting: value)
    switch mirror.displayStyle {
    case .optional: return mirror.children.first.map { Self.reflect($0.value) } ?? .null
    case .collection, .set: return .array(mirror.children.map { Self.reflect($0.value) })
    case .struct, .class, .tuple: return .object(mirror.children.map { ($0.label ?? "", Self.reflect($0.value)) })
    default: return .string("\(value)")
    }
  }
}
