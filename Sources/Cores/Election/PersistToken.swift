import Model

/// Names one write that a machine asked its driver for. Tokens of one machine ascend; the completion carries the token back, and a machine
/// takes no notice of a token it no longer waits for.
package struct PersistToken: Newtype {
  package var rawValue: UInt64
  package init(rawValue: UInt64) { self.rawValue = rawValue }
  /// Older than every token that is given out.
  package static let none = PersistToken(rawValue: 0)
  /// The token after this one.
  package var next: PersistToken { PersistToken(rawValue: self.rawValue + 1) }
}
