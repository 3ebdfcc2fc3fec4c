/// A broken rule and where it is broken.
struct Offence: Hashable, CustomStringConvertible {
  let path: String
  /// From 1; 0 for the file or folder as a whole.
  let line: Int
  let message: String

  var description: String { self.line == 0 ? "\(self.path): \(self.message)" : "\(self.path):\(self.line): \(self.message)" }
}

/// A rule looks at one file.
struct Rule: Sendable {
  let name: String
  let check: @Sendable (SourceText) -> [Offence]
}

extension SourceText {
  func offence(_ index: Int, _ message: String) -> Offence { Offence(path: self.path, line: index + 1, message: message) }

  /// An offence for every line of `lines` that `pattern` matches.
  func offences(in lines: [String], matching pattern: some RegexComponent, _ message: (Substring) -> String) -> [Offence] {
    lines.enumerated().compactMap { index, line in
      line.firstMatch(of: pattern).map { self.offence(index, message(line[$0.range])) }
    }
  }
}
