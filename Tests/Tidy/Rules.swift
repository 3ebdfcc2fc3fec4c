/// The rules that need one file at a time.
enum Rules {
  static let all: [Rule] = [
    Rule(name: "imports follow the table", check: Self.imports),
    Rule(name: "cores are pure", check: Self.pureCores),
    Rule(name: "no order of a hashed collection leaks from a core", check: Self.hashedLoops),
    Rule(name: "unchecked Sendable only at the edges", check: Self.uncheckedSendable),
    Rule(name: "files and lines keep their size", check: Self.sizes),
    Rule(name: "no work is left as a note", check: Self.notes),
    Rule(name: "no tabs", check: Self.tabs),
    Rule(name: "no path of one machine", check: Self.machinePaths),
    Rule(name: "types say what they are", check: Self.docComments),
  ]

  static let fileLineMax = 600
  static let lineColumnMax = 140

  static func imports(_ file: SourceText) -> [Offence] {
    guard let layer = file.layer.map(String.init), let target = file.target.map(String.init) else { return [] }
    let pattern = #/
      ^\s* (?: @\w+ (?: \([^)]*\) )? \s+ )*  (?: (?: package|public|internal|private|fileprivate ) \s+ )?
      import \s+ (?: (?: struct|class|enum|protocol|func|var|let|typealias ) \s+ )? (\w+)
      /#
    return file.code.enumerated().compactMap { index, line in
      guard let module = line.firstMatch(of: pattern).map({ String($0.output.1) }) else { return nil }
      let product = ImportTable.products[module] ?? module
      if ImportTable.allowed[target]?.contains(product) == true || module == "Swift" { return nil }
      if let layers = ImportTable.toolchain[module] {
        return layers.contains(layer) ? nil : file.offence(index, "\(module) is not for \(layer)")
      }
      return file.offence(index, "\(target) may not import \(module): see Tests/Tidy/ImportTable.swift")
    }
  }

  static func pureCores(_ file: SourceText) -> [Offence] {
    guard file.layer == "Cores" else { return [] }
    let banned = #/
      \b (?: Task | async | await | actor | Mutex | NIOLock | Atomic | Thread | DispatchQueue | ContinuousClock | SuspendingClock
      | Date | SystemRandomNumberGenerator | UUID | ObjectIdentifier | print ) \b
      | \.random\( (?! .* using: ) | \.shuffled\(\) | \.shuffle\(\) | \.randomElement\(\) | \.hashValue\b
      /#.wordBoundaryKind(.simple)
    return file.offences(in: file.code, matching: banned) { "a core has no \($0): it takes input and gives effects" }
  }

  /// Finds what a file itself declares as a dictionary or a set, and loops over it. `sorted` on the same line makes it right, and so
  /// does a comment on it or above it that says why the result is the same in any order.
  static func hashedLoops(_ file: SourceText) -> [Offence] {
    guard file.layer == "Cores" else { return [] }
    let declaration = #/
      \b (?: var|let ) \s+ (\w+) \s*
      (?: : \s* (?: \[ [^\[\]:()]+ : | Set< | Dictionary< )
      | = \s* (?: \[ [^\[\]:()]+ : .* \]\( | Set[<\(] | Dictionary[<\(] ) )
      /#.wordBoundaryKind(.simple)
    let names = Set(file.code.flatMap { line in line.matches(of: declaration).map { String($0.output.1) } })
    return file.code.enumerated().compactMap { index, line in
      if line.contains("sorted") || file.lines[max(0, index - 1)...index].contains(where: { $0.contains("any order") }) { return nil }
      let loop = #/\bin\s+(?:[\w.]+?\.)??(\w+)(?:\.(?:keys|values))?\s*(?:\{|where\b)/#.wordBoundaryKind(.simple)
      let method = #/
        \b (\w+) (?: \.(?: keys|values ) )?
        \.(?: forEach|map|compactMap|flatMap|filter|reduce|first|randomElement|popFirst|enumerated ) \b
        /#.wordBoundaryKind(.simple)
      for name in line.matches(of: loop).map(\.output.1) + line.matches(of: method).map(\.output.1) where names.contains(String(name)) {
        return file.offence(index, "the order of \(name) changes from process to process: sort it, or keep an ordered collection")
      }
      return nil
    }
  }

  static func uncheckedSendable(_ file: SourceText) -> [Offence] {
    guard let layer = file.layer, layer != "Edges" else { return [] }
    return file.offences(in: file.code, matching: #/@unchecked\s+Sendable|nonisolated\(unsafe\)/#) { "\($0) outside Edges" }
  }

  static func sizes(_ file: SourceText) -> [Offence] {
    var offences = file.lines.enumerated().compactMap { index, line in
      line.count > Self.lineColumnMax ? file.offence(index, "\(line.count) columns, more than \(Self.lineColumnMax)") : nil
    }
    if file.lines.count > Self.fileLineMax {
      let message = "\(file.lines.count) lines, more than \(Self.fileLineMax): split it by subject"
      offences.append(Offence(path: file.path, line: 0, message: message))
    }
    return offences
  }

  static func notes(_ file: SourceText) -> [Offence] {
    // Written in pieces, so that this line does not report itself.
    let words = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]
    return file.lines.enumerated().compactMap { index, line in
      words.first { word in line.ranges(of: word).contains { Self.standsAlone($0, in: line) } }
        .map { file.offence(index, "\($0): do it, or leave it out") }
    }
  }

  private static func standsAlone(_ range: Range<String.Index>, in line: String) -> Bool {
    let before = range.lowerBound == line.startIndex ? nil : line[line.index(before: range.lowerBound)]
    let after = range.upperBound == line.endIndex ? nil : line[range.upperBound]
    return before?.isLetter != true && after?.isLetter != true
  }

  static func tabs(_ file: SourceText) -> [Offence] {
    file.offences(in: file.lines, matching: #/\t/#) { _ in "a tab" }
  }

  static func machinePaths(_ file: SourceText) -> [Offence] {
    let roots = ["wo" + "rk", "ro" + "ot", "ho" + "me", "opt/sw" + "ift", "Us" + "ers"]
    return file.lines.enumerated().compactMap { index, line in
      roots.first { Self.startsPath("/\($0)/", line) }
        .map { file.offence(index, "/\($0) exists on one machine only") }
    }
  }

  /// A path is absolute if nothing that belongs to a path stands before it.
  private static func startsPath(_ path: String, _ line: String) -> Bool {
    line.ranges(of: path).contains { range in
      guard range.lowerBound > line.startIndex else { return true }
      let before = line[line.index(before: range.lowerBound)]
      return !(before.isLetter || before.isNumber || before == "_" || before == "-" || before == "." || before == "}" || before == ")")
    }
  }

  /// Types at the top level only: a nested type is explained where it stands. Tests and tools are read, not used.
  static func docComments(_ file: SourceText) -> [Offence] {
    guard let layer = file.layer, layer != "Tools" else { return [] }
    let pattern = #/
      ^ (?: @\w+ (?: \([^)]*\) )? \s+ )* (?: package|public|open ) \s+ (?: (?: final|indirect ) \s+ )*
      (?: struct|class|enum|protocol|actor ) \s+ (\w+)
      /#
    return file.code.enumerated().compactMap { index, line in
      guard let name = line.firstMatch(of: pattern)?.output.1 else { return nil }
      var above = index - 1
      while above >= 0, file.lines[above].hasPrefix("@") { above -= 1 }
      return above >= 0 && file.lines[above].hasPrefix("///") ? nil : file.offence(index, "\(name) has no doc comment")
    }
  }
}
