package import Model

/// A broker's configuration as Apus uses it: typed, checked as a whole, built at start and after each dynamic change.
package struct BrokerConfig: Sendable, Hashable {
  package var nodeID: NodeID
  package var rack: String?
  /// At least one; this version serves exactly one.
  package var logDirectories: [String]
  package var metadataLogDirectory: String
  package var metadataSegmentBytes: Int
  package var metadataSegmentAge: Duration

  package var cluster: ClusterConfig
  /// What is bound for clients and other brokers. Controller listeners are in `cluster`.
  package var listeners: [Listener]
  /// What clients are told, by listener name; a host of `""` and a port of 0 stand for what was bound.
  package var advertisedListeners: [Listener]
  package var interBrokerListenerName: String
  /// Event loops for clients; nil is one per processor.
  package var networkThreads: Int?
  package var requestBytesMax: Int
  /// Nil leaves the buffer to the system.
  package var receiveBufferBytes: Int?
  package var sendBufferBytes: Int?
  package var listenBacklog: Int
  /// Nil: never.
  package var connectionsIdleMax: Duration?
  package var connectionsMax: Int
  package var connectionsPerAddressMax: Int
  /// By address as text.
  package var connectionsPerAddressOverrides: [String: Int]
  /// Nil: no limit over all connections.
  package var queuedRequestBytesMax: Int?

  package var autoCreateTopics: Bool
  package var deleteTopicsEnabled: Bool
  package var numPartitions: Int32
  package var defaultReplicationFactor: Int16
  package var fetchBytesMax: Int
  package var fetchSessionsMax: Int
  package var describedPartitionsMax: Int
  package var producerIDExpiration: Duration
  package var producerIDExpirationCheckInterval: Duration
  /// How many logs are opened at one time.
  package var recoveryThreads: Int
  package var retentionCheckInterval: Duration
  package var recoveryPointCheckpointInterval: Duration
  package var logStartOffsetCheckpointInterval: Duration
  package var highWatermarkCheckpointInterval: Duration

  package var replicaFetchers: Int
  package var replicaFetchBytesMin: Int
  package var replicaFetchWaitMax: Duration
  /// Of one partition, and of all together.
  package var replicaFetchBytesMax: Int
  package var replicaFetchResponseBytesMax: Int
  package var replicaFetchBackoff: Duration
  package var replicaLagTimeMax: Duration
  package var replicaSocketTimeout: Duration
  /// Over how many windows of which length throttled replication is limited.
  package var replicationQuotaWindowCount: Int
  package var replicationQuotaWindow: Duration
  /// Consumers are sent to a replica in their rack (KIP-392).
  package var readsByRack: Bool

  /// What a topic without overrides gets.
  package var topicDefaults: TopicConfig

  package init(_ layers: BrokerConfigLayers) throws(ConfigError) {
    let reader = BrokerConfigReader(layers: layers)
    self.nodeID = try reader.nodeID()
    self.rack = reader.text("broker.rack")
    self.logDirectories = try reader.logDirectories()
    self.metadataLogDirectory = try reader.metadataLogDirectory(self.logDirectories[0])
    self.metadataSegmentBytes = try reader.int("metadata.log.segment.bytes")
    self.metadataSegmentAge = try reader.duration("metadata.log.segment.ms")

    let listeners = try ListenerConfig(reader)
    (self.listeners, self.advertisedListeners) = (listeners.bound, listeners.advertised)
    self.interBrokerListenerName = listeners.interBrokerName
    self.cluster = try ClusterConfig(reader, nodeID: self.nodeID, listeners: listeners)
    self.networkThreads = reader.isSet("num.network.threads") ? try reader.int("num.network.threads") : nil
    self.requestBytesMax = try reader.int("socket.request.max.bytes")
    self.receiveBufferBytes = reader.isSet("socket.receive.buffer.bytes") ? try reader.limit("socket.receive.buffer.bytes") : nil
    self.sendBufferBytes = reader.isSet("socket.send.buffer.bytes") ? try reader.limit("socket.send.buffer.bytes") : nil
    self.listenBacklog = try reader.int("socket.listen.backlog.size")
    self.connectionsIdleMax = try reader.limit("connections.max.idle.ms").map { .milliseconds($0) }
    self.connectionsMax = try reader.int("max.connections")
    self.connectionsPerAddressMax = try reader.int("max.connections.per.ip")
    self.connectionsPerAddressOverrides = try reader.connectionOverrides()
    self.queuedRequestBytesMax = try reader.limit("queued.max.request.bytes")

    self.autoCreateTopics = try reader.boolean("auto.create.topics.enable")
    self.deleteTopicsEnabled = try reader.boolean("delete.topic.enable")
    self.numPartitions = Int32(try reader.int("num.partitions"))
    self.defaultReplicationFactor = Int16(try reader.int("default.replication.factor"))
    self.fetchBytesMax = try reader.int("fetch.max.bytes")
    self.fetchSessionsMax = try reader.int("max.incremental.fetch.session.cache.slots")
    self.describedPartitionsMax = try reader.int("max.request.partition.size.limit")
    self.producerIDExpiration = try reader.duration("producer.id.expiration.ms")
    self.producerIDExpirationCheckInterval = try reader.duration("producer.id.expiration.check.interval.ms")
    self.recoveryThreads = try reader.int("num.recovery.threads.per.data.dir")
    self.retentionCheckInterval = try reader.duration("log.retention.check.interval.ms")
    self.recoveryPointCheckpointInterval = try reader.duration("log.flush.offset.checkpoint.interval.ms")
    self.logStartOffsetCheckpointInterval = try reader.duration("log.flush.start.offset.checkpoint.interval.ms")
    self.highWatermarkCheckpointInterval = try reader.duration("replica.high.watermark.checkpoint.interval.ms")
    self.replicaFetchers = try reader.int("num.replica.fetchers")
    self.replicaFetchBytesMin = try reader.int("replica.fetch.min.bytes")
    self.replicaFetchWaitMax = try reader.duration("replica.fetch.wait.max.ms")
    self.replicaFetchBytesMax = try reader.int("replica.fetch.max.bytes")
    self.replicaFetchResponseBytesMax = try reader.int("replica.fetch.response.max.bytes")
    self.replicaFetchBackoff = try reader.duration("replica.fetch.backoff.ms")
    self.replicaLagTimeMax = try reader.duration("replica.lag.time.max.ms")
    self.replicaSocketTimeout = try reader.duration("replica.socket.timeout.ms")
    self.replicationQuotaWindowCount = try reader.int("replication.quota.window.num")
    self.replicationQuotaWindow = .seconds(try reader.int("replication.quota.window.size.seconds"))
    self.readsByRack = reader.text("replica.selector.class") == rackAwareSelector
    try reader.checkReplicaTimes(wait: self.replicaFetchWaitMax, lag: self.replicaLagTimeMax, socket: self.replicaSocketTimeout)
    self.topicDefaults = try layers.topicDefaults()
  }
}
