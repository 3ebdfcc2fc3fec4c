import Model
import NIOCore
import Testing
import Wire

@Suite struct StoredRecordTests {
  @Test("A metadata record as Kafka frames it, byte for byte")
  func framesMetadataRecord() throws {
    let record = MetadataRecord.topic(TopicRecord(name: "foo", topicId: .metadataTopic))
    let bytes: [UInt8] = [1, 2, 0, 4, 0x66, 0x6F, 0x6F] + [UInt8](repeating: 0, count: 15) + [1, 0]
    #expect(Array(record.encoded().readableBytesView) == bytes)
    #expect(try MetadataRecord(decoding: ByteBuffer(bytes: bytes)) == record)
  }

  @Test("Changes of a partition are tagged: what does not change takes no bytes")
  func framesPartitionChange() throws {
    let change = MetadataRecord.partitionChange(
      PartitionChangeRecord(partitionId: 1, topicId: .zero, isr: [3], leader: -1))
    let bytes: [UInt8] =
      [1, 5, 0, 0, 0, 0, 1] + [UInt8](repeating: 0, count: 16) + [2, 0, 5, 2, 0, 0, 0, 3, 1, 4, 0xFF, 0xFF, 0xFF, 0xFF]
    #expect(Array(change.encoded(version: 0).readableBytesView) == bytes)
    #expect(try MetadataRecord(decoding: ByteBuffer(bytes: bytes)) == change)
  }

  @Test("Every metadata record goes through its frame, and its type is its own")
  func framesAll() throws {
    var types: Set<Int16> = []
    for type in WireCatalog.metadataRecords {
      #expect(types.insert(type.apiKey).inserted, "\(type)")
      for version in type.supportedVersions {
        var writer = WireWriter()
        writer.writeUnsignedVarint(1)
        writer.writeUnsignedVarint(UInt32(type.apiKey))
        writer.writeUnsignedVarint(UInt32(version))
        func encodeDefault<M: VersionedMessage>(_ type: M.Type) { M().encode(into: &writer, version: version) }
        encodeDefault(type)
        let record = try MetadataRecord(decoding: writer.buffer)
        #expect("\(Swift.type(of: record.value))" == "\(type)")
        #expect(record.encoded(version: version) == writer.buffer)
      }
    }
  }

  @Test func refusesFrames() {
    #expect(throws: WireError.unknownRecordFrame(version: 0)) { try MetadataRecord(decoding: ByteBuffer(bytes: [0, 2, 0])) }
    #expect(throws: WireError.unknownRecordType(99)) { try MetadataRecord(decoding: ByteBuffer(bytes: [1, 99, 0])) }
    #expect(throws: WireError.unsupportedVersion(message: "NoOpRecord", version: 7)) {
      try MetadataRecord(decoding: ByteBuffer(bytes: [1, 20, 7, 0]))
    }
    #expect(throws: WireError.unsupportedVersion(message: "NoOpRecord", version: .max), "a version of 32 bits") {
      try MetadataRecord(decoding: ByteBuffer(bytes: [1, 20, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 0]))
    }
    let place = WireError.Place(field: "end of metadata record", position: 4)
    #expect(throws: WireError.trailingBytes(place, count: 1)) { try MetadataRecord(decoding: ByteBuffer(bytes: [1, 20, 0, 0, 0])) }
    for count in 0..<3 {
      #expect(throws: WireError.self) { try MetadataRecord(decoding: ByteBuffer(bytes: [1, 20, 0, 0][..<count])) }
    }
  }

  @Test("Control records go through key and value", arguments: ControlRecordSamples.all)
  func controlRecords(record: ControlRecord) throws {
    #expect(Array(record.key.readableBytesView) == [0, 0, 0, UInt8(record.kind.rawValue)])
    #expect(try ControlRecord(key: record.key, value: record.encodedValue) == record)
  }

  @Test("A transaction's end, byte for byte; a later version of it is read as far as we know it")
  func transactionMarker() throws {
    let marker = ControlRecord.commit(EndTxnMarker(coordinatorEpoch: 258))
    #expect(Array(marker.encodedValue.readableBytesView) == [0, 0, 0, 0, 1, 2])
    let later = ByteBuffer(bytes: [0, 3, 0, 0, 1, 2, 0xEE])
    #expect(try ControlRecord(key: ByteBuffer(bytes: [0, 1, 0, 1]), value: later) == marker)
  }

  @Test func refusesControlRecords() {
    let value = ByteBuffer(bytes: [0, 0, 0, 0, 0, 0])
    #expect(throws: WireError.unknownControlRecord(version: 0, type: 7)) {
      try ControlRecord(key: ByteBuffer(bytes: [0, 0, 0, 7]), value: value)
    }
    #expect(throws: WireError.unknownControlRecord(version: -1, type: 0)) {
      try ControlRecord(key: ByteBuffer(bytes: [0xFF, 0xFF, 0, 0]), value: value)
    }
    #expect(throws: WireError.unsupportedVersion(message: "LeaderChangeMessage", version: 9)) {
      try ControlRecord(key: ByteBuffer(bytes: [0, 0, 0, 2]), value: ByteBuffer(bytes: [0, 9, 0, 0]))
    }
    #expect(throws: WireError.unsupportedVersion(message: "EndTxnMarker", version: -1)) {
      try ControlRecord(key: ByteBuffer(bytes: [0, 0, 0, 0]), value: ByteBuffer(bytes: [0xFF, 0xFF, 0, 0, 0, 0]))
    }
    #expect(throws: WireError.truncated(.init(field: "ControlRecord key type", position: 2), needed: 2, available: 1)) {
      try ControlRecord(key: ByteBuffer(bytes: [0, 0, 0]), value: value)
    }
  }

  @Test("A producer snapshot's entries follow its version")
  func versionPrefix() throws {
    let snapshot = ProducerSnapshot(crc: 0xDEAD_BEEF, producerEntries: [.init(producerId: 1, epoch: 2, currentTxnFirstOffset: -1)])
    let buffer = snapshot.encodedVersionPrefixed(version: 1).buffer
    #expect(Array(buffer.readableBytesView.prefix(6)) == [0, 1, 0xDE, 0xAD, 0xBE, 0xEF])
    #expect(try ProducerSnapshot(decodingVersionPrefixed: buffer) == snapshot)
    #expect(throws: WireError.unsupportedVersion(message: "ProducerSnapshot", version: 2)) {
      try ProducerSnapshot(decodingVersionPrefixed: ByteBuffer(bytes: [0, 2, 0, 0, 0, 0]))
    }
  }

  @Test("API keys by number and name")
  func apiKeys() {
    #expect(ApiKey.allCases.map(\.rawValue) == Array(0...93))
    #expect(ApiKey(rawValue: 23)?.name == "OffsetForLeaderEpoch")
    #expect(ApiKey.saslHandshake.isFlexible(1) == false)
    #expect(ApiKey.apiVersions.isFlexible(2) == false)
    #expect(ApiKey.apiVersions.isFlexible(3) == true)
    #expect(ApiKey.vote.isFlexible(0) == true)
  }
}

/// A control record of every kind.
enum ControlRecordSamples {
  static let all: [ControlRecord] = [
    .abort(EndTxnMarker(coordinatorEpoch: 7)), .commit(EndTxnMarker(coordinatorEpoch: -1)),
    .leaderChange(LeaderChangeMessage(version: 0, leaderId: 3, voters: [.init(voterId: 3)], grantingVoters: [.init(voterId: 3)])),
    .leaderChange(LeaderChangeMessage(version: 1, leaderId: 3, voters: [.init(voterId: 3, voterDirectoryId: .metadataTopic)])),
    .snapshotHeader(SnapshotHeaderRecord(version: 0, lastContainedLogTimestamp: 1_700_000_000_000)),
    .snapshotFooter(SnapshotFooterRecord(version: 0)), .kraftVersion(KRaftVersionRecord(version: 0, kRaftVersion: 1)),
    .voters(
      VotersRecord(
        version: 0,
        voters: [
          .init(
            voterId: 1, voterDirectoryId: .metadataTopic, endpoints: [.init(name: "CONTROLLER", host: "h", port: 65_535)],
            kRaftVersionFeature: .init(minSupportedVersion: 0, maxSupportedVersion: 1))
        ])),
  ]
}
