package import NIOCore

/// A record of a control batch: the end of a transaction in a partition log, or what Raft writes into the metadata log and its snapshots.
///
/// The record's key is a version and a type of 16 bits each. The value begins with its own version, as a field of the message or before it.
package enum ControlRecord: Hashable, Sendable {
  case abort(EndTxnMarker)
  case commit(EndTxnMarker)
  case leaderChange(LeaderChangeMessage)
  case snapshotHeader(SnapshotHeaderRecord)
  case snapshotFooter(SnapshotFooterRecord)
  case kraftVersion(KRaftVersionRecord)
  case voters(VotersRecord)

  /// The type in the record's key.
  package enum Kind: Int16, Hashable, Sendable, CaseIterable {
    case abort = 0
    case commit = 1
    case leaderChange = 2
    case snapshotHeader = 3
    case snapshotFooter = 4
    case kraftVersion = 5
    case voters = 6
  }

  package var kind: Kind {
    switch self {
    case .abort: .abort
    case .commit: .commit
    case .leaderChange: .leaderChange
    case .snapshotHeader: .snapshotHeader
    case .snapshotFooter: .snapshotFooter
    case .kraftVersion: .kraftVersion
    case .voters: .voters
    }
  }

  /// Decodes a control record from its key and value.
  ///
  /// As Kafka does, a key or a marker of a later version is read as the latest one known: later versions only add to the end.
  package init(key: ByteBuffer, value: ByteBuffer) throws(WireError) {
    var keyReader = WireReader(key)
    let keyVersion = try keyReader.readInteger("ControlRecord key version", as: Int16.self)
    let type = try keyReader.readInteger("ControlRecord key type", as: Int16.self)
    guard keyVersion >= 0, let kind = Kind(rawValue: type) else { throw .unknownControlRecord(version: keyVersion, type: type) }
    switch kind {
    case .abort: self = .abort(try Self.marker(value))
    case .commit: self = .commit(try Self.marker(value))
    case .leaderChange: self = .leaderChange(try Self.message(value))
    case .snapshotHeader: self = .snapshotHeader(try Self.message(value))
    case .snapshotFooter: self = .snapshotFooter(try Self.message(value))
    case .kraftVersion: self = .kraftVersion(try Self.message(value))
    case .voters: self = .voters(try Self.message(value))
    }
  }

  private static func marker(_ value: ByteBuffer) throws(WireError) -> EndTxnMarker {
    var reader = WireReader(value)
    let version = try reader.readInteger("EndTxnMarker version", as: Int16.self)
    guard version >= 0 else { throw .unsupportedVersion(message: "EndTxnMarker", version: version) }
    return try EndTxnMarker(from: &reader, version: min(version, EndTxnMarker.supportedVersions.upperBound))
  }

  /// A message whose first field is its version.
  private static func message<Message: VersionedMessage>(_ value: ByteBuffer) throws(WireError) -> Message {
    var peek = WireReader(value)
    return try Message(decoding: value, version: try peek.readInteger("ControlRecord value version"))
  }

  /// The record's key.
  package var key: ByteBuffer {
    var writer = WireWriter()
    writer.writeInteger(0 as Int16)
    writer.writeInteger(self.kind.rawValue)
    return writer.buffer
  }

  /// The record's value; the `version` field of the message decides how it is encoded.
  package var encodedValue: ByteBuffer {
    switch self {
    case .abort(let marker), .commit(let marker): marker.encodedVersionPrefixed(version: 0).buffer
    case .leaderChange(let message): message.encoded(version: message.version).buffer
    case .snapshotHeader(let message): message.encoded(version: message.version).buffer
    case .snapshotFooter(let message): message.encoded(version: message.version).buffer
    case .kraftVersion(let message): message.encoded(version: message.version).buffer
    case .voters(let message): message.encoded(version: message.version).buffer
    }
  }
}
