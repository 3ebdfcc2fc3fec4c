import Base
import Model
import VirtualWorld

/// Holds the logs, as they are once all is quiet, against everything that clients did and saw.
struct Audit: Sendable {
  let cluster: SimCluster

  /// - Parameter logs: what a consumer reads from beginning to end, by partition.
  func check(_ logs: [(partition: TopicPartition, records: [SimConsumer.ReadRecord])]) {
    for (partition, records) in logs { self.check(partition, records) }
  }

  private func check(_ partition: TopicPartition, _ records: [SimConsumer.ReadRecord]) {
    let board = self.cluster.board
    for (place, known) in self.cluster.ledger.known(of: partition).enumerated() {
      guard let known else { continue }
      let found = place < records.count ? records[place].id : nil
      if found != known.id {
        return board.violate(
          .durability, "\(partition) has \(found.map { "\($0)" } ?? "nothing") at offset \(place), where \(known.id) was \(known.source)")
      }
    }
    if let copies = self.copies(in: records, of: partition) { self.check(partition, copies) }
  }

  /// Where the batches of a partition lie in its log, each copy of each, in the order of the log.
  private struct Copies {
    var batches: [Ledger.Batch]
    /// Index into `batches` and the offset.
    var found: [(batch: Int, offset: Offset)] = []
    var counts: [Int]
  }

  private func copies(in records: [SimConsumer.ReadRecord], of partition: TopicPartition) -> Copies? {
    let batches = self.cluster.ledger.batches(of: partition)
    var places: [RecordID: Int] = [:]
    for (index, batch) in batches.enumerated() { places[RecordID(producer: batch.span.producer, number: batch.span.first)] = index }
    var copies = Copies(batches: batches, counts: Array(repeating: 0, count: batches.count))
    var place = 0
    while place < records.count {
      guard let index = places[records[place].id] else {
        self.cluster.board.violate(
          .content, "\(partition) has \(records[place].id) at \(records[place].offset), which begins no batch sent there")
        return nil
      }
      copies.found.append((index, records[place].offset))
      copies.counts[index] += 1
      let count = Int(batches[index].span.count)
      for delta in 0..<count {
        let expected = RecordID(producer: batches[index].span.producer, number: batches[index].span.first + UInt32(delta))
        if place + delta >= records.count || records[place + delta].id != expected {
          self.cluster.board.violate(.content, "\(partition) has not all of \(batches[index].span) at \(records[place].offset)")
          return nil
        }
      }
      place += count
    }
    return copies
  }

  private func check(_ partition: TopicPartition, _ copies: Copies) {
    let board = self.cluster.board
    for (batch, count) in zip(copies.batches, copies.counts) {
      if let time = batch.acknowledged, count == 0 {
        if batch.acks == -1 && !self.cluster.ledger.isUnclean(partition) || !self.mayLose(batch, since: time) {
          return board.violate(
            .durability,
            "\(batch.span), acknowledged with acks=\(batch.acks) at \(time.nanoseconds / 1_000_000) ms, is not in \(partition)")
        } else {
          board.count(.lostLeaderAcknowledged)
        }
      }
      if batch.acknowledged == nil, count == 0 { board.count(.lostUnacknowledged) }
      if count > (batch.isIdempotent ? 1 : batch.attempts) {
        board.violate(.exactlyOnce, "\(batch.span), sent \(batch.attempts) times, is \(count) times in \(partition)")
      }
      if count > 1 { board.count(.keptTwice) }
    }
    self.checkOrder(partition, copies)
  }

  /// What only the leader had acknowledged may be lost with that leadership, and with the leader's power.
  private func mayLose(_ batch: Ledger.Batch, since time: Instant) -> Bool {
    if self.cluster.ledger.isUnclean(batch.partition) { return true }
    guard let last = self.cluster.ledger.lastLeadership(of: batch.partition), last > time else { return false }
    if self.cluster.nodes.count > 1 { return true }
    return !Set(self.cluster.plan.faults.kinds).isDisjoint(with: SimulationPlan.losingUnsynced + [.fullDisk])
  }

  /// The first copies of a producer's batches come in the order of their sending.
  private func checkOrder(_ partition: TopicPartition, _ copies: Copies) {
    var last: [UInt32: (number: UInt32, offset: Offset)] = [:]
    var seen = [Bool](repeating: false, count: copies.batches.count)
    for (index, offset) in copies.found {
      let batch = copies.batches[index]
      if seen[index] || !batch.keepsOrder { continue }
      seen[index] = true
      if let before = last[batch.span.producer], before.number > batch.span.first {
        self.cluster.board.violate(
          .order, "\(batch.span) is in \(partition) at \(offset), behind p\(batch.span.producer):\(before.number) at \(before.offset)")
      }
      last[batch.span.producer] = (batch.span.first, offset)
    }
  }
}
