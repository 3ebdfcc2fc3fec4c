package import NIOCore

/// Connections to other nodes, as the engine sees them: whole frames, in order, until the connection ends.
///
/// Production is NIO's sockets; the simulator delays, cuts and delivers as its seed says. What is sent and not yet received when a
/// connection ends may have arrived or not.
package protocol NetworkPort: Sendable {
  associatedtype Link: NetworkLink

  /// Opens a connection. `handler` gets the link's events one after another, on any thread, but never from within this call or one
  /// of the link's own; `.closed` comes exactly once and is the last.
  func connect(to address: NodeAddress, for traffic: Traffic, _ handler: @escaping @Sendable (LinkEvent) -> Void) -> Link
}

/// One connection to another node, from `connect` until its `.closed` event.
package protocol NetworkLink: AnyObject, Sendable {
  /// Sends a frame, its 4-byte length included, behind those sent before. What is sent before `.opened` waits for it; after
  /// `.closed` it is dropped.
  func send(_ frame: ByteBuffer)
  /// Ends the connection; `.closed(.closedHere)` follows. Does nothing the second time.
  func close()
}

/// What a connection is for. Each kind has threads of its own, so that a heartbeat or a vote never waits behind records.
package enum Traffic: Hashable, Sendable {
  case control
  case data
}

/// What happened to a connection.
package enum LinkEvent: Sendable {
  case opened
  /// One frame, without its length.
  case received(ByteBuffer)
  case closed(LinkFailure)
}

/// Why a connection ended, or never began.
package enum LinkFailure: Hashable, Sendable, CustomStringConvertible {
  /// The host answered that nobody listens there: the process is not running. The strongest hint there is.
  case refused
  /// The other side closed it, or its system did because the process died.
  case closedByPeer
  /// Nothing was heard in time, or the host cannot be reached.
  case unreachable(reason: String)
  /// What arrived were no frames, or one larger than allowed.
  case malformed(reason: String)
  case closedHere

  package var description: String {
    switch self {
    case .refused: "connection refused: nothing listens there"
    case .closedByPeer: "the other side closed the connection"
    case .unreachable(let reason): "not reachable: \(reason)"
    case .malformed(let reason): "not a Kafka node's answer: \(reason)"
    case .closedHere: "closed here"
    }
  }
}

/// Where a node listens: a name or an address (IPv6 without brackets), and a port.
package struct NodeAddress: Hashable, Sendable, CustomStringConvertible {
  package var host: String
  package var port: UInt16
  package init(host: String, port: UInt16) { (self.host, self.port) = (host, port) }
  package var description: String { self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }
}
