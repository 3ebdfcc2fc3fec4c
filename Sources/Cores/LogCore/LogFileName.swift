package import Model

/// The names of the files in a partition's directory and of the directory itself, as Kafka gives them.
package enum LogFileName {
  package enum Kind: String, Sendable, Hashable, CaseIterable {
    case log = ".log"
    case offsetIndex = ".index"
    case timeIndex = ".timeindex"
    case transactionIndex = ".txnindex"
    case producerSnapshot = ".snapshot"
  }

  package static let leaderEpochCheckpoint = "leader-epoch-checkpoint"
  package static let partitionMetadata = "partition.metadata"
  /// Added to a segment's file that is to be removed after a while.
  package static let deletedSuffix = ".deleted"
  /// Added to a partition's directory that is to be removed after a while.
  package static let deletedDirectorySuffix = "-delete"
  package static let temporarySuffix = ".tmp"

  /// Beside the metadata log: how the quorum stood, and its snapshots, whole and on their way.
  package static let quorumState = "quorum-state"
  package static let metadataSnapshotSuffix = ".checkpoint"
  package static let metadataDownloadSuffix = ".checkpoint.part"

  package static func isOfQuorum(_ name: String) -> Bool {
    name == self.quorumState || name.hasSuffix(self.metadataSnapshotSuffix) || name.hasSuffix(self.metadataDownloadSuffix)
  }

  /// `00000000000000000042.log`: twenty digits, so that names sort as offsets do.
  package static func name(_ offset: Offset, _ kind: Kind) -> String {
    let digits = String(offset.rawValue)
    return String(repeating: "0", count: 20 - digits.count) + digits + kind.rawValue
  }

  /// The parts of such a name, or nil if it is not one.
  package static func parse(_ name: String) -> (offset: Offset, kind: Kind)? {
    guard let dot = name.firstIndex(of: "."), let kind = Kind(rawValue: String(name[dot...])) else { return nil }
    let digits = name[..<dot].utf8
    guard digits.count == 20, digits.allSatisfy({ (0x30...0x39).contains($0) }), let offset = Int64(name[..<dot]) else { return nil }
    return (Offset(offset), kind)
  }

  /// The partition whose directory has this name, or nil: `<topic>-<partition>`, where the topic may contain dashes.
  package static func partition(ofDirectory name: String) -> TopicPartition? {
    guard let dash = name.lastIndex(of: "-") else { return nil }
    let (topic, number) = (name[..<dash], name[name.index(after: dash)...])
    guard self.isTopic(topic), let partition = Int32(number), partition >= 0, String(partition) == number else { return nil }
    return TopicPartition(String(topic), PartitionID(partition))
  }

  /// Whether Kafka would allow a topic of this name: 1 to 249 of `a-zA-Z0-9._-`, neither `.` nor `..`.
  private static func isTopic(_ name: Substring) -> Bool {
    let bytes = name.utf8
    guard (1...249).contains(bytes.count), name != ".", name != ".." else { return false }
    return bytes.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
      case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
      default: false
      }
    }
  }

  /// The name of a partition's directory while it waits for its removal: `<topic>-<partition>.<32 hex digits>-delete`.
  /// A name longer than file systems allow (255 bytes) loses the end of its topic.
  package static func deletedDirectory(_ partition: TopicPartition, id: KafkaUUID) -> String {
    let suffix = "-\(partition.partition).\(Self.hex(id.high))\(Self.hex(id.low))\(self.deletedDirectorySuffix)"
    return partition.topic.prefix(255 - suffix.utf8.count) + suffix
  }

  private static func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
