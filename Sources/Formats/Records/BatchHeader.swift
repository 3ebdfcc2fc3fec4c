package import Model

/// The 61 bytes in front of every record batch of format 2, as values (Kafka protocol guide, "Record Batch").
///
/// ```
/// 0 baseOffset i64 | 8 batchLength i32 | 12 partitionLeaderEpoch i32 | 16 magic i8 | 17 crc u32 | 21 attributes i16
/// 23 lastOffsetDelta i32 | 27 baseTimestamp i64 | 35 maxTimestamp i64 | 43 producerId i64 | 51 producerEpoch i16
/// 53 baseSequence i32 | 57 recordCount i32 | 61 records
/// ```
/// The CRC-32C covers everything from `attributes` on, so a broker sets the base offset and the leader epoch without touching it.
package struct BatchHeader: Hashable, Sendable {
  package static let byteCount = 61
  /// The bytes before the first one that `batchLength` counts (base offset and the length itself).
  package static let logOverhead = 12
  /// Where the CRC's coverage begins.
  package static let crcCoverageStart = 21

  package var baseOffset: Offset
  /// Bytes after the length field.
  package var batchLength: Int32
  package var partitionLeaderEpoch: LeaderEpoch
  package var magic: Int8
  package var crc: UInt32
  package var attributes: BatchAttributes
  package var lastOffsetDelta: Int32
  package var baseTimestamp: Timestamp
  package var maxTimestamp: Timestamp
  package var producerID: ProducerID
  package var producerEpoch: ProducerEpoch
  package var baseSequence: Int32
  package var recordCount: Int32

  /// The whole batch in bytes, header included.
  package var totalByteCount: Int { Int(self.batchLength) + Self.logOverhead }
  // The two wrap around rather than trap: a header may be asked before it is checked, and may say anything.
  package var lastOffset: Offset { Offset(self.baseOffset.rawValue &+ Int64(self.lastOffsetDelta)) }
  /// The offset after the last record.
  package var nextOffset: Offset { Offset(self.lastOffset.rawValue &+ 1) }
  package var lastSequence: Int32 {
    self.baseSequence < 0 ? -1 : Int32(truncatingIfNeeded: (Int64(self.baseSequence) + Int64(self.lastOffsetDelta)) & 0x7FFF_FFFF)
  }

  package init(
    baseOffset: Offset, batchLength: Int32, partitionLeaderEpoch: LeaderEpoch, magic: Int8, crc: UInt32, attributes: BatchAttributes,
    lastOffsetDelta: Int32, baseTimestamp: Timestamp, maxTimestamp: Timestamp, producerID: ProducerID,
    producerEpoch: ProducerEpoch, baseSequence: Int32, recordCount: Int32
  ) {
    self.baseOffset = baseOffset
    self.batchLength = batchLength
    self.partitionLeaderEpoch = partitionLeaderEpoch
    self.magic = magic
    self.crc = crc
    self.attributes = attributes
    self.lastOffsetDelta = lastOffsetDelta
    self.baseTimestamp = baseTimestamp
    self.maxTimestamp = maxTimestamp
    self.producerID = producerID
    self.producerEpoch = producerEpoch
    self.baseSequence = baseSequence
    self.recordCount = recordCount
  }

  /// Reads the fields; nil if fewer than 61 bytes are there. Checks nothing else.
  package init?(reading bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= Self.byteCount else { return nil }
    func load<T: FixedWidthInteger>(_ position: Int, _ type: T.Type) -> T {
      T(bigEndian: bytes.loadUnaligned(fromByteOffset: position, as: T.self))
    }
    self.baseOffset = Offset(load(0, Int64.self))
    self.batchLength = load(8, Int32.self)
    self.partitionLeaderEpoch = LeaderEpoch(load(12, Int32.self))
    self.magic = load(16, Int8.self)
    self.crc = load(17, UInt32.self)
    self.attributes = BatchAttributes(rawValue: load(21, Int16.self))
    self.lastOffsetDelta = load(23, Int32.self)
    self.baseTimestamp = Timestamp(load(27, Int64.self))
    self.maxTimestamp = Timestamp(load(35, Int64.self))
    self.producerID = ProducerID(load(43, Int64.self))
    self.producerEpoch = ProducerEpoch(load(51, Int16.self))
    self.baseSequence = load(53, Int32.self)
    self.recordCount = load(57, Int32.self)
  }

  /// Writes all 61 bytes.
  package func write(to bytes: UnsafeMutableRawBufferPointer) {
    func store<T: FixedWidthInteger>(_ value: T, _ position: Int) {
      bytes.storeBytes(of: value.bigEndian, toByteOffset: position, as: T.self)
    }
    precondition(bytes.count >= Self.byteCount)
    store(self.baseOffset.rawValue, 0)
    store(self.batchLength, 8)
    store(self.partitionLeaderEpoch.rawValue, 12)
    store(self.magic, 16)
    store(self.crc, 17)
    store(self.attributes.rawValue, 21)
    store(self.lastOffsetDelta, 23)
    store(self.baseTimestamp.rawValue, 27)
    store(self.maxTimestamp.rawValue, 35)
    store(self.producerID.rawValue, 43)
    store(self.producerEpoch.rawValue, 51)
    store(self.baseSequence, 53)
    store(self.recordCount, 57)
  }
}

/// The 16 attribute bits of a batch: codec (0-2), timestamp type (3), transactional (4), control (5), delete horizon (6).
package struct BatchAttributes: Hashable, Sendable {
  package var rawValue: Int16
  package init(rawValue: Int16) { self.rawValue = rawValue }

  /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5 to 7 are not assigned.
  package var codecNumber: Int16 {
    get { self.rawValue & 0x07 }
    set { self.rawValue = (self.rawValue & ~0x07) | (newValue & 0x07) }
  }
  package var isLogAppendTime: Bool { get { self.bit(3) } set { self.setBit(3, newValue) } }
  package var isTransactional: Bool { get { self.bit(4) } set { self.setBit(4, newValue) } }
  package var isControl: Bool { get { self.bit(5) } set { self.setBit(5, newValue) } }
  package var hasDeleteHorizon: Bool { get { self.bit(6) } set { self.setBit(6, newValue) } }

  private func bit(_ position: Int16) -> Bool { self.rawValue & (1 << position) != 0 }
  private mutating func setBit(_ position: Int16, _ value: Bool) {
    if value { self.rawValue |= 1 << position } else { self.rawValue &= ~(1 << position) }
  }
}
