import Base
package import Metadata
package import Model
package import Raft

/// What a `ControllerDriver` takes from the node's configuration.
package struct ControllerSetup: Sendable {
  /// Who this replica is, and how patient. A node that only observes has `isController` false.
  package var raft: RaftConfig
  /// `controller.quorum.voters`, or what the node was formatted with; what the log and its snapshots say goes before.
  package var voters: VoterSet
  package var kraftVersion: KRaftVersion
  package var settings: ControllerSettings
  /// For the metadata log's segments.
  package var broker: BrokerConfig
  /// `broker.session.timeout.ms`
  package var session: Duration = .seconds(9)
  package var upkeep = ControllerUpkeep.Settings()
  package var snapshots = SnapshotPolicy()
  package var history = MetadataHistory()
  /// `inter.broker.listener.name`: where brokers are probed and asked.
  package var interBrokerListener: String
  /// How long a broker has to answer a probe, and a replica to say where its log ends.
  package var probeTimeout: Duration = .milliseconds(500)

  package init(
    raft: RaftConfig, voters: VoterSet, kraftVersion: KRaftVersion = .staticVoters, settings: ControllerSettings, broker: BrokerConfig
  ) {
    (self.raft, self.voters, self.kraftVersion) = (raft, voters, kraftVersion)
    (self.settings, self.broker, self.interBrokerListener) = (settings, broker, broker.interBrokerListenerName)
  }

  /// A quorum of this node alone, which nobody else can reach.
  package static func single(_ config: BrokerConfig, staticConfig: StaticConfig, directoryID: KafkaUUID, clusterID: String) -> Self {
    let local = ReplicaKey(config.nodeID, directoryID)
    let raft = RaftConfig(local: local, endpoints: [], isController: true, listener: "CONTROLLER", clusterID: clusterID)
    // By its node alone, as voters of a static quorum are known.
    let voter = Voter(key: ReplicaKey(config.nodeID), endpoints: [], versions: raft.versions)
    var setup = ControllerSetup(
      raft: raft, voters: VoterSet([voter]) ?? .empty, settings: ControllerSettings(config, staticConfig: staticConfig), broker: config)
    // The one broker there is shares the controller's process, and cannot be silent while the other waits.
    setup.session = .seconds(365 * 86_400)
    return setup
  }

  /// What brokers and controllers agree on. A controller that was deposed gives no lease after the next one began (`heartbeat`).
  package var lease: LeaseRule { LeaseRule(session: self.session, deposedMax: .zero) }
}

/// When a snapshot of the metadata is written.
package struct SnapshotPolicy: Hashable, Sendable {
  /// `metadata.log.max.record.bytes.between.snapshots`
  package var bytes: Int64 = 20_971_520
  /// `metadata.log.max.snapshot.interval.ms`, if there is anything new; nil for its 0: never by time.
  package var interval: Duration? = .milliseconds(3_600_000)
  package init() {}
}

/// How much of the log is kept behind snapshots, so that what happened can be explained.
package struct MetadataHistory: Hashable, Sendable {
  /// `metadata.max.retention.bytes`, of log and snapshots together; nil: no limit.
  package var bytes: Int64? = 104_857_600
  /// `metadata.max.retention.ms`; nil: no limit.
  package var age: Duration? = .milliseconds(604_800_000)
  package init(bytes: Int64? = 104_857_600, age: Duration? = .milliseconds(604_800_000)) { (self.bytes, self.age) = (bytes, age) }
}
