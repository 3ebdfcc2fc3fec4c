import Testing

/// Reads the sources as text and reports every broken rule as `file:line: what`.
@Suite struct TidyTests {
  let repository = Repository()

  @Test(arguments: Rules.all.map(\.name))
  func everyFile(keeps name: String) throws {
    let rule = try #require(Rules.all.first { $0.name == name })
    let files = try self.repository.swiftFiles(in: ["Sources", "Tests", "Benchmarks"])
    #expect(files.count > 30, "the sources were not found")
    for offence in files.flatMap(rule.check) { Issue.record("\(offence)") }
  }

  @Test func packageFollowsTheTable() throws {
    let layout = PackageLayout(manifest: try self.repository.text(of: "Package.swift"))
    #expect(layout.targets.count > 20, "the manifest was not understood")
    for offence in layout.offences(folders: try self.repository.targetFolders()) { Issue.record("\(offence)") }
  }

  @Test(arguments: ["Benchmarks/Package.swift", "Tests/Fuzz/Package.swift"])
  func copiesFollowThePackage(path: String) throws {
    let layout = PackageLayout(manifest: try self.repository.text(of: "Package.swift"))
    let copy = PackageLayout(manifest: try self.repository.text(of: path))
    #expect(copy.targets.count > 10, "the manifest was not understood")
    for offence in layout.offences(inCopy: copy, at: path) { Issue.record("\(offence)") }
  }

  @Test func layersAreTheSeven() throws {
    let layers = Set(try self.repository.targetFolders().map { String($0.split(separator: "/")[1]) })
    #expect(layers == Set(ImportTable.layers))
  }

  /// The table itself only points from high to low, so that no edit of it can make a circle between layers.
  @Test func tablePointsOneWay() throws {
    var layerOf: [String: Int] = [:]
    for folder in try self.repository.targetFolders() {
      let parts = folder.split(separator: "/").map(String.init)
      layerOf[parts[2]] = ImportTable.layers.firstIndex(of: parts[1])
    }
    for (target, modules) in ImportTable.allowed {
      guard let layer = layerOf[target] else { continue }
      for module in modules {
        guard let other = layerOf[module] else { continue }
        #expect(other <= layer, "\(target) lies above \(module)")
      }
    }
    let edges = ImportTable.allowed["VirtualWorld"]?.filter { layerOf[$0] == ImportTable.layers.firstIndex(of: "Edges") }
    #expect(edges == [], "the laboratory never sees the edges")
  }
}
