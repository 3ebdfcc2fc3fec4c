import Model
import Testing

@testable import Metadata

@Suite struct BrokerConfigTests {
  private func config(_ text: String, dynamic: ConfigValues = [:]) throws -> BrokerConfig {
    try BrokerConfig(BrokerConfigLayers(staticConfig: try StaticConfig(file: ("f", text)), dynamicDefault: dynamic))
  }

  @Test func defaults() throws {
    let config = try self.config("")
    #expect(config.nodeID == NodeID(1))
    #expect(config.listeners == [Listener(name: "PLAINTEXT", host: "127.0.0.1", port: 9092)])
    #expect(config.advertisedListeners == config.listeners)
    #expect(config.logDirectories == ["./apus-data"])
    #expect(config.metadataLogDirectory == "./apus-data")
    #expect(config.topicDefaults == TopicConfig())
    #expect(config.topicDefaults.flushPolicy == .fsync)
    #expect(config.numPartitions == 1)
    #expect(config.autoCreateTopics)
    #expect(config.connectionsIdleMax == .seconds(600))
    #expect(config.queuedRequestBytesMax == nil)
    #expect(config.networkThreads == nil)
  }

  @Test(arguments: [
    ("", 604_800_000), ("log.retention.hours=1", 3_600_000), ("log.retention.minutes=2\nlog.retention.hours=1", 120_000),
    ("log.retention.ms=7\nlog.retention.minutes=2", 7),
  ] as [(String, Int64)])
  func retentionUnits(_ text: String, _ milliseconds: Int64) throws {
    #expect(try self.config(text).topicDefaults.retention == .milliseconds(milliseconds))
  }

  @Test func retentionForEver() throws {
    #expect(try self.config("log.retention.ms=-1").topicDefaults.retention == nil)
    #expect(try self.config("log.retention.hours=-1").topicDefaults.retention == nil)
    #expect(try self.config("log.retention.bytes=-1").topicDefaults.retentionBytes == nil)
  }

  @Test func rollUnits() throws {
    #expect(try self.config("log.roll.hours=2").topicDefaults.segmentAge == .seconds(7200))
    #expect(try self.config("log.roll.hours=2\nlog.roll.ms=5").topicDefaults.segmentAge == .milliseconds(5))
    #expect(try self.config("log.roll.jitter.hours=1").topicDefaults.segmentJitter == .seconds(3600))
    #expect(try self.config("log.flush.scheduler.interval.ms=9").topicDefaults.flushInterval == .milliseconds(9))
    #expect(try self.config("log.flush.scheduler.interval.ms=9\nlog.flush.interval.ms=3").topicDefaults.flushInterval == .milliseconds(3))
  }

  @Test func dynamicDefaultsWin() throws {
    let config = try self.config("message.max.bytes=100\nflush.policy=os", dynamic: ["message.max.bytes": "200"])
    #expect(config.topicDefaults.maxMessageBytes == 200)
    #expect(config.topicDefaults.flushPolicy == .os)
  }

  @Test func aKafkaServerPropertiesStarts() throws {
    let config = try self.config(
      """
      process.roles=broker,controller
      node.id=3
      controller.quorum.voters=3@localhost:9093
      listeners=PLAINTEXT://:9092,CONTROLLER://:9093
      inter.broker.listener.name=PLAINTEXT
      advertised.listeners=PLAINTEXT://localhost:9092
      controller.listener.names=CONTROLLER
      listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL
      num.network.threads=3
      log.dirs=/tmp/kraft-combined-logs
      log.retention.hours=168
      """)
    #expect(config.nodeID == NodeID(3))
    #expect(config.listeners == [Listener(name: "PLAINTEXT", host: "", port: 9092)])
    #expect(config.advertisedListeners == [Listener(name: "PLAINTEXT", host: "localhost", port: 9092)])
    #expect(config.networkThreads == 3)
    #expect(config.logDirectories == ["/tmp/kraft-combined-logs"])
  }

  @Test func ipv6AndSeveralListeners() throws {
    let config = try self.config(
      """
      listeners=PLAINTEXT://[::1]:9092,INTERNAL://10.0.0.1:0
      listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT
      """)
    #expect(config.listeners.map(\.host) == ["::1", "10.0.0.1"])
    #expect(config.listeners[0].description == "PLAINTEXT://[::1]:9092")
    #expect(config.interBrokerListenerName == "PLAINTEXT")
  }

  @Test(arguments: [
    ("listeners=SSL://:9092", "SSL listeners are not supported yet"),
    ("listeners=SASL_PLAINTEXT://:9092", "SASL_PLAINTEXT listeners are not supported yet"),
    ("listeners=FOO://:9092", "no security protocol is defined for listener FOO"),
    ("listeners=:9092", "NAME://host:port"), ("listeners=PLAINTEXT://h:99999", "NAME://host:port"),
    ("listeners=PLAINTEXT://::1:9092", "NAME://host:port"),
    ("listeners=PLAINTEXT://h:1,PLAINTEXT://h:2", "different name"),
    ("listeners=PLAINTEXT://h:1,A://h:1\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,A:PLAINTEXT", "different address"),
    ("advertised.listeners=PLAINTEXT://0.0.0.0:9092", "all interfaces"),
    ("listener.security.protocol.map=A:TLS", "the protocol must be one of"),
    ("listener.security.protocol.map=A", "NAME:PROTOCOL"),
    ("log.dirs=/a,/b", "not supported yet"),
    ("log.dirs=/a\nmetadata.log.dir=/b", "not supported yet"),
    ("node.id=1\nbroker.id=2", "must be equal"), ("inter.broker.listener.name=X", "no listener of that name"),
    ("max.connections.per.ip.overrides=10.0.0.1", "address:limit"),
    ("metadata.log.dir=/b", "not supported yet"),
    ("log.cleaner.min.compaction.lag.ms=5\nlog.cleaner.max.compaction.lag.ms=4", "must not be greater"),
    ("controller.listener.names=PLAINTEXT", "at least one listener for clients"),
  ])
  func refused(_ text: String, _ words: String) throws {
    let error = try #require(throws: ConfigError.self) { try self.config(text) }
    #expect(error.description.contains(words), "\(error)")
  }

  @Test func connectionOverrides() throws {
    let config = try self.config("max.connections.per.ip.overrides=10.0.0.1:5,::1:6")
    #expect(config.connectionsPerAddressOverrides == ["10.0.0.1": 5, "::1": 6])
  }

  @Test func topicOverBroker() throws {
    let defaults = try self.config("log.segment.bytes=1000\nlog.retention.ms=5").topicDefaults
    var problems: [ConfigError] = []
    let topic = TopicConfig(
      overrides: ["segment.bytes": "2000", "retention.bytes": "-1", "nonsense": "1"], over: defaults, problems: &problems)
    #expect(topic.segmentBytes == 2000)
    #expect(topic.retention == .milliseconds(5))
    #expect(topic.retentionBytes == nil)
    #expect(problems.map(\.name) == ["nonsense"])
  }

  @Test func descriptionOfATopic() throws {
    let layers = BrokerConfigLayers(
      staticConfig: try StaticConfig(file: ("f", "log.retention.minutes=1\nlog.segment.bytes=100")),
      dynamicDefault: ["log.segment.bytes": "200"])
    let described = ConfigDescription.topic(overrides: ["segment.bytes": "300"], broker: layers)
    #expect(described.map(\.name) == described.map(\.name).sorted())
    let segment = try #require(described.first { $0.name == "segment.bytes" })
    #expect(segment.value == "300")
    #expect(segment.source == .dynamicTopic)
    #expect(segment.synonyms == [
      .init(name: "segment.bytes", value: "300", source: .dynamicTopic),
      .init(name: "log.segment.bytes", value: "200", source: .dynamicDefaultBroker),
      .init(name: "log.segment.bytes", value: "100", source: .staticBroker),
      .init(name: "log.segment.bytes", value: "1073741824", source: .defaultConfig),
    ])
    let retention = try #require(described.first { $0.name == "retention.ms" })
    #expect(retention.value == "60000")
    #expect(retention.source == .staticBroker)
    let unset = try #require(described.first { $0.name == "index.interval.bytes" })
    #expect(unset.value == "4096")
    #expect(unset.source == .defaultConfig)
  }

  @Test func descriptionOfABroker() throws {
    let layers = BrokerConfigLayers(
      staticConfig: try StaticConfig(file: ("f", "ssl.key.password=hunter2\nnum.partitions=4\nlistener.name.a.b=hunter3")),
      dynamicDefault: ["message.max.bytes": "5"])
    let described = ConfigDescription.broker(layers)
    let secret = try #require(described.first { $0.name == "ssl.key.password" })
    #expect(secret.isSensitive)
    #expect(secret.value == nil)
    #expect(!"\(described)".contains("hunter"))
    let partitions = try #require(described.first { $0.name == "num.partitions" })
    #expect(partitions.value == "4")
    #expect(partitions.isReadOnly)
    let size = try #require(described.first { $0.name == "message.max.bytes" })
    #expect(!size.isReadOnly)
    #expect(size.source == .dynamicDefaultBroker)
    #expect(ConfigDescription.broker(layers, dynamicOnly: true).map(\.name) == ["message.max.bytes"])
  }
}
