/// Which layer a config's value comes from, with the numbers of DescribeConfigs.
package enum ConfigSource: Int8, Sendable, Hashable {
  case unknown = 0
  case dynamicTopic = 1
  case dynamicBroker = 2
  case dynamicDefaultBroker = 3
  case staticBroker = 4
  case defaultConfig = 5
  case dynamicBrokerLogger = 6
}

/// The layers of one broker's configuration, before they are read.
package struct BrokerConfigLayers: Sendable, Hashable {
  package var staticConfig: StaticConfig
  /// Set for all brokers (the BROKER resource with an empty name).
  package var dynamicDefault: ConfigValues
  /// Set for this broker.
  package var dynamicBroker: ConfigValues

  package init(staticConfig: StaticConfig, dynamicDefault: ConfigValues = [:], dynamicBroker: ConfigValues = [:]) {
    (self.staticConfig, self.dynamicDefault, self.dynamicBroker) = (staticConfig, dynamicDefault, dynamicBroker)
  }

  /// Every layer that sets `name`, the one that counts first. Kafka's default is not among them.
  package func settings(of name: String) -> [(value: String, source: ConfigSource)] {
    var found: [(value: String, source: ConfigSource)] = []
    if let value = self.dynamicBroker[name] { found.append((value, .dynamicBroker)) }
    if let value = self.dynamicDefault[name] { found.append((value, .dynamicDefaultBroker)) }
    if let value = self.staticConfig[name] { found.append((value, .staticBroker)) }
    return found
  }

  /// The value that counts: of the strongest layer, else the default.
  func value(_ name: String) -> String? { self.settings(of: name).first?.value ?? ConfigRegistry.brokerConfig(name)?.defaultValue }

  /// A rate of KIP-73 in bytes a second, which only what was set dynamically counts for; nil: no limit.
  package func throttledRate(_ name: String) -> Int64? {
    guard let value = (self.dynamicBroker[name] ?? self.dynamicDefault[name]).flatMap({ Int64(trimmed($0)) }) else { return nil }
    return value == .max ? nil : max(0, value)
  }

  /// What a topic without an override gets for a topic config, and which layer says so.
  func topicDefault(_ definition: ConfigDefinition) throws(ConfigError) -> (value: String?, source: ConfigSource) {
    for synonym in ConfigRegistry.synonyms(ofTopicConfig: definition.name) {
      if let setting = self.settings(of: synonym.name).first { return (try scaled(setting.value, synonym), setting.source) }
    }
    return (definition.defaultValue, .defaultConfig)
  }

  /// The defaults of all topics.
  package func topicDefaults() throws(ConfigError) -> TopicConfig {
    var config = TopicConfig()
    for definition in ConfigRegistry.topicConfigs {
      let (value, source) = try self.topicDefault(definition)
      if let value, source != .defaultConfig { try config.set(definition.name, value) }
    }
    try config.validateRelations()
    return config
  }
}

/// A broker config's text in the unit of the topic config it stands for.
func scaled(_ text: String, _ synonym: BrokerSynonym) throws(ConfigError) -> String {
  guard synonym.factor != 1, let definition = ConfigRegistry.brokerConfig(synonym.name) else { return text }
  let value = try definition.integer(text)
  // Any negative number of hours or minutes means "no limit", which in milliseconds is written -1.
  if value < 0 { return "-1" }
  let (product, overflow) = value.multipliedReportingOverflow(by: synonym.factor)
  if overflow { throw .invalid(synonym.name, text, "the time is too long to be told in milliseconds") }
  return String(product)
}
