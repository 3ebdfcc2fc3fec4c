/// When a leader's own log counts as holding a record: what `flush.policy` and `flush.messages` say.
package struct FlushPolicy: Hashable, Sendable {
  package enum Durability: Hashable, Sendable {
    /// A record counts once it was written: it survives the process, not the machine (Kafka's behaviour; `flush.policy=os`).
    case written
    /// A record counts once it was synced: it survives a loss of power (`flush.policy=fsync`).
    case flushed
  }
  package var durability: Durability
  /// Flush once this many records were appended since the last flush, whatever `durability` says (Kafka's `flush.messages`).
  package var unflushedRecordsMax: Int64

  package init(durability: Durability, unflushedRecordsMax: Int64 = .max) {
    (self.durability, self.unflushedRecordsMax) = (durability, unflushedRecordsMax)
  }
}
