import Foundation
import Model
import NIOCore
import Testing
import Wire

@testable import wiregen

/// Our codec against the bytes of another one: the fixtures in `Tests/Golden/wire`, made by kafka-python.
@Suite struct GoldenTests {
  struct Entry: Sendable {
    var direction: String
    var version: Int
    var kind: String
    var bytes: [UInt8]
    var json: JSONValue
  }

  static let apis = SchemaFixtures.schemas.filter { if case .api = $0.kind { true } else { false } }.map(\.name)

  static func hasFixtures(_ api: String) -> Bool {
    FileManager.default.fileExists(atPath: SchemaFixtures.goldenFolder.appending(path: "\(api).txt").path)
  }

  @Test("Bytes of kafka-python decode to its values and encode to its bytes", arguments: GoldenTests.apis.filter(GoldenTests.hasFixtures))
  func agreesWithKafkaPython(api: String) throws {
    for entry in try self.entries(of: api) {
      let fixture = try SchemaFixtures.fixture(api + (entry.direction == "request" ? "Request" : "Response"))
      let label: Comment = "\(api) \(entry.direction) v\(entry.version) \(entry.kind)"
      let expected = try self.value(entry.json, of: fixture.message.root, in: fixture.message, entry)
      let decoded = try fixture.type.decoded(entry.bytes, version: entry.version)
      let text = SchemaValue.text(expected, of: fixture.message.root, in: fixture.message, version: nil)
      #expect(CanonicalText.of(decoded) == text, label)
      #expect(decoded.bytes(version: entry.version) == entry.bytes, label)
    }
  }

  @Test("The fixtures cover every API and version, but those that their README lists")
  func coversEverything() throws {
    var uncovered: [String: String] = [:]
    for line in try String(contentsOf: SchemaFixtures.goldenFolder.appending(path: "README.md"), encoding: .utf8).split(separator: "\n") {
      let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      if cells.count == 2, cells[1].first?.isNumber == true { uncovered[cells[0]] = cells[1] }
    }
    for schema in SchemaFixtures.schemas where Self.apis.contains(schema.name) {
      let versions = schema.versions.first...schema.versions.last
      guard Self.hasFixtures(schema.name) else {
        let range = versions.count == 1 ? "\(versions.lowerBound)" : "\(versions.lowerBound)-\(versions.upperBound)"
        #expect(uncovered.removeValue(forKey: schema.name) == range, "\(schema.name) has neither fixtures nor its line in the README")
        continue
      }
      let found = try self.entries(of: schema.name).map { "\($0.direction) \($0.version) \($0.kind)" }
      let wanted = ["request", "response"].flatMap { direction in
        versions.flatMap { ["\(direction) \($0) full", "\(direction) \($0) sparse"] }
      }
      #expect(found == wanted, "\(schema.name)")
    }
    #expect(uncovered.isEmpty, "the README lists APIs that have fixtures or no schema")
  }

  @Test("Whole frames of kafka-python: length, header version, client id")
  func agreesOnFrames() throws {
    let blocks = try String(contentsOf: SchemaFixtures.goldenFolder.appending(path: "frames.txt"), encoding: .utf8).split(separator: "\n")
    #expect(blocks.count == 2 * 27)
    for index in stride(from: 0, to: blocks.count, by: 2) {
      let words = blocks[index].split(separator: " ").map(String.init)
      let bytes = try #require(Self.bytes(String(blocks[index + 1])))
      let (api, version, correlationId) = (words[1], try #require(Int16(words[2].dropFirst())), try #require(Int32(words[3])))
      var splitter = FrameSplitter(frameByteCountMax: 100)
      splitter.receive(ByteBuffer(bytes: bytes))
      guard case .frame(let frame) = splitter.next() else {
        Issue.record("no frame in block \(index)")
        continue
      }
      #expect(splitter.pendingByteCount == 0)
      var reader = WireReader(frame)
      let type = try #require(SchemaFixtures.types[api + (words[0] == "request" ? "Request" : "Response")] as? any WireMessage.Type)
      if words[0] == "request" {
        let header = try RequestHeader(from: &reader)
        let clientId = words[4] == "None" ? nil : words[4]
        #expect(header == RequestHeader(type.apiKey, version: version, correlationId: correlationId, clientId: clientId))
      } else {
        #expect(try ResponseHeader(from: &reader, apiKey: type.apiKey, version: version).correlationId == correlationId)
      }
      func reencoded<M: WireMessage>(_ type: M.Type) throws -> ByteBuffer {
        let message = try M(from: &reader, version: version)
        try reader.finish("frame")
        if let request = message as? any ApiRequest {
          let clientId = words[4] == "None" ? nil : words[4]
          return Frame.request(request, version: version, correlationId: correlationId, clientId: clientId).buffer
        }
        return Frame.response(message, version: version, correlationId: correlationId).buffer
      }
      #expect(Array(try reencoded(type).readableBytesView) == bytes, "\(blocks[index])")
    }
  }

  // MARK: Reading fixtures

  func entries(of api: String) throws -> [Entry] {
    let text = try String(contentsOf: SchemaFixtures.goldenFolder.appending(path: "\(api).txt"), encoding: .utf8)
    return try text.components(separatedBy: "\n\n").map { block in
      let lines = block.split(separator: "\n", omittingEmptySubsequences: false)
      let head = lines[0].split(separator: " ").map(String.init)
      return Entry(
        direction: head[0], version: try #require(Int(head[1].dropFirst())), kind: head[2],
        bytes: try #require(Self.bytes(String(lines[1]))), json: try JSONDecoder().decode(JSONValue.self, from: Data(lines[2].utf8)))
    }
  }

  /// Bytes in hex; `-` for none.
  static func bytes(_ hex: String) -> [UInt8]? {
    if hex == "-" { return [] }
    var bytes: [UInt8] = []
    var rest = Substring(hex)
    while !rest.isEmpty {
      guard rest.utf8.count >= 2, let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
      bytes.append(byte)
      rest = rest.dropFirst(2)
    }
    return bytes
  }

  /// The JSON of a fixture as a value with every field: those that it does not name must be absent from the version, or tagged.
  private func value(_ json: JSONValue, of structure: Structure, in message: Message, _ entry: Entry) throws -> SchemaValue {
    guard case .object(let object) = json else { throw FixtureError(text: "\(structure.name) is no object") }
    var fields: [String: SchemaValue] = [:]
    var named: Set<String> = []
    for field in structure.fields {
      let key = SwiftNames.lowerCamelCase(field.name)
      if let json = object[key] {
        #expect(field.versions.contains(entry.version), "\(structure.name).\(field.name) is not in v\(entry.version)")
        named.insert(key)
        fields[field.name] = try self.value(json, of: field.type, in: message, entry)
      } else {
        // Fields of Apus's own, which no other codec knows, have tags from 1000 on.
        let isOwn = field.tag.map { $0 >= 1000 } ?? false
        #expect(
          !field.versions.contains(entry.version) || isOwn || (field.tag != nil && entry.kind == "sparse"),
          "\(structure.name).\(field.name) is missing in the fixture of v\(entry.version)")
        fields[field.name] = .defaultValue(of: field, in: message)
      }
    }
    #expect(named == Set(object.keys), "\(structure.name) has fields that the schema lacks in v\(entry.version)")
    return .structure(fields)
  }

  private func value(_ json: JSONValue, of type: FieldType, in message: Message, _ entry: Entry) throws -> SchemaValue {
    switch (json, type) {
    case (.null, _): return .null
    case (.boolean(let value), .bool): return .boolean(value)
    case (.number(let value), .float64): return .double(value)
    case (.integer(let value), .float64): return .double(Double(value))
    case (.integer(let value), _) where type == .error || type.integerRange?.contains(value) == true: return .integer(value)
    case (.string(let text), .string): return .text(text)
    case (.string(let text), .uuid): return .uuid(try #require(KafkaUUID(text)))
    case (.string(let text), .bytes), (.string(let text), .records): return .bytes(try #require(Self.bytes(text)))
    case (.array(let elements), .array(let element)):
      return .array(try elements.map { try self.value($0, of: element, in: message, entry) })
    case (.object, .structure(let name)): return try self.value(json, of: try #require(message.structure(name)), in: message, entry)
    default: throw FixtureError(text: "\(json) is no \(type)")
    }
  }

  struct FixtureError: Error { var text: String }

  /// JSON with its integers exact.
  enum JSONValue: Decodable, Sendable {
    case null
    case boolean(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if container.decodeNil() {
        self = .null
      } else if let value = try? container.decode(Bool.self) {
        self = .boolean(value)
      } else if let value = try? container.decode(Int64.self) {
        self = .integer(value)
      } else if let value = try? container.decode(Double.self) {
        self = .number(value)
      } else if let value = try? container.decode(String.self) {
        self = .string(value)
      } else if let value = try? container.decode([JSONValue].self) {
        self = .array(value)
      } else {
        self = .object(try container.decode([String: JSONValue].self))
      }
    }
  }
}
