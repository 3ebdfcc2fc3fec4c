import ArgumentParser
import KafkaClient

/// A moment as people write it: `2026-11-23T17:46:00Z` (with a fraction, an offset such as +01:00, or only the date; without a zone UTC),
/// milliseconds since 1970 as Kafka counts, or a duration before now such as `-10m`.
struct TimeArgument: ExpressibleByArgument, Hashable {
  /// Since 1970-01-01T00:00:00Z.
  var milliseconds: Int64

  init?(argument: String) { self.init(argument, now: WallClock.milliseconds()) }

  init?(_ text: String, now: Int64) {
    if let milliseconds = Int64(text), milliseconds >= 0 {
      self.milliseconds = milliseconds
    } else if text.first == "-", let back = DurationArgument(argument: String(text.dropFirst())) {
      self.milliseconds = now - back.duration.components.seconds * 1000 - back.duration.components.attoseconds / 1_000_000_000_000_000
    } else if let milliseconds = Self.parse(text) {
      self.milliseconds = milliseconds
    } else {
      return nil
    }
  }

  /// RFC 3339, and its date alone.
  private static func parse(_ text: String) -> Int64? {
    guard let match = text.wholeMatch(
      of: #/(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?(Z|z|[+-]\d{2}:?\d{2})?/#)
    else { return nil }
    let (_, year, month, day, hour, minute, second, fraction, zone) = match.output
    guard let year = Int(year), let month = Int(month), let day = Int(day), (1...12).contains(month),
      (1...Self.dayCount(ofMonth: month, year: year)).contains(day)
    else { return nil }
    let (hours, minutes, seconds) = (hour.flatMap { Int($0) } ?? 0, minute.flatMap { Int($0) } ?? 0, second.flatMap { Int($0) } ?? 0)
    guard hours < 24, minutes < 60, seconds < 61 else { return nil }
    var milliseconds = 0
    if let fraction { milliseconds = Int(fraction.prefix(3) + String(repeating: "0", count: max(0, 3 - fraction.count))) ?? 0 }
    var offset = 0
    if let zone, zone.count > 1 {
      let digits = zone.filter(\.isNumber)
      guard let zoneHours = Int(digits.prefix(2)), let zoneMinutes = Int(digits.suffix(2)) else { return nil }
      offset = (zoneHours * 60 + zoneMinutes) * (zone.first == "-" ? -1 : 1)
    }
    let days = Self.days(year: year, month: month, day: day)
    return Int64(((days * 24 + hours) * 60 + minutes - offset) * 60 + seconds) * 1000 + Int64(milliseconds)
  }

  private static func dayCount(ofMonth month: Int, year: Int) -> Int {
    let isLeap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
    return month == 2 ? (isLeap ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
  }

  /// Days from 1970-01-01 in the Gregorian calendar, counted in eras of 400 years that begin in March.
  private static func days(year: Int, month: Int, day: Int) -> Int {
    let shifted = month <= 2 ? year - 1 : year
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  /// `2026-11-23T17:46:00.123Z`.
  static func text(milliseconds: Int64) -> String {
    let days = Int(milliseconds.quotientAndFloor(dividingBy: 86_400_000))
    let rest = Int(milliseconds - Int64(days) * 86_400_000)
    let z = days + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
    let milli = rest % 1000
    return "\(year)-\(two(month))-\(two(dayOfYear - (153 * shifted + 2) / 5 + 1))T\(two(rest / 3_600_000)):\(two(rest / 60000 % 60)):"
      + "\(two(rest / 1000 % 60)).\(milli < 100 ? "0" : "")\(two(milli))Z"
  }
}

extension Int64 {
  /// Division that rounds down, also below zero.
  fileprivate func quotientAndFloor(dividingBy divisor: Int64) -> Int64 {
    let (quotient, remainder) = self.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? quotient - 1 : quotient
  }
}
