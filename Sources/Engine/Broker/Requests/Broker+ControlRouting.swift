import Controller
import Environment
import Metadata
import Model
import NIOCore
import Wire

// Requests to this node as a controller, and those that a broker passes on.
extension Broker {
  /// What the active controller decides, whoever was asked.
  func routeForwarded(
    _ key: ApiKey, _ exchange: Exchange<Env.Disk.File>, frame: ByteBuffer, body: WireReader
  ) throws(WireError) {
    if key == .incrementalAlterConfigs {
      var reader = body
      let request = try IncrementalAlterConfigsRequest(from: &reader, version: exchange.version)
      // Log levels are this process's own.
      if Self.concernsLogLevels(request) { return self.alterHereAndForward(exchange, request) }
    }
    try self.forward(exchange, key, frame: frame, body: body)
  }

  func routeControl(_ key: ApiKey, _ exchange: Exchange<Env.Disk.File>, _ body: WireReader) throws(WireError) {
    let version = exchange.version
    var reader = body
    switch key {
    case .brokerHeartbeat: self.handleBrokerHeartbeat(exchange, try BrokerHeartbeatRequest(from: &reader, version: version))
    case .fetch, .vote, .beginQuorumEpoch, .endQuorumEpoch, .fetchSnapshot, .addRaftVoter, .removeRaftVoter, .updateRaftVoter:
      try self.routeQuorum(key, exchange, body)
    case .describeQuorum: self.handleDescribeQuorum(exchange, try DescribeQuorumRequest(from: &reader, version: version))
    case .apiVersions: self.handleApiVersions(exchange, try ApiVersionsRequest(from: &reader, version: version))
    case .alterPartition: self.handleAlterPartition(exchange, try AlterPartitionRequest(from: &reader, version: version))
    case .envelope: self.handleEnvelope(exchange, try EnvelopeRequest(from: &reader, version: version))
    case .brokerRegistration: self.handleBrokerRegistration(exchange, try BrokerRegistrationRequest(from: &reader, version: version))
    case .unregisterBroker: self.handleUnregisterBroker(exchange, try UnregisterBrokerRequest(from: &reader, version: version))
    case .allocateProducerIds:
      self.handleAllocateProducerIds(exchange, try AllocateProducerIdsRequest(from: &reader, version: version))
    case .assignReplicasToDirs:
      self.handleAssignReplicasToDirs(exchange, try AssignReplicasToDirsRequest(from: &reader, version: version))
    case .electLeaders: self.handleElectLeaders(exchange, try ElectLeadersRequest(from: &reader, version: version))
    case .alterPartitionReassignments:
      self.handleAlterPartitionReassignments(exchange, try AlterPartitionReassignmentsRequest(from: &reader, version: version))
    case .listPartitionReassignments:
      self.handleListPartitionReassignments(exchange, try ListPartitionReassignmentsRequest(from: &reader, version: version))
    case .updateFeatures: self.handleUpdateFeatures(exchange, try UpdateFeaturesRequest(from: &reader, version: version))
    case .createTopics: self.handleCreateTopics(exchange, try CreateTopicsRequest(from: &reader, version: version))
    case .deleteTopics: self.handleDeleteTopics(exchange, try DeleteTopicsRequest(from: &reader, version: version))
    case .createPartitions: self.handleCreatePartitions(exchange, try CreatePartitionsRequest(from: &reader, version: version))
    case .alterConfigs: self.handleAlterConfigs(exchange, try AlterConfigsRequest(from: &reader, version: version))
    case .incrementalAlterConfigs:
      self.handleIncrementalAlterConfigs(exchange, try IncrementalAlterConfigsRequest(from: &reader, version: version))
    case .describeConfigs: self.handleDescribeConfigs(exchange, try DescribeConfigsRequest(from: &reader, version: version))
    case .describeCluster: self.handleDescribeCluster(exchange, try DescribeClusterRequest(from: &reader, version: version))
    // Not in `ServedApis`, so that they do not come here.
    default: self.handleUnserved(exchange, body)
    }
  }

  /// The requests of the quorum's replicas, and those that change its voters: `RaftMachine` answers them, with Kafka's errors.
  private func routeQuorum(_ key: ApiKey, _ exchange: Exchange<Env.Disk.File>, _ body: WireReader) throws(WireError) {
    let version = exchange.version
    let quorum = self.controller.quorum
    var reader = body
    switch key {
    case .fetch:
      let request = try FetchRequest(from: &reader, version: version)
      guard request.concernsMetadataLog else {
        return exchange.respond(request.refusal(.unknownTopicOrPartition, message: nil, version: version))
      }
      let replica = version >= 15 ? request.replicaState.replicaId : request.replicaId
      // Replicas that look for the leader do not say who they are either, but to which cluster they belong.
      if replica < 0, request.clusterId == nil, let fetch = MetadataFetch(request, bytesMax: self.config.fetchBytesMax) {
        return self.handleMetadataFetch(exchange, fetch)
      }
      quorum.serve(request, version: version) { self.note($0.errorCode, replica, exchange); exchange.respond($0) }
    case .vote:
      let request = try VoteRequest(from: &reader, version: version)
      quorum.serve(request) { self.note($0.errorCode, request.voterId, exchange); exchange.respond($0) }
    case .beginQuorumEpoch:
      let request = try BeginQuorumEpochRequest(from: &reader, version: version)
      quorum.serve(request) { self.note($0.errorCode, request.voterId, exchange); exchange.respond($0) }
    case .endQuorumEpoch:
      let request = try EndQuorumEpochRequest(from: &reader, version: version)
      quorum.serve(request) { self.note($0.errorCode, -1, exchange); exchange.respond($0) }
    case .fetchSnapshot:
      let request = try FetchSnapshotRequest(from: &reader, version: version)
      if request.replicaId < 0, request.clusterId == nil { return self.handleSnapshotFetch(exchange, request) }
      quorum.serve(request) { self.note($0.errorCode, request.replicaId, exchange); exchange.respond($0) }
    case .addRaftVoter:
      let request = try AddRaftVoterRequest(from: &reader, version: version)
      quorum.serve(request) { self.note($0.errorCode, request.voterId, exchange); exchange.respond($0) }
    case .removeRaftVoter:
      let request = try RemoveRaftVoterRequest(from: &reader, version: version)
      quorum.serve(request) { self.note($0.errorCode, request.voterId, exchange); exchange.respond($0) }
    case .updateRaftVoter:
      let request = try UpdateRaftVoterRequest(from: &reader, version: version)
      quorum.serve(request) { self.note($0.errorCode, request.voterId, exchange); exchange.respond($0) }
    default: self.handleUnserved(exchange, body)
    }
  }

  /// A refusal that says that the other side is not what it takes itself for is told to people, once.
  func note(_ error: ErrorCode, _ node: Int32, _ exchange: Exchange<Env.Disk.File>) {
    guard self.controlRefusals.isNews(error, node: node, key: exchange.header.apiKey) else { return }
    guard let key = ApiKey(rawValue: exchange.header.apiKey) else { return }
    self.events.record(.controlRequestRefused(client: exchange.client, node: NodeID(node), api: key.name, error: error))
  }
}
