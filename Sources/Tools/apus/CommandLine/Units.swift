import ArgumentParser

/// A duration as people write it: `250ms`, `10s`, `5m`, `2h`, `7d`; a bare number is seconds.
struct DurationArgument: ExpressibleByArgument, Hashable, CustomStringConvertible {
  var duration: Duration
  init(_ duration: Duration) { self.duration = duration }

  init?(argument: String) {
    let units: [(String, Double)] = [("ms", 1e-3), ("us", 1e-6), ("min", 60), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]
    let (number, unit) = Self.split(argument)
    guard let number, number >= 0 else { return nil }
    let scale = unit.isEmpty ? 1 : units.first { $0.0 == unit }?.1
    guard let scale, number * scale < 1e9 else { return nil }
    self.duration = .nanoseconds(Int64((number * scale * 1e9).rounded()))
  }

  /// The number at the front and what follows it.
  static func split(_ text: String) -> (number: Double?, unit: String) {
    let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == "." || $0 == "-") }
    let unit = text[digits.endIndex...].drop { $0 == " " }
    return (Double(digits), unit.lowercased())
  }

  var description: String {
    let nanoseconds = self.duration.components.seconds * 1_000_000_000 + self.duration.components.attoseconds / 1_000_000_000
    let units: [(String, Int64)] = [
      ("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000),
    ]
    for (unit, scale) in units where nanoseconds >= scale && nanoseconds % scale == 0 {
      return "\(nanoseconds / scale)\(unit)"
    }
    return "\(Double(nanoseconds) / 1e9)s"
  }
  var defaultValueDescription: String { self.description }
}

/// A size as people write it: `100`, `64KiB`, `1MiB`, `20GB`. K, M and G alone are the powers of 1024; KB, MB and GB those of 1000.
struct ByteCountArgument: ExpressibleByArgument, Hashable, CustomStringConvertible {
  var byteCount: Int
  init(_ byteCount: Int) { self.byteCount = byteCount }

  init?(argument: String) {
    let units: [String: Double] = [
      "": 1, "b": 1, "k": 1024, "kib": 1024, "m": 1_048_576, "mib": 1_048_576, "g": 1_073_741_824, "gib": 1_073_741_824,
      "t": 1_099_511_627_776, "tib": 1_099_511_627_776, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
    ]
    let (number, unit) = DurationArgument.split(argument)
    guard let number, number >= 0, let scale = units[unit], number * scale < 1e18 else { return nil }
    self.byteCount = Int((number * scale).rounded())
  }

  var description: String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
    for (unit, scale) in units where self.byteCount >= scale && self.byteCount % scale == 0 {
      return "\(self.byteCount / scale)\(unit)"
    }
    return "\(self.byteCount)"
  }
  var defaultValueDescription: String { self.description }
}

/// A pair `name=value`. Only the first `=` counts, so values may contain more.
struct PairArgument: ExpressibleByArgument, Hashable {
  var name: String
  var value: String

  init?(argument: String) {
    guard let sign = argument.firstIndex(of: "="), sign > argument.startIndex else { return nil }
    self.name = String(argument[..<sign])
    self.value = String(argument[argument.index(after: sign)...])
  }
}

/// Numbers for people.
enum Readable {
  /// `1234567` as `1,234,567`.
  static func count(_ value: Int) -> String {
    let digits = Array("\(value.magnitude)".utf8)
    var text = value < 0 ? "-" : ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index) % 3 == 0 { text += "," }
      text.append(Character(UnicodeScalar(digit)))
    }
    return text
  }

  /// Bytes with a binary unit and three significant digits at least: `1.50 MiB`.
  static func bytes(_ value: Int64) -> String {
    var amount = Double(value)
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
      if abs(amount) < 1024 || unit == "TiB" { return unit == "B" ? "\(value) B" : "\(Self.fixed(amount, 2)) \(unit)" }
      amount /= 1024
    }
    return "\(value) B"
  }

  /// A number with so many decimals.
  static func fixed(_ value: Double, _ decimals: Int) -> String {
    guard value.isFinite, value.magnitude < 1e15 else { return "\(value)" }
    var scale = 1.0
    for _ in 0..<decimals { scale *= 10 }
    let scaled = Int((value.magnitude * scale).rounded())
    let whole = scaled / Int(scale)
    let sign = value < 0 && scaled > 0 ? "-" : ""
    if decimals == 0 { return "\(sign)\(whole)" }
    let fraction = "\(scaled % Int(scale))"
    return "\(sign)\(whole)." + String(repeating: "0", count: decimals - fraction.count) + fraction
  }
}
