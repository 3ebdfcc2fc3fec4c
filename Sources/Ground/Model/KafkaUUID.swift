/// A 128-bit identifier in Kafka's form: topic ids, directory ids, incarnation ids and (as text) cluster ids.
///
/// Its text form is unpadded URL-safe base64 of the 16 bytes, 22 characters (`org.apache.kafka.common.Uuid`).
package struct KafkaUUID: Hashable, Sendable, Comparable, CustomStringConvertible {
  package var high: UInt64
  package var low: UInt64

  package init(high: UInt64, low: UInt64) { (self.high, self.low) = (high, low) }

  /// All zero: "no id".
  package static let zero = KafkaUUID(high: 0, low: 0)
  /// Reserved by Kafka for the metadata topic `__cluster_metadata`.
  package static let metadataTopic = KafkaUUID(high: 0, low: 1)

  /// A version-4 UUID drawn from `generator`; never reserved, and never with a leading dash in its text, as Kafka's tools assume.
  package static func random(using generator: inout some RandomNumberGenerator) -> KafkaUUID {
    while true {
      let high = (generator.next() & 0xFFFF_FFFF_FFFF_0FFF) | 0x4000
      let low = (generator.next() & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
      let id = KafkaUUID(high: high, low: low)
      if !id.description.hasPrefix("-") { return id }
    }
  }

  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

  package var description: String {
    // 22 digits of 6 bits; the last carries 2 bits of the value and 4 bits of padding.
    var text: [UInt8] = []
    text.reserveCapacity(22)
    for digit in 0..<22 { text.append(Self.alphabet[Int(self.bits(at: digit * 6))]) }
    return String(decoding: text, as: UTF8.self)
  }

  /// The six bits that start `position` bits from the most significant end, zero-filled past the 128th.
  private func bits(at position: Int) -> UInt64 {
    var value: UInt64 = 0
    for bit in position..<position + 6 {
      let set: UInt64 = bit < 64 ? (self.high >> (63 - bit)) & 1 : bit < 128 ? (self.low >> (127 - bit)) & 1 : 0
      value = value << 1 | set
    }
    return value
  }

  /// Parses the text form; nil unless it is exactly 22 characters of URL-safe base64.
  package init?(_ text: some StringProtocol) {
    let digits = Array(text.utf8)
    guard digits.count == 22 else { return nil }
    var (high, low): (UInt64, UInt64) = (0, 0)
    for (index, digit) in digits.enumerated() {
      guard let value = Self.alphabet.firstIndex(of: digit) else { return nil }
      for bit in 0..<6 {
        let position = index * 6 + bit
        let set = UInt64((value >> (5 - bit)) & 1)
        if position < 64 { high |= set << (63 - position) } else if position < 128 { low |= set << (127 - position) }
      }
    }
    self.init(high: high, low: low)
  }

  package static func < (a: KafkaUUID, b: KafkaUUID) -> Bool { (a.high, a.low) < (b.high, b.low) }
}
