import Base
import Controller
import Environment
import Metadata
import Model
import Wire

// BrokerRegistration (KIP-631): a broker says that it is there.
extension Broker {
  func handleBrokerRegistration(_ exchange: Exchange<Env.Disk.File>, _ request: BrokerRegistrationRequest) {
    do throws(ApiError) {
      let registration = try Self.registration(request)
      let answer: @Sendable (Result<BrokerEpoch, ApiError>) -> Void = { result in
        switch result {
        case .success(let epoch):
          self.note(.none, request.brokerId, exchange)
          exchange.respond(BrokerRegistrationResponse(errorCode: .none, brokerEpoch: epoch.rawValue))
        case .failure(let error):
          self.note(error.code, request.brokerId, exchange)
          exchange.respond(BrokerRegistrationResponse(errorCode: error.code))
        }
      }
      // Of this process's own last incarnation nobody needs to ask whether it lives.
      if exchange.client.isThisProcess { return self.controller.registerOwn(registration, completion: answer) }
      self.decide(registration, for: exchange, timeoutMs: Self.controlTimeoutMs, answer: answer)
    } catch {
      self.note(error.code, request.brokerId, exchange)
      exchange.respond(BrokerRegistrationResponse(errorCode: error.code))
    }
  }

  /// What brokers and controllers ask of the active controller carries no time of its own.
  static var controlTimeoutMs: Int32 { 30_000 }

  private static func registration(_ request: BrokerRegistrationRequest) throws(ApiError) -> RegisterBroker {
    if request.isMigratingZkBroker { throw ApiError(.invalidRegistration, "Brokers that come from ZooKeeper are not taken.") }
    var endpoints: [Listener] = []
    for listener in request.listeners {
      guard let securityProtocol = SecurityProtocol(rawValue: listener.securityProtocol) else {
        throw ApiError(.invalidRegistration, "Listener \(listener.name) has the unknown protocol \(listener.securityProtocol).")
      }
      if endpoints.contains(where: { $0.name == listener.name }) {
        throw ApiError(.invalidRegistration, "Listener \(listener.name) is named twice.")
      }
      endpoints.append(Listener(name: listener.name, host: listener.host, port: listener.port, securityProtocol: securityProtocol))
    }
    var features: [BrokerRegistration.FeatureRange] = []
    for feature in request.features {
      guard feature.minSupportedVersion <= feature.maxSupportedVersion, !features.contains(where: { $0.name == feature.name }) else {
        throw ApiError(.invalidRegistration, "Feature \(feature.name) is named twice, or with no version.")
      }
      features.append(.init(name: feature.name, versions: feature.minSupportedVersion...feature.maxSupportedVersion))
    }
    return RegisterBroker(
      clusterID: request.clusterId, nodeID: NodeID(request.brokerId), incarnationID: request.incarnationId, endpoints: endpoints,
      features: features, rack: request.rack, logDirectories: request.logDirs, previousEpoch: BrokerEpoch(request.previousBrokerEpoch))
  }
}
