/// A `server.properties` text that cannot be read, and where.
package struct PropertiesError: Error, Sendable, Hashable, CustomStringConvertible {
  /// From 1.
  package var line: Int
  package var reason: String
  package init(line: Int, reason: String) { (self.line, self.reason) = (line, reason) }
  package var description: String { "line \(self.line): \(self.reason)" }
}

/// One `key=value` of a properties text.
package struct Property: Sendable, Hashable {
  package var key: String
  package var value: String
  /// The line it began on, from 1.
  package var line: Int
  package init(key: String, value: String, line: Int) { (self.key, self.value, self.line) = (key, value, line) }
}

/// Reads Java's properties format: `#` and `!` comments, `key=value`, `key:value` or `key value`, backslash escapes, and
/// lines continued with a backslash at their end.
///
/// Stricter than Java in one way: a key that is given twice with different values is an error, since the first would be lost silently.
package func parseProperties(_ text: String) throws(PropertiesError) -> [Property] {
  var parser = PropertiesParser(text)
  return try parser.parse()
}

private struct PropertiesParser {
  private let bytes: [UInt8]
  private var position = 0
  private var line = 1

  init(_ text: String) { self.bytes = Array(text.utf8) }

  mutating func parse() throws(PropertiesError) -> [Property] {
    var properties: [Property] = []
    var places: [String: Int] = [:]
    while self.skipToKey() {
      let start = self.line
      let key = try self.token(isKey: true)
      self.skipSeparator()
      let value = try self.token(isKey: false)
      if key.isEmpty { throw PropertiesError(line: start, reason: "a value without a key") }
      if let place = places[key] {
        if properties[place].value != value {
          throw PropertiesError(line: start, reason: "\(key) was already set to another value on line \(properties[place].line)")
        }
      } else {
        places[key] = properties.count
        properties.append(Property(key: key, value: value, line: start))
      }
    }
    return properties
  }

  /// Passes blank lines and comments; false at the end of the text.
  private mutating func skipToKey() -> Bool {
    while true {
      self.skipBlanks()
      guard let byte = self.peek() else { return false }
      if isLineEnd(byte) {
        self.passLineEnd()
      } else if byte == UInt8(ascii: "#") || byte == UInt8(ascii: "!") {
        while let next = self.peek(), !isLineEnd(next) { self.position += 1 }
      } else {
        return true
      }
    }
  }

  /// A key up to its separator, or a value up to the end of its (logical) line.
  private mutating func token(isKey: Bool) throws(PropertiesError) -> String {
    var out: [UInt8] = []
    while let byte = self.peek() {
      if isLineEnd(byte) { break }
      if isKey && (isBlank(byte) || byte == UInt8(ascii: "=") || byte == UInt8(ascii: ":")) { break }
      self.position += 1
      if byte == UInt8(ascii: "\\") { try self.escape(into: &out) } else { out.append(byte) }
    }
    if !isKey { self.passLineEnd() }
    // Java keeps a value's trailing blanks; no config of Kafka's has a use for them and they are invisible, so they go.
    return isKey ? String(decoding: out, as: UTF8.self) : trimmed(String(decoding: out, as: UTF8.self))
  }

  private mutating func escape(into out: inout [UInt8]) throws(PropertiesError) {
    guard let byte = self.peek() else { return }  // a lone backslash at the end of the text continues with nothing
    if isLineEnd(byte) {
      self.passLineEnd()
      self.skipBlanks()
      return
    }
    self.position += 1
    switch byte {
    case UInt8(ascii: "n"): out.append(0x0A)
    case UInt8(ascii: "r"): out.append(0x0D)
    case UInt8(ascii: "t"): out.append(0x09)
    case UInt8(ascii: "f"): out.append(0x0C)
    case UInt8(ascii: "u"):
      var unit = UInt32(try self.fourHexDigits())
      if (0xD800..<0xDC00).contains(unit) {
        // Characters beyond the basic plane are written as two escapes, a UTF-16 surrogate pair.
        guard self.peek() == UInt8(ascii: "\\"), self.peek(1) == UInt8(ascii: "u") else { throw self.badUnicode() }
        self.position += 2
        let low = UInt32(try self.fourHexDigits())
        guard (0xDC00..<0xE000).contains(low) else { throw self.badUnicode() }
        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(unit) else { throw self.badUnicode() }
      out.append(contentsOf: Array(String(Character(scalar)).utf8))
    default: out.append(byte)
    }
  }

  private mutating func fourHexDigits() throws(PropertiesError) -> UInt16 {
    guard self.position + 4 <= self.bytes.count else { throw self.badUnicode() }
    let digits = String(decoding: self.bytes[self.position..<self.position + 4], as: UTF8.self)
    guard digits.utf8.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }), let value = UInt16(digits, radix: 16) else {
      throw self.badUnicode()
    }
    self.position += 4
    return value
  }

  private func badUnicode() -> PropertiesError {
    PropertiesError(line: self.line, reason: "\\u must be followed by four hexadecimal digits of a character")
  }

  private mutating func skipSeparator() {
    self.skipBlanks()
    if let byte = self.peek(), byte == UInt8(ascii: "=") || byte == UInt8(ascii: ":") {
      self.position += 1
      self.skipBlanks()
    }
  }

  private mutating func skipBlanks() { while let byte = self.peek(), isBlank(byte) { self.position += 1 } }

  /// Passes one line end: `\n`, `\r` or `\r\n`.
  private mutating func passLineEnd() {
    guard let byte = self.peek() else { return }
    self.position += 1
    if byte == 0x0D, self.peek() == 0x0A { self.position += 1 }
    self.line += 1
  }

  private func peek(_ ahead: Int = 0) -> UInt8? {
    self.position + ahead < self.bytes.count ? self.bytes[self.position + ahead] : nil
  }
}

private func isLineEnd(_ byte: UInt8) -> Bool { byte == 0x0A || byte == 0x0D }
private func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0C }
