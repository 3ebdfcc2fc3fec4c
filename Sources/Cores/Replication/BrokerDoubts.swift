package import Base
package import Model

/// Brokers of which this one has a reason to think that they died, though the controller has not decided so: a connection with them ended.
///
/// Clients lose their connections in the same moment, and ask at once who leads now. An answer that still names the dead broker sends them
/// away for long (librdkafka asks again up to a second later), so what clients are told waits for the controller's decision, a few
/// milliseconds mostly. A doubt ends when the metadata say something new of the broker, when it is heard of again, or after `doubtMax`:
/// the controller would have fenced it by then.
package struct BrokerDoubts: Sendable, Equatable {
  /// How long a broker is doubted at most.
  package var doubtMax: Duration
  /// When each lost its connection. Those that were doubted for long enough stay, so that the next failure to connect is no new doubt.
  private var since: [NodeID: Instant] = [:]

  package init(doubtMax: Duration) { self.doubtMax = doubtMax }

  /// A connection with the broker ended, or could not be made.
  package mutating func connectionEnded(with node: NodeID, now: Instant) {
    if self.since[node] == nil { self.since[node] = now }
  }

  /// The broker answered, or the metadata of it changed. Returns whether it was noted.
  package mutating func settled(_ node: NodeID) -> Bool { self.since.removeValue(forKey: node) != nil }

  /// Nobody is noted, doubted or not: what a caller may ask first, as it is nearly always so.
  package var isEmpty: Bool { self.since.isEmpty }

  /// Everybody who is noted, in the order of their ids.
  package var nodes: [NodeID] { self.since.keys.sorted() }

  /// Since when the broker is doubted; nil if it is not.
  package func doubted(_ node: NodeID, now: Instant) -> Instant? {
    guard let since = self.since[node], now < since + self.doubtMax else { return nil }
    return since
  }
}
