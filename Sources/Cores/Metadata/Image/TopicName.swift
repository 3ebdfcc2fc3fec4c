/// Kafka's rules for the names of topics (`org.apache.kafka.common.internals.Topic`).
package enum TopicName {
  package static let byteCountMax = 249
  /// The metadata log's own topic, which nobody may create.
  package static let clusterMetadata = "__cluster_metadata"

  /// Why `name` may not name a topic; nil if it may.
  package static func problem(with name: String) -> String? {
    if name.isEmpty { return "the empty string is not allowed" }
    if name == "." { return "'.' is not allowed" }
    if name == ".." { return "'..' is not allowed" }
    if name.utf8.count > self.byteCountMax {
      return "'\(name)' is longer than \(self.byteCountMax) characters"
    }
    if !name.utf8.allSatisfy(self.isAllowed) {
      return "'\(name)' may hold ASCII letters, digits, '.', '_' and '-' only"
    }
    return nil
  }

  private static func isAllowed(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
      UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
    default: false
    }
  }

  static func canCollide(_ name: String) -> Bool { name.utf8.contains { $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") } }

  static func unified(_ name: String) -> String {
    String(decoding: name.utf8.map { $0 == UInt8(ascii: ".") ? UInt8(ascii: "_") : $0 }, as: UTF8.self)
  }
}
