import Environment
import NIOCore
import Synchronization

/// The broker as the parts of it know it that were made before it.
final class WeakBroker<Env: Environment>: Sendable {
  private struct Reference: Sendable { weak var broker: Broker<Env>? }
  private let reference = Mutex(Reference())

  func set(_ broker: Broker<Env>) { self.reference.withLock { $0.broker = broker } }

  /// Serves a request of this process to its own controller.
  func serve(_ frame: ByteBuffer, listener: String, _ reply: Reply<Env.Disk.File>) {
    guard let broker = self.reference.withLock({ $0.broker }) else { return reply.sink.close(reason: "the broker is gone") }
    broker.handle(frame, from: .thisProcess(listener: listener), reply: reply)
  }
}

extension ClientContext {
  static func thisProcess(listener: String) -> ClientContext {
    ClientContext(connectionID: 0, listener: listener, host: "127.0.0.1", port: 0, role: .controller)
  }
}
