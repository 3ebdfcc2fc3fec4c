import Model

@testable import wiregen

/// Encodes a `SchemaValue` by interpreting the schema: slow, plain, and written without a glance at what the generator emits.
struct SchemaEncoder {
  let fixture: MessageFixture
  let version: Int
  /// Adds a tagged field that no schema knows to every structure that can hold one.
  var addsUnknownTags = false

  private var isFlexible: Bool { self.fixture.isFlexible(self.version) }

  func encode(_ value: SchemaValue) -> [UInt8] { self.structure(value, self.fixture.message.root) }

  private func structure(_ value: SchemaValue, _ structure: Structure) -> [UInt8] {
    guard case .structure(let fields) = value else { fatalError("\(structure.name) is not a structure") }
    let present = structure.fields.filter { $0.versions.contains(self.version) }
    var bytes = present.filter { $0.tag == nil }.flatMap { self.field(fields[$0.name]!, $0) }
    if self.isFlexible {
      let tagged = present.filter { $0.tag != nil && fields[$0.name]! != .defaultValue(of: $0, in: self.fixture.message) }
        .sorted { $0.tag! < $1.tag! }
      bytes += self.uvarint(tagged.count + (self.addsUnknownTags ? 1 : 0))
      for field in tagged {
        let payload = self.field(fields[field.name]!, field)
        bytes += self.uvarint(field.tag!) + self.uvarint(payload.count) + payload
      }
      if self.addsUnknownTags { bytes += self.uvarint(9_999) + self.uvarint(3) + [0xFF, 0x00, 0xFF] }
    }
    return bytes
  }

  private func field(_ value: SchemaValue, _ field: Field) -> [UInt8] {
    if case .structure = field.type, field.nullable != nil {
      return value == .null ? [0xFF] : [1] + self.value(value, field.type)
    }
    if value == .null {
      precondition(field.nullable!.contains(self.version), "\(field.name) is null where it must not be")
      if self.isFlexible { return [0] }
      return field.type == .string ? [0xFF, 0xFF] : [0xFF, 0xFF, 0xFF, 0xFF]
    }
    return self.value(value, field.type)
  }

  private func value(_ value: SchemaValue, _ type: FieldType) -> [UInt8] {
    switch (value, type) {
    case (.boolean(let value), _): return [value ? 1 : 0]
    case (.integer(let value), .int8): return [UInt8(truncatingIfNeeded: value)]
    case (.integer(let value), .int16), (.integer(let value), .uint16), (.integer(let value), .error): return self.big(value, 2)
    case (.integer(let value), .int32), (.integer(let value), .uint32): return self.big(value, 4)
    case (.integer(let value), _): return self.big(value, 8)
    case (.double(let value), _): return self.big(Int64(bitPattern: value.bitPattern), 8)
    case (.uuid(let id), _): return self.big(Int64(bitPattern: id.high), 8) + self.big(Int64(bitPattern: id.low), 8)
    case (.text(let text), _):
      let bytes = Array(text.utf8)
      return (self.isFlexible ? self.uvarint(bytes.count + 1) : self.big(Int64(bytes.count), 2)) + bytes
    case (.bytes(let bytes), _): return self.count(bytes.count) + bytes
    case (.array(let elements), .array(let element)): return self.count(elements.count) + elements.flatMap { self.value($0, element) }
    case (.structure, _): return self.structure(value, self.fixture.message.structure(type.structureName!)!)
    case (.null, _), (.array, _): fatalError("\(value) is no \(type)")
    }
  }

  private func count(_ count: Int) -> [UInt8] { self.isFlexible ? self.uvarint(count + 1) : self.big(Int64(count), 4) }

  private func big(_ value: Int64, _ size: Int) -> [UInt8] {
    (0..<size).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * Int64($0))) }
  }

  private func uvarint(_ value: Int) -> [UInt8] {
    value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F) | 0x80] + self.uvarint(value >> 7)
  }
}
