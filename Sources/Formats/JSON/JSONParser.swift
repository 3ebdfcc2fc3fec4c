/// Reads JSON (RFC 8259), strictly: one value, well-formed UTF-8, nothing behind it.
package struct JSONParser {
  package struct Failure: Error, Hashable, CustomStringConvertible {
    package var reason: String
    /// In bytes from the start.
    package var position: Int
    package var description: String { "\(self.reason) at byte \(self.position)" }
  }

  /// Arrays and objects within each other; more is refused, so that no input can exhaust the stack.
  private static let depthMax = 64
  private let bytes: UnsafeRawBufferPointer
  private var position = 0

  private init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  package static func parse(_ bytes: UnsafeRawBufferPointer) throws(Failure) -> JSONValue {
    var parser = JSONParser(bytes)
    let value = try parser.value(depth: 0)
    parser.skipSpace()
    guard parser.position == bytes.count else { throw parser.failure("more follows the value") }
    return value
  }

  package static func parse(_ text: String) throws(Failure) -> JSONValue {
    let bytes = Array(text.utf8)
    let result: Result<JSONValue, Failure> = bytes.withUnsafeBytes { bytes in
      do throws(Failure) { return .success(try Self.parse(bytes)) } catch { return .failure(error) }
    }
    return try result.get()
  }

  private func failure(_ reason: String) -> Failure { Failure(reason: reason, position: self.position) }
  private var next: UInt8? { self.position < self.bytes.count ? self.bytes[self.position] : nil }

  private mutating func skipSpace() {
    while let byte = self.next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { self.position += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard self.next == byte else { return false }
    self.position += 1
    return true
  }

  private mutating func value(depth: Int) throws(Failure) -> JSONValue {
    guard depth < Self.depthMax else { throw self.failure("more than \(Self.depthMax) arrays and objects within each other") }
    self.skipSpace()
    switch self.next {
    case UInt8(ascii: "{")?: return try self.object(depth: depth)
    case UInt8(ascii: "[")?: return try self.array(depth: depth)
    case UInt8(ascii: "\"")?: return .string(try self.string())
    case UInt8(ascii: "t")?: return try self.word("true", .bool(true))
    case UInt8(ascii: "f")?: return try self.word("false", .bool(false))
    case UInt8(ascii: "n")?: return try self.word("null", .null)
    case nil: throw self.failure("a value is missing")
    default: return try self.number()
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSONValue) throws(Failure) -> JSONValue {
    let end = self.position + word.utf8CodeUnitCount
    guard end <= self.bytes.count, "\(word)".utf8.elementsEqual(self.bytes[self.position..<end]) else {
      throw self.failure("not a JSON value")
    }
    self.position = end
    return value
  }

  private mutating func number() throws(Failure) -> JSONValue {
    let start = self.position
    while let byte = self.next, (0x30...0x39).contains(byte) || "+-.eE".utf8.contains(byte) { self.position += 1 }
    let text = String(decoding: self.bytes[start..<self.position], as: UTF8.self)
    guard text.wholeMatch(of: #/-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/#) != nil else {
      self.position = start
      throw self.failure("not a JSON value")
    }
    if let integer = Int64(text) { return .integer(integer) }
    return .number(Double(text) ?? .nan)
  }

  private mutating func array(depth: Int) throws(Failure) -> JSONValue {
    self.position += 1
    var values: [JSONValue] = []
    self.skipSpace()
    if self.take(UInt8(ascii: "]")) { return .array(values) }
    while true {
      values.append(try self.value(depth: depth + 1))
      self.skipSpace()
      if self.take(UInt8(ascii: "]")) { return .array(values) }
      guard self.take(UInt8(ascii: ",")) else { throw self.failure("',' or ']' is missing") }
    }
  }

  private mutating func object(depth: Int) throws(Failure) -> JSONValue {
    self.position += 1
    var members: [(String, JSONValue)] = []
    self.skipSpace()
    if self.take(UInt8(ascii: "}")) { return .object(members) }
    while true {
      self.skipSpace()
      guard self.next == UInt8(ascii: "\"") else { throw self.failure("a name in quotes is missing") }
      let name = try self.string()
      self.skipSpace()
      guard self.take(UInt8(ascii: ":")) else { throw self.failure("':' is missing") }
      members.append((name, try self.value(depth: depth + 1)))
      self.skipSpace()
      if self.take(UInt8(ascii: "}")) { return .object(members) }
      guard self.take(UInt8(ascii: ",")) else { throw self.failure("',' or '}' is missing") }
    }
  }

  private mutating func string() throws(Failure) -> String {
    self.position += 1
    var text: [UInt8] = []
    let start = self.position
    while let byte = self.next {
      self.position += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let string = String(validating: text, as: UTF8.self) else {
          self.position = start
          throw self.failure("a string that is not UTF-8")
        }
        return string
      case UInt8(ascii: "\\"): try self.escape(into: &text)
      case 0..<0x20: throw self.failure("a control character in a string")
      default: text.append(byte)
      }
    }
    throw self.failure("a string without end")
  }

  private mutating func escape(into text: inout [UInt8]) throws(Failure) {
    guard let byte = self.next else { throw self.failure("a string without end") }
    self.position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      var scalar = try self.hexDigits()
      if (0xD800..<0xDC00).contains(scalar) {
        guard self.take(UInt8(ascii: "\\")), self.take(UInt8(ascii: "u")) else { throw self.failure("half a surrogate pair") }
        let low = try self.hexDigits()
        guard (0xDC00..<0xE000).contains(low) else { throw self.failure("half a surrogate pair") }
        scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(scalar) else { throw self.failure("half a surrogate pair") }
      text.append(contentsOf: String(Character(scalar)).utf8)
    default: throw self.failure("an unknown escape")
    }
  }

  private mutating func hexDigits() throws(Failure) -> UInt32 {
    guard self.position + 4 <= self.bytes.count,
      let value = UInt32(String(decoding: self.bytes[self.position..<self.position + 4], as: UTF8.self), radix: 16),
      self.bytes[self.position] != UInt8(ascii: "+"), self.bytes[self.position] != UInt8(ascii: "-")
    else { throw self.failure("four hexadecimal digits are missing") }
    self.position += 4
    return value
  }
}
