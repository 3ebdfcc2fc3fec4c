package import Logging
package import Model

/// One line of the log: `2026-01-31T23:59:59.123Z INFO  message key=value key="a value"`.
///
/// Values are quoted when they would not read as one word; control characters never get out as they are, so that one event is one
/// line whatever a client sent.
package struct LogLine {
  package private(set) var bytes: [UInt8] = []

  package init(time: Timestamp, level: Logger.Level, message: String, fields: [(key: String, value: String)]) {
    self.bytes.reserveCapacity(64 + message.utf8.count + fields.reduce(0) { $0 + $1.key.utf8.count + $1.value.utf8.count + 4 })
    self.append(time)
    self.append(" ")
    self.append(Self.name(level))
    self.append(" ")
    self.appendEscaped(message)
    for (key, value) in fields {
      self.append(" ")
      self.appendEscaped(key)
      self.append("=")
      if Self.isWord(value) { self.append(value) } else { self.appendQuoted(value) }
    }
    self.append("\n")
  }

  package var text: String { String(decoding: self.bytes, as: UTF8.self) }

  /// Of equal length, so that messages begin in one column.
  private static func name(_ level: Logger.Level) -> String {
    switch level {
    case .trace: "TRACE"
    case .debug: "DEBUG"
    case .info: "INFO "
    case .notice: "NOTE "
    case .warning: "WARN "
    case .error: "ERROR"
    case .critical: "FATAL"
    }
  }

  private static func isWord(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=") && $0 != 0x7F }
  }

  private mutating func append(_ text: String) { self.bytes.append(contentsOf: text.utf8) }

  private mutating func appendQuoted(_ text: String) {
    self.append("\"")
    self.appendEscaped(text, quote: true)
    self.append("\"")
  }

  private mutating func appendEscaped(_ text: String, quote: Bool = false) {
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        if quote { self.append("\\") }
        self.bytes.append(byte)
      case UInt8(ascii: "\n"): self.append("\\n")
      case UInt8(ascii: "\r"): self.append("\\r")
      case UInt8(ascii: "\t"): self.append("\\t")
      case 0..<0x20, 0x7F:
        let digits = Array("0123456789abcdef".utf8)
        self.bytes += [UInt8(ascii: "\\"), UInt8(ascii: "x"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      default: self.bytes.append(byte)
      }
    }
  }

  // MARK: Time

  private mutating func append(_ time: Timestamp) {
    let milliseconds = time.rawValue
    let day = Int64((Double(milliseconds) / 86_400_000).rounded(.down))
    let ofDay = milliseconds - day * 86_400_000
    let date = Self.date(daysSince1970: day)
    self.append(date.year, 4)
    self.append("-")
    self.append(date.month, 2)
    self.append("-")
    self.append(date.day, 2)
    self.append("T")
    self.append(ofDay / 3_600_000, 2)
    self.append(":")
    self.append(ofDay / 60_000 % 60, 2)
    self.append(":")
    self.append(ofDay / 1_000 % 60, 2)
    self.append(".")
    self.append(ofDay % 1_000, 3)
    self.append("Z")
  }

  private mutating func append(_ number: Int64, _ width: Int) {
    let digits = String(number)
    for _ in digits.utf8.count..<max(width, digits.utf8.count) { self.append("0") }
    self.append(digits)
  }

  /// The date of the proleptic Gregorian calendar, by counting in eras of 400 years that begin in March.
  private static func date(daysSince1970: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let days = daysSince1970 + 719_468
    let era = (days >= 0 ? days : days - 146_096) / 146_097
    let ofEra = days - era * 146_097
    let yearOfEra = (ofEra - ofEra / 1_460 + ofEra / 36_524 - ofEra / 146_096) / 365
    let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let marchMonth = (5 * ofYear + 2) / 153
    let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, ofYear - (153 * marchMonth + 2) / 5 + 1)
  }
}
