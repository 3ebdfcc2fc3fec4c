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

  /// What the broker binds. Controller listeners are not among them.
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
  /// Consumers are sent to a replica in their rack (KIP-392).
  package var readsByRack: Bool

  /// What a topic without overrides gets.
  package var topicDefaults: TopicConfig

  package init(_ layers: BrokerConfigLayers) throws(ConfigError) {
    let reader = LayersReader(layers: layers)
    self.nodeID = try reader.nodeID()
    self.rack = reader.text("broker.rack")
    self.logDirectories = try reader.logDirectories()
    self.metadataLogDirectory = try reader.metadataLogDirectory(self.logDirectories[0])
    self.metadataSegmentBytes = try reader.int("metadata.log.segment.bytes")
    self.metadataSegmentAge = try reader.duration("metadata.log.segment.ms")
    try reader.checkRoles(nodeID: self.nodeID)

    (self.listeners, self.advertisedListeners) = try reader.listeners()
    self.interBrokerListenerName = try reader.interBrokerListenerName(among: self.listeners)
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
    self.readsByRack = reader.text("replica.selector.class") == rackAwareSelector
    try reader.checkReplicaTimes(wait: self.replicaFetchWaitMax, lag: self.replicaLagTimeMax, socket: self.replicaSocketTimeout)
    self.topicDefaults = try layers.topicDefaults()
  }
}

/// Typed readings of the layers' broker configs, each by name.
private struct LayersReader {
  var layers: BrokerConfigLayers

  func isSet(_ name: String) -> Bool { !self.layers.settings(of: name).isEmpty }

  /// Nil for "not set" and for blank text.
  func text(_ name: String) -> String? { self.layers.value(name).flatMap { trimmed($0).isEmpty ? nil : trimmed($0) } }

  func boolean(_ name: String) throws(ConfigError) -> Bool {
    let definition = self.definition(name)
    return try definition.boolean(self.layers.value(name) ?? "")
  }

  func int(_ name: String) throws(ConfigError) -> Int {
    let definition = self.definition(name)
    return Int(try definition.integer(self.layers.value(name) ?? ""))
  }

  func duration(_ name: String) throws(ConfigError) -> Duration { .milliseconds(try self.int(name)) }

  /// A number of which any negative value means "no limit".
  func limit(_ name: String) throws(ConfigError) -> Int? {
    let value = try self.int(name)
    return value < 0 ? nil : value
  }

  func nodeID() throws(ConfigError) -> NodeID {
    let old = try self.int("broker.id")
    let new = try self.int("node.id")
    if old >= 0, self.isSet("node.id"), old != new {
      throw .invalid("broker.id", String(old), "node.id is \(new); the two are names of one thing and must be equal")
    }
    return NodeID(Int32(old >= 0 ? old : new))
  }

  func logDirectories() throws(ConfigError) -> [String] {
    // log.dirs wins over log.dir, which has a default.
    guard let text = self.text("log.dirs") ?? self.text("log.dir") else { throw .invalid("log.dirs", "", "no log directory is named") }
    let directories = configList(text)
    if directories.contains("") { throw .invalid("log.dirs", text, "a directory's name is empty") }
    if directories.count > 1 { throw .invalid("log.dirs", text, "several log directories are not supported yet by this version") }
    return directories
  }

  func metadataLogDirectory(_ first: String) throws(ConfigError) -> String {
    if let directory = self.text("metadata.log.dir"), directory != first {
      throw .invalid("metadata.log.dir", directory, "a directory apart from log.dirs (\(first)) is not supported yet by this version")
    }
    return first
  }

  func checkRoles(nodeID: NodeID) throws(ConfigError) {
    let roles = configList(self.layers.value("process.roles") ?? "")
    if !roles.contains("broker") || !roles.contains("controller") {
      throw .invalid(
        "process.roles", roles.joined(separator: ","), "this version runs broker and controller in one process: broker,controller")
    }
    let voters = configList(self.layers.value("controller.quorum.voters") ?? "")
    if voters.count > 1 {
      throw .invalid(
        "controller.quorum.voters", voters.joined(separator: ","),
        "a quorum of several controllers is not supported yet by this version")
    }
    for voter in voters {
      guard let at = voter.firstIndex(of: "@"), Int32(voter[..<at]) == nodeID.rawValue else {
        throw .invalid("controller.quorum.voters", voter, "the one voter must be this node, written \(nodeID)@host:port")
      }
    }
  }

  func listeners() throws(ConfigError) -> (bound: [Listener], advertised: [Listener]) {
    let protocols = try parseProtocolMap(self.layers.value("listener.security.protocol.map") ?? "")
    let controllerNames = configList(self.layers.value("controller.listener.names") ?? "").map { $0.uppercased() }
    // A quorum of one talks to itself without a listener, so those that are the controller's are read past.
    let brokerProtocols = controllerNames.reduce(into: protocols) { $0[$1] = $0[$1] ?? .plaintext }
    let all = try parseListeners(self.layers.value("listeners") ?? "", config: "listeners", protocols: brokerProtocols)
    let bound = all.filter { !controllerNames.contains($0.name) }
    if bound.isEmpty { throw .invalid("listeners", self.layers.value("listeners") ?? "", "at least one listener for clients is needed") }
    guard let text = self.text("advertised.listeners") else { return (bound, bound) }
    let advertised = try parseListeners(text, config: "advertised.listeners", protocols: brokerProtocols)
      .filter { !controllerNames.contains($0.name) }
    for listener in advertised {
      if !bound.contains(where: { $0.name == listener.name }) {
        throw .invalid("advertised.listeners", listener.description, "there is no listener of that name in listeners")
      }
      if listener.host.isEmpty || listener.host == "0.0.0.0" || listener.host == "::" {
        throw .invalid(
          "advertised.listeners", listener.description, "clients need an address to connect to, which \"all interfaces\" is not")
      }
    }
    for listener in bound where !advertised.contains(where: { $0.name == listener.name }) {
      throw .invalid("advertised.listeners", text, "listener \(listener.name) is not advertised")
    }
    return (bound, advertised)
  }

  func interBrokerListenerName(among listeners: [Listener]) throws(ConfigError) -> String {
    guard let name = self.text("inter.broker.listener.name")?.uppercased() else { return listeners[0].name }
    if !listeners.contains(where: { $0.name == name }) {
      throw .invalid("inter.broker.listener.name", name, "there is no listener of that name in listeners")
    }
    return name
  }

  /// As Kafka checks them.
  func checkReplicaTimes(wait: Duration, lag: Duration, socket: Duration) throws(ConfigError) {
    let name = "replica.fetch.wait.max.ms"
    if wait > lag { throw .invalid(name, self.layers.value(name) ?? "", "it must not be greater than replica.lag.time.max.ms") }
    if wait > socket { throw .invalid(name, self.layers.value(name) ?? "", "it must not be greater than replica.socket.timeout.ms") }
  }

  func connectionOverrides() throws(ConfigError) -> [String: Int] {
    let config = "max.connections.per.ip.overrides"
    var overrides: [String: Int] = [:]
    for element in configList(self.layers.value(config) ?? "") {
      // The address may itself contain colons (IPv6), so the limit is what follows the last.
      guard let colon = element.lastIndex(of: ":"), colon > element.startIndex,
        let limit = Int(element[element.index(after: colon)...]), limit >= 0
      else {
        throw .invalid(config, element, "each override is written address:limit")
      }
      overrides[String(element[..<colon])] = limit
    }
    return overrides
  }

  private func definition(_ name: String) -> ConfigDefinition {
    guard let definition = ConfigRegistry.brokerConfig(name) else { preconditionFailure("\(name) is not defined") }
    return definition
  }
}
