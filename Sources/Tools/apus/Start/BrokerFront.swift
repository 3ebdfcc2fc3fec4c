import Broker
import Environment
import NIOCore
import NIOServer
import PosixDisk

/// Gives a connection's requests to this node's broker.
///
/// Not generic, so that the broker's code for this environment is specialised from here on down.
final class BrokerFront: ConnectionFront, ResponseSink, Sendable {
  typealias File = PosixFile

  private let broker: Node.NodeBroker
  private let connection: Connection

  init(_ broker: Node.NodeBroker, _ connection: Connection) {
    self.broker = broker
    self.connection = connection
    broker.connected(connection.client)
  }

  func handle(_ frame: ByteBuffer, slot: UInt64) {
    self.broker.handle(frame, from: self.connection.client, reply: Reply(sink: self, slot: slot))
  }

  func disconnected() { self.broker.disconnected(self.connection.client) }
  func deliver(_ frame: OutgoingFrame<PosixFile>?, slot: UInt64) { self.connection.deliver(frame.map { Answer($0) }, slot: slot) }
  func close(reason: String) { self.connection.close(reason: reason) }
}
