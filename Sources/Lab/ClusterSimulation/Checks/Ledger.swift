import Base
import Model
import Synchronization

/// What clients did and saw: every batch that was sent, every acknowledgement, every record that was read. From outside, with no look at
/// any node, it knows what must be true of the logs.
final class Ledger: Sendable {
  /// A batch and what became of it.
  struct Batch: Sendable {
    var span: RecordSpan
    var partition: TopicPartition
    var acks: Int16
    var isIdempotent: Bool
    /// Whether it comes behind the batches of its producer that have smaller numbers, in the same partition.
    var keepsOrder: Bool
    var attempts = 0
    /// When it was acknowledged; nil if it was not.
    var acknowledged: Instant?
  }
  /// What is known to be committed at an offset, for whoever may have another opinion.
  struct Known: Sendable {
    var id: RecordID
    var source: String
  }
  struct Leadership: Sendable {
    var node: NodeID
    var time: Instant
  }
  struct InSync: Sendable {
    var epoch: PartitionEpoch
    var replicas: [NodeID]
  }
  private struct State: Sendable {
    /// By producer number, from 1; in the order of the spans' numbers.
    var batches: [[Batch]] = []
    /// By offset.
    var known: [TopicPartition: [Known?]] = [:]
    var leaders: [TopicPartition: [LeaderEpoch: Leadership]] = [:]
    var lastLeadership: [TopicPartition: Instant] = [:]
    var inSync: [TopicPartition: InSync] = [:]
  }

  private let board: Board
  /// Topics of which nothing that was committed need stay.
  private let unclean: Set<String>
  private let state = Mutex(State())

  init(board: Board, unclean: Set<String>) { (self.board, self.unclean) = (board, unclean) }

  /// Whether it may lose what was committed.
  func isUnclean(_ partition: TopicPartition) -> Bool { self.unclean.contains(partition.topic) }

  // MARK: - Sending

  /// A producer makes a batch, with numbers behind those of all before it.
  func makes(_ span: RecordSpan, for partition: TopicPartition, _ producer: SimulationPlan.Producer) {
    self.state.withLock { state in
      let place = Int(span.producer)
      while state.batches.count <= place { state.batches.append([]) }
      state.batches[place].append(
        Batch(span: span, partition: partition, acks: producer.acks, isIdempotent: producer.isIdempotent, keepsOrder: producer.keepsOrder))
    }
  }

  /// A batch goes out, the first time or again. Returns which attempt it is, from 1.
  func sends(_ span: RecordSpan) -> Int {
    self.state.withLock { state in
      guard let index = Self.index(of: span.first, in: state.batches[Int(span.producer)]) else { return 0 }
      state.batches[Int(span.producer)][index].attempts += 1
      return state.batches[Int(span.producer)][index].attempts
    }
  }

  /// The batch that holds the record `number`.
  private static func index(of number: UInt32, in batches: [Batch]) -> Int? {
    var (low, high) = (0, batches.count)
    while low < high {
      let middle = (low + high) / 2
      if batches[middle].span.first <= number { low = middle + 1 } else { high = middle }
    }
    guard low > 0, number - batches[low - 1].span.first < UInt32(batches[low - 1].span.count) else { return nil }
    return low - 1
  }

  /// - Parameter offset: of the first record; unknown where the node did not say.
  func acknowledged(_ span: RecordSpan, at offset: Offset, now: Instant) {
    let conflicts = self.state.withLock { state -> [String] in
      guard let index = Self.index(of: span.first, in: state.batches[Int(span.producer)]) else { return [] }
      state.batches[Int(span.producer)][index].acknowledged = now
      let batch = state.batches[Int(span.producer)][index]
      guard batch.acks == -1, offset >= .zero, !self.isUnclean(batch.partition) else { return [] }
      return (0..<UInt32(span.count)).compactMap { delta in
        Self.learn(
          RecordID(producer: span.producer, number: span.first + delta), at: offset + Int64(delta), of: batch.partition,
          from: "acknowledged at \(now.nanoseconds / 1_000_000) ms", &state)
      }
    }
    for conflict in conflicts.prefix(1) { self.board.violate(.committedStays, conflict) }
  }

  // MARK: - Reading

  /// A consumer read a record.
  func read(_ id: RecordID, at offset: Offset, of partition: TopicPartition, from node: NodeID, by consumer: String, now: Instant) {
    if self.isUnclean(partition) { return }
    let conflict = self.state.withLock { state in
      Self.learn(id, at: offset, of: partition, from: "read by \(consumer) on node \(node) at \(now.nanoseconds / 1_000_000) ms", &state)
    }
    if let conflict { self.board.violate(.committedStays, conflict) }
  }

  /// Notes what is committed at an offset, or says what contradicts it.
  private static func learn(
    _ id: RecordID, at offset: Offset, of partition: TopicPartition, from source: String, _ state: inout State
  ) -> String? {
    guard offset >= .zero, offset.rawValue < 1 << 24 else { return "\(partition) has an offset \(offset), \(source)" }
    let place = Int(offset.rawValue)
    let count = state.known[partition]?.count ?? 0
    if count <= place { state.known[partition, default: []].append(contentsOf: repeatElement(nil, count: place + 1 - count)) }
    if let known = state.known[partition]![place] {
      return known.id == id ? nil : "\(partition) has \(id) at offset \(offset), \(source), and had \(known.id) there, \(known.source)"
    }
    state.known[partition]![place] = Known(id: id, source: source)
    return nil
  }

  /// Everything below was acknowledged by all or read: nobody may be told any more that the log ends before.
  func committedEnd(of partition: TopicPartition) -> Offset { self.state.withLock { Offset(Int64($0.known[partition]?.count ?? 0)) } }

  func known(of partition: TopicPartition) -> [Known?] { self.state.withLock { $0.known[partition] ?? [] } }

  // MARK: - Leaders

  func leads(_ partition: TopicPartition, in epoch: LeaderEpoch, _ node: NodeID, now: Instant) {
    let other: NodeID? = self.state.withLock { state in
      state.lastLeadership[partition] = now
      if let known = state.leaders[partition]?[epoch] { return known.node == node ? nil : known.node }
      state.leaders[partition, default: [:]][epoch] = Leadership(node: node, time: now)
      return nil
    }
    if let other { self.board.violate(.oneLeader, "\(partition) is led in epoch \(epoch) by node \(node) and was by node \(other)") }
  }

  func lastLeadership(of partition: TopicPartition) -> Instant? { self.state.withLock { $0.lastLeadership[partition] } }

  /// A leader or the controller says who is in sync by what is committed. Told as it happens, since both may be gone before anybody looks.
  func isInSync(_ partition: TopicPartition, in epoch: PartitionEpoch, _ replicas: [NodeID]) {
    self.state.withLock { state in
      if let known = state.inSync[partition], known.epoch >= epoch { return }
      state.inSync[partition] = InSync(epoch: epoch, replicas: replicas)
    }
  }

  func inSync(of partition: TopicPartition) -> InSync? { self.state.withLock { $0.inSync[partition] } }

  /// All that was sent to a partition, in the order of producers and numbers.
  func batches(of partition: TopicPartition) -> [Batch] {
    self.state.withLock { state in state.batches.flatMap { $0.filter { $0.partition == partition } } }
  }
}
