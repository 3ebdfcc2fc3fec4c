import Model

/// Typed readings of the layers' broker configs, each by name.
struct BrokerConfigReader {
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
