package import Model

/// Why a produced batch is not taken, as the partition's part of a ProduceResponse says it (KIP-467).
package struct BatchRefusal: Error, Hashable, Sendable, CustomStringConvertible {
  /// The record that made the batch fail, by its place in the batch.
  package struct RecordRefusal: Hashable, Sendable {
    package var index: Int32
    package var message: String
  }

  /// More than so many are not listed, so that a large batch cannot make a larger answer. Clients fail the others with the batch.
  package static let maximumRecordRefusals = 100

  package var code: ErrorCode
  package var message: String
  package var records: [RecordRefusal]

  package init(_ code: ErrorCode, _ message: String, records: [RecordRefusal] = []) {
    (self.code, self.message, self.records) = (code, message, records)
  }

  init(_ error: RecordError) { self.init(error.code, error.description) }

  package var description: String {
    (["\(self.code): \(self.message)"] + self.records.map { "record \($0.index): \($0.message)" }).joined(separator: "; ")
  }
}
