import Testing

/// The scanner finds what it must find: each rule is shown a file that breaks it, and a near miss that does not.
@Suite struct ScannerTests {
  private func file(_ text: String, path: String = "Sources/Cores/LogCore/X.swift") -> SourceText { SourceText(path: path, text: text) }

  @Test func commentsAndStringsAreNoCode() {
    let file = self.file(
      #"""
      let a = "await \(b + "c") \" await" // await
      /* await /* await */ await */ let d = #"await "quoted" await"#
      let e = """
        await " await
        """
      """#)
    #expect(file.code.allSatisfy { !$0.contains("await") })
    #expect(file.code[0].contains("let a"))
    #expect(file.code[0].contains("b +"), "an interpolation is code")
    #expect(file.code[1].contains("let d"))
    #expect(file.code.count == file.lines.count)
  }

  @Test(arguments: [
    ("import Foundation", "Sources/Cores/LogCore/X.swift"),
    ("import Synchronization", "Sources/Cores/LogCore/X.swift"),
    ("package import Storage", "Sources/Cores/LogCore/X.swift"),
    ("import Foundation", "Sources/Engine/Broker/X.swift"),
    ("import NIOPosix", "Sources/Engine/Broker/X.swift"),
    ("@testable import Broker", "Sources/Lab/VirtualWorld/X.swift"),
    ("import struct Wire.WireReader", "Sources/Edges/PosixDisk/X.swift"),
    ("import Base", "Sources/Cores/Unlisted/X.swift"),
  ])
  func forbiddenImports(text: String, path: String) {
    #expect(Rules.imports(self.file(text, path: path)).count == 1)
  }

  @Test(arguments: [
    ("package import Base", "Sources/Cores/LogCore/X.swift"),
    ("import HashTreeCollections", "Sources/Cores/LogCore/X.swift"),
    ("import Foundation", "Sources/Tools/apus/X.swift"),
    ("// import Foundation", "Sources/Cores/LogCore/X.swift"),
    ("import Synchronization", "Sources/Engine/Broker/X.swift"),
    ("import Foundation", "Tests/Tidy/X.swift"),
  ])
  func allowedImports(text: String, path: String) {
    #expect(Rules.imports(self.file(text, path: path)).isEmpty)
  }

  @Test(arguments: [
    "Task { }", "func a() async {}", "await a()", "let lock = Mutex(0)", "ContinuousClock.now", "Date()", "UUID()",
    "var g = SystemRandomNumberGenerator()", "Int.random(in: 0..<3)", "list.shuffled()", "actor A {}", "x.hashValue",
  ])
  func impureCores(code: String) {
    #expect(Rules.pureCores(self.file(code)).count == 1)
    #expect(Rules.pureCores(self.file(code, path: "Sources/Edges/NIOServer/X.swift")).isEmpty)
  }

  @Test func pureWordsPass() {
    let code = ["let taskCount = 1", "var update: DateLike", "list.shuffled(using: &generator)", "KafkaUUID.random(using: &seed)"]
    for line in code { #expect(Rules.pureCores(self.file(line)).isEmpty, "\(line)") }
  }

  @Test(arguments: [
    "var byNode: [NodeID: Int] = [:]\nfor (node, x) in self.byNode {",
    "let set: Set<Int>\nfor x in set where x > 1 {",
    "let byNode = [NodeID: Int]()\nlet y = byNode.values.map { $0 }",
    "var d: [Int: [Int]]\nfor k in d.keys {",
  ])
  func hashedLoops(code: String) {
    let offences = Rules.hashedLoops(self.file(code))
    #expect(offences.map(\.line) == [2])
  }

  @Test(arguments: [
    "var byNode: [NodeID: Int] = [:]\nfor node in self.byNode.keys.sorted() {",
    "let list: [Int]\nfor x in list {",
    "let d: [Int: Int]\nlet x = d[3]", "let d: [Int: Int]\n// A sum is the same in any order.\nfor x in d.values {",
    "let pairs: [(a: Int, b: Int)]\nfor x in pairs {",
  ])
  func orderedLoops(code: String) { #expect(Rules.hashedLoops(self.file(code)).isEmpty) }

  @Test func uncheckedSendable() {
    let code = "final class A: @unchecked Sendable {}"
    #expect(Rules.uncheckedSendable(self.file(code)).count == 1)
    #expect(Rules.uncheckedSendable(self.file(code, path: "Sources/Engine/Broker/X.swift")).count == 1)
    #expect(Rules.uncheckedSendable(self.file(code, path: "Sources/Edges/NIOServer/X.swift")).isEmpty)
  }

  @Test func sizes() {
    #expect(Rules.sizes(self.file(String(repeating: "a", count: 141))).map(\.line) == [1])
    #expect(Rules.sizes(self.file(String(repeating: "a", count: 140))).isEmpty)
    #expect(Rules.sizes(self.file(String(repeating: "a\n", count: 601))).count == 1)
    #expect(Rules.sizes(self.file(String(repeating: "a\n", count: 600))).isEmpty)
  }

  @Test func notes() {
    #expect(Rules.notes(self.file("// " + "TO" + "DO: later")).count == 1)
    #expect(Rules.notes(self.file("let x = 1 // " + "FIX" + "ME")).count == 1)
    #expect(Rules.notes(self.file("let AUTO" + "DOX = 1")).isEmpty)
  }

  @Test func tabs() { #expect(Rules.tabs(self.file("\tlet a = 1")).map(\.line) == [1]) }

  @Test func machinePaths() {
    #expect(Rules.machinePaths(self.file("let a = \"/wo" + "rk/main\"")).count == 1)
    #expect(Rules.machinePaths(self.file("let a = \"/ho" + "me/me/x\"")).count == 1)
    #expect(Rules.machinePaths(self.file("let a = \"build/wo" + "rk/x\"")).isEmpty)
    #expect(Rules.machinePaths(self.file("let a = \"/workers/x\"")).isEmpty)
  }

  @Test func docComments() {
    #expect(Rules.docComments(self.file("\npackage struct A {}")).map(\.line) == [2])
    #expect(Rules.docComments(self.file("public final class A {}")).count == 1)
    #expect(Rules.docComments(self.file("/// An A.\n@frozen\npackage struct A {}")).isEmpty)
    #expect(Rules.docComments(self.file("struct A {}\nextension B {\n  package struct C {}\n}")).isEmpty)
  }

  @Test func packageLayout() {
    let layout = PackageLayout(
      manifest: """
        let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
        .target(name: "LogCore", dependencies: ["Base", nioCore,
          "Storage"], path: "Sources/Cores/LogCore", swiftSettings: core),
        .target(name: "Model", dependencies: ["Base"], path: "Sources/Cores/Other"),
        .target(name: "Nowhere", path: "Sources/Cores/Nowhere"),
        .systemLibrary(name: "CISAL", path: "Sources/Ground/System/CISAL", pkgConfig: "libisal"),
        """)
    #expect(layout.targets.map(\.name) == ["LogCore", "Model", "Nowhere", "CISAL"])
    #expect(layout.targets.map(\.line) == [2, 4, 5, 6])
    let messages = layout.offences(folders: ["Sources/Cores/LogCore", "Sources/Cores/Stray"]).map(\.description)
    #expect(
      messages == [
        "Package.swift:2: LogCore may not depend on NIOCore",
        "Package.swift:2: LogCore may not depend on Storage",
        "Package.swift:4: Model is not at Sources/<layer>/Model",
        "Package.swift:5: Sources/Cores/Nowhere does not exist",
        "Package.swift:5: Nowhere is missing in the import table",
        "Sources/Cores/Stray: a folder that is no target of Package.swift",
      ])
  }

  @Test func packageCopies() {
    let layout = PackageLayout(
      manifest: """
        .target(name: "LogCore", dependencies: ["Base", "Model"], path: "Sources/Cores/LogCore", swiftSettings: core),
        .target(name: "Model", dependencies: ["Base"], path: "Sources/Ground/Model"),
        .target(name: "Base", path: "Sources/Ground/Base"),
        """)
    let copy = PackageLayout(
      manifest: """
        .target(name: "Model", dependencies: ["Base"], path: "Sources/Ground/Model", swiftSettings: common),
        .target(name: "LogCore", dependencies: ["Base", "Wire"], path: "Sources/Cores/LogCore"),
        .target(name: "Base", path: "Sources/Formats/Base"),
        .target(name: "Gone", path: "Sources/Ground/Gone"),
        .executableTarget(name: "Micro", dependencies: ["Base"], path: "Micro"),
        """)
    #expect(
      layout.offences(inCopy: copy, at: "Copy.swift").map(\.description) == [
        "Copy.swift:2: LogCore depends on other targets than the original: Model, Wire",
        "Copy.swift:3: Base is at Sources/Ground/Base, not at Sources/Formats/Base",
        "Copy.swift:4: Gone is no target of Package.swift",
      ])
  }
}
