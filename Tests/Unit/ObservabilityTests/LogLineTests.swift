import Logging
import Model
import Testing

@testable import Observability

@Suite struct LogLineTests {
  private func line(_ milliseconds: Int64, _ message: String = "m", _ fields: [(key: String, value: String)] = []) -> String {
    LogLine(time: Timestamp(milliseconds), level: .info, message: message, fields: fields).text
  }

  @Test(arguments: [
    (0, "1970-01-01T00:00:00.000Z"), (951_782_400_123, "2000-02-29T00:00:00.123Z"), (951_868_800_000, "2000-03-01T00:00:00.000Z"),
    (1_709_251_199_999, "2024-02-29T23:59:59.999Z"), (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
    (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
  ] as [(Int64, String)])
  func times(milliseconds: Int64, text: String) { #expect(self.line(milliseconds) == "\(text) INFO  m\n") }

  /// Every day of a century follows the one before it.
  @Test func days() {
    var (year, month, day) = (1999, 12, 31)
    let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    for index in 0..<36_600 {
      let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
      day += 1
      if day > lengths[month - 1] + (month == 2 && isLeap ? 1 : 0) { (month, day) = (month + 1, 1) }
      if month > 12 { (year, month) = (year + 1, 1) }
      func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
      let expected = "\(year)-\(two(month))-\(two(day))T"
      guard self.line(946_684_800_000 + Int64(index) * 86_400_000).hasPrefix(expected) else {
        Issue.record("not \(expected)")
        return
      }
    }
  }

  @Test func valuesThatAreNoWordsAreQuoted() {
    let line = self.line(0, "made", [("a", "1"), ("b", "two words"), ("c", ""), ("d", "x=y"), ("e", "say \"no\\yes\"")])
    #expect(line.hasSuffix(#"INFO  made a=1 b="two words" c="" d="x=y" e="say \"no\\yes\"""# + "\n"))
  }

  @Test func oneEventIsOneLine() {
    let line = self.line(0, "from a client:\nERROR forged", [("key", "a\r\nb\u{1B}[31m\u{7F}"), ("other", "\t")])
    #expect(line.split(separator: "\n").count == 1)
    #expect(line.contains(#"\nERROR forged key=a\r\nb\x1b[31m\x7f other="#) || line.contains(#"key="a\r\nb\x1b[31m\x7f""#))
    #expect(line.utf8.dropLast().allSatisfy { $0 >= 0x20 && $0 != 0x7F })
  }

  @Test func utf8Passes() { #expect(self.line(0, "größer → ok").hasSuffix("größer → ok\n")) }
}
