/// A Swift file split into lines twice: as written, and with comments and string literals blanked out, so that a rule about code
/// does not trip over prose.
struct SourceText {
  /// Relative to the root of the repository, separated by `/`.
  let path: String
  let lines: [String]
  /// Same number of lines; every character of a comment or literal is a space.
  let code: [String]

  init(path: String, text: String) {
    self.path = path
    self.lines = Self.split(Array(text.utf8))
    self.code = Self.split(Blanking(text).result)
  }

  private static func split(_ bytes: [UInt8]) -> [String] {
    var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    if lines.last == "" { lines.removeLast() }
    return lines
  }

  /// The path's folders and file name.
  var components: [Substring] { self.path.split(separator: "/") }
  /// `Cores` for `Sources/Cores/LogCore/Roll.swift`; nil outside `Sources`.
  var layer: Substring? { self.components.first == "Sources" && self.components.count > 2 ? self.components[1] : nil }
  /// `LogCore` for `Sources/Cores/LogCore/Roll.swift`.
  var target: Substring? { self.components.first == "Sources" && self.components.count > 3 ? self.components[2] : nil }
}

/// Walks Swift's lexical grammar as far as needed to know what is a comment, what a string and what code.
private struct Blanking {
  private let input: [UInt8]
  private var position = 0
  private(set) var result: [UInt8] = []

  init(_ text: String) {
    self.input = Array(text.utf8)
    self.result.reserveCapacity(self.input.count)
    self.code(untilClosingParenthesis: false)
  }

  private func peek(_ ahead: Int = 0) -> UInt8 {
    self.position + ahead < self.input.count ? self.input[self.position + ahead] : 0
  }

  private func starts(with text: StaticString) -> Bool {
    (0..<text.utf8CodeUnitCount).allSatisfy { self.peek($0) == text.utf8Start[$0] }
  }

  private mutating func keep() {
    self.result.append(self.input[self.position])
    self.position += 1
  }

  private mutating func blank(_ count: Int = 1) {
    for _ in 0..<count where self.position < self.input.count {
      let byte = self.input[self.position]
      self.result.append(byte == UInt8(ascii: "\n") ? byte : UInt8(ascii: " "))
      self.position += 1
    }
  }

  /// The code inside an interpolation counts as code: it runs.
  private mutating func code(untilClosingParenthesis: Bool) {
    var depth = 0
    while self.position < self.input.count {
      switch self.peek() {
      case UInt8(ascii: "/") where self.starts(with: "//"):
        while self.position < self.input.count, self.peek() != UInt8(ascii: "\n") { self.blank() }
      case UInt8(ascii: "/") where self.starts(with: "/*"): self.blockComment()
      case UInt8(ascii: "\""): self.string(pounds: 0)
      case UInt8(ascii: "#"):
        var pounds = 0
        while self.peek(pounds) == UInt8(ascii: "#") { pounds += 1 }
        if self.peek(pounds) == UInt8(ascii: "\"") { self.string(pounds: pounds) } else { self.keep() }
      case UInt8(ascii: "("):
        depth += 1
        self.keep()
      case UInt8(ascii: ")"):
        if depth == 0, untilClosingParenthesis { return }
        depth -= 1
        self.keep()
      default: self.keep()
      }
    }
  }

  private mutating func blockComment() {
    var depth = 0
    repeat {
      if self.starts(with: "/*") {
        depth += 1
        self.blank(2)
      } else if self.starts(with: "*/") {
        depth -= 1
        self.blank(2)
      } else {
        self.blank()
      }
    } while depth > 0 && self.position < self.input.count
  }

  private mutating func string(pounds: Int) {
    self.blank(pounds)
    let multiline = self.starts(with: "\"\"\"")
    let quotes = multiline ? 3 : 1
    self.blank(quotes)
    while self.position < self.input.count {
      if self.peek() == UInt8(ascii: "\\"), (0..<pounds).allSatisfy({ self.peek(1 + $0) == UInt8(ascii: "#") }) {
        self.blank(1 + pounds)
        if self.peek() == UInt8(ascii: "(") {
          self.blank()
          self.code(untilClosingParenthesis: true)
        }
        self.blank()
      } else if (0..<quotes).allSatisfy({ self.peek($0) == UInt8(ascii: "\"") }),
        (0..<pounds).allSatisfy({ self.peek(quotes + $0) == UInt8(ascii: "#") })
      {
        self.blank(quotes + pounds)
        return
      } else if !multiline, self.peek() == UInt8(ascii: "\n") {
        return
      } else {
        self.blank()
      }
    }
  }
}
