package import Broker

/// What happened at a listener and is worth a line in the log or a counter.
package enum ServerEvent: Sendable {
  case opened(ClientContext)
  /// `isError`: the peer, or the network, did something wrong; otherwise the connection ended as connections do.
  case closed(ClientContext, reason: String, isError: Bool)
  /// Closed before any byte was read: a limit on connections, or the system would not have it set up.
  case refused(host: String, listener: String, reason: String)
  /// The system would not accept a connection (too many open files, no memory); accepting pauses for a second.
  case acceptFailed(listener: String, reason: String)
}
