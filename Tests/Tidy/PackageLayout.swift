/// The targets of `Package.swift`, read as text, held against the folders of `Sources` and against the import table.
struct PackageLayout {
  struct Target: Hashable {
    let name: String
    let path: String
    let dependencies: [String]
    let line: Int
  }

  let targets: [Target]

  /// Understands the way our manifest is written: one call per target, `name:` first, dependencies as strings or as the
  /// constants declared at its top.
  init(manifest: String) {
    let constants = Dictionary(
      manifest.matches(of: #/let (\w+): Target\.Dependency = \.product\(name: "(\w+)"/#).map { (String($0.output.1), String($0.output.2)) },
      uniquingKeysWith: { first, _ in first })
    let call = #/\.(?:target|executableTarget|testTarget|systemLibrary|plugin)\(\s*name:\s*"(\w+)"(?<rest>.*?)\bpath:\s*"(?<path>[^"]+)"/#
      .dotMatchesNewlines()
    self.targets = manifest.matches(of: call).map { match in
      let rest = match.output.rest
      let list = rest.firstMatch(of: #/dependencies:\s*\[([^\]]*)\]/#)?.output.1 ?? ""
      let dependencies = list.split(separator: ",").compactMap { item -> String? in
        let name = item.filter { !$0.isWhitespace }
        if name.hasPrefix("\"") { return String(name.dropFirst().dropLast()) }
        return name.isEmpty ? nil : constants[String(name)] ?? String(name)
      }
      let line = manifest[..<match.range.lowerBound].count { $0 == "\n" } + 1
      return Target(name: String(match.output.1), path: String(match.output.path), dependencies: dependencies, line: line)
    }
  }

  /// `folders` are those at the depth of targets: `Sources/<layer>/<name>`, without the `System` folders of C module maps.
  func offences(folders: Set<String>) -> [Offence] {
    var offences: [Offence] = []
    let manifest = "Package.swift"
    for target in self.targets where target.path.hasPrefix("Sources/") {
      let parts = target.path.split(separator: "/").map(String.init)
      if parts.count == 4, parts[2] == "System" { continue }
      if parts.count != 3 || !ImportTable.layers.contains(parts[1]) || parts[2] != target.name {
        offences.append(Offence(path: manifest, line: target.line, message: "\(target.name) is not at Sources/<layer>/\(target.name)"))
      } else if !folders.contains(target.path) {
        offences.append(Offence(path: manifest, line: target.line, message: "\(target.path) does not exist"))
      }
      guard let allowed = ImportTable.allowed[target.name] else {
        offences.append(Offence(path: manifest, line: target.line, message: "\(target.name) is missing in the import table"))
        continue
      }
      for dependency in target.dependencies where !allowed.contains(dependency) {
        offences.append(Offence(path: manifest, line: target.line, message: "\(target.name) may not depend on \(dependency)"))
      }
    }
    let paths = Set(self.targets.map(\.path))
    for folder in folders.sorted() where !paths.contains(folder) {
      offences.append(Offence(path: folder, line: 0, message: "a folder that is no target of Package.swift"))
    }
    return offences
  }

  /// The packages of the microbenchmarks and the fuzz targets build some of these targets a second time, through a link to `Sources`:
  /// each must be as the main manifest has it.
  func offences(inCopy copy: PackageLayout, at path: String) -> [Offence] {
    copy.targets.filter { $0.path.hasPrefix("Sources/") }.compactMap { target in
      guard let original = self.targets.first(where: { $0.name == target.name }) else {
        return Offence(path: path, line: target.line, message: "\(target.name) is no target of Package.swift")
      }
      if target.path != original.path {
        return Offence(path: path, line: target.line, message: "\(target.name) is at \(original.path), not at \(target.path)")
      }
      let (extra, missing) = (
        Set(target.dependencies).subtracting(original.dependencies), Set(original.dependencies).subtracting(target.dependencies)
      )
      if extra.isEmpty, missing.isEmpty { return nil }
      let message = "\(target.name) depends on other targets than the original: \(extra.union(missing).sorted().joined(separator: ", "))"
      return Offence(path: path, line: target.line, message: message)
    }
  }
}
