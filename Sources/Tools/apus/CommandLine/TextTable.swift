/// A table for people: columns as wide as they need, numbers to the right.
struct TextTable {
  enum Alignment { case left, right }
  private let alignments: [Alignment]
  private var rows: [[String]]

  init(_ columns: [(title: String, alignment: Alignment)]) {
    self.alignments = columns.map(\.alignment)
    self.rows = [columns.map(\.title)]
  }

  mutating func add(_ row: [String]) { self.rows.append(row) }

  var lines: [String] {
    let widths = self.alignments.indices.map { column in self.rows.map { $0[column].count }.max() ?? 0 }
    return self.rows.map { row in
      var line = ""
      for (column, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        line += column == 0 ? "" : "  "
        line += self.alignments[column] == .left ? cell + padding : padding + cell
      }
      while line.last == " " { line.removeLast() }
      return line
    }
  }
}
