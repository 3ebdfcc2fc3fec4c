import Testing

@testable import Metadata

@Suite struct ConfigRegistryTests {
  @Test func namesAreUnique() {
    #expect(Set(ConfigRegistry.brokerConfigs.map(\.name)).count == ConfigRegistry.brokerConfigs.count)
    #expect(Set(ConfigRegistry.topicConfigs.map(\.name)).count == ConfigRegistry.topicConfigs.count)
  }

  /// Kafka 4.2 has 33 topic configs; two are ours.
  @Test func theNumberOfKeys() {
    #expect(ConfigRegistry.topicConfigs.count == 35)
    #expect(ConfigRegistry.brokerConfigs.count > 390)
  }

  @Test func defaultsPassTheirOwnChecks() throws {
    for definition in ConfigRegistry.brokerConfigs + ConfigRegistry.topicConfigs {
      if let value = definition.defaultValue { try definition.validate(value) }
    }
  }

  @Test func everyKeySaysWhatItIs() {
    for definition in ConfigRegistry.brokerConfigs + ConfigRegistry.topicConfigs {
      #expect(definition.documentation.hasSuffix("."), "\(definition.name)")
      #expect(definition.documentation.count > 20, "\(definition.name)")
    }
  }

  /// A topic and the broker config behind it must agree on the default, or DescribeConfigs and the log would differ.
  @Test func synonymsAgreeOnDefaults() throws {
    for definition in ConfigRegistry.topicConfigs {
      let values = try ConfigRegistry.synonyms(ofTopicConfig: definition.name).compactMap { synonym -> String? in
        let broker = try #require(ConfigRegistry.brokerConfig(synonym.name))
        return try broker.defaultValue.map { try scaled($0, synonym) }
      }
      for value in values { #expect(value == definition.defaultValue, "\(definition.name)") }
    }
  }

  /// Every config that a topic can be given over the broker's has its broker config, but for those that concern replicas and tiers.
  @Test func topicsWithoutSynonyms() {
    let alone = ConfigRegistry.topicConfigs.map(\.name).filter { ConfigRegistry.synonyms(ofTopicConfig: $0).isEmpty }
    #expect(alone == [
      "follower.replication.throttled.replicas", "leader.replication.throttled.replicas", "remote.log.copy.disable",
      "remote.log.delete.on.disable", "remote.storage.enable",
    ])
  }

  @Test(arguments: [
    ("log.retention.m", "log.retention.ms"), ("listners", "listeners"), ("NUM.PARTITIONS", "num.partitions"), ("log.dirss", "log.dirs"),
    ("flush.policey", "flush.policy"),
  ])
  func nearest(_ typed: String, _ meant: String) {
    #expect(nearestMatch(to: typed, among: ConfigRegistry.brokerConfigs.map(\.name)) == meant)
  }

  @Test func whatIsFarHasNoNearest() {
    #expect(nearestMatch(to: "xyzzy", among: ["node.id", "log.dir"]) == nil)
    #expect(nearestMatch(to: "", among: ["node.id"]) == nil)
    #expect(nearestMatch(to: "foo", among: ["log", "topic"]) == nil, "one letter of three is right")
    #expect(nearestMatch(to: "lgo", among: ["log"]) == nil)
    #expect(nearestMatch(to: "logg", among: ["topic", "log"]) == "log")
  }

  struct Bad: Sendable, CustomTestStringConvertible {
    var name: String
    var value: String
    var message: String
    init(_ name: String, _ value: String, part: String? = nil, _ why: String) {
      (self.name, self.value) = (name, value)
      self.message = "Invalid value \(part ?? value) for configuration \(name): \(why)"
    }
    var testDescription: String { "\(self.name)=\(self.value)" }
  }

  @Test(arguments: [
    Bad("retention.ms", "x", "Not a number of type LONG"),
    Bad("retention.ms", "-2", "Value must be at least -1"),
    Bad("retention.ms", "9223372036854775808", "Not a number of type LONG"),
    Bad("segment.bytes", "2147483648", "Not a number of type INT"),
    Bad("segment.bytes", "13", "Value must be at least 14"),
    Bad("compression.type", "zip", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"),
    Bad("cleanup.policy", "delete,shred", part: "shred", "String must be one of: compact, delete"),
    Bad("min.cleanable.dirty.ratio", "1.5", "Value must be no more than 1.0"),
    Bad("min.cleanable.dirty.ratio", "nan", "Not a number of type DOUBLE"),
    Bad("preallocate", "yes", "Expected value to be either true or false"),
    Bad("compression.zstd.level", "23", "Value must be no more than 22"),
    Bad("flush.policy", "never", "String must be one of: fsync, os"),
    Bad("remote.storage.enable", "true", "tiered storage is not supported by this version"),
  ])
  func refusedTopicConfigs(_ bad: Bad) throws {
    var overrides = ConfigValues()
    overrides[bad.name] = bad.value
    let error = try #require(throws: ConfigError.self) { try TopicConfig.validate(overrides, over: TopicConfig()) }
    #expect(error.description == bad.message)
  }

  @Test func unknownTopicConfigs() throws {
    let error = try #require(throws: ConfigError.self) { try TopicConfig.validate(["retention": "1"], over: TopicConfig()) }
    #expect(error.description == "Unknown topic config name: retention (did you mean retention.ms?)")
  }

  @Test func relationsAreChecked() throws {
    let error = try #require(throws: ConfigError.self) {
      try TopicConfig.validate(["min.compaction.lag.ms": "10", "max.compaction.lag.ms": "9"], over: TopicConfig())
    }
    #expect(error.name == "min.compaction.lag.ms")
    #expect(throws: ConfigError.self) { try TopicConfig.validate(["cleanup.policy": ""], over: TopicConfig()) }
    #expect(throws: Never.self) { try TopicConfig.validate(["cleanup.policy": " compact , delete "], over: TopicConfig()) }
  }

  @Test func secretsAreNotShownInErrors() throws {
    let definition = ConfigDefinition("p", .password, nil, .oneOf(["a"]), "A secret of the test's.")
    let error = try #require(throws: ConfigError.self) { try definition.validate("hunter2") }
    #expect(!error.description.contains("hunter2"))
  }
}
