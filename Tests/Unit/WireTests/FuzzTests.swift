import Base
import NIOCore
import Testing
import Wire

@testable import wiregen

/// Bytes that nobody meant as a message: every decoder answers with a value or an error, and never traps.
@Suite struct FuzzTests {
  @Test("Random bytes", arguments: SchemaFixtures.all)
  func survivesRandomBytes(fixture: MessageFixture) throws {
    var generator = SeededGenerator(seed: 0xF022)
    for version in fixture.versions {
      for _ in 0..<300 {
        let count = Int.random(in: 0...200, using: &generator)
        // Small bytes make plausible counts and lengths, so that decoding goes deeper before it fails.
        let top: UInt8 = Bool.random(using: &generator) ? 255 : 3
        try self.check(fixture, (0..<count).map { _ in UInt8.random(in: 0...top, using: &generator) }, version)
      }
    }
  }

  @Test("Valid messages with bytes changed, removed, inserted and repeated", arguments: SchemaFixtures.all)
  func survivesMutations(fixture: MessageFixture) throws {
    var generator = SeededGenerator(seed: 0x3477)
    for version in fixture.versions {
      for _ in 0..<10 {
        let random = SchemaValue.random(of: fixture.message.root, in: fixture.message, using: &generator)
        let value = SchemaValue.projected(random, of: fixture.message.root, in: fixture.message, version: version)
        let original = SchemaEncoder(fixture: fixture, version: version).encode(value)
        for _ in 0..<30 {
          var bytes = original
          for _ in 0...Int.random(in: 0..<3, using: &generator) { Self.mutate(&bytes, using: &generator) }
          try self.check(fixture, bytes, version)
        }
      }
    }
  }

  private static func mutate(_ bytes: inout [UInt8], using generator: inout SeededGenerator) {
    guard !bytes.isEmpty else { return bytes.append(UInt8.random(in: 0...255, using: &generator)) }
    let index = Int.random(in: 0..<bytes.count, using: &generator)
    switch Int.random(in: 0..<6, using: &generator) {
    case 0: bytes[index] = UInt8.random(in: 0...255, using: &generator)
    case 1: bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
    case 2: bytes.remove(at: index)
    case 3: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: index)
    // Lengths of all sizes at their limits.
    case 4: for position in index..<min(index + 4, bytes.count) { bytes[position] = position == index ? 0x7F : 0xFF }
    default: bytes.insert(contentsOf: bytes[index..<min(index + 16, bytes.count)], at: index)
    }
  }

  /// Bytes that decode after all mean the same after encoding and decoding once more.
  private func check(_ fixture: MessageFixture, _ bytes: [UInt8], _ version: Int) throws {
    let message: any VersionedMessage
    do { message = try fixture.type.decoded(bytes, version: version) } catch { return }
    let again = try fixture.type.decoded(message.bytes(version: version), version: version)
    // Not by ==, as a float64 may be NaN; its text is the same.
    #expect(CanonicalText.of(again) == CanonicalText.of(message), "\(fixture.name) v\(version): \(bytes)")
  }

  @Test("Random bytes as frames, request headers, metadata records and control records")
  func survivesRandomEnvelopes() throws {
    var generator = SeededGenerator(seed: 0xE4)
    var decoded = 0
    for _ in 0..<50_000 {
      let count = Int.random(in: 0...40, using: &generator)
      let top: UInt8 = Bool.random(using: &generator) ? 255 : 2
      let buffer = ByteBuffer(bytes: (0..<count).map { _ in UInt8.random(in: 0...top, using: &generator) })
      var reader = WireReader(buffer)
      if (try? RequestHeader(from: &reader)) != nil { decoded += 1 }
      if (try? MetadataRecord(decoding: buffer)) != nil { decoded += 1 }
      let key = ByteBuffer(bytes: [0, 0, 0, UInt8.random(in: 0...8, using: &generator)])
      if (try? ControlRecord(key: key, value: buffer)) != nil { decoded += 1 }
      var splitter = FrameSplitter(frameByteCountMax: 30)
      splitter.receive(buffer)
      while case .frame(let frame) = splitter.next() {
        #expect(frame.readableBytes <= 30)
        decoded += 1
      }
    }
    #expect(decoded > 1_000, "the bytes are so wild that nothing ever decodes: the test does not go deep")
  }
}
