import Base
import NIOCore
import Testing
import Wire

@testable import wiregen

/// Generated code against the schema interpreter: every message, every version, seeded random values.
@Suite struct RoundTripTests {
  private static let valuesPerVersion = 12

  @Test("What the interpreter encodes, the generated code decodes to the same values and encodes to the same bytes",
    arguments: SchemaFixtures.all)
  func agreesWithInterpreter(fixture: MessageFixture) throws {
    var generator = SeededGenerator(seed: 0xA905)
    for version in fixture.versions {
      for _ in 0..<Self.valuesPerVersion {
        let value = self.randomValue(fixture, version: version, using: &generator)
        let bytes = SchemaEncoder(fixture: fixture, version: version).encode(value)
        let decoded = try fixture.type.decoded(bytes, version: version)
        // Also holds the fields that the version lacks to their defaults.
        #expect(CanonicalText.of(decoded) == self.text(value, fixture), "\(fixture.name) v\(version)")
        #expect(decoded.bytes(version: version) == bytes, "\(fixture.name) v\(version)")
      }
    }
  }

  @Test("A message decoded in one version and encoded in another keeps what both have", arguments: SchemaFixtures.all)
  func projectsToOtherVersions(fixture: MessageFixture) throws {
    var generator = SeededGenerator(seed: 0xB16)
    for source in fixture.versions {
      let value = self.randomValue(fixture, version: source, using: &generator)
      let message = try fixture.type.decoded(SchemaEncoder(fixture: fixture, version: source).encode(value), version: source)
      for target in fixture.versions {
        let expected = SchemaValue.projected(value, of: fixture.message.root, in: fixture.message, version: target)
        let bytes = message.bytes(version: target)
        #expect(bytes == SchemaEncoder(fixture: fixture, version: target).encode(expected), "\(fixture.name) v\(source) to v\(target)")
        #expect(CanonicalText.of(try fixture.type.decoded(bytes, version: target)) == self.text(expected, fixture))
      }
    }
  }

  @Test("A new message holds Kafka's defaults", arguments: SchemaFixtures.all)
  func hasDefaults(fixture: MessageFixture) throws {
    func text<M: VersionedMessage>(_ type: M.Type) -> String { CanonicalText.of(M()) }
    let defaults = SchemaValue.defaults(of: fixture.message.root, in: fixture.message)
    #expect(text(fixture.type) == self.text(defaults, fixture))
  }

  @Test("Tagged fields that no schema knows are passed over", arguments: SchemaFixtures.all)
  func skipsUnknownTags(fixture: MessageFixture) throws {
    var generator = SeededGenerator(seed: 0x7A6)
    for version in fixture.versions where fixture.isFlexible(version) {
      let value = self.randomValue(fixture, version: version, using: &generator)
      let plain = SchemaEncoder(fixture: fixture, version: version).encode(value)
      let extended = SchemaEncoder(fixture: fixture, version: version, addsUnknownTags: true).encode(value)
      #expect(extended.count > plain.count)
      let decoded = try fixture.type.decoded(extended, version: version)
      #expect(decoded.isEqual(to: try fixture.type.decoded(plain, version: version)), "\(fixture.name) v\(version)")
      #expect(decoded.bytes(version: version) == plain, "\(fixture.name) v\(version)")
    }
  }

  @Test("A message cut short at any byte is an error, and so is one byte too many", arguments: SchemaFixtures.all)
  func refusesWrongLengths(fixture: MessageFixture) throws {
    var generator = SeededGenerator(seed: 0xC07)
    for version in fixture.versions {
      let value = self.randomValue(fixture, version: version, using: &generator)
      let bytes = SchemaEncoder(fixture: fixture, version: version).encode(value)
      for count in 0..<bytes.count {
        #expect(throws: WireError.self, "\(fixture.name) v\(version), \(count) of \(bytes.count) bytes") {
          try fixture.type.decoded(Array(bytes[..<count]), version: version)
        }
      }
      let place = WireError.Place(field: "end of message", position: bytes.count)
      #expect(throws: WireError.trailingBytes(place, count: 1)) { try fixture.type.decoded(bytes + [0], version: version) }
    }
  }

  @Test("A version outside the schema's is refused", arguments: SchemaFixtures.all)
  func refusesOtherVersions(fixture: MessageFixture) {
    for version in [fixture.versions.lowerBound - 1, fixture.versions.upperBound + 1, Int(Int16.max), Int(Int16.min)] {
      #expect(throws: WireError.unsupportedVersion(message: fixture.name, version: Int16(version))) {
        try fixture.type.decoded([UInt8](repeating: 0, count: 1_000), version: version)
      }
    }
  }

  @Test("supportedVersions and isFlexible say what the schema says", arguments: SchemaFixtures.schemas.map(\.name))
  func statesVersions(name: String) throws {
    let schema = try #require(SchemaFixtures.schemas.first { $0.name == name })
    for message in schema.messages {
      let fixture = try SchemaFixtures.fixture(message.root.name)
      #expect(fixture.versions == schema.versions.first...schema.versions.last)
      for version in fixture.versions { #expect(fixture.type.isFlexible(Int16(version)) == schema.isFlexible(version)) }
      if case .api(let key, _, _) = schema.kind {
        let type = try #require(fixture.type as? any WireMessage.Type)
        #expect(Int(type.apiKey.rawValue) == key)
        #expect(type.apiKey.name == schema.name)
        for version in fixture.versions { #expect(type.apiKey.isFlexible(Int16(version)) == schema.isFlexible(version)) }
      }
    }
  }

  private func randomValue(_ fixture: MessageFixture, version: Int, using generator: inout SeededGenerator) -> SchemaValue {
    let value = SchemaValue.random(of: fixture.message.root, in: fixture.message, using: &generator)
    return SchemaValue.projected(value, of: fixture.message.root, in: fixture.message, version: version)
  }

  private func text(_ value: SchemaValue, _ fixture: MessageFixture) -> String {
    SchemaValue.text(value, of: fixture.message.root, in: fixture.message, version: nil)
  }
}
