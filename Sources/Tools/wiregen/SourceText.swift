/// Swift source under construction, indented by two spaces a block.
struct SourceText {
  private(set) var text = ""
  private var depth = 0

  mutating func line(_ line: String = "") {
    if !line.isEmpty { self.text += String(repeating: "  ", count: self.depth) + line }
    self.text += "\n"
  }

  /// Writes `head {` and indents what follows.
  mutating func open(_ head: String) {
    self.line(head + " {")
    self.depth += 1
  }

  /// The longest line that a person should have to read.
  private static let columnMax = 140

  /// Writes a statement, after its `=` on a second line if it would be too long.
  mutating func statement(_ statement: String) {
    if self.depth * 2 + statement.count > Self.columnMax, let assignment = statement.firstRange(of: " = ") {
      self.line(statement[..<assignment.lowerBound] + " =")
      self.line("  " + statement[assignment.upperBound...])
    } else {
      self.line(statement)
    }
  }

  /// Writes `statement` so that it runs only where `condition` holds; nil: always.
  mutating func statement(_ statement: String, if condition: String?) {
    guard let condition else { return self.statement(statement) }
    let short = "if \(condition) { \(statement) }"
    if self.depth * 2 + short.count <= Self.columnMax { return self.line(short) }
    self.open("if \(condition)")
    self.statement(statement)
    self.close()
  }

  mutating func close() {
    self.depth -= 1
    self.line("}")
  }
}
