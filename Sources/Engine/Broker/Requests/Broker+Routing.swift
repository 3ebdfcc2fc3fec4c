package import Environment
import Model
package import NIOCore
import Wire

// Requests from their frame to the code that serves them. Whatever a client sends ends in an answer or in a closed connection.
extension Broker: RequestHandler {
  package typealias File = Env.Disk.File

  package func connected(_ client: ClientContext) {}

  package func disconnected(_ client: ClientContext) {
    if client.role == .controller { return self.heartbeatConnections.ended(client, self.controller) }
    self.endFollowerSession(connectionID: client.connectionID)
    for fetch in self.connectionWaits.take(connectionID: client.connectionID) { fetch.abandon() }
  }

  package func handle(_ frame: ByteBuffer, from client: ClientContext, reply: Reply<Env.Disk.File>) {
    var reader = WireReader(frame)
    let header: RequestHeader
    do { header = try RequestHeader(from: &reader) } catch {
      self.events.record(.connectionRefused(client: client, clientID: nil, reason: "request header: \(error)"))
      return reply.sink.close(reason: "request header: \(error)")
    }
    let exchange = Exchange(header: header, client: client, reply: reply, byteCount: frame.readableBytes)
    guard let key = ApiKey(rawValue: header.apiKey), let entry = ServedApis.entry(key, for: client.role),
      entry.versions.contains(header.apiVersion)
    else {
      return self.handleUnserved(exchange, reader)
    }
    do throws(WireError) {
      if client.role == .controller { return try self.routeControl(key, exchange, reader) }
      // Who asks for the versions learns that the process lives; anything else would be told of a cluster that is not known yet.
      if self.isLoading, key != .apiVersions { return exchange.close(reason: "the broker is starting") }
      if entry.isForwarded { return try self.routeForwarded(key, exchange, frame: frame, body: reader) }
      try self.route(key, exchange, reader)
    } catch {
      self.refuse(exchange, "\(key) v\(header.apiVersion): \(error)")
    }
  }

  private func route(_ key: ApiKey, _ exchange: Exchange<Env.Disk.File>, _ body: WireReader) throws(WireError) {
    let version = exchange.version
    // Bytes behind the message are left unread, as Kafka leaves them: librdkafka 2.16 sends three with a Metadata v13 for all topics.
    var reader = body
    switch key {
    case .produce: self.handleProduce(exchange, try ProduceRequest(from: &reader, version: version))
    case .fetch: self.handleFetch(exchange, try FetchRequest(from: &reader, version: version))
    case .listOffsets: self.handleListOffsets(exchange, try ListOffsetsRequest(from: &reader, version: version))
    case .metadata: self.handleMetadata(exchange, try MetadataRequest(from: &reader, version: version))
    case .apiVersions: self.handleApiVersions(exchange, try ApiVersionsRequest(from: &reader, version: version))
    case .deleteRecords: self.handleDeleteRecords(exchange, try DeleteRecordsRequest(from: &reader, version: version))
    case .initProducerId: self.handleInitProducerId(exchange, try InitProducerIdRequest(from: &reader, version: version))
    case .offsetForLeaderEpoch:
      self.handleOffsetForLeaderEpoch(exchange, try OffsetForLeaderEpochRequest(from: &reader, version: version))
    case .describeConfigs: self.handleDescribeConfigs(exchange, try DescribeConfigsRequest(from: &reader, version: version))
    case .describeLogDirs: self.handleDescribeLogDirs(exchange, try DescribeLogDirsRequest(from: &reader, version: version))
    case .describeCluster: self.handleDescribeCluster(exchange, try DescribeClusterRequest(from: &reader, version: version))
    case .listConfigResources:
      self.handleListConfigResources(exchange, try ListConfigResourcesRequest(from: &reader, version: version))
    case .describeTopicPartitions:
      self.handleDescribeTopicPartitions(exchange, try DescribeTopicPartitionsRequest(from: &reader, version: version))
    case .fetchSnapshot: self.handleSnapshotFetch(exchange, try FetchSnapshotRequest(from: &reader, version: version))
    case .getReplicaLogInfo: self.handleGetReplicaLogInfo(exchange, try GetReplicaLogInfoRequest(from: &reader, version: version))
    // Not in `ServedApis`, so that they do not come here.
    default: self.handleUnserved(exchange, body)
    }
  }

  /// The largest body in bytes that is refused in its own form. Each element of a request becomes one of the refusal, and a byte of the
  /// one can be a few hundred of the other.
  private static var refusedByteCountMax: Int { 64 << 10 }

  /// An API or a version of it that is not served. What has a schema here is refused in its own form, and the connection goes on. Of
  /// anything else it cannot be told how an answer would be read, so that the connection is closed, as Kafka's brokers do.
  func handleUnserved(_ exchange: Exchange<Env.Disk.File>, _ body: WireReader) {
    let version = exchange.version
    guard let key = ApiKey(rawValue: exchange.header.apiKey) else {
      return self.refuse(exchange, "API key \(exchange.header.apiKey) is not known")
    }
    do throws(WireError) {
      switch key {
      case .apiVersions: self.refuseApiVersions(exchange)
      case .produce where (0...2).contains(version): self.refuseLegacyProduce(exchange, body)
      case .findCoordinator where FindCoordinatorRequest.supportedVersions.contains(version):
        guard self.canRefuseInForm(exchange, key, body) else { return }
        self.refuseFindCoordinator(exchange, try FindCoordinatorRequest(decoding: body.rest, version: version))
      default:
        guard let request = KnownApis.request(key), request.supportedVersions.contains(version) else {
          return self.refuse(exchange, "\(key) v\(version) is not served")
        }
        guard self.canRefuseInForm(exchange, key, body) else { return }
        try self.refuse(request, exchange, body)
      }
    } catch {
      self.refuse(exchange, "\(key) v\(version): \(error)")
    }
  }

  /// Closes the connection if the body is too large to be refused in its own form.
  private func canRefuseInForm(_ exchange: Exchange<Env.Disk.File>, _ key: ApiKey, _ body: WireReader) -> Bool {
    if body.remaining <= Self.refusedByteCountMax { return true }
    self.refuse(
      exchange, "\(key) v\(exchange.version) is not served, and its \(body.remaining) bytes are too many for a refusal in its own form")
    return false
  }

  /// Answers a request of an API that is not served with UNSUPPORTED_VERSION.
  private func refuse<Request: ApiRequest>(
    _: Request.Type, _ exchange: Exchange<Env.Disk.File>, _ body: WireReader
  ) throws(WireError) {
    var reader = body
    let request = try Request(from: &reader, version: exchange.version)
    let message = "\(Request.apiKey.name) is not served by this broker."
    exchange.respond(request.refusal(.unsupportedVersion, message: message, version: exchange.version))
  }

  /// Closes the connection for a reason that is recorded.
  func refuse(_ exchange: Exchange<Env.Disk.File>, _ reason: String) {
    self.events.record(.connectionRefused(client: exchange.client, clientID: exchange.clientID, reason: reason))
    exchange.close(reason: reason)
  }

  /// Group and transaction coordinators are not served. Clients ask for one all the same when they are told to.
  private func refuseFindCoordinator(_ exchange: Exchange<Env.Disk.File>, _ request: FindCoordinatorRequest) {
    let message = "This broker serves neither consumer groups nor transactions yet."
    var response = request.refusal(.unsupportedVersion, message: message, version: exchange.version)
    // Nobody, as Kafka spells it.
    (response.nodeId, response.port) = (-1, -1)
    for index in response.coordinators.indices { (response.coordinators[index].nodeId, response.coordinators[index].port) = (-1, -1) }
    exchange.respond(response)
  }
}
