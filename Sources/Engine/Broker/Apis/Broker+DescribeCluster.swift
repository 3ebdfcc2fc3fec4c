import Environment
import Metadata
import Model
import Wire

// DescribeCluster (KIP-700): the brokers and the cluster's id.
extension Broker {
  func handleDescribeCluster(_ exchange: Exchange<Env.Disk.File>, _ request: DescribeClusterRequest) {
    let catalog = self.catalog
    // 1 is brokers, 2 controllers (KIP-919); the endpoints of controllers are not told on a broker's listener.
    guard request.endpointType == 1 else {
      let isKnown = request.endpointType == 2
      return exchange.respond(
        DescribeClusterResponse(
          errorCode: isKnown ? .mismatchedEndpointType : .unsupportedEndpointType,
          errorMessage: isKnown ? "The request was sent to a listener of brokers and asks for controllers." : "Endpoint type \(request.endpointType) is not known.",
          endpointType: request.endpointType))
    }
    let endpoints = catalog.endpoints(listener: exchange.client.listener)
    var response = DescribeClusterResponse()
    response.clusterId = catalog.image.clusterID
    response.controllerId = endpoints.contains { $0.nodeID == self.config.nodeID } ? self.config.nodeID.rawValue : endpoints.first?.nodeID.rawValue ?? -1
    response.brokers = catalog.image.brokers.compactMap { broker in
      guard !broker.isFenced || request.includeFencedBrokers, let endpoint = broker.endpoint(exchange.client.listener) else { return nil }
      return .init(
        brokerId: broker.nodeID.rawValue, host: endpoint.host, port: Int32(endpoint.port), rack: broker.rack, isFenced: broker.isFenced)
    }
    exchange.respond(response)
  }
}
