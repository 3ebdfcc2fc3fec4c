package import Base

/// What a client has to tell of its connections, each thing once and not with every attempt.
public enum ConnectivityChange: Hashable, Sendable {
  /// A broker went away, or can no longer be connected to, for this reason. The client goes on trying.
  case lost(BrokerAddress, KafkaError)
  /// A broker cannot be connected to at the address that the cluster names, and never could, for this reason. The client goes on trying.
  case unreachable(BrokerAddress, KafkaError)
  /// A broker that was lost or unreachable is there.
  case restored(BrokerAddress)
}

/// Tells changes from mere repetitions, and since when there is no broker at all. A value without IO or clock.
///
/// Until the first connection stands nothing is told: who asked for it gets the error itself. Of an address that only the bootstrap
/// list has nothing is told either, once the cluster has named its brokers: it is another name of one of them, or none of theirs.
package struct ConnectivityWatch: Sendable {
  private var open: Set<BrokerAddress> = []
  private var lost: Set<BrokerAddress> = []
  /// Those that were connected at least once.
  private var known: Set<BrokerAddress> = []
  /// Since when no connection stands, though one did; nil while one does, and after a pause in which nobody wanted one.
  package private(set) var unreachableSince: Instant?

  package init() {}

  package mutating func connected(to address: BrokerAddress) -> ConnectivityChange? {
    self.known.insert(address)
    self.open.insert(address)
    self.unreachableSince = nil
    return self.lost.remove(address) == nil ? nil : .restored(address)
  }

  /// An attempt to connect failed.
  ///
  /// - Parameter isNamed: whether the address is a broker's, as far as the cluster has named its brokers.
  package mutating func failed(_ address: BrokerAddress, _ error: KafkaError, isNamed: Bool, now: Instant) -> ConnectivityChange? {
    self.note(address, error, isNamed: isNamed, now: now)
  }

  /// A connection ended. One that had nothing to do may have been closed for just that: it is lost only if it cannot be made again.
  package mutating func closed(
    _ address: BrokerAddress, _ error: KafkaError, wasBusy: Bool, isNamed: Bool, now: Instant
  ) -> ConnectivityChange? {
    self.open.remove(address)
    return wasBusy ? self.note(address, error, isNamed: isNamed, now: now) : nil
  }

  private mutating func note(_ address: BrokerAddress, _ error: KafkaError, isNamed: Bool, now: Instant) -> ConnectivityChange? {
    if self.known.isEmpty { return nil }
    if self.open.isEmpty, self.unreachableSince == nil { self.unreachableSince = now }
    guard isNamed, self.lost.insert(address).inserted else { return nil }
    return self.known.contains(address) ? .lost(address, error) : .unreachable(address, error)
  }
}
