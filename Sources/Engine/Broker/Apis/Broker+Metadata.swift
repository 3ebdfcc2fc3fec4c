import Environment
import Metadata
import Model
import Wire

// Metadata: which topics there are and who leads them; creates what is missing if it may.
extension Broker {
  func handleMetadata(_ exchange: Exchange<Env.Disk.File>, _ request: MetadataRequest) {
    let asksForAll = request.topics == nil || (exchange.version == 0 && request.topics?.isEmpty == true)
    let topics = request.topics ?? []
    if exchange.version < 12, topics.contains(where: { $0.name == nil || $0.topicId != .zero }) {
      // v10 and v11 have fields that were not to be used before v12.
      return exchange.close(reason: "Metadata v\(exchange.version) names topics by id, which is possible from v12 on")
    }
    let names = topics.compactMap(\.name)
    let missing = asksForAll ? [] : self.missingTopics(names)
    let mayCreate = request.allowAutoTopicCreation && self.config.autoCreateTopics && !topics.contains { $0.topicId != .zero }
    if missing.isEmpty || !mayCreate {
      return self.doubts.whenCertain(of: self.otherLeaders(namedBy: request, asksForAll: asksForAll)) {
        exchange.respond(self.metadataResponse(exchange, request, asksForAll: asksForAll))
      }
    }
    self.createTopicsAutomatically(missing, exchange) { problems in
      exchange.respond(self.metadataResponse(exchange, request, asksForAll: false, creationProblems: problems))
    }
  }

  /// Names that could be topics and are not, each once, in the order of the request.
  private func missingTopics(_ names: [String]) -> [String] {
    let image = self.catalog.image
    var seen: Set<String> = []
    return names.filter { image.topicID($0) == nil && TopicName.problem(with: $0) == nil && seen.insert($0).inserted }
  }

  /// The brokers but for this one that the answer names as leaders.
  private func otherLeaders(namedBy request: MetadataRequest, asksForAll: Bool) -> Set<NodeID> {
    let image = self.catalog.image
    if image.brokers.count < 2 { return [] }
    let topics =
      asksForAll
      ? image.topicsByName : (request.topics ?? []).compactMap { $0.topicId == .zero ? image.topic($0.name ?? "") : image.topic($0.topicId) }
    var leaders: Set<NodeID> = []
    for topic in topics { for partition in topic.partitions { leaders.insert(partition.leader) } }
    return leaders.subtracting([.none, self.config.nodeID])
  }

  func advertisedController(_ endpoints: [BrokerEndpoint]) -> Int32 {
    let id = endpoints.contains { $0.nodeID == self.config.nodeID } ? self.config.nodeID : endpoints.first?.nodeID ?? .none
    return id.rawValue
  }

  private func metadataResponse(
    _ exchange: Exchange<Env.Disk.File>, _ request: MetadataRequest, asksForAll: Bool, creationProblems: [String: ErrorCode] = [:]
  ) -> MetadataResponse {
    let catalog = self.catalog
    let doubted = self.doubts.doubted()
    let endpoints = catalog.endpoints(listener: exchange.client.listener)
    var response = MetadataResponse()
    let listed = catalog.listedEndpoints(listener: exchange.client.listener, now: self.environment.now())
    response.brokers = listed.map { .init(nodeId: $0.nodeID.rawValue, host: $0.host, port: $0.port, rack: $0.rack) }
    response.clusterId = catalog.image.clusterID
    // Which broker a client sends what only a controller does; any broker passes it on, so this one will do.
    response.controllerId = self.advertisedController(endpoints)
    if request.includeClusterAuthorizedOperations { response.clusterAuthorizedOperations = AuthorizedOperations.cluster }
    if asksForAll {
      response.topics = catalog.image.topicsByName.map { self.describe($0, in: catalog, doubted, request, exchange) }
      return response
    }
    // Each topic once, however often it was named (as in Kafka).
    var seen: Set<TopicReference> = []
    for topic in request.topics ?? [] {
      let reference: TopicReference = topic.topicId == .zero ? .name(topic.name ?? "") : .id(topic.topicId)
      guard seen.insert(reference).inserted else { continue }
      switch reference {
      case .id(let id):
        guard let image = catalog.image.topic(id) else {
          response.topics.append(.init(errorCode: .unknownTopicId, name: nil, topicId: id))
          continue
        }
        response.topics.append(self.describe(image, in: catalog, doubted, request, exchange))
      case .name(let name):
        guard let image = catalog.image.topic(name) else {
          let code = creationProblems[name] ?? .missingTopic(name)
          response.topics.append(.init(errorCode: code, name: name, isInternal: HostedTopic<Env>.isInternal(name)))
          continue
        }
        response.topics.append(self.describe(image, in: catalog, doubted, request, exchange))
      }
    }
    return response
  }

  private func describe(
    _ topic: TopicImage, in catalog: Catalog<Env>, _ doubted: Set<NodeID>, _ request: MetadataRequest, _ exchange: Exchange<Env.Disk.File>
  ) -> MetadataResponse.MetadataResponseTopic {
    var described = MetadataResponse.MetadataResponseTopic()
    described.name = topic.name
    described.topicId = topic.id
    described.isInternal = HostedTopic<Env>.isInternal(topic.name)
    if request.includeTopicAuthorizedOperations { described.topicAuthorizedOperations = AuthorizedOperations.topic }
    described.partitions.reserveCapacity(topic.partitions.count)
    for (index, partition) in topic.partitions.enumerated() {
      let description = PartitionDescription(
        partition, in: catalog, listener: exchange.client.listener, distinguishesListener: exchange.version >= 6, doubted: doubted)
      described.partitions.append(
        .init(
          errorCode: description.error, partitionIndex: Int32(index), leaderId: description.leader.rawValue,
          leaderEpoch: description.leaderEpoch.rawValue, replicaNodes: description.replicas, isrNodes: description.inSyncReplicas,
          offlineReplicas: description.offlineReplicas))
    }
    return described
  }
}
