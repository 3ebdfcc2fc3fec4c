import Base
package import Model

/// What makes this node a member of a cluster: its parts, the controllers, and how patient it is with the others.
package struct ClusterConfig: Sendable, Hashable {
  package var isBroker: Bool
  package var isController: Bool
  /// In capitals, as listeners are named. A node reaches other controllers at their listener of the first of these names.
  package var controllerListenerNames: [String]
  /// What is bound for controllers; empty on brokers, and where a quorum of one needs none.
  package var controllerListeners: [Listener]
  /// What other nodes are told of them, by name; a host of `""` and a port of 0 stand for what was bound.
  package var advertisedControllerListeners: [Listener]
  /// In the order of their ids. Empty: the quorum is dynamic, or is this node alone.
  package var quorumVoters: [QuorumVoter]
  package var bootstrapServers: [HostAndPort]
  package var joinsAutomatically: Bool
  package var electionTimeout: Duration
  package var electionBackoffMax: Duration
  package var fetchTimeout: Duration
  package var requestTimeout: Duration
  package var retryBackoff: Duration

  package var session: Duration
  package var heartbeatInterval: Duration
  package var registrationTimeout: Duration
  /// How long clients still see a broker that was fenced.
  package var fencedBrokerLinger: Duration
  package var controlledShutdown: Bool

  /// Nil: preferred leaders get nothing back of themselves.
  package var balanceInterval: Duration?
  package var uncleanElectionInterval: Duration

  package var snapshotBytes: Int64
  /// Nil: no snapshot for its age alone.
  package var snapshotInterval: Duration?
  /// Nil: no limit.
  package var metadataRetentionBytes: Int64?
  package var metadataRetention: Duration?

  /// Neither voters nor servers are named: this node alone is the quorum, and nobody is told how to reach it.
  package var isAlone: Bool { self.quorumVoters.isEmpty && self.bootstrapServers.isEmpty }
  package var isStatic: Bool { !self.quorumVoters.isEmpty }

  /// The id of a static quorum's cluster where nobody gave it one: the same on every node with the same voters, since it is made of them
  /// alone (of `1@a:9093,2@b:9093`, by FNV-1a and splitmix).
  package var derivedClusterID: KafkaUUID? {
    if self.quorumVoters.isEmpty { return nil }
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in self.quorumVoters.map(\.description).joined(separator: ",").utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    func mixed(_ value: UInt64) -> UInt64 {
      var z = value
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
    while true {
      let id = KafkaUUID(high: mixed(hash), low: mixed(hash &+ 0x9E37_79B9_7F4A_7C15))
      // Kafka's tools would take such an id for an option.
      if !id.description.hasPrefix("-") { return id }
      hash &+= 1
    }
  }

  init(_ reader: BrokerConfigReader, nodeID: NodeID, listeners: ListenerConfig) throws(ConfigError) {
    let roles = try reader.roles()
    (self.isBroker, self.isController) = (roles.contains("broker"), roles.contains("controller"))
    self.controllerListenerNames = listeners.controllerNames
    self.controllerListeners = listeners.controllers
    self.advertisedControllerListeners = listeners.advertisedControllers
    self.quorumVoters = try reader.quorumVoters()
    self.bootstrapServers = try reader.bootstrapServers()
    self.joinsAutomatically = try reader.boolean("controller.quorum.auto.join.enable")
    self.electionTimeout = try reader.duration("controller.quorum.election.timeout.ms")
    self.electionBackoffMax = try reader.duration("controller.quorum.election.backoff.max.ms")
    self.fetchTimeout = try reader.duration("controller.quorum.fetch.timeout.ms")
    self.requestTimeout = try reader.duration("controller.quorum.request.timeout.ms")
    self.retryBackoff = try reader.duration("controller.quorum.retry.backoff.ms")
    self.session = try reader.duration("broker.session.timeout.ms")
    self.heartbeatInterval = try reader.duration("broker.heartbeat.interval.ms")
    self.registrationTimeout = try reader.duration("initial.broker.registration.timeout.ms")
    self.fencedBrokerLinger = try reader.duration("fenced.broker.linger.ms")
    self.controlledShutdown = try reader.boolean("controlled.shutdown.enable")
    let balances = try reader.boolean("auto.leader.rebalance.enable")
    let balanceSeconds = try reader.int("leader.imbalance.check.interval.seconds")
    self.balanceInterval = balances ? .seconds(balanceSeconds) : nil
    self.uncleanElectionInterval = try reader.duration("unclean.leader.election.interval.ms")
    self.snapshotBytes = Int64(try reader.int("metadata.log.max.record.bytes.between.snapshots"))
    let snapshotInterval = try reader.duration("metadata.log.max.snapshot.interval.ms")
    self.snapshotInterval = snapshotInterval == .zero ? nil : snapshotInterval
    self.metadataRetentionBytes = try reader.limit("metadata.max.retention.bytes").map { Int64($0) }
    self.metadataRetention = try reader.limit("metadata.max.retention.ms").map { .milliseconds($0) }
    try self.check(nodeID, roles)
  }

  /// What contradicts what, in Kafka's words where it has some.
  private func check(_ nodeID: NodeID, _ roles: [String]) throws(ConfigError) {
    let voters = self.quorumVoters.map(\.description).joined(separator: ",")
    let isVoter = self.quorumVoters.contains { $0.node == nodeID }
    if self.isController {
      if self.isStatic, !isVoter {
        throw ConfigError(
          "controller.quorum.voters",
          "If process.roles contains the 'controller' role, the node id \(nodeID) must be included in the set of voters "
            + "controller.quorum.voters=\(voters)")
      }
      let isReached = self.quorumVoters.count > 1 || !self.bootstrapServers.isEmpty || !self.isBroker
      if isReached, self.controllerListeners.isEmpty {
        throw ConfigError(
          "controller.listener.names",
          "controller.listener.names must contain at least one value appearing in the 'listeners' configuration when running the KRaft "
            + "controller role")
      }
    } else {
      if isVoter {
        throw ConfigError(
          "controller.quorum.voters",
          "If process.roles contains just the 'broker' role, the node id \(nodeID) must not be included in the set of voters "
            + "controller.quorum.voters=\(voters)")
      }
      if self.isAlone {
        throw ConfigError(
          "controller.quorum.voters",
          "A process with just the 'broker' role must know its controllers: controller.quorum.bootstrap.servers must contain the set of "
            + "bootstrap controllers or controller.quorum.voters must contain a parseable set of controllers")
      }
      if self.controllerListenerNames.isEmpty {
        throw ConfigError(
          "controller.listener.names",
          "controller.listener.names must contain at least one value when running KRaft with just the broker role")
      }
      if let listener = self.controllerListeners.first {
        throw ConfigError(
          "controller.listener.names",
          "controller.listener.names must not contain a value appearing in the 'listeners' configuration when running KRaft with just the "
            + "broker role; it contains \(listener.name)")
      }
    }
    if self.isStatic, self.joinsAutomatically {
      throw ConfigError(
        "controller.quorum.auto.join.enable",
        "controller.quorum.auto.join.enable is of use in a dynamic quorum only, and controller.quorum.voters fixes its voters")
    }
    if self.heartbeatInterval * 2 >= self.session {
      throw ConfigError(
        "broker.heartbeat.interval.ms",
        "broker.heartbeat.interval.ms must be less than half of broker.session.timeout.ms, or one lost heartbeat would end a session: "
          + "\(self.heartbeatInterval.wholeMilliseconds) and \(self.session.wholeMilliseconds)")
    }
    if self.retryBackoff >= self.requestTimeout {
      throw ConfigError(
        "controller.quorum.retry.backoff.ms",
        "controller.quorum.retry.backoff.ms must be less than controller.quorum.request.timeout.ms: "
          + "\(self.retryBackoff.wholeMilliseconds) and \(self.requestTimeout.wholeMilliseconds)")
    }
  }
}

/// One of `controller.quorum.voters`.
package struct QuorumVoter: Sendable, Hashable, CustomStringConvertible {
  package var node: NodeID
  package var address: HostAndPort
  package init(node: NodeID, address: HostAndPort) { (self.node, self.address) = (node, address) }
  package var description: String { "\(self.node)@\(self.address)" }
}

/// A host (IPv6 without brackets) and a port.
package struct HostAndPort: Sendable, Hashable, CustomStringConvertible {
  package var host: String
  package var port: UInt16
  package init(host: String, port: UInt16) { (self.host, self.port) = (host, port) }
  package var description: String { self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }

  /// Nil if there is no host, or no port from 1 to 65535.
  init?(_ text: some StringProtocol) {
    guard let (host, port) = splitAddress(text), !host.isEmpty, port > 0 else { return nil }
    self.init(host: host, port: port)
  }
}

extension BrokerConfigReader {
  func roles() throws(ConfigError) -> [String] {
    let roles = configList(self.text("process.roles") ?? "")
    if roles.isEmpty || Set(roles).count != roles.count {
      throw .invalid("process.roles", roles.joined(separator: ","), "it must name broker, controller, or each of them once")
    }
    return roles
  }

  func quorumVoters() throws(ConfigError) -> [QuorumVoter] {
    var voters: [QuorumVoter] = []
    for element in configList(self.text("controller.quorum.voters") ?? "") {
      guard let at = element.firstIndex(of: "@"), let id = Int32(element[..<at]), id >= 0,
        let address = HostAndPort(element[element.index(after: at)...])
      else {
        throw .invalid("controller.quorum.voters", element, "each voter is written id@host:port, with the port from 1 to 65535")
      }
      if voters.contains(where: { $0.node.rawValue == id }) {
        throw .invalid("controller.quorum.voters", element, "node \(id) is named twice")
      }
      if voters.contains(where: { $0.address == address }) {
        throw .invalid("controller.quorum.voters", element, "two voters have one address")
      }
      voters.append(QuorumVoter(node: NodeID(id), address: address))
    }
    return voters.sorted { $0.node < $1.node }
  }

  func bootstrapServers() throws(ConfigError) -> [HostAndPort] {
    try configList(self.text("controller.quorum.bootstrap.servers") ?? "").map { element throws(ConfigError) in
      guard let address = HostAndPort(element) else {
        throw .invalid("controller.quorum.bootstrap.servers", element, "each server is written host:port, with the port from 1 to 65535")
      }
      return address
    }
  }
}
