import Broker
package import NIOCore

/// What a connection gives its requests to: one object for each connection, used on the connection's loop only.
package protocol ConnectionFront: AnyObject {
  /// One request, without its length prefix. The answer goes to `Connection.deliver` with the same slot.
  func handle(_ frame: ByteBuffer, slot: UInt64)
  /// The connection is gone.
  func disconnected()
}

/// Stands between a connection and a `RequestHandler`.
///
/// This one serves any handler and so is not specialised for one; a front for one type of handler, in a module that knows it, is
/// faster and otherwise the same.
final class HandlerFront<Handler: RequestHandler>: ConnectionFront, ResponseSink, Sendable {
  typealias File = Handler.File

  private let handler: Handler
  private let connection: Connection

  init(_ handler: Handler, _ connection: Connection) {
    self.handler = handler
    self.connection = connection
    handler.connected(connection.client)
  }

  func handle(_ frame: ByteBuffer, slot: UInt64) {
    self.handler.handle(frame, from: self.connection.client, reply: Reply(sink: self, slot: slot))
  }

  func disconnected() { self.handler.disconnected(self.connection.client) }
  func deliver(_ frame: OutgoingFrame<File>?, slot: UInt64) { self.connection.deliver(frame.map { Answer($0) }, slot: slot) }
  func close(reason: String) { self.connection.close(reason: reason) }
}
