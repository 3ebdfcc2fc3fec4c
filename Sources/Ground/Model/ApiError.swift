/// A refusal in Kafka's terms: the code a client acts on, and a sentence for the person who reads it.
package struct ApiError: Error, Hashable, Sendable, CustomStringConvertible {
  package var code: ErrorCode
  /// What, why and what next. Nil where the code says it all.
  package var message: String?
  package init(_ code: ErrorCode, _ message: String? = nil) { (self.code, self.message) = (code, message) }
  package var description: String { self.message.map { "\(self.code): \($0)" } ?? "\(self.code)" }
}
