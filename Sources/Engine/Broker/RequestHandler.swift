package import Environment
package import NIOCore

/// Whom a listener is for, and so which requests it takes.
package enum ListenerRole: Sendable, Hashable {
  /// Clients and other brokers.
  case broker
  /// Brokers and other controllers, to this node as a controller.
  case controller
}

/// Who is at the other end of a connection, as the listener saw it.
package struct ClientContext: Hashable, Sendable {
  /// Unique among the connections of this process, from 1; 0 is this process itself.
  package var connectionID: UInt64
  /// The name of the listener that accepted it (`PLAINTEXT`, or as `listeners` names it).
  package var listener: String
  /// The peer's address, without the port: `127.0.0.1`, `::1`.
  package var host: String
  package var port: Int
  package var role: ListenerRole

  package init(connectionID: UInt64, listener: String, host: String, port: Int, role: ListenerRole = .broker) {
    (self.connectionID, self.listener, self.host, self.port) = (connectionID, listener, host, port)
    self.role = role
  }

  var isThisProcess: Bool { self.connectionID == 0 }
}

/// Takes requests from the edge: the broker in a real node, a fake in the edge's own tests.
///
/// Calls for one connection come from one thread, in order: `connected`, any number of `handle`, `disconnected`. Calls for
/// different connections come from several threads at once.
package protocol RequestHandler<File>: AnyObject, Sendable {
  associatedtype File: DiskFile

  /// A connection was accepted.
  func connected(_ client: ClientContext)
  /// One request: the bytes after the length prefix. `frame` is a slice of the read buffer; who keeps it past the answer, or keeps it
  /// while the answer waits for long, keeps the whole read buffer alive and should copy what it needs.
  ///
  /// `reply` must be used exactly once, now or later, from any thread; also after `disconnected`, where it does nothing.
  func handle(_ frame: ByteBuffer, from client: ClientContext, reply: Reply<File>)
  /// The connection is gone: what waits on its behalf may be dropped.
  func disconnected(_ client: ClientContext)
}
