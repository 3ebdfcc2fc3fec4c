import Base
import Model
import NIOCore
import Wire

// The cluster as a whole: its brokers, its quorum of controllers, its features.
extension KafkaAdmin {
  /// The cluster's id, brokers and controller.
  ///
  /// - Parameter includingFenced: also those that are registered and not alive, where the cluster can tell of them (KIP-1073).
  public func describeCluster(includingFenced: Bool = false) async throws(KafkaError) -> ClusterDescription {
    do throws(KafkaError) {
      let request = DescribeClusterRequest(includeFencedBrokers: includingFenced)
      let (response, version) = try await self.cluster.retrying("describe the cluster") { () throws(KafkaError) in
        let answer = try await self.cluster.sendTellingVersion(request, to: .any)
        if answer.response.errorCode != .none {
          throw KafkaError(answer.response.errorCode, answer.response.errorMessage, about: "the cluster")
        }
        return answer
      }
      let brokers = response.brokers.sorted { $0.brokerId < $1.brokerId }.map { broker in
        BrokerDescription(
          id: broker.brokerId, address: BrokerAddress(host: broker.host, port: Int(broker.port)), rack: broker.rack,
          isFenced: version >= 2 ? broker.isFenced : nil,
          isInControlledShutdown: broker.shutdownState < 0 ? nil : broker.shutdownState == 1)
      }
      return ClusterDescription(
        id: response.clusterId.isEmpty ? nil : response.clusterId, controllerID: response.controllerId < 0 ? nil : response.controllerId,
        brokers: brokers)
    } catch {
      guard error.kind == .unsupportedVersion else { throw error }
    }
    // Before KIP-700 Metadata was all there was.
    try await self.refresh([])
    let metadata = try await self.metadata()
    let brokers = metadata.brokers.values.sorted { $0.nodeID < $1.nodeID }
    return ClusterDescription(
      id: metadata.clusterID, controllerID: metadata.controllerID < 0 ? nil : metadata.controllerID,
      brokers: brokers.map { BrokerDescription(id: $0.nodeID, address: $0.address, rack: $0.rack) })
  }

  /// The quorum as its leader sees it. Throws a refusal that may pass if there is no leader for the whole of the time.
  public func describeQuorum() async throws(KafkaError) -> QuorumDescription {
    let topic = DescribeQuorumRequest.TopicData(topicName: "__cluster_metadata", partitions: [.init(partitionIndex: 0)])
    let request = DescribeQuorumRequest(topics: [topic])
    return try await self.cluster.retrying("describe the quorum") { () throws(KafkaError) in
      let response = try await self.cluster.send(request, to: .controller)
      if response.errorCode != .none { throw KafkaError(response.errorCode, response.errorMessage, about: "the quorum") }
      guard let partition = response.topics.first?.partitions.first else { throw Self.missing("the quorum") }
      if partition.errorCode != .none { throw KafkaError(partition.errorCode, partition.errorMessage, about: "the quorum") }
      let endpoints = response.nodes.flatMap { node in
        node.listeners.map {
          QuorumEndpoint(node: node.nodeId, listener: $0.name, address: BrokerAddress(host: $0.host, port: Int($0.port)))
        }
      }
      return QuorumDescription(
        leader: partition.leaderId < 0 ? nil : partition.leaderId, leaderEpoch: partition.leaderEpoch,
        highWatermark: partition.highWatermark < 0 ? nil : partition.highWatermark,
        voters: partition.currentVoters.map(QuorumReplica.init).sorted { $0.id < $1.id },
        observers: partition.observers.map(QuorumReplica.init).sorted { $0.id < $1.id }, endpoints: endpoints)
    }
  }

  /// Makes the cluster forget a broker that will not come back.
  public func unregisterBroker(_ id: Int32) async throws(KafkaError) {
    try await self.cluster.retrying("unregister broker \(id)") { () throws(KafkaError) in
      let response = try await self.cluster.send(UnregisterBrokerRequest(brokerId: id), to: .controller)
      if response.errorCode != .none { throw KafkaError(response.errorCode, response.errorMessage, about: "broker \(id)") }
    }
  }

  /// Changes the levels of features, all or none of them.
  public func updateFeatures(_ updates: [FeatureUpdate], validateOnly: Bool = false) async throws(KafkaError) {
    var request = UpdateFeaturesRequest(timeoutMs: self.timeoutMs, validateOnly: validateOnly)
    request.featureUpdates = updates.map {
      // The flag serves version 0, the kind those after it.
      .init(feature: $0.name, maxVersionLevel: $0.level, allowDowngrade: $0.kind != .upgrade, upgradeType: $0.kind.rawValue)
    }
    try await self.cluster.retrying("update features") { () throws(KafkaError) in
      let response = try await self.cluster.send(request, to: .controller)
      if let refused = response.results.first(where: { $0.errorCode != .none }) {
        throw KafkaError(refused.errorCode, refused.errorMessage, about: "feature \(refused.feature)")
      }
      if response.errorCode != .none { throw KafkaError(response.errorCode, response.errorMessage, about: "features") }
    }
  }

  // MARK: Voters

  /// Gives a controller a vote (KIP-853). It must be running, and follow the log already.
  ///
  /// - Parameters:
  ///   - directoryID: of its metadata log's directory, as its `meta.properties` has it.
  ///   - endpoints: where the other voters reach it; `node` is ignored.
  public func addVoter(_ id: Int32, directoryID: String, endpoints: [QuorumEndpoint]) async throws(KafkaError) {
    let directory = try Self.directory(directoryID)
    let clusterID = try await self.describeCluster().id
    let listeners = endpoints.map {
      AddRaftVoterRequest.Listener(name: $0.listener, host: $0.address.host, port: UInt16(clamping: $0.address.port))
    }
    let request = AddRaftVoterRequest(
      clusterId: clusterID, timeoutMs: self.timeoutMs, voterId: id, voterDirectoryId: directory, listeners: listeners)
    try await self.cluster.retrying("add voter \(id)") { () throws(KafkaError) in
      let response = try await self.cluster.send(request, to: .controller)
      if response.errorCode != .none { throw KafkaError(response.errorCode, response.errorMessage, about: "voter \(id)") }
    }
  }

  /// Takes a controller's vote away (KIP-853).
  public func removeVoter(_ id: Int32, directoryID: String) async throws(KafkaError) {
    let directory = try Self.directory(directoryID)
    let clusterID = try await self.describeCluster().id
    let request = RemoveRaftVoterRequest(clusterId: clusterID, voterId: id, voterDirectoryId: directory)
    try await self.cluster.retrying("remove voter \(id)") { () throws(KafkaError) in
      let response = try await self.cluster.send(request, to: .controller)
      if response.errorCode != .none { throw KafkaError(response.errorCode, response.errorMessage, about: "voter \(id)") }
    }
  }

  private static func directory(_ text: String) throws(KafkaError) -> KafkaUUID {
    guard let directory = KafkaUUID(text) else {
      throw KafkaError(.invalidArgument, "'\(text)' is no directory id: 22 characters, as directory.id in meta.properties has them")
    }
    return directory
  }
}

extension QuorumReplica {
  init(_ state: DescribeQuorumResponse.ReplicaState) {
    self.init(
      id: state.replicaId, directoryID: state.replicaDirectoryId == .zero ? nil : "\(state.replicaDirectoryId)",
      logEndOffset: state.logEndOffset < 0 ? nil : state.logEndOffset,
      lastFetch: state.lastFetchTimestamp < 0 ? nil : state.lastFetchTimestamp,
      lastCaughtUp: state.lastCaughtUpTimestamp < 0 ? nil : state.lastCaughtUpTimestamp)
  }
}
