import Model
package import Records

/// Hides what readers of committed records must not see: control batches always, batches of aborted transactions if asked to (KIP-98).
package struct AbortedTransactionFilter: Sendable {
  /// By first offset, the earliest last.
  private var pending: [(producerID: Int64, firstOffset: Int64)]
  /// Producers within an aborted transaction at this point of the log.
  private var aborting: Set<Int64> = []

  package init(_ aborted: [(producerID: Int64, firstOffset: Int64)]) {
    self.pending = aborted.sorted { $0.firstOffset > $1.firstOffset }
  }

  /// Whether the batch, the next in the log, is to be hidden. `isActive`: transactions are looked at.
  package mutating func hides(_ batch: RecordBatchView, isActive: Bool) throws(RecordError) -> Bool {
    let header = batch.header
    if isActive {
      while let next = self.pending.last, next.firstOffset <= header.lastOffset.rawValue {
        self.aborting.insert(next.producerID)
        self.pending.removeLast()
      }
    }
    if header.attributes.isControl {
      // The marker that ends the transaction ends the hiding, whichever way it went.
      self.aborting.remove(header.producerID.rawValue)
      return true
    }
    return isActive && header.attributes.isTransactional && self.aborting.contains(header.producerID.rawValue)
  }
}
