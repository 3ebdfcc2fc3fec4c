package import Base

extension Duration {
  /// A duration drawn evenly from this one up to twice this one: the spread that keeps candidates from splitting votes for ever
  /// (Raft, section 5.2).
  package func spread(using generator: inout SeededGenerator) -> Duration { self + .drawn(below: self, using: &generator) }

  /// A duration drawn evenly from nothing up to `limit`, in nanoseconds; zero if the limit is not positive.
  package static func drawn(below limit: Duration, using generator: inout SeededGenerator) -> Duration {
    let nanoseconds = limit.wholeNanoseconds
    return nanoseconds > 0 ? .nanoseconds(Int64.random(in: 0..<nanoseconds, using: &generator)) : .zero
  }
}
