import Base
package import Model

/// `<offset>.snapshot`: the producer table as it was when the log ended at that offset (Kafka's `ProducerSnapshot`, version 1).
///
/// ```
/// version i16 | crc u32 (CRC-32C of all that follows) | count i32 | entries of 46 bytes:
/// producerId i64 | epoch i16 | lastSequence i32 | lastOffset i64 | offsetDelta i32 | timestamp i64 | coordinatorEpoch i32
/// | currentTxnFirstOffset i64
/// ```
///
/// That keeps one batch of each producer, so that a producer with several in flight whose answers were lost is refused its repetition of
/// any but the last after a restart. What Kafka's reader has no eyes for follows, where there is something to say (the checksum covers it;
/// Kafka sums up to the end of the file too, and reads no further than the entries):
///
/// ```
/// "APUS" | version i16 = 1 | for each entry, in order: count u8, and as many batches before its last, oldest first, of 24 bytes:
/// lastSequence i32 | lastOffset i64 | offsetDelta i32 | timestamp i64
/// ```
package enum ProducerSnapshot {
  private static let earlierMagic: UInt32 = 0x4150_5553
  private static let earlierVersion: Int16 = 1
  private static let earlierByteCount = 24
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
    if entries.contains(where: { $0.batches.count > 1 }) { self.encodeEarlier(entries, into: &body) }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(6 + body.count)
    bytes.append(bigEndian: Int16(1))
    bytes.append(bigEndian: Self.checksum(body))
    bytes += body
    return bytes
  }

  private static func encodeEarlier(_ entries: [ProducerEntry], into body: inout [UInt8]) {
    body.append(bigEndian: self.earlierMagic)
    body.append(bigEndian: self.earlierVersion)
    for entry in entries {
      let earlier = entry.batches.dropLast()
      body.append(UInt8(earlier.count))
      for batch in earlier {
        body.append(bigEndian: batch.lastSequence)
        body.append(bigEndian: batch.lastOffset.rawValue)
        body.append(bigEndian: batch.offsetDelta)
        body.append(bigEndian: batch.timestamp.rawValue)
      }
    }
  }

  package static func decode(_ bytes: [UInt8], endOffset: Offset) throws(DecodingError) -> ProducerTable {
    guard bytes.count >= self.headerByteCount else { throw .truncated }
    let version = bytes.bigEndian(at: 0, as: Int16.self)
    guard version == 1 else { throw .unknownVersion(version) }
    let body = Array(bytes[6...])
    guard self.checksum(body) == bytes.bigEndian(at: 2, as: UInt32.self) else { throw .wrongChecksum }
    let count = Int(body.bigEndian(at: 0, as: Int32.self))
    guard count >= 0, count <= (body.count - 4) / self.entryByteCount else { throw .truncated }
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
    try self.decodeEarlier(body, from: 4 + count * self.entryByteCount, into: &entries)
    return ProducerTable(entries: entries, endOffset: endOffset)
  }

  /// What follows the entries, if it is ours and of a version that is known.
  private static func decodeEarlier(
    _ body: [UInt8], from start: Int, into entries: inout [ProducerEntry]
  ) throws(DecodingError) {
    guard body.count - start >= 6, body.bigEndian(at: start, as: UInt32.self) == self.earlierMagic,
      body.bigEndian(at: start + 4, as: Int16.self) == self.earlierVersion
    else { return }
    var position = start + 6
    for index in entries.indices {
      guard position < body.count else { throw .truncated }
      let count = Int(body[position])
      position += 1
      guard count < ProducerEntry.batchesKept, body.count - position >= count * self.earlierByteCount else { throw .truncated }
      var earlier: [AppendedBatch] = []
      for _ in 0..<count {
        earlier.append(
          AppendedBatch(
            lastSequence: body.bigEndian(at: position, as: Int32.self),
            lastOffset: Offset(body.bigEndian(at: position + 4, as: Int64.self)),
            offsetDelta: body.bigEndian(at: position + 12, as: Int32.self),
            timestamp: Timestamp(body.bigEndian(at: position + 16, as: Int64.self))))
        position += self.earlierByteCount
      }
      entries[index].batches.insert(contentsOf: earlier, at: 0)
    }
  }

  private static func checksum(_ bytes: [UInt8]) -> UInt32 {
    unsafe bytes.withUnsafeBytes { unsafe CRC32C.checksum($0) }
  }
}
