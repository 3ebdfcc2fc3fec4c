/// One config of one resource as DescribeConfigs shows it.
package struct ConfigDescription: Sendable, Hashable {
  package struct Synonym: Sendable, Hashable {
    package var name: String
    /// Nil for a secret.
    package var value: String?
    package var source: ConfigSource
  }
  package var name: String
  /// The value that counts; nil if there is none or it is a secret.
  package var value: String?
  package var source: ConfigSource
  package var isReadOnly: Bool
  package var isSensitive: Bool
  /// Every setting that could give the value, the one that counts first.
  package var synonyms: [Synonym]
  package var type: ConfigType
  package var documentation: String

  /// All configs of a topic in the order of their names, over `broker`'s.
  package static func topic(overrides: ConfigValues, broker: BrokerConfigLayers) -> [ConfigDescription] {
    ConfigRegistry.topicConfigs.map { definition in
      var synonyms: [Synonym] = []
      if let value = overrides[definition.name] { synonyms.append(Synonym(name: definition.name, value: value, source: .dynamicTopic)) }
      let brokerNames = ConfigRegistry.synonyms(ofTopicConfig: definition.name)
      for synonym in brokerNames {
        for setting in broker.settings(of: synonym.name) {
          synonyms.append(Synonym(name: synonym.name, value: setting.value, source: setting.source))
        }
      }
      // The unit of a broker synonym may differ from the topic config's, so the value is not simply the first synonym's.
      let inherited = try? broker.topicDefault(definition)
      let value = overrides[definition.name] ?? inherited?.value ?? definition.defaultValue
      let source = overrides[definition.name] != nil ? .dynamicTopic : inherited?.source ?? .defaultConfig
      for synonym in brokerNames {
        if let defaultValue = ConfigRegistry.brokerConfig(synonym.name)?.defaultValue {
          synonyms.append(Synonym(name: synonym.name, value: defaultValue, source: .defaultConfig))
        }
      }
      return ConfigDescription(
        name: definition.name, value: value, source: source, isReadOnly: false, isSensitive: definition.isSensitive,
        synonyms: synonyms, type: definition.type, documentation: definition.documentation)
    }
  }

  /// A logger with its level (KIP-412).
  package static func logger(_ name: String, level: String) -> ConfigDescription {
    ConfigDescription(
      name: name, value: level, source: .dynamicBrokerLogger, isReadOnly: false, isSensitive: false, synonyms: [], type: .string,
      documentation: "How much this logger says: FATAL, ERROR, WARN, INFO, DEBUG or TRACE. Lasts until the broker stops.")
  }

  /// The configs of any group, in the order of their names: the broker's for all groups, as this version keeps none for one.
  package static func group(_ broker: BrokerConfigLayers) -> [ConfigDescription] {
    groupConfigDefinitions.map { definition in
      let synonym = "group." + definition.name
      let settings = broker.settings(of: synonym)
      var synonyms = settings.map { Synonym(name: synonym, value: $0.value, source: $0.source) }
      let known = ConfigRegistry.brokerConfig(synonym)
      synonyms.append(
        Synonym(
          name: known == nil ? definition.name : synonym, value: known?.defaultValue ?? definition.defaultValue, source: .defaultConfig))
      return ConfigDescription(
        name: definition.name, value: settings.first?.value ?? definition.defaultValue, source: settings.first?.source ?? .defaultConfig,
        isReadOnly: false, isSensitive: false, synonyms: synonyms, type: definition.type, documentation: definition.documentation)
    }
  }

  /// The configs of any subscription to clients' metrics (KIP-714), in the order of their names.
  package static func clientMetrics() -> [ConfigDescription] {
    clientMetricsConfigDefinitions.map { definition in
      ConfigDescription(
        name: definition.name, value: definition.defaultValue, source: .defaultConfig, isReadOnly: false, isSensitive: false, synonyms: [],
        type: definition.type, documentation: definition.documentation)
    }
  }

  /// All configs of a broker in the order of their names.
  ///
  /// `dynamicOnly` is the answer about the default of all brokers (an empty resource name): what is set dynamically, and nothing else.
  package static func broker(_ layers: BrokerConfigLayers, dynamicOnly: Bool = false) -> [ConfigDescription] {
    var names = ConfigRegistry.brokerConfigs.map(\.name)
    // Keys whose ending is free are not in the registry's list.
    names += layers.staticConfig.settings.keys.filter { ConfigRegistry.isFreeBrokerKey($0) }
    names.sort()
    return names.compactMap { name in
      guard let definition = ConfigRegistry.brokerConfig(name) else { return nil }
      let settings = layers.settings(of: name)
      if dynamicOnly && !settings.contains(where: { $0.source == .dynamicDefaultBroker }) { return nil }
      var synonyms = settings.map { Synonym(name: name, value: definition.isSensitive ? nil : $0.value, source: $0.source) }
      if let defaultValue = definition.defaultValue {
        synonyms.append(Synonym(name: name, value: definition.isSensitive ? nil : defaultValue, source: .defaultConfig))
      }
      return ConfigDescription(
        name: name, value: definition.isSensitive ? nil : settings.first?.value ?? definition.defaultValue,
        source: settings.first?.source ?? .defaultConfig, isReadOnly: !definition.isDynamic, isSensitive: definition.isSensitive,
        synonyms: synonyms, type: definition.type, documentation: definition.documentation)
    }
  }
}
