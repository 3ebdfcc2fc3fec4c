package import Model

/// `partition.metadata` in a partition's directory: which topic, by id, the partition belongs to.
package enum PartitionMetadataFile {
  package static func text(topicID: KafkaUUID) -> String { "version: 0\ntopic_id: \(topicID)" }

  /// The topic id; nil if the text is not of version 0 with a valid id.
  package static func topicID(of text: String) -> KafkaUUID? {
    var (version, id): (Substring?, KafkaUUID?) = (nil, nil)
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count == 2 else { return nil }
      if words[0] == "version:" { version = words[1] } else if words[0] == "topic_id:" { id = KafkaUUID(words[1]) }
    }
    return version == "0" ? id : nil
  }

  /// Whether these are the first bytes of such a file and not all of it, or what a disk shows in their place: its writing was never
  /// finished. A file that was synced once and has changed since is something else.
  package static func isUnfinished(_ bytes: [UInt8]) -> Bool {
    let whole = Array(self.text(topicID: .zero).utf8)
    let written = bytes[..<(bytes.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0)]
    guard written.count < whole.count else { return false }
    let fixedCount = whole.count - KafkaUUID.zero.description.utf8.count
    let isID = written.dropFirst(fixedCount).allSatisfy { byte in
      let scalar = Unicode.Scalar(byte)
      return scalar.properties.isAlphabetic && scalar.isASCII || ("0"..."9").contains(scalar) || scalar == "-" || scalar == "_"
    }
    return written.prefix(fixedCount).elementsEqual(whole.prefix(min(fixedCount, written.count))) && isID
  }
}

/// `meta.properties` of a log directory: whose it is (KIP-631, KIP-858).
package struct MetaProperties: Hashable, Sendable {
  package var clusterID: String
  package var nodeID: NodeID
  package var directoryID: KafkaUUID

  package init(clusterID: String, nodeID: NodeID, directoryID: KafkaUUID) {
    (self.clusterID, self.nodeID, self.directoryID) = (clusterID, nodeID, directoryID)
  }

  package var text: String {
    "version=1\ncluster.id=\(self.clusterID)\nnode.id=\(self.nodeID)\ndirectory.id=\(self.directoryID)\n"
  }

  package enum ParseError: Error, Hashable, Sendable, CustomStringConvertible {
    case missing(String), invalid(String, String)
    package var description: String {
      switch self {
      case .missing(let key): "\(key) is missing"
      case .invalid(let key, let value): "\(key)=\(value) is not valid"
      }
    }
  }

  /// Reads a file in Java's properties format: `key=value` lines, `#` or `!` comments. Unknown keys are passed over. A file
  /// of Kafka's that has no directory id yet gets `newDirectoryID`.
  package init(text: String, newDirectoryID: KafkaUUID) throws(ParseError) {
    var values: [String: String] = [:]
    for line in text.split(whereSeparator: { $0 == "\n" || $0 == "\r\n" || $0 == "\r" }) {
      let line = line.drop { $0 == " " || $0 == "\t" }
      guard let first = line.first, first != "#", first != "!", let equals = line.firstIndex(where: { $0 == "=" || $0 == ":" }) else {
        continue
      }
      values[Self.unescaped(line[..<equals])] = Self.unescaped(line[line.index(after: equals)...])
    }
    func value(_ key: String) throws(ParseError) -> String {
      guard let value = values[key] else { throw .missing(key) }
      return value
    }
    let version = try value("version")
    guard version == "1" else { throw .invalid("version", version) }
    self.clusterID = try value("cluster.id")
    let node = try value("node.id")
    guard let number = Int32(node), number >= 0 else { throw .invalid("node.id", node) }
    self.nodeID = NodeID(number)
    if let directory = values["directory.id"] {
      guard let id = KafkaUUID(directory) else { throw .invalid("directory.id", directory) }
      self.directoryID = id
    } else {
      self.directoryID = newDirectoryID
    }
  }

  private static func unescaped(_ text: Substring) -> String {
    var result = ""
    var escaped = false
    for character in text {
      if !escaped, character == "\\" { escaped = true; continue }
      result.append(character)
      escaped = false
    }
    while let last = result.last, last == " " || last == "\t" { result.removeLast() }
    return String(result.drop { $0 == " " || $0 == "\t" })
  }
}

/// The names of the files in a log directory besides the partitions.
package enum LogDirectoryFile {
  package static let lock = ".lock"
  package static let metaProperties = "meta.properties"
  package static let cleanShutdown = ".kafka_cleanshutdown"
  package static let recoveryPoints = "recovery-point-offset-checkpoint"
  package static let logStartOffsets = "log-start-offset-checkpoint"
  package static let highWatermarks = "replication-offset-checkpoint"

  /// The text of `.kafka_cleanshutdown` (KIP-966): the broker epoch that ended cleanly.
  package static func cleanShutdownText(brokerEpoch: BrokerEpoch) -> String { #"{"version":0,"brokerEpoch":\#(brokerEpoch)}"# }

  /// The broker epoch in such a text; nil if it has none.
  package static func brokerEpoch(ofCleanShutdown text: String) -> BrokerEpoch? {
    guard let key = text.firstRange(ofText: #""brokerEpoch""#) else { return nil }
    let rest = text[key...].drop { $0 == " " || $0 == ":" || $0 == "\n" }
    return Int64(rest.prefix { $0 == "-" || $0.isNumber }).map { BrokerEpoch($0) }
  }
}

extension String {
  /// The index after the first occurrence of `text`.
  fileprivate func firstRange(ofText text: String) -> String.Index? {
    var start = self.startIndex
    while start < self.endIndex {
      if self[start...].hasPrefix(text) { return self.index(start, offsetBy: text.count) }
      start = self.index(after: start)
    }
    return nil
  }
}
