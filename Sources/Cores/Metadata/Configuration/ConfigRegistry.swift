/// Every configuration key this version knows.
package enum ConfigRegistry {
  /// In the order of their names.
  package static let topicConfigs: [ConfigDefinition] = topicConfigDefinitions.sorted { $0.name < $1.name }
  /// In the order of their names.
  package static let brokerConfigs: [ConfigDefinition] = (brokerConfigDefinitions + acceptedConfigDefinitions).sorted { $0.name < $1.name }

  private static let topicByName = index(topicConfigs)
  private static let brokerByName = index(brokerConfigs)

  package static func topicConfig(_ name: String) -> ConfigDefinition? { self.topicByName[name].map { self.topicConfigs[$0] } }

  /// The definition of a broker config, also of one whose ending is free (`listener.name.<name>.…`).
  package static func brokerConfig(_ name: String) -> ConfigDefinition? {
    if let place = self.brokerByName[name] { return self.brokerConfigs[place] }
    for (prefix, status) in acceptedPrefixes where name.utf8.count > prefix.utf8.count && name.hasPrefix(prefix) {
      // What is hidden behind such a key is not known; it may be a secret.
      return ConfigDefinition(name, .password, nil, status: status, "A setting of Kafka's that is not read.")
    }
    return nil
  }

  /// Whether a known key is known only by its beginning.
  static func isFreeBrokerKey(_ name: String) -> Bool { self.brokerByName[name] == nil && self.brokerConfig(name) != nil }

  /// The broker configs that give a topic config its default, the strongest first.
  package static func synonyms(ofTopicConfig name: String) -> [BrokerSynonym] { topicConfigSynonyms[name] ?? [] }

  /// Ends in the nearest known key, where there is one.
  package static func unknownBrokerConfig(_ name: String) -> String {
    "unknown configuration key \(name)" + suggestion(name, self.brokerConfigs)
  }

  static func unknownTopicConfig(_ name: String) -> ConfigError {
    ConfigError(name, "Unknown topic config name: \(name)" + suggestion(name, self.topicConfigs))
  }

  private static func suggestion(_ name: String, _ definitions: [ConfigDefinition]) -> String {
    nearestMatch(to: name, among: definitions.lazy.map(\.name)).map { " (did you mean \($0)?)" } ?? ""
  }

  private static func index(_ definitions: [ConfigDefinition]) -> [String: Int] {
    Dictionary(uniqueKeysWithValues: definitions.enumerated().map { ($1.name, $0) })
  }
}
