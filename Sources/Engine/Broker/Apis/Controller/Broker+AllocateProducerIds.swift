import Environment
import Metadata
import Model
import Wire

// AllocateProducerIds (KIP-730): a broker takes a block of producer ids.
extension Broker {
  func handleAllocateProducerIds(_ exchange: Exchange<Env.Disk.File>, _ request: AllocateProducerIdsRequest) {
    let allocation = AllocateProducerIDs(nodeID: NodeID(request.brokerId), epoch: BrokerEpoch(request.brokerEpoch))
    self.decide(allocation, for: exchange, timeoutMs: Self.controlTimeoutMs) { result in
      switch result {
      case .success(let block):
        exchange.respond(
          AllocateProducerIdsResponse(errorCode: .none, producerIdStart: block.first.rawValue, producerIdLen: Int32(block.count)))
      case .failure(let error):
        self.note(error.code, request.brokerId, exchange)
        exchange.respond(AllocateProducerIdsResponse(errorCode: error.code))
      }
    }
  }
}
