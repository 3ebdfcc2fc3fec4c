import Base

/// What the accumulator obeys; from `ProducerConfiguration`.
package struct ProducerLimits: Sendable, Hashable {
  /// A batch is closed when the next record would bring it beyond this. In bytes before compression.
  package var batchByteCountMax: Int
  /// How long an open batch waits for more records.
  package var linger: Duration
  /// Records and batches held in all, in bytes.
  package var bufferByteCountMax: Int
  /// The largest single record.
  package var recordByteCountMax: Int
  /// From the first record of a batch until its fate is known.
  package var deliveryTimeout: Duration
  package var attemptsMax: Int
  package var retryBackoff: Duration
  package var retryBackoffMax: Duration
  package var isIdempotent: Bool

  package init(
    batchByteCountMax: Int = 65536, linger: Duration = .milliseconds(5), bufferByteCountMax: Int = 64 << 20,
    recordByteCountMax: Int = 1 << 20, deliveryTimeout: Duration = .seconds(120), attemptsMax: Int = .max,
    retryBackoff: Duration = .milliseconds(100), retryBackoffMax: Duration = .seconds(1), isIdempotent: Bool = true
  ) {
    self.batchByteCountMax = batchByteCountMax
    self.linger = linger
    self.bufferByteCountMax = bufferByteCountMax
    self.recordByteCountMax = recordByteCountMax
    self.deliveryTimeout = deliveryTimeout
    self.attemptsMax = attemptsMax
    self.retryBackoff = retryBackoff
    self.retryBackoffMax = retryBackoffMax
    self.isIdempotent = isIdempotent
  }
}
