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

  mutating func close() {
    self.depth -= 1
    self.line("}")
  }
}
