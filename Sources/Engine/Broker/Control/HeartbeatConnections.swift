import Controller
import Environment
import Model
import Synchronization

/// Which connections heartbeats of which brokers come by: when one ends, its broker's process may have.
final class HeartbeatConnections<Env: Environment>: Sendable {
  private let brokers = Mutex<[UInt64: NodeID]>([:])

  func heard(_ broker: NodeID, by client: ClientContext) {
    if client.isThisProcess { return }
    self.brokers.withLock { $0[client.connectionID] = broker }
  }

  func ended(_ client: ClientContext, _ controller: ControllerDriver<Env>) {
    guard let broker = self.brokers.withLock({ $0.removeValue(forKey: client.connectionID) }) else { return }
    controller.brokerConnectionLost(broker)
  }
}
