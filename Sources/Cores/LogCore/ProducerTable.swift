package import Model

/// Where an appended batch comes from, which says what is checked (Kafka's `AppendOrigin`).
package enum AppendOrigin: Hashable, Sendable {
  /// A client's Produce request: epoch and sequence are checked, duplicates recognised.
  case client
  /// A coordinator on this node: only the epoch is checked.
  case coordinator
  /// The partition's leader, which has checked already; or this log itself, replayed.
  case replication
}

/// What the producer table wants to know of a batch.
package struct ProducerBatch: Hashable, Sendable {
  package var producerID: ProducerID
  package var epoch: ProducerEpoch
  package var baseSequence: Int32
  package var lastSequence: Int32
  package var baseOffset: Offset
  package var lastOffset: Offset
  package var maxTimestamp: Timestamp
  package var isTransactional: Bool
  package var isControl: Bool

  package init(
    producerID: ProducerID, epoch: ProducerEpoch, baseSequence: Int32, lastSequence: Int32, baseOffset: Offset,
    lastOffset: Offset, maxTimestamp: Timestamp, isTransactional: Bool = false, isControl: Bool = false
  ) {
    self.producerID = producerID
    self.epoch = epoch
    self.baseSequence = baseSequence
    self.lastSequence = lastSequence
    self.baseOffset = baseOffset
    self.lastOffset = lastOffset
    self.maxTimestamp = maxTimestamp
    self.isTransactional = isTransactional
    self.isControl = isControl
  }
}

/// A batch that was appended before, as the answer to its repetition needs it.
package struct AppendedBatch: Hashable, Sendable {
  package var lastSequence: Int32
  package var lastOffset: Offset
  /// Last minus first, of offsets and of sequences alike.
  package var offsetDelta: Int32
  package var timestamp: Timestamp

  package init(lastSequence: Int32, lastOffset: Offset, offsetDelta: Int32, timestamp: Timestamp) {
    (self.lastSequence, self.lastOffset, self.offsetDelta, self.timestamp) = (lastSequence, lastOffset, offsetDelta, timestamp)
  }

  package var baseOffset: Offset { self.lastOffset + -Int64(self.offsetDelta) }
  /// Sequences wrap from `Int32.max` to 0.
  package var baseSequence: Int32 {
    self.lastSequence >= self.offsetDelta
      ? self.lastSequence - self.offsetDelta
      : Int32(truncatingIfNeeded: Int64(Int32.max) - Int64(self.offsetDelta) + Int64(self.lastSequence) + 1)
  }
}

/// Why a producer's batch is refused.
package enum ProducerRefusal: Error, Hashable, Sendable {
  case invalidProducerEpoch(ProducerID, got: ProducerEpoch, current: ProducerEpoch)
  case outOfOrderSequence(ProducerID, got: Int32, lastSequence: Int32)
  /// A batch outside a transaction from a producer that has one open.
  case invalidTransactionState(ProducerID)
}

/// What a partition knows of one producer.
package struct ProducerEntry: Hashable, Sendable {
  package static let batchesKept = 5

  package var producerID: ProducerID
  package var epoch: ProducerEpoch
  /// The last batches of this epoch, oldest first; at most five.
  package var batches: [AppendedBatch] = []
  package var lastTimestamp: Timestamp
  package var coordinatorEpoch: Int32 = -1
  /// Where the producer's open transaction began in this log.
  package var transactionFirstOffset: Offset?

  package var lastSequence: Int32 { self.batches.last?.lastSequence ?? -1 }
  package var lastOffset: Offset { self.batches.last?.lastOffset ?? .unknown }
}

/// The idempotent producers of one partition: who they are, their last batches, and what they may append next (KIP-98, KIP-360).
package struct ProducerTable: Hashable, Sendable {
  /// Never iterated but in the order of the ids.
  private var entries: [ProducerID: ProducerEntry] = [:]
  /// The table covers the log up to here.
  package private(set) var endOffset: Offset

  package init(endOffset: Offset = .zero) { self.endOffset = endOffset }

  package init(entries: [ProducerEntry], endOffset: Offset) {
    self.endOffset = endOffset
    // A list: any order of it gives the same table.
    for entry in entries { self.entries[entry.producerID] = entry }
  }

  package var isEmpty: Bool { self.entries.isEmpty }
  package var count: Int { self.entries.count }
  package subscript(_ id: ProducerID) -> ProducerEntry? { self.entries[id] }
  package var sortedEntries: [ProducerEntry] { self.entries.values.sorted { $0.producerID < $1.producerID } }

  /// Checks a batch before it is appended. Returns the earlier append if this is its repetition (then nothing is to be
  /// written, and it is answered with the offsets it got), nil if it may be appended.
  package func check(_ batch: ProducerBatch, origin: AppendOrigin) throws(ProducerRefusal) -> AppendedBatch? {
    guard origin != .replication, let entry = self.entries[batch.producerID] else { return nil }
    if origin == .client, batch.epoch == entry.epoch {
      for earlier in entry.batches where earlier.lastSequence == batch.lastSequence && earlier.baseSequence == batch.baseSequence {
        return earlier
      }
    }
    if batch.epoch < entry.epoch {
      throw .invalidProducerEpoch(batch.producerID, got: batch.epoch, current: entry.epoch)
    }
    if origin == .client {
      if batch.epoch != entry.epoch {
        // A new epoch counts from 0. (A producer not known at all may begin anywhere: retention may have removed its past.)
        if batch.baseSequence != 0 { throw .outOfOrderSequence(batch.producerID, got: batch.baseSequence, lastSequence: -1) }
      } else {
        let last = entry.lastSequence
        let expected = last == Int32.max ? 0 : last + 1
        if batch.baseSequence != expected {
          throw .outOfOrderSequence(batch.producerID, got: batch.baseSequence, lastSequence: last)
        }
      }
    }
    if entry.transactionFirstOffset != nil, !batch.isTransactional, !batch.isControl {
      throw .invalidTransactionState(batch.producerID)
    }
    return nil
  }

  /// Takes note of a batch that was appended.
  package mutating func record(_ batch: ProducerBatch) {
    self.endOffset = max(self.endOffset, batch.lastOffset + 1)
    guard batch.producerID.rawValue >= 0 else { return }
    self.entries[batch.producerID, default: ProducerEntry(producerID: batch.producerID, epoch: batch.epoch, lastTimestamp: .none)]
      .record(batch)
  }

  /// Takes note that the log goes on to `offset` without a producer's batch.
  package mutating func advance(to offset: Offset) { self.endOffset = max(self.endOffset, offset) }

  /// Forgets producers that were silent for `expiration`, unless they have a transaction open. Returns how many.
  @discardableResult
  package mutating func expire(now: Timestamp, after expiration: Duration) -> Int {
    let limit = expiration.components.seconds.multipliedReportingOverflow(by: 1000)
    if limit.overflow { return 0 }
    let before = self.entries.count
    // What stays is the same in any order.
    self.entries = self.entries.filter { _, entry in
      entry.transactionFirstOffset != nil || now.rawValue - entry.lastTimestamp.rawValue < limit.partialValue
    }
    return before - self.entries.count
  }

  /// Where the earliest open transaction begins; nil if none is open.
  package var firstOpenTransactionOffset: Offset? {
    var first: Offset?
    // The least of them is the same in any order.
    for entry in self.entries.values {
      if let offset = entry.transactionFirstOffset { first = min(first ?? offset, offset) }
    }
    return first
  }
}

extension ProducerEntry {
  fileprivate mutating func record(_ batch: ProducerBatch) {
    if batch.epoch != self.epoch {
      self.epoch = batch.epoch
      self.batches.removeAll(keepingCapacity: true)
    }
    self.lastTimestamp = batch.maxTimestamp
    if batch.isControl {
      self.transactionFirstOffset = nil
      return
    }
    if self.batches.count == Self.batchesKept { self.batches.removeFirst() }
    self.batches.append(
      AppendedBatch(
        lastSequence: batch.lastSequence, lastOffset: batch.lastOffset,
        offsetDelta: Int32(truncatingIfNeeded: batch.lastOffset - batch.baseOffset), timestamp: batch.maxTimestamp))
    if batch.isTransactional, self.transactionFirstOffset == nil { self.transactionFirstOffset = batch.baseOffset }
  }
}
