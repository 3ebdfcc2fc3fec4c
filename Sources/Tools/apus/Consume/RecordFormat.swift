import JSON
import KafkaClient
import Records

/// How `consume --format` writes a record: kcat's tokens (kcat -f).
struct RecordFormat: Hashable, Sendable {
  enum Token: Hashable, Sendable {
    case literal([UInt8])
    case value, valueByteCount, key, keyByteCount, timestamp, topic, partition, offset, headers
    /// The value's byte count as four bytes, the most significant first.
    case valueByteCountBinary
  }

  struct Failure: Error, Hashable, CustomStringConvertible {
    var description: String
  }

  let tokens: [Token]

  /// `%s` value, `%S` its length in bytes (-1: null), `%R` the same as a binary big-endian int32, `%k` key, `%K` its length, `%T` timestamp
  /// in milliseconds, `%h` headers as name=value with commas, `%t` topic, `%p` partition, `%o` offset, `%%` a percent sign; `\n`, `\r`,
  /// `\t`, `\\`, `\0` and `\xHH` are what they are in C.
  init(_ text: String) throws(Failure) {
    var tokens: [Token] = []
    var literal: [UInt8] = []
    var bytes = Array(text.utf8)[...]
    while let byte = bytes.popFirst() {
      switch byte {
      case UInt8(ascii: "%"):
        guard let letter = bytes.popFirst() else {
          throw Failure(description: "the format ends with a lone '%'; write '%%' for a percent sign")
        }
        if letter == UInt8(ascii: "%") {
          literal.append(letter)
          continue
        }
        guard let token = Self.token(letter) else {
          let known = "%s %S %R %k %K %T %h %t %p %o %%"
          throw Failure(description: "'%\(Character(UnicodeScalar(letter)))' is not a token; there are \(known)")
        }
        if !literal.isEmpty { tokens.append(.literal(literal)) }
        literal = []
        tokens.append(token)
      case UInt8(ascii: "\\"): literal.append(try Self.escape(&bytes))
      default: literal.append(byte)
      }
    }
    if !literal.isEmpty { tokens.append(.literal(literal)) }
    self.tokens = tokens
  }

  private static func token(_ letter: UInt8) -> Token? {
    switch letter {
    case UInt8(ascii: "s"): .value
    case UInt8(ascii: "S"): .valueByteCount
    case UInt8(ascii: "R"): .valueByteCountBinary
    case UInt8(ascii: "k"): .key
    case UInt8(ascii: "K"): .keyByteCount
    case UInt8(ascii: "T"): .timestamp
    case UInt8(ascii: "h"): .headers
    case UInt8(ascii: "t"): .topic
    case UInt8(ascii: "p"): .partition
    case UInt8(ascii: "o"): .offset
    default: nil
    }
  }

  private static func escape(_ bytes: inout ArraySlice<UInt8>) throws(Failure) -> UInt8 {
    switch bytes.popFirst() {
    case nil: throw Failure(description: "the format ends with a lone '\\'")
    case UInt8(ascii: "n")?: return 0x0A
    case UInt8(ascii: "r")?: return 0x0D
    case UInt8(ascii: "t")?: return 0x09
    case UInt8(ascii: "0")?: return 0x00
    case UInt8(ascii: "x")?:
      guard let value = UInt8(String(decoding: bytes.prefix(2), as: UTF8.self), radix: 16), bytes.count >= 2 else {
        throw Failure(description: "'\\x' needs two hexadecimal digits")
      }
      bytes = bytes.dropFirst(2)
      return value
    // As in kcat, anything else stands for itself.
    case let other?: return other
    }
  }
}

/// A record as the writers of `consume` see it: the parts lie in `bytes`.
struct StoredRecord {
  var partition: TopicPartition
  var offset: Int64
  /// Milliseconds since 1970.
  var timestamp: Int64
  var isLogAppendTime: Bool
  var raw: RawRecord
  var bytes: UnsafeRawBufferPointer

  var key: UnsafeRawBufferPointer? { self.raw.keyRange.map { UnsafeRawBufferPointer(rebasing: self.bytes[$0]) } }
  var value: UnsafeRawBufferPointer? { self.raw.valueRange.map { UnsafeRawBufferPointer(rebasing: self.bytes[$0]) } }

  /// Walks the headers: name, value (nil: null).
  func forEachHeader(_ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer?) -> Void) {
    var position = self.raw.headersStart
    for _ in 0..<self.raw.headerCount {
      // The record was parsed with its headers, so that this one is known to be good.
      guard let header = try? RawHeader(self.bytes, at: &position) else { return }
      let name = UnsafeRawBufferPointer(rebasing: self.bytes[header.keyStart..<header.keyStart + header.keyByteCount])
      let value = header.valueByteCount < 0
        ? nil : UnsafeRawBufferPointer(rebasing: self.bytes[header.valueStart..<header.valueStart + header.valueByteCount])
      body(name, value)
    }
  }
}

extension RecordFormat {
  /// Writes the record. Nulls are written as nothing.
  func append(_ record: StoredRecord, topic: [UInt8], to output: inout [UInt8]) {
    for token in self.tokens {
      switch token {
      case .literal(let bytes): output.append(contentsOf: bytes)
      case .value: if let value = record.value { output.append(contentsOf: value) }
      case .valueByteCount: DecimalText.append(Int64(record.raw.valueByteCount), to: &output)
      case .valueByteCountBinary:
        withUnsafeBytes(of: Int32(clamping: record.raw.valueByteCount).bigEndian) { output.append(contentsOf: $0) }
      case .key: if let key = record.key { output.append(contentsOf: key) }
      case .keyByteCount: DecimalText.append(Int64(record.raw.keyByteCount), to: &output)
      case .timestamp: DecimalText.append(record.timestamp, to: &output)
      case .topic: output.append(contentsOf: topic)
      case .partition: DecimalText.append(Int64(record.partition.partition), to: &output)
      case .offset: DecimalText.append(record.offset, to: &output)
      case .headers:
        var isFirst = true
        record.forEachHeader { name, value in
          if !isFirst { output.append(UInt8(ascii: ",")) }
          isFirst = false
          output.append(contentsOf: name)
          output.append(UInt8(ascii: "="))
          if let value { output.append(contentsOf: value) } else { output.append(contentsOf: "NULL".utf8) }
        }
      }
    }
  }
}

/// Writes records as kcat -J does, an object a line.
enum RecordEnvelope {
  static func append(_ record: StoredRecord, to output: inout [UInt8]) {
    output.append(contentsOf: #"{"topic":"#.utf8)
    JSONText.append(record.partition.topic, to: &output)
    output.append(contentsOf: #","partition":"#.utf8)
    DecimalText.append(Int64(record.partition.partition), to: &output)
    output.append(contentsOf: #","offset":"#.utf8)
    DecimalText.append(record.offset, to: &output)
    output.append(contentsOf: (record.isLogAppendTime ? #","tstype":"logappend","ts":"# : #","tstype":"create","ts":"#).utf8)
    DecimalText.append(record.timestamp, to: &output)
    output.append(contentsOf: #","headers":["#.utf8)
    var isFirst = true
    record.forEachHeader { name, value in
      if !isFirst { output.append(UInt8(ascii: ",")) }
      isFirst = false
      JSONText.append(name, to: &output)
      output.append(UInt8(ascii: ","))
      Self.append(value, to: &output)
    }
    output.append(contentsOf: #"],"key":"#.utf8)
    Self.append(record.key, to: &output)
    output.append(contentsOf: #","payload":"#.utf8)
    Self.append(record.value, to: &output)
    output.append(contentsOf: "}\n".utf8)
  }

  private static func append(_ bytes: UnsafeRawBufferPointer?, to output: inout [UInt8]) {
    if let bytes { JSONText.append(bytes, to: &output) } else { output.append(contentsOf: "null".utf8) }
  }
}

/// Numbers without a `String` in between.
enum DecimalText {
  static func append(_ value: Int64, to output: inout [UInt8]) {
    if value < 0 { output.append(UInt8(ascii: "-")) }
    var rest = value.magnitude
    let start = output.count
    repeat {
      output.append(UInt8(ascii: "0") + UInt8(rest % 10))
      rest /= 10
    } while rest > 0
    output[start...].reverse()
  }
}
