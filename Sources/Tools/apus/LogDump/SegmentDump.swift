import Base
import Compression
import JSON
import LogCore
import Model
import NIOCore
import Records
import Wire

/// Prints a segment: its batches, and their records.
struct SegmentDump {
  let path: String
  let isMetadata: Bool
  let batchesOnly: Bool
  private let decompressor = Decompressor()
  /// What a batch may decompress to.
  private static let limit = 1 << 30

  init(path: String, isMetadata: Bool, batchesOnly: Bool) {
    (self.path, self.isMetadata, self.batchesOnly) = (path, isMetadata, batchesOnly)
  }

  func run(_ output: inout DumpOutput) throws(DumpFailure) {
    var reader = try BatchReader(self.path)
    var lastOffset: Offset?
    while let (position, bytes) = try reader.next() {
      let batch: RecordBatchView
      do { batch = try RecordBatchView(frontOf: bytes) } catch { throw DumpFailure("\(error)", at: position) }
      var isSound = true
      do { try batch.checkChecksum() } catch {
        output.corrupt(self.path, position: position, "\(error)")
        isSound = false
      }
      if let lastOffset, batch.header.baseOffset <= lastOffset {
        let reason = "The batch begins at offset \(batch.header.baseOffset), but \(lastOffset) came before."
        output.corrupt(self.path, position: position, reason)
      }
      lastOffset = batch.header.lastOffset
      self.show(batch, at: position, isSound: isSound, &output)
      if isSound, !self.batchesOnly {
        do { try self.showRecords(of: batch, &output) } catch { output.corrupt(self.path, position: position, "\(error)") }
      }
    }
  }

  private func show(_ batch: RecordBatchView, at position: Int64, isSound: Bool, _ output: inout DumpOutput) {
    let header = batch.header
    let codec = batch.codec.map { $0.name } ?? "unknown (\(header.attributes.codecNumber))"
    var flags: [String] = []
    if header.attributes.isTransactional { flags.append("transactional") }
    if header.attributes.isControl { flags.append("control") }
    if header.attributes.isLogAppendTime { flags.append("logAppendTime") }
    if header.attributes.hasDeleteHorizon { flags.append("deleteHorizon") }
    var text = "batch offsets \(header.baseOffset)..\(header.lastOffset) position \(position) bytes \(header.totalByteCount)"
    text += " records \(header.recordCount) codec \(codec) time \(Self.time(header.maxTimestamp))"
    text += " leaderEpoch \(header.partitionLeaderEpoch)"
    if header.producerID.rawValue >= 0 {
      text += " producer \(header.producerID) epoch \(header.producerEpoch) sequences \(header.baseSequence)..\(header.lastSequence)"
    }
    text += flags.map { " " + $0 }.joined() + (isSound ? " crc ok" : " crc WRONG")
    output.emit("batch", [
      ("baseOffset", .integer(header.baseOffset.rawValue)), ("lastOffset", .integer(header.lastOffset.rawValue)),
      ("position", .integer(position)), ("bytes", .integer(Int64(header.totalByteCount))), ("records", .integer(Int64(header.recordCount))),
      ("codec", .string(codec)), ("baseTimestamp", .integer(header.baseTimestamp.rawValue)),
      ("maxTimestamp", .integer(header.maxTimestamp.rawValue)), ("leaderEpoch", .integer(Int64(header.partitionLeaderEpoch.rawValue))),
      ("producerId", .integer(header.producerID.rawValue)), ("producerEpoch", .integer(Int64(header.producerEpoch.rawValue))),
      ("baseSequence", .integer(Int64(header.baseSequence))), ("flags", .array(flags.map(JSONValue.string))),
      ("crc", .integer(Int64(header.crc))), ("sound", .bool(isSound)),
    ], text: text)
  }

  private static func time(_ timestamp: Timestamp) -> String {
    timestamp.rawValue < 0 ? "-" : TimeArgument.text(milliseconds: timestamp.rawValue)
  }

  // MARK: Records

  private func showRecords(of batch: RecordBatchView, _ output: inout DumpOutput) throws(RecordError) {
    var iterator = try batch.records(using: self.decompressor, limit: Self.limit)
    while let record = try iterator.next() {
      if batch.header.attributes.isControl {
        self.showControl(record, &output)
      } else if self.isMetadata {
        self.showMetadata(record, &output)
      } else {
        self.show(record, &output)
      }
    }
  }

  private func show(_ record: RecordView, _ output: inout DumpOutput) {
    let headers = record.headers.map { ($0.key, DumpValue.json($0.value)) }
    var text = "  record offset \(record.offset) time \(Self.time(record.timestamp))"
    text += " key \(DumpValue.json(record.key).text) value \(DumpValue.json(record.value).text)"
    if !headers.isEmpty { text += " headers " + headers.map { "\($0.0)=\($0.1.text)" }.joined(separator: ",") }
    output.emit("record", [
      ("offset", .integer(record.offset.rawValue)), ("timestamp", .integer(record.timestamp.rawValue)),
      ("key", DumpValue.json(record.key)), ("value", DumpValue.json(record.value)),
      ("headers", .array(headers.flatMap { [.string($0.0), $0.1] })),
    ], text: text)
  }

  private func showMetadata(_ record: RecordView, _ output: inout DumpOutput) {
    let offset = record.offset
    guard let value = record.value else {
      return output.corrupt(self.path, position: nil, "The metadata record at offset \(offset) has no value.")
    }
    do throws(WireError) {
      let decoded = try MetadataRecord(decoding: value).value
      let name = "\(type(of: decoded))"
      let body = DumpValue.reflect(decoded)
      output.emit(
        "record", [("offset", .integer(offset.rawValue)), ("record", .string(name)), ("value", body)],
        text: "  record offset \(offset) \(name) \(body.text)")
    } catch {
      output.corrupt(self.path, position: nil, "The metadata record at offset \(offset) cannot be decoded: \(error)")
    }
  }

  private func showControl(_ record: RecordView, _ output: inout DumpOutput) {
    do {
      let key = try ControlRecordKey(record.key)
      let (name, body) = try Self.control(key, record)
      output.emit(
        "control", [("offset", .integer(record.offset.rawValue)), ("control", .string(name)), ("value", body)],
        text: "  control offset \(record.offset) \(name) \(body.text)")
    } catch {
      output.corrupt(self.path, position: nil, "The control record at offset \(record.offset) cannot be decoded: \(error)")
    }
  }

  private static func control(_ key: ControlRecordKey, _ record: RecordView) throws -> (String, JSONValue) {
    func decode<Value: VersionedMessage>(_ type: Value.Type) throws(WireError) -> (String, JSONValue) {
      let bytes = record.value ?? ByteBuffer()
      // These values begin with their version (KIP-595, KIP-630, KIP-853), and are encoded in it, as far as it is known.
      let version = bytes.getInteger(at: bytes.readerIndex, as: Int16.self) ?? 0
      let known = min(max(version, Value.supportedVersions.lowerBound), Value.supportedVersions.upperBound)
      return ("\(Value.self)", DumpValue.reflect(try Value(decoding: bytes, version: known)))
    }
    switch key.type {
    case .abort, .commit:
      let marker = try EndTransactionMarker(record)
      return (key.type == .commit ? "commit" : "abort", .object([("coordinatorEpoch", .integer(Int64(marker?.coordinatorEpoch ?? -1)))]))
    case .leaderChange: return try decode(LeaderChangeMessage.self)
    case .snapshotHeader: return try decode(SnapshotHeaderRecord.self)
    case .snapshotFooter: return try decode(SnapshotFooterRecord.self)
    case .kraftVersion: return try decode(KRaftVersionRecord.self)
    case .kraftVoters: return try decode(VotersRecord.self)
    case nil: return ("type \(key.typeNumber)", DumpValue.json(record.value))
    }
  }
}
