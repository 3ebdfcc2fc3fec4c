package import Base
package import NIOCore

/// Who a batch is from, so that the broker recognises a repetition (KIP-98).
package struct ProducerIdentity: Hashable, Sendable {
  package var producerID: Int64
  package var producerEpoch: Int16
  package init(producerID: Int64, producerEpoch: Int16) { (self.producerID, self.producerEpoch) = (producerID, producerEpoch) }
}

/// Records of one partition that travel together: filled by callers, then sent, perhaps several times, until it is known what became
/// of them. `Waiter` is whatever stands for a caller that waits for one record.
package struct ProducerBatch<Waiter: Sendable>: Sendable {
  /// Ascending in the order of creation, and so in the order of the records within a partition.
  package let id: UInt64
  /// The partition, as the accumulator numbers it.
  package let slot: Int
  package let partition: TopicPartition
  package let createdAt: Instant
  package var records: OpenBatch
  /// Who waits for which record, by its index in the batch.
  package var waiters: [(index: Int32, waiter: Waiter)] = []
  package var isClosed = false
  /// How often it was handed out for sending.
  package var attempts = 0
  /// Set when it is first handed out, if the producer is idempotent; kept when it is sent again.
  package var identity: ProducerIdentity?
  package var baseSequence: Int32 = -1
  /// The batch as it goes over the wire, once made.
  package var encoded: ByteBuffer?
  /// `encoded` carries an identity that is no longer the batch's.
  package var needsStamp = false

  package var recordCount: Int32 { self.records.recordCount }
  package var byteCount: Int { self.records.byteCount }
}

/// What became of a batch.
package struct DeliveryReport<Waiter: Sendable>: Sendable {
  package var batchID: UInt64
  package var partition: TopicPartition
  package var recordCount: Int32
  package var byteCount: Int
  package var waiters: [(index: Int32, waiter: Waiter)]
  /// The base offset (-1 if the broker does not say) and the broker's timestamp (-1 unless the topic has LogAppendTime).
  package var result: Result<(baseOffset: Int64, logAppendTime: Int64), KafkaError>
}

/// The answer to a batch that was sent.
package enum BatchOutcome: Sendable {
  case written(baseOffset: Int64, logAppendTime: Int64)
  /// `promptly`: the new leader is known already, so there is nothing to wait for.
  case refused(KafkaError, promptly: Bool)
}
