import Base
import Compression
import KafkaClient
import Model
import NIOCore
import Records

/// Record batches made before the run, so that the run measures the broker and not the making of records.
struct BatchTemplate: Sendable {
  /// Different contents, used in turn.
  var batches: [ByteBuffer]
  var recordsPerBatch: Int

  /// Batches of `recordByteCount`-byte values without keys, each batch as many as fit into `batchByteCount` before compression, one at
  /// least. The contents follow from a fixed seed; the share `compressible` (0 to 1) of every value repeats, the rest is random.
  init(recordByteCount: Int, batchByteCount: Int, codec: CompressionCodec, compressible: Double, variants: Int = 8) throws {
    var generator = SeededGenerator(seed: 0x6170_7573)
    let compressor = Compressor()
    let timestamp = Timestamp(WallClock.milliseconds())
    let recordByteCountMax = RecordBatchBuilder.maximumByteCount(keyByteCount: 0, valueByteCount: recordByteCount)
    let randomByteCount = Int((Double(recordByteCount) * (1 - compressible)).rounded())
    self.batches = []
    self.recordsPerBatch = 0
    for _ in 0..<variants {
      var builder = RecordBatchBuilder(.init(codec: codec), capacity: batchByteCount)
      var value = [UInt8](repeating: UInt8(ascii: "-"), count: recordByteCount)
      repeat {
        for index in 0..<randomByteCount { value[index] = UInt8(truncatingIfNeeded: generator.next() >> 24) }
        try value.withUnsafeBytes { try builder.append(timestamp: timestamp, key: nil, value: $0) }
      } while builder.uncompressedByteCount + recordByteCountMax <= batchByteCount
      self.recordsPerBatch = builder.recordCount
      self.batches.append(try builder.finish(using: compressor))
    }
  }
}
