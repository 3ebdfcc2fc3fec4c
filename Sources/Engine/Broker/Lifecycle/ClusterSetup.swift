import Controller
import Metadata
import Model
import Raft

extension ControllerSetup {
  /// What the configuration makes of this node in its quorum.
  ///
  /// - Parameters:
  ///   - endpoints: where its controller listeners are reached, with the ports that were really bound.
  ///   - isFirst: a directory that knows of no quorum makes this node the first voter of a dynamic one. Without effect on any other.
  init(
    _ config: BrokerConfig, staticConfig: StaticConfig, directoryID: KafkaUUID, clusterID: String, endpoints: [Listener], isFirst: Bool
  ) {
    let cluster = config.cluster
    let listener = cluster.controllerListenerNames.first ?? "CONTROLLER"
    var raft = RaftConfig(
      local: ReplicaKey(config.nodeID, directoryID),
      endpoints: endpoints.map { Endpoint(listener: $0.name, address: Address(host: $0.host, port: $0.port)) },
      isController: cluster.isController, listener: listener, clusterID: clusterID)
    raft.bootstrapServers = cluster.bootstrapServers.map { Address(host: $0.host, port: $0.port) }
    raft.joinsAutomatically = cluster.joinsAutomatically
    raft.electionTimeout = cluster.electionTimeout
    raft.electionBackoffMax = cluster.electionBackoffMax
    raft.fetchTimeout = cluster.fetchTimeout
    raft.requestTimeout = cluster.requestTimeout
    raft.retryBackoff = cluster.retryBackoff
    // A leader that pauses and then lets a fetch wait must be back within the follower's patience.
    raft.fetchWaitMax = min(raft.fetchWaitMax, cluster.fetchTimeout / 5)

    var voters = VoterSet.empty
    var version = KRaftVersion.staticVoters
    if cluster.isStatic {
      // Known by their nodes alone: nobody knows the directories of the others.
      voters =
        VoterSet(
          cluster.quorumVoters.map {
            Voter(
              key: ReplicaKey($0.node),
              endpoints: [Endpoint(listener: listener, address: Address(host: $0.address.host, port: $0.address.port))],
              versions: raft.versions)
          }) ?? .empty
    } else if cluster.isAlone {
      voters = VoterSet([Voter(key: ReplicaKey(config.nodeID), endpoints: raft.endpoints, versions: raft.versions)]) ?? .empty
    } else if isFirst, cluster.isController {
      (voters, version) = (VoterSet([raft.voter]) ?? .empty, .dynamicVoters)
    }
    self.init(
      raft: raft, voters: voters, kraftVersion: version, settings: ControllerSettings(config, staticConfig: staticConfig), broker: config)
    self.session = cluster.session
    self.upkeep.balanceInterval = cluster.balanceInterval
    self.upkeep.uncleanInterval = cluster.uncleanElectionInterval
    self.snapshots.bytes = cluster.snapshotBytes
    self.snapshots.interval = cluster.snapshotInterval
    self.history = MetadataHistory(bytes: cluster.metadataRetentionBytes, age: cluster.metadataRetention)
  }
}

extension ClusterConfig {
  /// The one server to ask for the quorum is this node itself: there is nobody to join.
  package var isItsOwnBootstrap: Bool {
    guard self.isController, !self.isStatic, self.bootstrapServers.count == 1 else { return false }
    let server = self.bootstrapServers[0]
    return (self.controllerListeners + self.advertisedControllerListeners).contains { listener in
      guard listener.port == server.port else { return false }
      return listener.host == server.host || ["localhost", "127.0.0.1", "::1"].contains(server.host)
    }
  }
}
