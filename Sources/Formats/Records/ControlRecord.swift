package import Model
package import NIOCore

/// What a control batch's record says, by the type in its key (Kafka: `ControlRecordType`).
package enum ControlRecordType: Int16, Hashable, Sendable, CaseIterable {
  case abort = 0
  case commit = 1
  /// KRaft (KIP-595, KIP-630, KIP-853): values are the stored records of these names.
  case leaderChange = 2
  case snapshotHeader = 3
  case snapshotFooter = 4
  case kraftVersion = 5
  case kraftVoters = 6
}

/// The key of a control record: a version i16 and a type i16.
package struct ControlRecordKey: Hashable, Sendable {
  package static let currentVersion: Int16 = 0
  package static let byteCount = 4
  package var version: Int16
  /// The number as it stands; readers ignore types they do not know.
  package var typeNumber: Int16

  package init(_ type: ControlRecordType) { (self.version, self.typeNumber) = (Self.currentVersion, type.rawValue) }

  /// Nil for a type of the future.
  package var type: ControlRecordType? { ControlRecordType(rawValue: self.typeNumber) }

  /// Later versions only add fields behind these.
  package init(_ key: ByteBuffer?) throws(RecordError) {
    guard let key, let version = key.getInteger(at: key.readerIndex, as: Int16.self),
      let type = key.getInteger(at: key.readerIndex + 2, as: Int16.self)
    else { throw .malformedControlRecord("its key has \(key?.readableBytes ?? 0) bytes, not \(Self.byteCount)") }
    guard version >= 0 else { throw .malformedControlRecord("its key has version \(version)") }
    (self.version, self.typeNumber) = (version, type)
  }

  package var bytes: ByteBuffer {
    var bytes = ByteBuffer()
    bytes.reserveCapacity(Self.byteCount)
    bytes.writeInteger(self.version)
    bytes.writeInteger(self.typeNumber)
    return bytes
  }
}

/// The end of a transaction in a partition, written by the transaction coordinator (KIP-98).
package struct EndTransactionMarker: Hashable, Sendable {
  package static let currentVersion: Int16 = 0
  /// `commit` or `abort`.
  package var isCommit: Bool
  package var coordinatorEpoch: Int32

  package init(isCommit: Bool, coordinatorEpoch: Int32) { (self.isCommit, self.coordinatorEpoch) = (isCommit, coordinatorEpoch) }

  /// Reads the marker from a control record; nil for a control record of another type.
  package init?(_ record: RecordView) throws(RecordError) {
    let key = try ControlRecordKey(record.key)
    guard let type = key.type, type == .commit || type == .abort else { return nil }
    guard let value = record.value, let version = value.getInteger(at: value.readerIndex, as: Int16.self),
      let epoch = value.getInteger(at: value.readerIndex + 2, as: Int32.self)
    else { throw .malformedControlRecord("a transaction marker has \(record.value?.readableBytes ?? 0) bytes, not 6") }
    guard version >= 0 else { throw .malformedControlRecord("a transaction marker has version \(version)") }
    self.init(isCommit: type == .commit, coordinatorEpoch: epoch)
  }

  package var value: ByteBuffer {
    var bytes = ByteBuffer()
    bytes.reserveCapacity(6)
    bytes.writeInteger(Self.currentVersion)
    bytes.writeInteger(self.coordinatorEpoch)
    return bytes
  }

  /// The batch of one control record that ends the transaction of a producer.
  package func batch(
    producerID: ProducerID, producerEpoch: ProducerEpoch, timestamp: Timestamp, using workspace: RecordWorkspace
  ) throws(RecordError) -> ByteBuffer {
    var builder = RecordBatchBuilder(
      RecordBatchBuilder.Attributes(
        producerID: producerID, producerEpoch: producerEpoch, baseSequence: -1, isTransactional: true, isControl: true),
      capacity: 128)
    try builder.append(timestamp: timestamp, key: ControlRecordKey(self.isCommit ? .commit : .abort).bytes, value: self.value)
    return try builder.finish(using: workspace.compressor)
  }
}
