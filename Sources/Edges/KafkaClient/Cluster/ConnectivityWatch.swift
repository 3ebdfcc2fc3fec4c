package import Base

/// What a client has to tell of its connections, each thing once and not with every attempt.
public enum ConnectivityChange: Hashable, Sendable {
  /// A broker went away or cannot be connected to, for this reason. The client goes on trying.
  case lost(BrokerAddress, KafkaError)
  /// A broker that was lost is there again.
  case restored(BrokerAddress)
}

/// Tells changes from mere repetitions, and since when there is no broker at all. A value without IO or clock.
///
/// Until the first connection stands nothing is told: who asked for it gets the error itself.
package struct ConnectivityWatch: Sendable {
  private var open: Set<BrokerAddress> = []
  private var lost: Set<BrokerAddress> = []
  private var hasConnected = false
  /// Since when no connection stands, though one did; nil while one does, and after a pause in which nobody wanted one.
  package private(set) var unreachableSince: Instant?

  package init() {}

  package mutating func connected(to address: BrokerAddress) -> ConnectivityChange? {
    self.hasConnected = true
    self.open.insert(address)
    self.unreachableSince = nil
    return self.lost.remove(address) == nil ? nil : .restored(address)
  }

  /// An attempt to connect failed.
  package mutating func failed(_ address: BrokerAddress, _ error: KafkaError, now: Instant) -> ConnectivityChange? {
    self.note(address, error, now: now)
  }

  /// A connection ended. One that had nothing to do may have been closed for just that: it is lost only if it cannot be made again.
  package mutating func closed(_ address: BrokerAddress, _ error: KafkaError, wasBusy: Bool, now: Instant) -> ConnectivityChange? {
    self.open.remove(address)
    return wasBusy ? self.note(address, error, now: now) : nil
  }

  private mutating func note(_ address: BrokerAddress, _ error: KafkaError, now: Instant) -> ConnectivityChange? {
    guard self.hasConnected else { return nil }
    if self.open.isEmpty, self.unreachableSince == nil { self.unreachableSince = now }
    return self.lost.insert(address).inserted ? .lost(address, error) : nil
  }
}
