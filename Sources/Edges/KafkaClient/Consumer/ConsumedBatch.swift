package import Compression
import Model
import NIOCore
package import Records
import Synchronization

/// Something to know about an assigned partition.
public enum ConsumerEvent: Sendable {
  case batch(ConsumedBatch)
  /// Everything up to `offset`, the partition's end at that moment, was handed out. Told once per end.
  case endOfPartition(TopicPartition, offset: Int64)
}

/// Records of one partition that were stored together. They are decompressed and parsed only when asked for.
public struct ConsumedBatch: Sendable {
  public let partition: TopicPartition
  package let view: RecordBatchView
  /// Records before it are not part of what was asked for.
  package let from: Int64
  /// The partition's end when the batch was fetched.
  public let highWatermark: Int64
  private let pool: DecompressorPool
  private let limit: Int

  package init(partition: TopicPartition, view: RecordBatchView, from: Int64, highWatermark: Int64, pool: DecompressorPool, limit: Int) {
    (self.partition, self.view, self.from, self.highWatermark) = (partition, view, from, highWatermark)
    (self.pool, self.limit) = (pool, limit)
  }

  /// The offset of the first record, or where reading began if that is later.
  public var firstOffset: Int64 { max(self.from, self.view.header.baseOffset.rawValue) }
  /// The offset of the last record. In a compacted topic there may be none at it.
  public var lastOffset: Int64 { self.view.header.lastOffset.rawValue }
  /// Records stored in the batch. If reading began within it, fewer are handed out.
  public var storedRecordCount: Int { Int(self.view.header.recordCount) }
  /// As stored, compression and header included.
  public var byteCount: Int { self.view.header.totalByteCount }

  /// All records, in order of their offsets. Throws `.malformed` if the batch cannot be read.
  public func records() throws(KafkaError) -> [ConsumerRecord] {
    var records: [ConsumerRecord] = []
    records.reserveCapacity(self.storedRecordCount)
    do {
      let decompressor = self.pool.take()
      defer { self.pool.put(decompressor) }
      var iterator = try self.view.records(using: decompressor, limit: self.limit)
      while let view = try iterator.next() {
        if view.offset.rawValue >= self.from { records.append(ConsumerRecord(partition: self.partition, view: view)) }
      }
    } catch {
      throw self.malformed(error)
    }
    return records
  }

  /// Walks the records where they lie: `body` gets the offset, the timestamp, the places of the parts and the bytes they are in.
  /// It returns false to stop.
  package func forEachRaw(
    _ body: (_ offset: Int64, _ timestamp: Int64, _ raw: RawRecord, _ bytes: UnsafeRawBufferPointer) -> Bool
  ) throws(KafkaError) {
    let header = self.view.header
    do {
      let decompressor = self.pool.take()
      defer { self.pool.put(decompressor) }
      let records = try self.view.uncompressedRecords(using: decompressor, limit: self.limit)
      try records.withUnsafeReadableBytes { (bytes) throws(RecordError) in
        var position = 0
        for index in 0..<Int(header.recordCount) {
          let raw: RawRecord
          do throws(RecordFault) { raw = try RawRecord(bytes, at: position) } catch { throw .malformedRecord(index: index, error) }
          position = raw.end
          let offset = header.baseOffset.rawValue &+ Int64(raw.offsetDelta)
          let timestamp =
            header.attributes.isLogAppendTime ? header.maxTimestamp.rawValue : header.baseTimestamp.rawValue &+ raw.timestampDelta
          if offset >= self.from, !body(offset, timestamp, raw, bytes) { return }
        }
      }
    } catch {
      throw self.malformed(error)
    }
  }

  private func malformed(_ error: RecordError) -> KafkaError {
    KafkaError(.malformed, "\(self.partition) is corrupt in the batch at offset \(self.view.header.baseOffset): \(error)")
  }
}

/// One record. Key and value are views of the batch's bytes, which live as long as the record does.
public struct ConsumerRecord: Sendable {
  public let partition: TopicPartition
  private let view: RecordView

  package init(partition: TopicPartition, view: RecordView) { (self.partition, self.view) = (partition, view) }

  public var topic: String { self.partition.topic }
  public var offset: Int64 { self.view.offset.rawValue }
  /// Milliseconds since 1970; -1 if the record has none.
  public var timestamp: Int64 { self.view.timestamp.rawValue }
  public var key: KafkaBytes? { self.view.key.map(KafkaBytes.init) }
  /// Nil is a tombstone.
  public var value: KafkaBytes? { self.view.value.map(KafkaBytes.init) }
  public var headers: [RecordHeader] {
    self.view.headers.map { RecordHeader($0.key, $0.value.map { Array($0.readableBytesView) }) }
  }
}

/// Decompression contexts for whoever reads batches at the moment: taken, used by one thread, and put back.
package final class DecompressorPool: Sendable {
  /// In the pool nobody uses it, and outside only whoever took it.
  private struct Idle: @unchecked Sendable { var decompressor: Decompressor }
  private let idle = Mutex<[Idle]>([])

  package init() {}

  package func take() -> Decompressor { self.idle.withLock { $0.popLast() }?.decompressor ?? Decompressor() }

  package func put(_ decompressor: Decompressor) {
    let idle = Idle(decompressor: decompressor)
    self.idle.withLock { if $0.count < 8 { $0.append(idle) } }
  }
}
