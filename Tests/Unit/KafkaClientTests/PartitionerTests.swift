import Base
import Testing

@testable import KafkaClient

@Suite struct PartitionerTests {
  /// The vectors of kafka-python (test/test_partitioner.py), which are those of Kafka's own Java tests.
  @Test(arguments: [
    ("", 681), ("a", 524), ("ab", 434), ("abc", 107), ("123456789", 566),
  ] as [(String, Int32)])
  func keysGoWhereEveryClientPutsThem(key: String, partition: Int32) {
    let found = Array(key.utf8).withUnsafeBytes { Murmur2.partition(forKey: $0, partitionCount: 1000) }
    #expect(found == partition)
  }

  @Test func nullKeysStayUntilABatchIsFull() {
    var generator = SeededGenerator(seed: 1)
    var sticky = StickyPartitioner(switchByteCount: 1000)
    let queued: [(partition: Int32, byteCount: Int)] = [(0, 0), (1, 0), (2, 0)]
    let first = sticky.move(to: queued, using: &generator)
    #expect(sticky.current == first)
    sticky.observe(byteCount: 600, endedBatch: true)
    #expect(sticky.current == first, "less than a batch went there")
    sticky.observe(byteCount: 600, endedBatch: false)
    #expect(sticky.current == first, "the batch goes on")
    sticky.observe(byteCount: 10, endedBatch: true)
    #expect(sticky.current == nil)
    _ = sticky.move(to: queued, using: &generator)
    sticky.observe(byteCount: 2000, endedBatch: false)
    #expect(sticky.current == nil, "twice the size without an end is enough")
  }

  @Test func longQueuesAreChosenRarely() {
    var generator = SeededGenerator(seed: 2)
    var counts = [0, 0, 0]
    var sticky = StickyPartitioner(switchByteCount: 1)
    for _ in 0..<3000 {
      counts[Int(sticky.move(to: [(0, 0), (1, 500), (2, 999)], using: &generator))] += 1
    }
    #expect(counts[0] > counts[1] && counts[1] > counts[2])
    #expect((1800...2200).contains(counts[0]), "1000 of 1500 parts: \(counts)")
    #expect(counts[2] < 20)
  }
}
