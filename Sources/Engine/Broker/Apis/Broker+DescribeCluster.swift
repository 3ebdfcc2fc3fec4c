import Controller
import Environment
import Metadata
import Model
import Raft
import Wire

// DescribeCluster (KIP-700): the brokers and the cluster's id.
extension Broker {
  func handleDescribeCluster(_ exchange: Exchange<Env.Disk.File>, _ request: DescribeClusterRequest) {
    let catalog = self.catalog
    if exchange.client.role == .controller { return self.describeControllers(exchange, request) }
    // 1 is brokers, 2 controllers (KIP-919); the endpoints of controllers are not told on a broker's listener.
    guard request.endpointType == 1 else {
      let isKnown = request.endpointType == 2
      let message =
        isKnown ? "This listener belongs to a broker; controllers were asked for." : "Endpoint type \(request.endpointType) is not known."
      return exchange.respond(
        DescribeClusterResponse(
          errorCode: isKnown ? .mismatchedEndpointType : .unsupportedEndpointType, errorMessage: message,
          endpointType: request.endpointType))
    }
    let endpoints = catalog.endpoints(listener: exchange.client.listener)
    var response = DescribeClusterResponse()
    response.clusterId = catalog.image.clusterID
    response.controllerId = self.advertisedController(endpoints)
    if request.includeClusterAuthorizedOperations { response.clusterAuthorizedOperations = AuthorizedOperations.cluster }
    response.brokers = catalog.image.brokers.compactMap { broker in
      guard !broker.isFenced || request.includeFencedBrokers, let endpoint = broker.endpoint(exchange.client.listener) else { return nil }
      return .init(
        brokerId: broker.nodeID.rawValue, host: endpoint.host, port: Int32(endpoint.port), rack: broker.rack, isFenced: broker.isFenced,
        shutdownState: broker.isInControlledShutdown ? 1 : 0)
    }
    exchange.respond(response)
  }

  /// On the controller's listener: who controls, and where (KIP-919).
  private func describeControllers(_ exchange: Exchange<Env.Disk.File>, _ request: DescribeClusterRequest) {
    guard request.endpointType == 2 else {
      let isKnown = request.endpointType == 1
      let message =
        isKnown ? "This listener belongs to a controller; brokers were asked for." : "Endpoint type \(request.endpointType) is not known."
      return exchange.respond(
        DescribeClusterResponse(
          errorCode: isKnown ? .mismatchedEndpointType : .unsupportedEndpointType, errorMessage: message,
          endpointType: request.endpointType))
    }
    var response = DescribeClusterResponse(endpointType: 2)
    response.clusterId = self.clusterID
    response.controllerId = self.controller.quorumLeader.node?.rawValue ?? -1
    if request.includeClusterAuthorizedOperations { response.clusterAuthorizedOperations = AuthorizedOperations.cluster }
    response.brokers = self.controller.quorum.machine.log.voters.voters.compactMap { voter in
      guard let address = voter.address(at: exchange.client.listener) else { return nil }
      return .init(brokerId: voter.key.node.rawValue, host: address.host, port: Int32(address.port))
    }
    exchange.respond(response)
  }
}
