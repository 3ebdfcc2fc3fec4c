import Testing

@testable import Metadata

@Suite struct StaticConfigTests {
  @Test func laterLayersWin() throws {
    let config = try StaticConfig(
      file: ("server.properties", "num.partitions=2\nlog.retention.ms=1000\nlog.dirs=/a"),
      environment: [("APUS_NUM_PARTITIONS", "3"), ("APUS_LOG_RETENTION_MS", "2000"), ("PATH", "/bin"), ("APUS_BOOTSTRAP", "x:1")],
      arguments: [("num.partitions", "4"), ("num.partitions", "5")])
    #expect(config["num.partitions"] == "5")
    #expect(config["log.retention.ms"] == "2000")
    #expect(config["log.dirs"] == "/a")
    #expect(config.settings["log.dirs"]?.origin == .file(name: "server.properties", line: 3))
    #expect(config.settings["log.retention.ms"]?.origin == .environment(variable: "APUS_LOG_RETENTION_MS"))
    #expect(config["default.replication.factor"] == nil)
  }

  @Test func allProblemsAreToldAtOnce() throws {
    let error = try #require(throws: StaticConfigError.self) {
      try StaticConfig(
        file: ("s.properties", "num.partitons=2\nlog.segment.bytes=big"), environment: [("APUS_LISTNERS", "x")],
        arguments: [("auto.create.topics.enable", "maybe")])
    }
    #expect(error.problems == [
      "s.properties:1: unknown configuration key num.partitons (did you mean num.partitions?)",
      "s.properties:2: Invalid value big for configuration log.segment.bytes: Not a number of type INT",
      "environment variable APUS_LISTNERS is not the name of a configuration key (did you mean APUS_LISTENERS?)",
      "--set: Invalid value maybe for configuration auto.create.topics.enable: Expected value to be either true or false",
    ])
  }

  @Test func aKeyLikeNoOtherGetsNoSuggestion() throws {
    let error = try #require(throws: StaticConfigError.self) { try StaticConfig(arguments: [("frobnicate", "1")]) }
    #expect(error.description == "--set: unknown configuration key frobnicate")
  }

  @Test func keysWithoutEffectAreNoted() throws {
    let config = try StaticConfig(file: ("f", "zookeeper.connect=localhost:2181\nnum.io.threads=8\nlistener.name.x.y=z\nnum.partitions=1"))
    #expect(config.notes.count == 3)
    #expect(config.notes[2] == "zookeeper.connect (f:1) has no effect: Apache Kafka removed it before 4.2")
  }

  @Test func whatCannotSafelyBeIgnoredIsRefused() throws {
    let error = try #require(throws: StaticConfigError.self) {
      try StaticConfig(file: ("f", "authorizer.class.name=org.Some\nremote.log.storage.system.enable=true\nconfig.providers.x.class=y"))
    }
    #expect(error.problems.count == 3)
    #expect(throws: Never.self) { try StaticConfig(file: ("f", "authorizer.class.name=\nremote.log.storage.system.enable=false")) }
  }

  @Test func underscoresOfAKeyAreKept() throws {
    let config = try StaticConfig(environment: [("APUS_CONNECTION_CREATION_RATE", "10"), ("APUS_ZOOKEEPER_CLIENTCNXNSOCKET", "s")])
    #expect(config["connection_creation_rate"] == "10")
    #expect(config["zookeeper.clientCnxnSocket"] == "s")
  }

  @Test func everyKeyHasOneVariable() {
    let variables = ConfigRegistry.brokerConfigs.map { environmentVariable(forKey: $0.name) }
    #expect(Set(variables).count == variables.count)
  }

  @Test func blankMeansNotSet() throws {
    let config = try StaticConfig(file: ("f", "broker.rack=\nnum.partitions="))
    #expect(config["broker.rack"] == nil)
    #expect(config["num.partitions"] == nil)
  }
}
