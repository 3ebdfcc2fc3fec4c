import Foundation
import Testing
import Wire

@testable import wiregen

/// One message type together with the schema that it was generated from.
struct MessageFixture: Sendable, CustomTestStringConvertible {
  let type: any VersionedMessage.Type
  let message: Message
  let firstFlexible: Int?

  var name: String { self.message.root.name }
  var testDescription: String { self.name }
  var versions: ClosedRange<Int> { Int(self.type.supportedVersions.lowerBound)...Int(self.type.supportedVersions.upperBound) }
  func isFlexible(_ version: Int) -> Bool { self.firstFlexible.map { version >= $0 } ?? false }
}

/// The schema files of the Wire target, parsed by the generator's own parser, and the types that the generator made of them.
enum SchemaFixtures {
  static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()
  static let goldenFolder = Self.repository.appending(path: "Tests/Golden/wire")

  static let schemas: [Schema] = {
    let folder = Self.repository.appending(path: "Sources/Formats/Wire/Schemas")
    let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil)?.compactMap { $0 as? URL } ?? []
    return files.filter { $0.pathExtension == "wire" }.sorted { $0.path < $1.path }.map { file in
      do {
        return try SchemaParser.parse(String(contentsOf: file, encoding: .utf8), file: file.lastPathComponent)
      } catch {
        fatalError("\(error)")
      }
    }
  }()

  static let types: [String: any VersionedMessage.Type] = {
    var types: [String: any VersionedMessage.Type] = [:]
    for type in WireCatalog.requests { types["\(type)"] = type }
    for type in WireCatalog.responses { types["\(type)"] = type }
    for type in WireCatalog.metadataRecords { types["\(type)"] = type }
    for type in WireCatalog.records { types["\(type)"] = type }
    return types
  }()

  static let all: [MessageFixture] = Self.schemas.flatMap { schema in
    schema.messages.map { message in
      guard let type = Self.types[message.root.name] else { fatalError("\(message.root.name) has no type") }
      return MessageFixture(type: type, message: message, firstFlexible: schema.firstFlexible)
    }
  }

  static func fixture(_ name: String) throws -> MessageFixture { try #require(Self.all.first { $0.name == name }) }
}
