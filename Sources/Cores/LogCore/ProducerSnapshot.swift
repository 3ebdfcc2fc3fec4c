import Base
package import Model

/// `<offset>.snapshot`: the producer table as it was when the log ended at that offset (Kafka's `ProducerSnapshot`, version 1).
///
/// ```
/// version i16 | crc u32 (CRC-32C of all that follows) | count i32 | entries of 46 bytes:
/// producerId i64 | epoch i16 | lastSequence i32 | lastOffset i64 | offsetDelta i32 | timestamp i64 | coordinatorEpoch i32
/// | currentTxnFirstOffset i64
/// ```
package enum ProducerSnapshot {
  private static let headerByteCount = 10
  private static let entryByteCount = 46

  package enum DecodingError: Error, Hashable, Sendable, CustomStringConvertible {
    case truncated, unknownVersion(Int16), wrongChecksum
    package var description: String {
      switch self {
      case .truncated: "it is cut short"
      case .unknownVersion(let version): "its version \(version) is not known"
      case .wrongChecksum: "its checksum is wrong"
      }
    }
  }

  package static func encode(_ table: ProducerTable) -> [UInt8] {
    let entries = table.sortedEntries
    var body: [UInt8] = []
    body.reserveCapacity(4 + entries.count * self.entryByteCount)
    body.append(bigEndian: Int32(entries.count))
    for entry in entries {
      body.append(bigEndian: entry.producerID.rawValue)
      body.append(bigEndian: entry.epoch.rawValue)
      body.append(bigEndian: entry.lastSequence)
      body.append(bigEndian: entry.lastOffset.rawValue)
      body.append(bigEndian: entry.batches.last?.offsetDelta ?? 0)
      body.append(bigEndian: entry.lastTimestamp.rawValue)
      body.append(bigEndian: entry.coordinatorEpoch)
      body.append(bigEndian: entry.transactionFirstOffset?.rawValue ?? -1)
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(6 + body.count)
    bytes.append(bigEndian: Int16(1))
    bytes.append(bigEndian: Self.checksum(body))
    bytes += body
    return bytes
  }

  package static func decode(_ bytes: [UInt8], endOffset: Offset) throws(DecodingError) -> ProducerTable {
    guard bytes.count >= self.headerByteCount else { throw .truncated }
    let version = bytes.bigEndian(at: 0, as: Int16.self)
    guard version == 1 else { throw .unknownVersion(version) }
    let body = Array(bytes[6...])
    guard self.checksum(body) == bytes.bigEndian(at: 2, as: UInt32.self) else { throw .wrongChecksum }
    let count = Int(body.bigEndian(at: 0, as: Int32.self))
    guard count >= 0, body.count == 4 + count * self.entryByteCount else { throw .truncated }
    var entries: [ProducerEntry] = []
    entries.reserveCapacity(count)
    for index in 0..<count {
      let start = 4 + index * self.entryByteCount
      let timestamp = Timestamp(body.bigEndian(at: start + 26, as: Int64.self))
      let lastOffset = Offset(body.bigEndian(at: start + 14, as: Int64.self))
      let transaction = body.bigEndian(at: start + 38, as: Int64.self)
      var entry = ProducerEntry(
        producerID: ProducerID(body.bigEndian(at: start, as: Int64.self)),
        epoch: ProducerEpoch(body.bigEndian(at: start + 8, as: Int16.self)), lastTimestamp: timestamp)
      entry.coordinatorEpoch = body.bigEndian(at: start + 34, as: Int32.self)
      entry.transactionFirstOffset = transaction >= 0 ? Offset(transaction) : nil
      if lastOffset.rawValue >= 0 {
        entry.batches = [
          AppendedBatch(
            lastSequence: body.bigEndian(at: start + 10, as: Int32.self), lastOffset: lastOffset,
            offsetDelta: body.bigEndian(at: start + 22, as: Int32.self), timestamp: timestamp)
        ]
      }
      entries.append(entry)
    }
    return ProducerTable(entries: entries, endOffset: endOffset)
  }

  private static func checksum(_ bytes: [UInt8]) -> UInt32 {
    unsafe bytes.withUnsafeBytes { unsafe CRC32C.checksum($0) }
  }
}
