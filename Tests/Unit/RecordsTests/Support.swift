import Base
import Compression
import Model
import NIOCore

@testable import Records

/// A record in plain values, to build from and to compare with.
struct PlainRecord: Hashable {
  var timestamp: Int64
  var key: ByteBuffer?
  var value: ByteBuffer?
  var headers: [RecordHeader] = []

  init(_ timestamp: Int64, _ key: String?, _ value: String?, _ headers: [(String, String?)] = []) {
    self.timestamp = timestamp
    self.key = key.map { ByteBuffer(string: $0) }
    self.value = value.map { ByteBuffer(string: $0) }
    self.headers = headers.map { RecordHeader(key: $0.0, value: $0.1.map { ByteBuffer(string: $0) }) }
  }

  init(_ record: RecordView) {
    self.timestamp = record.timestamp.rawValue
    self.key = record.key
    self.value = record.value
    self.headers = Array(record.headers)
  }
}

func batch(
  _ records: [PlainRecord], _ attributes: RecordBatchBuilder.Attributes = .init(), workspace: RecordWorkspace = RecordWorkspace()
) throws(RecordError) -> ByteBuffer {
  var builder = RecordBatchBuilder(attributes)
  for record in records {
    try builder.append(timestamp: Timestamp(record.timestamp), key: record.key, value: record.value, headers: record.headers)
  }
  return try builder.finish(using: workspace.compressor)
}

/// The batch at the front, its records in plain values, its checksum held against it.
func opened(_ bytes: ByteBuffer, limit: Int = 64 << 20) throws(RecordError) -> (header: BatchHeader, records: [PlainRecord]) {
  let view = try RecordBatchView(frontOf: bytes)
  try view.checkChecksum()
  var iterator = try view.records(using: Decompressor(), limit: limit)
  var records: [PlainRecord] = []
  while let record = try iterator.next() { records.append(PlainRecord(record)) }
  return (view.header, records)
}

/// The batch with its header changed and the CRC made right again: what a client could send on purpose.
func resealed(_ bytes: ByteBuffer, _ change: (inout BatchHeader) -> Void = { _ in }) -> ByteBuffer {
  var bytes = bytes
  bytes.withUnsafeMutableReadableBytes { bytes in
    var header = BatchHeader(reading: UnsafeRawBufferPointer(bytes))!
    change(&header)
    header.crc = header.checksum(body: UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.byteCount...]))
    header.write(to: bytes)
  }
  return bytes
}

/// A batch of no codec with these bytes for its records.
func batch(recordBytes: [UInt8], count: Int32, codec: Int16 = 0) -> ByteBuffer {
  var bytes = ByteBuffer(repeating: 0, count: BatchHeader.byteCount)
  bytes.writeBytes(recordBytes)
  var attributes = BatchAttributes(rawValue: 0)
  attributes.codecNumber = codec
  let header = BatchHeader(
    baseOffset: .zero, batchLength: Int32(bytes.readableBytes - 12), partitionLeaderEpoch: .unknown, magic: 2, crc: 0,
    attributes: attributes, lastOffsetDelta: count - 1, baseTimestamp: Timestamp(1_000), maxTimestamp: Timestamp(1_000),
    producerID: .none, producerEpoch: .none, baseSequence: -1, recordCount: count)
  bytes.withUnsafeMutableReadableBytes { header.write(to: $0) }
  return resealed(bytes)
}

extension ByteBuffer {
  var array: [UInt8] { Array(self.readableBytesView) }
  func prefix(_ count: Int) -> ByteBuffer { self.getSlice(at: self.readerIndex, length: count)! }
}

func randomRecords(count: Int, using generator: inout SeededGenerator) -> [PlainRecord] {
  func text(_ limit: UInt64) -> String {
    String(repeating: "x", count: Int(generator.next() % limit)) + "\(generator.next() % 1_000)"
  }
  return (0..<count).map { _ in
    var record = PlainRecord(1_700_000_000_000 + Int64(generator.next() % 100_000) - 50_000, nil, nil)
    if generator.next() % 4 != 0 { record.key = ByteBuffer(string: text(20)) }
    if generator.next() % 8 != 0 { record.value = ByteBuffer(string: text(300)) }
    if generator.next() % 16 == 0 { record.value = ByteBuffer() }
    for _ in 0..<(generator.next() % 4) {
      record.headers.append(RecordHeader(key: text(10), value: generator.next() % 3 == 0 ? nil : ByteBuffer(string: text(30))))
    }
    return record
  }
}
