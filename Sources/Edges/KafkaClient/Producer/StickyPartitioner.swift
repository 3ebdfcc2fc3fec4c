package import Base

/// Chooses partitions for records without a key as Kafka's producer does: it stays with one partition until about a batch went there,
/// then moves on at random, rarely to those whose queues are long (KIP-480, KIP-794).
package struct StickyPartitioner: Sendable {
  /// The partition that records go to now. Nil: choose one.
  package private(set) var current: Int32?
  private var byteCount = 0
  private let switchByteCount: Int

  /// Moves on after `switchByteCount` bytes, at the next end of a batch.
  package init(switchByteCount: Int) { self.switchByteCount = switchByteCount }

  /// Chooses among the available partitions, given the bytes that wait for each. There must be one.
  package mutating func move(to queued: [(partition: Int32, byteCount: Int)], using generator: inout SeededGenerator) -> Int32 {
    let chosen = Self.pick(from: queued, using: &generator)
    self.current = chosen
    self.byteCount = 0
    return chosen
  }

  /// A record of `byteCount` bytes went to the chosen partition; `endedBatch` if it was the last of a batch or began a new one.
  package mutating func observe(byteCount: Int, endedBatch: Bool) {
    self.byteCount += byteCount
    if (endedBatch && self.byteCount >= self.switchByteCount) || self.byteCount >= 2 * self.switchByteCount { self.current = nil }
  }

  /// A random partition, the likelier the shorter its queue.
  private static func pick(from queued: [(partition: Int32, byteCount: Int)], using generator: inout SeededGenerator) -> Int32 {
    let longest = queued.lazy.map(\.byteCount).max() ?? 0
    let total = queued.reduce(0) { $0 + (longest + 1 - $1.byteCount) }
    var point = Int.random(in: 0..<total, using: &generator)
    for entry in queued {
      point -= longest + 1 - entry.byteCount
      if point < 0 { return entry.partition }
    }
    preconditionFailure("the weights add up to \(total)")
  }
}
