import Foundation

/// The working tree this test was built from.
struct Repository {
  /// Three folders above this file.
  let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// Every Swift file under `folders`, without what builds leave behind.
  func swiftFiles(in folders: [String]) throws -> [SourceText] {
    try folders.flatMap { folder in try self.paths(under: folder) }
      .filter { $0.hasSuffix(".swift") }
      .map { SourceText(path: $0, text: try String(contentsOf: self.root.appending(path: $0), encoding: .utf8)) }
  }

  private func paths(under folder: String) throws -> [String] {
    let base = self.root.appending(path: folder)
    guard FileManager.default.fileExists(atPath: base.path) else { return [] }
    return try FileManager.default.subpathsOfDirectory(atPath: base.path)
      .filter { !$0.split(separator: "/").contains { $0.hasPrefix(".") } }
      .map { "\(folder)/\($0)" }
      .sorted()
  }

  func text(of path: String) throws -> String { try String(contentsOf: self.root.appending(path: path), encoding: .utf8) }

  /// `Sources/<layer>/<name>` for every folder that holds a file, without the `System` folders of C module maps.
  func targetFolders() throws -> Set<String> {
    Set(
      try self.paths(under: "Sources").compactMap { path in
        let parts = path.split(separator: "/")
        return parts.count > 3 && parts[2] != "System" ? parts.prefix(3).joined(separator: "/") : nil
      })
  }
}
