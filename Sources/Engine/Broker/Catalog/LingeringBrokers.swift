import Base
import Metadata
import Model

/// Fenced brokers that clients are told of for a while, as if they were alive, though of no partition that they lead.
///
/// librdkafka (from 2.10 on) forgets a broker that Metadata does not list any more, in the same moment in which it moves the broker's
/// partitions to their new leaders, and then often finds these only a second later. If the broker is listed for a little longer, it moves
/// them at once. A broker that is only being restarted keeps its place with all clients as well.
struct LingeringBrokers: Sendable {
  /// Until when each is listed.
  private var deadlines: [NodeID: Instant] = [:]

  /// Follows a change of the metadata, in which the `changed` brokers became what they are in `new`.
  mutating func follow(_ changed: some Sequence<NodeID>, from old: MetadataImage, to new: MetadataImage, now: Instant, linger: Duration) {
    for node in changed {
      guard let broker = new.broker(node), broker.isFenced else {
        self.deadlines[node] = nil
        continue
      }
      // One that registers anew is still fenced: it goes on to be listed for as long as before.
      if let before = old.broker(node), !before.isFenced { self.deadlines[node] = now + linger }
    }
  }

  func contains(_ node: NodeID, now: Instant) -> Bool { self.deadlines[node].map { now < $0 } ?? false }
}
