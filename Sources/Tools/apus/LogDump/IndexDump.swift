import JSON
import LogCore
import Model

/// Prints the sparse indexes of a segment.
enum IndexDump {
  /// The indexes of the largest segment have 10 MiB (`segment.index.bytes`); configured otherwise they may be larger.
  private static let byteCountMax = 1 << 30

  static func offsets(_ path: String, baseOffset: Offset, _ output: inout DumpOutput) throws(DumpFailure) {
    try self.entries(path, OffsetIndexEntry.self, baseOffset: baseOffset, &output) { entry, output in
      output.emit(
        "entry", [("offset", .integer(entry.offset.rawValue)), ("position", .integer(entry.position))],
        text: "  offset \(entry.offset) position \(entry.position)")
    }
  }

  static func times(_ path: String, baseOffset: Offset, _ output: inout DumpOutput) throws(DumpFailure) {
    try self.entries(path, TimeIndexEntry.self, baseOffset: baseOffset, &output) { entry, output in
      output.emit(
        "entry", [("timestamp", .integer(entry.timestamp.rawValue)), ("offset", .integer(entry.offset.rawValue))],
        text: "  timestamp \(entry.timestamp) (\(TimeArgument.text(milliseconds: entry.timestamp.rawValue))) offset \(entry.offset)")
    }
  }

  private static func entries<Entry: IndexEntry>(
    _ path: String, _ type: Entry.Type, baseOffset: Offset, _ output: inout DumpOutput, _ show: (Entry, inout DumpOutput) -> Void
  ) throws(DumpFailure) {
    let bytes: [UInt8]
    do throws(SystemFailure) { bytes = try Descriptor.readAll(path, byteCountMax: self.byteCountMax) } catch { throw DumpFailure(error) }
    // Kafka gives an index its full size at first; what was not used yet is zeros.
    let used = (bytes.lastIndex { $0 != 0 } ?? -1) + 1
    let count = (used + Entry.byteCount - 1) / Entry.byteCount
    var last: Entry?
    for index in 0..<count {
      let position = index * Entry.byteCount
      guard position + Entry.byteCount <= bytes.count else {
        throw DumpFailure("the last \(bytes.count - position) bytes are less than an entry of \(Entry.byteCount)", at: Int64(position))
      }
      let entry = Entry(decoding: bytes, at: position, baseOffset: baseOffset)
      if let last, !entry.follows(last) {
        output.corrupt(path, position: Int64(position), "the entry does not ascend from the one before it")
      }
      show(entry, &output)
      last = entry
    }
    let padding = bytes.count - count * Entry.byteCount
    if padding > 0 { output.emit("padding", [("bytes", .integer(Int64(padding)))], text: "  \(padding) unused bytes") }
  }

  /// Entries of 34 bytes: version i16, producer id, first offset, last offset and last stable offset, i64 each (KIP-98).
  static func transactions(_ path: String, _ output: inout DumpOutput) throws(DumpFailure) {
    let entryByteCount = 34
    let bytes: [UInt8]
    do throws(SystemFailure) { bytes = try Descriptor.readAll(path, byteCountMax: self.byteCountMax) } catch { throw DumpFailure(error) }
    for position in stride(from: 0, to: bytes.count, by: entryByteCount) {
      guard position + entryByteCount <= bytes.count else {
        throw DumpFailure("the last \(bytes.count - position) bytes are less than an entry of \(entryByteCount)", at: Int64(position))
      }
      func field(_ index: Int) -> Int64 {
        bytes[(position + 2 + 8 * index)..<(position + 10 + 8 * index)].reduce(0) { $0 << 8 | Int64($1) }
      }
      let version = Int16(bytes[position]) << 8 | Int16(bytes[position + 1])
      if version != 0 { output.corrupt(path, position: Int64(position), "an entry cannot have version \(version)") }
      output.emit("aborted", [
        ("producerId", .integer(field(0))), ("firstOffset", .integer(field(1))), ("lastOffset", .integer(field(2))),
        ("lastStableOffset", .integer(field(3))),
      ], text: "  aborted producer \(field(0)) offsets \(field(1))..\(field(2)) lastStableOffset \(field(3))")
    }
  }
}
