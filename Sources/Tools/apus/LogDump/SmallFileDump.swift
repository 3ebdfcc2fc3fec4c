import JSON
import LogCore
import Model

/// Prints the small files beside the segments: checkpoints, snapshots, properties.
enum SmallFileDump {
  private static let byteCountMax = 256 << 20

  private static func read(_ path: String) throws(DumpFailure) -> [UInt8] {
    do throws(SystemFailure) { return try Descriptor.readAll(path, byteCountMax: self.byteCountMax) } catch { throw DumpFailure(error) }
  }

  private static func text(_ path: String) throws(DumpFailure) -> String {
    guard let text = String(validating: try self.read(path), as: UTF8.self) else { throw DumpFailure("it is not text (UTF-8)") }
    return text
  }

  static func leaderEpochs(_ path: String, _ output: inout DumpOutput) throws(DumpFailure) {
    guard let cache = LeaderEpochCache(checkpointText: try self.text(path)) else {
      throw DumpFailure("it is not a leader epoch checkpoint: version 0, a count, and that many ascending lines of epoch and offset")
    }
    for entry in cache.entries {
      output.emit(
        "leaderEpoch", [("epoch", .integer(Int64(entry.epoch.rawValue))), ("startOffset", .integer(entry.startOffset.rawValue))],
        text: "  leaderEpoch \(entry.epoch) from offset \(entry.startOffset)")
    }
  }

  static func offsets(_ path: String, _ output: inout DumpOutput) throws(DumpFailure) {
    guard let offsets = CheckpointText.offsets(of: try self.text(path)) else {
      throw DumpFailure("it is not an offset checkpoint: version 0, a count, and that many lines of topic, partition and offset")
    }
    for (partition, offset) in offsets.sorted(by: { $0.key < $1.key }) {
      output.emit(
        "offset",
        [
          ("topic", .string(partition.topic)), ("partition", .integer(Int64(partition.partition.rawValue))),
          ("offset", .integer(offset.rawValue)),
        ], text: "  \(partition) offset \(offset)")
    }
  }

  static func partitionMetadata(_ path: String, _ output: inout DumpOutput) throws(DumpFailure) {
    guard let id = PartitionMetadataFile.topicID(of: try self.text(path)) else {
      throw DumpFailure("it is not partition metadata: version 0 and a topic id")
    }
    output.emit("partitionMetadata", [("topicId", .string("\(id)"))], text: "  topic id \(id)")
  }

  static func properties(_ path: String, _ output: inout DumpOutput) throws(DumpFailure) {
    do throws(MetaProperties.ParseError) {
      let properties = try MetaProperties(text: try self.propertiesText(path), newDirectoryID: .zero)
      output.emit(
        "metaProperties",
        [
          ("clusterId", .string(properties.clusterID)), ("nodeId", .integer(Int64(properties.nodeID.rawValue))),
          ("directoryId", properties.directoryID == .zero ? .null : .string("\(properties.directoryID)")),
        ], text: "  cluster id \(properties.clusterID), node id \(properties.nodeID), directory id \(properties.directoryID)")
    } catch {
      throw DumpFailure("it is not valid: \(error)")
    }
  }

  private static func propertiesText(_ path: String) throws(MetaProperties.ParseError) -> String {
    do throws(DumpFailure) { return try self.text(path) } catch { throw .missing(error.reason) }
  }

  static func producers(_ path: String, _ output: inout DumpOutput) throws(DumpFailure) {
    let bytes = try self.read(path)
    let table: ProducerTable
    do throws(ProducerSnapshot.DecodingError) {
      table = try ProducerSnapshot.decode(bytes, endOffset: .zero)
    } catch {
      throw DumpFailure("it is not a producer snapshot: \(error)")
    }
    for entry in table.sortedEntries {
      let transaction = entry.transactionFirstOffset.map { "\($0)" } ?? "-"
      output.emit("producer", [
        ("producerId", .integer(entry.producerID.rawValue)), ("epoch", .integer(Int64(entry.epoch.rawValue))),
        ("lastSequence", .integer(Int64(entry.lastSequence))), ("lastOffset", .integer(entry.lastOffset.rawValue)),
        ("lastTimestamp", .integer(entry.lastTimestamp.rawValue)), ("coordinatorEpoch", .integer(Int64(entry.coordinatorEpoch))),
        ("currentTxnFirstOffset", entry.transactionFirstOffset.map { .integer($0.rawValue) } ?? .null),
      ], text: """
          producer \(entry.producerID) epoch \(entry.epoch) lastSequence \(entry.lastSequence) lastOffset \(entry.lastOffset) \
        time \(TimeArgument.text(milliseconds: entry.lastTimestamp.rawValue)) transaction \(transaction)
        """)
    }
  }
}
