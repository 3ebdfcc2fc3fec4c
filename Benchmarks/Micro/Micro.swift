import Base
import Benchmark
import Compression
import Glibc
import LogCore
import Model
import NIOCore
import PosixDisk
import Records
import Storage
import Wire

let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(metrics: [.wallClock, .cpuTotal, .throughput], maxDuration: .seconds(2))

  checksumsAndCodecs()
  batches()
  messages()
  logs()
}

private func checksumsAndCodecs() {
  let block = [UInt8](repeating: 0x5A, count: 64 << 10)
  Benchmark("CRC-32C, 64 KiB") { benchmark in
    for _ in benchmark.scaledIterations { block.withUnsafeBytes { blackHole(CRC32C.checksum($0)) } }
  }
  let records = Samples.batch()
  for codec in CompressionCodec.allCases where codec != .none {
    let compressor = Compressor()
    var packed = ByteBuffer()
    Benchmark("compress \(codec), 64 KiB of JSON") { benchmark in
      for _ in benchmark.scaledIterations {
        packed.clear()
        try records.withUnsafeReadableBytes { try compressor.compress($0, codec: codec, into: &packed) }
      }
    }
    let decompressor = Decompressor()
    let compressed = Samples.batch(codec)
    var unpacked = ByteBuffer()
    Benchmark("decompress \(codec), 64 KiB of JSON") { benchmark in
      for _ in benchmark.scaledIterations {
        unpacked.clear()
        try compressed.withUnsafeReadableBytes { bytes in
          let body = UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.byteCount...])
          try decompressor.decompress(body, codec: codec, limit: 1 << 20, into: &unpacked)
        }
      }
    }
  }
}

private func batches() {
  let batch = Samples.batch()
  let validator = RecordBatchValidator(rules: BatchRules())
  let workspace = RecordWorkspace()
  let now = Timestamp(1_700_000_000_000)
  Benchmark("validate a batch of \(Samples.recordCount) records, 64 KiB") { benchmark in
    for _ in benchmark.scaledIterations {
      blackHole(try validator.validate(batch, produceVersion: 9, now: now, workspace: workspace))
    }
  }
  let decompressor = Decompressor()
  Benchmark("iterate a batch of \(Samples.recordCount) records, 64 KiB") { benchmark in
    for _ in benchmark.scaledIterations {
      var batches = BatchSequence(batch)
      while let next = try batches.next() {
        var records = try next.records(using: decompressor)
        while let record = try records.next() { blackHole(record.offset) }
      }
    }
  }
  Benchmark("build a batch of \(Samples.recordCount) records, 64 KiB") { benchmark in
    for _ in benchmark.scaledIterations { blackHole(Samples.batch()) }
  }
}

private func messages() {
  let request = Samples.produceRequest(version: 9)
  Benchmark("decode Produce v9, one partition") { benchmark in
    for _ in benchmark.scaledIterations { blackHole(try ProduceRequest(decoding: request, version: 9)) }
  }
  for partitionCount in [1, 100] {
    let response = Samples.fetchResponse(partitionCount: partitionCount)
    Benchmark("encode Fetch v12, \(partitionCount) partitions") { benchmark in
      for _ in benchmark.scaledIterations { blackHole(response.encoded(version: 12)) }
    }
  }
}

private func logs() {
  Benchmark("append 64 KiB to a log", configuration: .init(maxDuration: .seconds(2), maxIterations: 20_000)) { benchmark in
    var bench = try LogBench()
    defer { bench.remove() }
    let batch = Samples.batch()
    benchmark.startMeasurement()
    for _ in benchmark.scaledIterations { try bench.append(batch) }
    benchmark.stopMeasurement()
  }
  Benchmark("find 1 MiB of a log of 64 MiB to send") { benchmark in
    var bench = try LogBench()
    defer { bench.remove() }
    let batch = Samples.batch()
    for _ in 0..<1_000 { try bench.append(batch) }
    benchmark.startMeasurement()
    var offset = Offset.zero
    for _ in benchmark.scaledIterations { offset = try bench.read(from: offset) }
    benchmark.stopMeasurement()
  }
}

/// A log in a directory of its own.
private struct LogBench {
  private let path: String
  private var log: PartitionLog<PosixDisk>
  private let now = Timestamp(1_700_000_000_000)

  init() throws {
    var generator = SeededGenerator(seed: UInt64(getpid()))
    self.path = "/tmp/apus-micro-\(getpid())"
    let store = try LogDirectory.open(
      disk: PosixDisk(), path: self.path, nodeID: NodeID(1), clusterID: nil, newClusterID: "benchmark", generator: &generator)
    self.log = try PartitionLog.create(
      in: store, topicPartition: TopicPartition("benchmark", PartitionID(0)), topicID: nil, config: LogConfig(), now: self.now)
  }

  mutating func append(_ batch: ByteBuffer) throws {
    guard let header = batch.withUnsafeReadableBytes({ BatchHeader(reading: $0) }) else { fatalError("a batch without a header") }
    blackHole(try self.log.append(header, batch: batch, leaderEpoch: LeaderEpoch(0), now: self.now))
  }

  /// Returns where to read on; from the start again after the end.
  mutating func read(from offset: Offset) throws -> Offset {
    let slice = try self.log.read(from: offset, maxBytes: 1 << 20, upTo: self.log.logEndOffset, minOneBatch: true)
    return slice.nextOffset < self.log.logEndOffset ? slice.nextOffset : .zero
  }

  func remove() {
    do { try PosixDisk().removeTree(self.path) } catch { fatalError("\(error)") }
  }
}
