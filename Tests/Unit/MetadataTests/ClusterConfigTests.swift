import Model
import Testing

@testable import Metadata

@Suite struct ClusterConfigTests {
  /// A later line of `text` takes the place of an earlier one.
  private func config(_ text: String) throws -> BrokerConfig {
    let settings = text.split(separator: "\n").map { line in
      let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return (key: String(parts[0]), value: String(parts[1]))
    }
    return try BrokerConfig(BrokerConfigLayers(staticConfig: try StaticConfig(arguments: settings)))
  }

  /// One of three nodes that are broker and controller.
  private static let combined = """
    node.id=2
    listeners=PLAINTEXT://127.0.0.1:9192,CONTROLLER://127.0.0.1:9193
    controller.listener.names=CONTROLLER
    controller.quorum.voters=3@c:9293,1@a:9093,2@127.0.0.1:9193

    """
  private static let brokerOnly = """
    process.roles=broker
    node.id=7
    controller.listener.names=CONTROLLER
    controller.quorum.voters=1@a:9093

    """

  @Test func aNodeAlone() throws {
    let cluster = try self.config("").cluster
    #expect(cluster.isBroker && cluster.isController)
    #expect(cluster.isAlone)
    #expect(cluster.controllerListeners.isEmpty)
    #expect(cluster.derivedClusterID == nil)
    #expect(cluster.session == .milliseconds(700))
    #expect(cluster.heartbeatInterval == .milliseconds(100))
    #expect(cluster.fetchTimeout == .milliseconds(350))
    #expect(cluster.electionTimeout == .milliseconds(200))
    #expect(cluster.requestTimeout == .seconds(1))
    #expect(cluster.balanceInterval == .seconds(300))
    #expect(cluster.controlledShutdown)
  }

  @Test func aStaticQuorum() throws {
    let config = try self.config(Self.combined)
    #expect(config.cluster.quorumVoters.map(\.description) == ["1@a:9093", "2@127.0.0.1:9193", "3@c:9293"])
    #expect(config.listeners.map(\.name) == ["PLAINTEXT"])
    #expect(config.cluster.controllerListeners == [Listener(name: "CONTROLLER", host: "127.0.0.1", port: 9193)])
    #expect(config.cluster.advertisedControllerListeners == config.cluster.controllerListeners)
    #expect(!config.cluster.isAlone)
  }

  /// Nodes with equal voters must agree on an id that nobody told them, in whatever order they name them.
  @Test func theClusterIDOfAStaticQuorum() throws {
    let one = try #require(try self.config(Self.combined).cluster.derivedClusterID)
    let other = try self.config(
      Self.combined + "controller.quorum.voters=1@a:9093,2@127.0.0.1:9193,3@c:9293\nnode.id=3\n").cluster.derivedClusterID
    #expect(one == other)
    #expect(one.description == "_1B6kj9ug5pJ6sl5bEiZxg", "nodes of any version must come to the same")
    let changed = try self.config(Self.combined + "controller.quorum.voters=1@a:9093,2@127.0.0.1:9193,3@c:9294").cluster.derivedClusterID
    #expect(one != changed)
  }

  @Test func advertisedControllers() throws {
    let config = try self.config(
      Self.combined + "advertised.listeners=PLAINTEXT://here:9192,CONTROLLER://there:9193")
    #expect(config.advertisedListeners.map(\.host) == ["here"])
    #expect(config.cluster.advertisedControllerListeners.map(\.host) == ["there"])
    let silent = try self.config(Self.combined + "advertised.listeners=PLAINTEXT://here:9192")
    #expect(silent.cluster.advertisedControllerListeners.map(\.host) == ["127.0.0.1"])
  }

  @Test func roles() throws {
    let broker = try self.config(Self.brokerOnly)
    #expect(broker.cluster.isBroker && !broker.cluster.isController)
    #expect(broker.cluster.controllerListenerNames == ["CONTROLLER"])
    let controller = try self.config(
      """
      process.roles=controller
      node.id=1
      listeners=CONTROLLER://:9093
      controller.listener.names=CONTROLLER
      controller.quorum.bootstrap.servers=a:9093,b:9093,[::1]:9093
      controller.quorum.auto.join.enable=true
      """)
    #expect(!controller.cluster.isBroker && controller.cluster.isController)
    #expect(controller.listeners.isEmpty)
    #expect(controller.cluster.bootstrapServers.map(\.description) == ["a:9093", "b:9093", "[::1]:9093"])
    #expect(controller.cluster.joinsAutomatically)
  }

  @Test func limitsThatAreNone() throws {
    let cluster = try self.config(
      "metadata.log.max.snapshot.interval.ms=0\nmetadata.max.retention.bytes=-1\nmetadata.max.retention.ms=-1\n"
        + "auto.leader.rebalance.enable=false").cluster
    #expect(cluster.snapshotInterval == nil)
    #expect(cluster.metadataRetentionBytes == nil)
    #expect(cluster.metadataRetention == nil)
    #expect(cluster.balanceInterval == nil)
  }

  @Test(arguments: [
    ("process.roles=broker,broker", "each of them once"), ("process.roles=voter", "process.roles"),
    ("controller.quorum.voters=a:1", "id@host:port"), ("controller.quorum.voters=1@a:0", "from 1 to 65535"),
    ("controller.quorum.voters=1@a:1,1@b:1", "named twice"), ("controller.quorum.voters=1@a:1,2@a:1", "one address"),
    ("controller.quorum.voters=-1@a:1", "id@host:port"), ("controller.quorum.bootstrap.servers=a", "host:port"),
    (combined + "node.id=9", "the node id 9 must be included in the set of voters"),
    (combined + "controller.listener.names=", "no security protocol is defined for listener CONTROLLER"),
    (combined + "listeners=PLAINTEXT://:9092", "must contain at least one value appearing in the 'listeners'"),
    (combined + "process.roles=controller", "must only contain KRaft controller listeners"),
    (combined + "inter.broker.listener.name=CONTROLLER", "explicitly set inter.broker.listener.name"),
    (combined + "controller.quorum.auto.join.enable=true", "dynamic quorum only"),
    (brokerOnly + "node.id=1", "the node id 1 must not be included"),
    (brokerOnly + "controller.quorum.voters=", "must know its controllers"),
    (brokerOnly + "controller.listener.names=", "when running KRaft with just the broker role"),
    (brokerOnly + "listeners=PLAINTEXT://:1,CONTROLLER://:2", "must not contain a value appearing in the 'listeners'"),
    ("broker.heartbeat.interval.ms=350", "less than half of broker.session.timeout.ms"),
    ("broker.session.timeout.ms=200", "less than half of broker.session.timeout.ms"),
    ("controller.quorum.retry.backoff.ms=1000", "less than controller.quorum.request.timeout.ms"),
  ] as [(String, String)])
  func refused(_ text: String, _ words: String) throws {
    let error = try #require(throws: (any Error).self) { try self.config(text) }
    #expect("\(error)".contains(words), "\(error)")
  }
}
