import Base
import LogCore
import Model
import Testing

@Suite struct ProducerTableTests {
  private func batch(_ sequence: Int32, count: Int32 = 1, epoch: Int16 = 0, offset: Int64, id: Int64 = 7, timestamp: Int64 = 100)
    -> ProducerBatch
  {
    ProducerBatch(
      producerID: ProducerID(id), epoch: ProducerEpoch(epoch), baseSequence: sequence,
      lastSequence: Int32(truncatingIfNeeded: (Int64(sequence) + Int64(count) - 1) & 0x7FFF_FFFF), baseOffset: Offset(offset),
      lastOffset: Offset(offset + Int64(count) - 1), maxTimestamp: Timestamp(timestamp))
  }
  private func table(_ batches: ProducerBatch...) -> ProducerTable {
    var table = ProducerTable()
    for batch in batches { table.record(batch) }
    return table
  }

  @Test func theLastFiveBatchesAreRecognisedAndNoOlder() throws {
    var table = ProducerTable()
    for index in 0..<6 { table.record(self.batch(Int32(index) * 2, count: 2, offset: Int64(index) * 10)) }
    for index in 1..<6 {
      let earlier = try table.check(self.batch(Int32(index) * 2, count: 2, offset: 99), origin: .client)
      #expect(earlier?.baseOffset == Offset(Int64(index) * 10) && earlier?.lastOffset == Offset(Int64(index) * 10 + 1))
    }
    #expect(throws: ProducerRefusal.outOfOrderSequence(ProducerID(7), got: 0, lastSequence: 11)) {
      try table.check(self.batch(0, count: 2, offset: 99), origin: .client)
    }
    // The same first sequence with another count is not a repetition.
    #expect(throws: ProducerRefusal.outOfOrderSequence(ProducerID(7), got: 10, lastSequence: 11)) {
      try table.check(self.batch(10, count: 1, offset: 99), origin: .client)
    }
  }

  @Test func sequencesGoOnByOneAndWrapAround() throws {
    let table = self.table(self.batch(Int32.max - 1, count: 2, offset: 0))
    #expect(try table.check(self.batch(0, offset: 2), origin: .client) == nil)
    #expect(throws: ProducerRefusal.outOfOrderSequence(ProducerID(7), got: 1, lastSequence: .max)) {
      try table.check(self.batch(1, offset: 2), origin: .client)
    }
    let wrapped = self.table(self.batch(Int32.max, count: 3, offset: 0))
    #expect(wrapped[ProducerID(7)]?.lastSequence == 1)
    #expect(try wrapped.check(self.batch(Int32.max, count: 3, offset: 9), origin: .client)?.baseOffset == .zero)
    #expect(try wrapped.check(self.batch(2, offset: 3), origin: .client) == nil)
  }

  @Test func anUnknownProducerMayBeginAnywhere() throws {
    #expect(try self.table().check(self.batch(42, offset: 0), origin: .client) == nil)
  }

  @Test func aNewEpochBeginsAtZeroAndFencesTheOld() throws {
    var table = self.table(self.batch(0, count: 5, epoch: 3, offset: 0))
    #expect(throws: ProducerRefusal.outOfOrderSequence(ProducerID(7), got: 5, lastSequence: -1)) {
      try table.check(self.batch(5, epoch: 4, offset: 5), origin: .client)
    }
    #expect(try table.check(self.batch(0, epoch: 4, offset: 5), origin: .client) == nil)
    table.record(self.batch(0, epoch: 4, offset: 5))
    #expect(throws: ProducerRefusal.invalidProducerEpoch(ProducerID(7), got: ProducerEpoch(3), current: ProducerEpoch(4))) {
      try table.check(self.batch(0, count: 5, epoch: 3, offset: 6), origin: .client)
    }
    #expect(try table.check(self.batch(0, epoch: 3, offset: 6), origin: .replication) == nil)
  }

  @Test func coordinatorsAreHeldToTheEpochOnly() throws {
    let table = self.table(self.batch(0, epoch: 3, offset: 0))
    #expect(try table.check(self.batch(17, epoch: 3, offset: 1), origin: .coordinator) == nil)
    #expect(throws: ProducerRefusal.self) { try table.check(self.batch(17, epoch: 2, offset: 1), origin: .coordinator) }
  }

  @Test func silentProducersAreForgotten() {
    var table = self.table(self.batch(0, offset: 0, id: 1, timestamp: 1_000), self.batch(0, offset: 1, id: 2, timestamp: 5_000))
    let forgotten = table.expire(now: Timestamp(61_000), after: .seconds(60))
    #expect(forgotten == 1)
    #expect(table[ProducerID(1)] == nil && table[ProducerID(2)] != nil)
  }

  /// The bytes of Kafka's schema by hand: version, checksum of what follows, count, and one entry of 46 bytes.
  @Test func theSnapshotIsKafkas() throws {
    var table = ProducerTable()
    table.record(self.batch(5, count: 3, epoch: 2, offset: 0x0102, id: 0x0A0B, timestamp: 0x0C0D))
    let bytes = ProducerSnapshot.encode(table)
    let body: [UInt8] =
      [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x0A, 0x0B, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 2]
      + [0, 0, 0, 0, 0, 0, 0x0C, 0x0D, 0xFF, 0xFF, 0xFF, 0xFF] + [UInt8](repeating: 0xFF, count: 8)
    #expect(bytes.count == 56)
    #expect(Array(bytes[..<2]) == [0, 1])
    #expect(Array(bytes[6...]) == body)
    // CRC-32C of `body`, computed bit by bit.
    #expect(Array(bytes[2..<6]) == crc32c(body))
    let decoded = try ProducerSnapshot.decode(bytes, endOffset: Offset(0x0105))
    #expect(decoded[ProducerID(0x0A0B)] == table[ProducerID(0x0A0B)])
    #expect(decoded.endOffset == Offset(0x0105))
  }

  /// Kafka's reader sums up the whole file and reads the entries; the earlier batches lie behind them.
  @Test func theSnapshotKeepsTheLastFiveBatches() throws {
    var table = ProducerTable()
    for index in 0..<7 {
      table.record(self.batch(Int32(index) * 3, count: 3, offset: Int64(index) * 3, id: 8, timestamp: 100 + Int64(index)))
    }
    table.record(self.batch(0, offset: 21, id: 9))
    let bytes = ProducerSnapshot.encode(table)
    let kafkas = 6 + 4 + 2 * 46
    #expect(bytes.count == kafkas + 4 + 2 + (1 + 4 * 24) + 1)
    #expect(Array(bytes[6..<10]) == [0, 0, 0, 2])
    #expect(Array(bytes[2..<6]) == crc32c(Array(bytes[6...])))
    #expect(Array(bytes[kafkas..<kafkas + 7]) == Array("APUS".utf8) + [0, 1, 4])
    // The third batch is the oldest that is kept: sequence 8, offset 8, delta 2, time 102.
    #expect(
      Array(bytes[kafkas + 7..<kafkas + 31])
        == [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 102])
    let decoded = try ProducerSnapshot.decode(bytes, endOffset: table.endOffset)
    #expect(decoded == table)
    #expect(decoded[ProducerID(8)]?.batches.count == 5 && decoded[ProducerID(9)]?.batches.count == 1)
  }

  /// A later version, or another program's: the entries are read all the same.
  @Test(arguments: [[UInt8]("APUS".utf8) + [0, 2, 9], [1], [UInt8](repeating: 7, count: 50)])
  func whatFollowsTheEntriesAndIsNotKnownIsPassedOver(rest: [UInt8]) throws {
    let table = self.table(self.batch(0, offset: 0))
    let body = Array(ProducerSnapshot.encode(table)[6...]) + rest
    let decoded = try ProducerSnapshot.decode([0, 1] + crc32c(body) + body, endOffset: table.endOffset)
    #expect(decoded == table)
  }

  @Test(arguments: [0, 4]) func aDamagedSnapshotIsRefused(earlier: Int32) {
    var table = ProducerTable()
    for sequence in 0...earlier { table.record(self.batch(sequence, offset: Int64(sequence))) }
    let bytes = ProducerSnapshot.encode(table)
    for position in bytes.indices {
      var damaged = bytes
      damaged[position] ^= 0x40
      #expect(throws: ProducerSnapshot.DecodingError.self, "byte \(position)") { try ProducerSnapshot.decode(damaged, endOffset: .zero) }
    }
    for count in 0..<bytes.count {
      #expect(throws: ProducerSnapshot.DecodingError.self) { try ProducerSnapshot.decode(Array(bytes[..<count]), endOffset: .zero) }
    }
  }

  private func crc32c(_ bytes: [UInt8]) -> [UInt8] {
    var crc: UInt32 = 0xFFFF_FFFF
    for byte in bytes {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ 0x82F6_3B78 : crc >> 1 }
    }
    crc = ~crc
    return [UInt8(crc >> 24), UInt8(crc >> 16 & 0xFF), UInt8(crc >> 8 & 0xFF), UInt8(crc & 0xFF)]
  }
}

@Suite struct FileFormatTests {
  @Test func names() {
    #expect(LogFileName.name(Offset(42), .log) == "00000000000000000042.log")
    #expect(LogFileName.parse("00000000000000000042.timeindex")?.offset == Offset(42))
    for name in [
      "42.log", "00000000000000000042.foo", "0000000000000000004x.log", "+0000000000000000042.log", "00000000000000000042.log.deleted",
    ] {
      #expect(LogFileName.parse(name) == nil, "\(name)")
    }
    #expect(LogFileName.partition(ofDirectory: "a-b.c_d-12") == TopicPartition("a-b.c_d", PartitionID(12)))
    for name in ["topic", "-1", "topic-", "topic-x", "topic-01", "topic--1x", "to pic-1", "..-0", "topic-0.1234-delete"] {
      #expect(LogFileName.partition(ofDirectory: name) == nil, "\(name)")
    }
    let id = KafkaUUID(high: 0x0123_4567_89AB_CDEF, low: 1)
    #expect(LogFileName.deletedDirectory(TopicPartition("t", PartitionID(3)), id: id) == "t-3.0123456789abcdef0000000000000001-delete")
    let long = LogFileName.deletedDirectory(TopicPartition(String(repeating: "x", count: 249), PartitionID(3)), id: id)
    #expect(long.utf8.count == 255 && long.hasSuffix("x-3.0123456789abcdef0000000000000001-delete"))
  }

  @Test func indexEntries() {
    var bytes: [UInt8] = []
    OffsetIndexEntry(offset: Offset(1_000_258), position: 0x0304).encode(baseOffset: Offset(1_000_000), into: &bytes)
    #expect(bytes == [0, 0, 1, 2, 0, 0, 3, 4])
    #expect(
      OffsetIndexEntry(decoding: bytes, at: 0, baseOffset: Offset(1_000_000))
        == OffsetIndexEntry(offset: Offset(1_000_258), position: 0x0304))
    bytes = [9]
    TimeIndexEntry(timestamp: Timestamp(0x0102), offset: Offset(1_000_003)).encode(baseOffset: Offset(1_000_000), into: &bytes)
    #expect(bytes == [9, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3])
    #expect(
      TimeIndexEntry(decoding: bytes, at: 1, baseOffset: Offset(1_000_000))
        == TimeIndexEntry(timestamp: Timestamp(0x0102), offset: Offset(1_000_003)))
  }

  @Test func checkpoints() {
    let offsets = [
      TopicPartition("b", PartitionID(0)): Offset(5), TopicPartition("a", PartitionID(10)): Offset(7),
      TopicPartition("a", PartitionID(2)): Offset(6),
    ]
    #expect(CheckpointText.text(of: offsets) == "0\n3\na 2 6\na 10 7\nb 0 5\n")
    #expect(CheckpointText.offsets(of: CheckpointText.text(of: offsets)) == offsets)
    #expect(CheckpointText.offsets(of: "0\n0\n") == [:])
    for text in ["", "0", "0\n1\n", "1\n0\n", "0\n1\na 0\n", "0\n1\na 0 -1\n", "0\n1\na x 1\n", "0\n2\na 0 1\n"] {
      #expect(CheckpointText.offsets(of: text) == nil, "\(text)")
    }
  }

  @Test func partitionMetadata() {
    let id = KafkaUUID(high: 1, low: 2)
    #expect(PartitionMetadataFile.text(topicID: id) == "version: 0\ntopic_id: AAAAAAAAAAEAAAAAAAAAAg")
    #expect(PartitionMetadataFile.topicID(of: PartitionMetadataFile.text(topicID: id) + "\n") == id)
    #expect(PartitionMetadataFile.topicID(of: "version: 1\ntopic_id: AAAAAAAAAAEAAAAAAAAAAg") == nil)
    #expect(PartitionMetadataFile.topicID(of: "version: 0\n") == nil)
    let bytes = Array(PartitionMetadataFile.text(topicID: id).utf8)
    for count in bytes.indices {
      #expect(PartitionMetadataFile.isUnfinished(Array(bytes[..<count])))
      #expect(PartitionMetadataFile.isUnfinished(bytes[..<count] + [0, 0]))
      // A bit that flipped is no tear.
      var rotten = bytes
      rotten[count] ^= 0x80
      #expect(!PartitionMetadataFile.isUnfinished(rotten))
    }
    #expect(!PartitionMetadataFile.isUnfinished(bytes))
    #expect(!PartitionMetadataFile.isUnfinished(Array("version: 1".utf8)))
    #expect(!PartitionMetadataFile.isUnfinished(Array("version: 0\ntopic_id: AA=A".utf8)))
  }

  @Test func metaProperties() throws {
    let id = KafkaUUID(high: 1, low: 2)
    let kafkas = "#\n#Mon Nov 23 18:00:00 UTC 2026\nnode.id=3\ndirectory.id=\(id)\nversion=1\ncluster.id=abc\\=\n"
    let properties = try MetaProperties(text: kafkas, newDirectoryID: .zero)
    #expect(properties == MetaProperties(clusterID: "abc=", nodeID: NodeID(3), directoryID: id))
    #expect(try MetaProperties(text: properties.text, newDirectoryID: .zero) == properties)
    #expect(try MetaProperties(text: "version=1\ncluster.id=a\nnode.id=1\n", newDirectoryID: id).directoryID == id)
    #expect(throws: MetaProperties.ParseError.missing("cluster.id")) {
      try MetaProperties(text: "version=1\nnode.id=1", newDirectoryID: id)
    }
    #expect(throws: MetaProperties.ParseError.invalid("version", "0")) {
      try MetaProperties(text: "version=0\nbroker.id=1", newDirectoryID: id)
    }
    #expect(
      LogDirectoryFile.brokerEpoch(ofCleanShutdown: LogDirectoryFile.cleanShutdownText(brokerEpoch: BrokerEpoch(12))) == BrokerEpoch(12))
    #expect(LogDirectoryFile.brokerEpoch(ofCleanShutdown: "") == nil)
  }
}
