import Environment
import Metadata
import Model
import Wire

// UnregisterBroker: the cluster forgets a broker that will not come back.
extension Broker {
  func handleUnregisterBroker(_ exchange: Exchange<Env.Disk.File>, _ request: UnregisterBrokerRequest) {
    self.decide(UnregisterBroker(nodeID: NodeID(request.brokerId)), for: exchange, timeoutMs: Self.controlTimeoutMs) { result in
      switch result {
      case .success: exchange.respond(UnregisterBrokerResponse(errorCode: .none, errorMessage: nil))
      case .failure(let error): exchange.respond(UnregisterBrokerResponse(errorCode: error.code, errorMessage: error.message))
      }
    }
  }
}
