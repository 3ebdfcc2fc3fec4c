/// Writes JSON (RFC 8259) as bytes, without a model in between.
package enum JSONText {
  private static let hex = Array("0123456789abcdef".utf8)

  /// A string. Bytes that are not UTF-8 become replacement characters.
  package static func append(_ bytes: UnsafeRawBufferPointer, to output: inout [UInt8]) {
    output.append(UInt8(ascii: "\""))
    var runStart = 0
    var index = 0
    var isASCII = true
    while index < bytes.count {
      let byte = bytes[index]
      if byte >= 0x80 {
        isASCII = false
        break
      }
      if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
        output.append(contentsOf: bytes[runStart..<index])
        Self.appendEscape(of: byte, to: &output)
        runStart = index + 1
      }
      index += 1
    }
    if isASCII {
      output.append(contentsOf: bytes[runStart...])
    } else {
      output.append(contentsOf: bytes[runStart..<index])
      // The library knows what is well-formed; text that is not ASCII is rare enough to take this way.
      for byte in String(decoding: bytes[index...], as: UTF8.self).utf8 {
        if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
          Self.appendEscape(of: byte, to: &output)
        } else {
          output.append(byte)
        }
      }
    }
    output.append(UInt8(ascii: "\""))
  }

  package static func append(_ text: String, to output: inout [UInt8]) {
    var text = text
    text.withUTF8 { Self.append(UnsafeRawBufferPointer($0), to: &output) }
  }

  private static func appendEscape(of byte: UInt8, to output: inout [UInt8]) {
    output.append(UInt8(ascii: "\\"))
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): output.append(byte)
    case 0x0A: output.append(UInt8(ascii: "n"))
    case 0x0D: output.append(UInt8(ascii: "r"))
    case 0x09: output.append(UInt8(ascii: "t"))
    default:
      output.append(contentsOf: "u00".utf8)
      output.append(Self.hex[Int(byte >> 4)])
      output.append(Self.hex[Int(byte & 15)])
    }
  }
}

/// A JSON value, for what is small enough to be built first.
package indirect enum JSONValue: Hashable, Sendable {
  case null
  case bool(Bool)
  case integer(Int64)
  case number(Double)
  case string(String)
  case array([JSONValue])
  /// In the order given.
  case object([(String, JSONValue)])

  package var text: String { String(decoding: self.bytes, as: UTF8.self) }

  package var bytes: [UInt8] {
    var output: [UInt8] = []
    self.append(to: &output)
    return output
  }

  package func append(to output: inout [UInt8]) {
    switch self {
    case .null: output.append(contentsOf: "null".utf8)
    case .bool(let value): output.append(contentsOf: (value ? "true" : "false").utf8)
    case .integer(let value): output.append(contentsOf: "\(value)".utf8)
    // JSON has no infinities.
    case .number(let value): output.append(contentsOf: (value.isFinite ? "\(value)" : "null").utf8)
    case .string(let value): JSONText.append(value, to: &output)
    case .array(let values):
      output.append(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        value.append(to: &output)
      }
      output.append(UInt8(ascii: "]"))
    case .object(let members):
      output.append(UInt8(ascii: "{"))
      for (index, (name, value)) in members.enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        JSONText.append(name, to: &output)
        output.append(UInt8(ascii: ":"))
        value.append(to: &output)
      }
      output.append(UInt8(ascii: "}"))
    }
  }

  package subscript(name: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members.last { $0.0 == name }?.1
  }

  package static func == (a: JSONValue, b: JSONValue) -> Bool { a.bytes == b.bytes }
  package func hash(into hasher: inout Hasher) { hasher.combine(self.bytes) }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {
  package init(stringLiteral value: String) { self = .string(value) }
  package init(integerLiteral value: Int64) { self = .integer(value) }
  package init(booleanLiteral value: Bool) { self = .bool(value) }
}
