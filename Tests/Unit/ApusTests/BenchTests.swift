import Base
import Compression
import KafkaClient
import Model
import NIOCore
import Records
import Testing

@testable import apus

@Suite struct BenchTests {
  @Test func percentilesOfKnownLatencies() {
    var histogram = LatencyHistogram()
    #expect(histogram.percentile(99) == 0)
    for microseconds in 1...1000 { histogram.record(nanoseconds: Int64(microseconds) * 1000) }
    #expect(abs(histogram.percentile(50) - 0.5) < 0.002)
    #expect(abs(histogram.percentile(99) - 0.99) < 0.002)
    #expect(histogram.maxMilliseconds == 1)
    #expect(histogram.percentile(100) <= 1)
    var other = LatencyHistogram()
    other.record(nanoseconds: 5_000_000_000_000)
    other.record(nanoseconds: -5)
    histogram.merge(other)
    #expect(histogram.count == 1002)
    #expect(histogram.maxMilliseconds == 5_000_000)
  }

  @Test func processesAreMeasuredFromTheirFiles() throws {
    let stat = "42 (a) b) (c) S 1 42 42 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 8 0 100 1 1 18446744073709551615"
    let status = "Name:\ta\nVmPeak:\t  999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n"
    let reading = try #require(ProcessMeter.parse(stat: stat, status: status, ticks: 100))
    #expect(reading.cpuSeconds == 4)
    #expect(reading.peakResidentByteCount == 2 << 20)
    #expect(ProcessMeter.parse(stat: "", status: status, ticks: 100) == nil)
    #expect(ProcessMeter.parse(stat: stat, status: "", ticks: 100) == nil)
    #expect(ProcessMeter.ownCPUSeconds() > 0)
  }

  @Test func templatesAreSoundBatchesThatFollowFromTheirSeed() throws {
    let template = try BatchTemplate(recordByteCount: 100, batchByteCount: 65536, codec: .none, compressible: 0.5)
    #expect((500...620).contains(template.recordsPerBatch))
    #expect(template.batches.count == 8)
    for bytes in template.batches {
      #expect(bytes.readableBytes <= 65536)
      let batch = try RecordBatchView(frontOf: bytes)
      try batch.checkChecksum()
      var iterator = try batch.records(using: Decompressor())
      var count = 0
      while let record = try iterator.next() {
        #expect(record.value?.readableBytes == 100)
        count += 1
      }
      #expect(count == template.recordsPerBatch)
    }
    let incompressible = try BatchTemplate(recordByteCount: 1000, batchByteCount: 65536, codec: .zstd, compressible: 0, variants: 1)
    let compressible = try BatchTemplate(recordByteCount: 1000, batchByteCount: 65536, codec: .zstd, compressible: 0.9, variants: 1)
    #expect(compressible.batches[0].readableBytes * 5 < incompressible.batches[0].readableBytes)
    #expect(try BatchTemplate(recordByteCount: 1024, batchByteCount: 1, codec: .none, compressible: 0).recordsPerBatch == 1)
  }

  @Test func aRateSetsTheIntendedTimes() throws {
    let start = Instant(nanoseconds: 1_000_000)
    let schedule = SendSchedule(batchCountMax: 3, duration: nil, interval: .microseconds(10))
    let taken = try (0..<3).map { _ in try #require(schedule.take(now: start)) }
    #expect(taken.map(\.index) == [0, 1, 2])
    #expect(taken.map { $0.due?.nanoseconds } == [1_000_000, 1_010_000, 1_020_000])
    #expect(schedule.take(now: start) == nil)
    let timed = SendSchedule(batchCountMax: .max, duration: .milliseconds(1), interval: nil)
    #expect(timed.take(now: start)?.due == nil)
    #expect(timed.take(now: start + .milliseconds(1)) == nil)
  }

  @Test func lanesShareThePartitions() {
    let address = BrokerAddress(host: "a", port: 1)
    let target = BenchTarget(topic: "t", topicID: .zero, leaders: [0: 1, 1: 1, 2: 2, 3: 1], addresses: [1: address, 2: address])
    #expect(target.lanes(connections: 2).map(\.partitions) == [[0, 1, 3], [2]])
    #expect(target.lanes(connections: 4).map(\.partitions) == [[0, 3], [1], [2], [2]])
    #expect(target.lanes(connections: 1).map(\.partitions) == [[0, 1, 3], [2]], "each broker needs one at least")
  }
}
