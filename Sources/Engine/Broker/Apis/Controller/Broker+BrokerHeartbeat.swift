import Base
import Controller
import Environment
import Metadata
import Model
import Wire

// BrokerHeartbeat (KIP-631): a broker says that it is alive, and what it wants.
extension Broker {
  func handleBrokerHeartbeat(_ exchange: Exchange<Env.Disk.File>, _ request: BrokerHeartbeatRequest) {
    let heartbeat = Metadata.BrokerHeartbeat(
      nodeID: NodeID(request.brokerId), epoch: BrokerEpoch(request.brokerEpoch), metadataOffset: Offset(request.currentMetadataOffset),
      wantsFence: request.wantFence, wantsShutdown: request.wantShutDown, offlineDirectories: request.offlineLogDirs)
    // Before the answer, so that it is known when the connection ends. Who only claims to be that broker is left out.
    if self.controller.image.broker(heartbeat.nodeID)?.epoch == heartbeat.epoch {
      self.heartbeatConnections.heard(heartbeat.nodeID, by: exchange.client)
    }
    self.controller.heartbeat(heartbeat) { result in
      switch result {
      case .success(let outcome):
        self.note(.none, request.brokerId, exchange)
        exchange.respond(
          BrokerHeartbeatResponse(
            errorCode: .none, isCaughtUp: outcome.answer.isCaughtUp, isFenced: outcome.answer.isFenced,
            shouldShutDown: outcome.answer.shouldShutDown,
            sessionTimeoutMs: Int32(clamping: outcome.session.wholeMilliseconds)))
      case .failure(let error):
        self.note(error.code, request.brokerId, exchange)
        exchange.respond(BrokerHeartbeatResponse(errorCode: error.code))
      }
    }
  }
}
