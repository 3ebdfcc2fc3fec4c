package import Model

/// Kafka's checkpoint files: a line with the version (0), a line with the number of entries, then one entry per line.
package enum CheckpointText {
  /// The entries as words, or nil if the text is not a checkpoint of version 0 whose every row has `columnCount` words.
  package static func rows(of text: String, columnCount: Int) -> [[Substring]]? {
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    if lines.last == "" { lines.removeLast() }
    guard lines.count >= 2, lines[0] == "0", let count = Int(lines[1]), count == lines.count - 2 else { return nil }
    var rows: [[Substring]] = []
    rows.reserveCapacity(count)
    for line in lines[2...] {
      let words = line.split(separator: " ")
      guard words.count == columnCount else { return nil }
      rows.append(words)
    }
    return rows
  }

  /// The text of `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint` or `replication-offset-checkpoint`:
  /// `topic partition offset` per line, in the order of the partitions.
  package static func text(of offsets: [TopicPartition: Offset]) -> String {
    let entries = offsets.sorted { $0.key < $1.key }
    var text = "0\n\(entries.count)\n"
    for (partition, offset) in entries { text += "\(partition.topic) \(partition.partition) \(offset)\n" }
    return text
  }

  /// Parses such a file; nil if any of it is not as it should be.
  package static func offsets(of text: String) -> [TopicPartition: Offset]? {
    guard let rows = self.rows(of: text, columnCount: 3) else { return nil }
    var offsets: [TopicPartition: Offset] = [:]
    for row in rows {
      guard let partition = Int32(row[1]), let offset = Int64(row[2]), partition >= 0, offset >= 0 else { return nil }
      offsets[TopicPartition(String(row[0]), PartitionID(partition))] = Offset(offset)
    }
    return offsets
  }
}
