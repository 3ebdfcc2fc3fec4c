/// Where a setting given at start came from, for messages.
package enum ConfigOrigin: Sendable, Hashable, CustomStringConvertible {
  case file(name: String, line: Int)
  case environment(variable: String)
  case argument

  package var description: String {
    switch self {
    case .file(let name, let line): "\(name):\(line)"
    case .environment(let variable): "environment variable \(variable)"
    case .argument: "--set"
    }
  }
}

/// Everything that is wrong with what was given at start, one sentence each.
package struct StaticConfigError: Error, Sendable, Hashable, CustomStringConvertible {
  package var problems: [String]
  package var description: String { self.problems.joined(separator: "\n") }
}

/// The settings a node was started with: the file's, over them the environment's, over them those of the command line.
package struct StaticConfig: Sendable, Hashable {
  package struct Setting: Sendable, Hashable {
    package var value: String
    package var origin: ConfigOrigin
  }
  /// By key. The order does not matter: they do not depend on each other until `BrokerConfig` is made of them.
  package private(set) var settings: [String: Setting] = [:]
  /// What the operator should hear once: keys that have no effect here, in the order of their names.
  package private(set) var notes: [String] = []

  package init() {}

  package subscript(name: String) -> String? { self.settings[name]?.value }

  /// - Parameters:
  ///   - file: the name (for messages) and the text of a `server.properties`.
  ///   - environment: the process's variables; those that do not begin with `APUS_` are passed over.
  ///   - otherVariables: variables beginning with `APUS_` that are not configuration.
  ///   - arguments: the `--set KEY=VALUE`s in their order; a later one wins.
  /// - Throws: all the problems at once.
  package init(
    file: (name: String, text: String)? = nil, environment: [(name: String, value: String)] = [],
    otherVariables: [String] = ["APUS_BOOTSTRAP"], arguments: [(key: String, value: String)] = []
  ) throws(StaticConfigError) {
    var problems: [String] = []
    if let file {
      do throws(PropertiesError) {
        for property in try parseProperties(file.text) {
          self.set(property.key, property.value, .file(name: file.name, line: property.line), &problems)
        }
      } catch {
        problems.append("\(file.name):\(error.line): \(error.reason)")
      }
    }
    for (name, value) in environment.sorted(by: { $0.name < $1.name }) where name.hasPrefix(environmentPrefix) {
      if otherVariables.contains(name) || isServiceVariable(name) { continue }
      switch environmentKey(name) {
      case .success(let key): self.set(key, value, .environment(variable: name), &problems)
      case .failure(let problem): problems.append(problem.description)
      }
    }
    for (key, value) in arguments { self.set(key, value, .argument, &problems) }
    if !problems.isEmpty { throw StaticConfigError(problems: problems) }
    self.notes = self.settings.keys.sorted().compactMap { name in
      guard case .accepted(let reason)? = ConfigRegistry.brokerConfig(name)?.status else { return nil }
      return "\(name) (\(self.settings[name]!.origin)) has no effect: \(reason)"
    }
  }

  /// Sets one known, valid setting as if it stood in the file's place; for callers that derive settings (`--listen`, `--data`).
  package mutating func set(_ name: String, _ value: String) throws(StaticConfigError) {
    var problems: [String] = []
    self.set(name, value, .argument, &problems)
    if !problems.isEmpty { throw StaticConfigError(problems: problems) }
  }

  private mutating func set(_ name: String, _ value: String, _ origin: ConfigOrigin, _ problems: inout [String]) {
    guard let definition = ConfigRegistry.brokerConfig(name) else {
      problems.append("\(origin): \(ConfigRegistry.unknownBrokerConfig(name))")
      return
    }
    do throws(ConfigError) {
      // An empty value is how a properties file says "not set".
      if !(value.isEmpty && definition.type != .list) { try definition.validate(value) }
      if case .unsupported(let reason) = definition.status, !value.isEmpty, value != definition.defaultValue {
        problems.append("\(origin): \(name) is not supported: \(reason)")
        return
      }
    } catch {
      problems.append("\(origin): \(error.reason)")
      return
    }
    if value.isEmpty && definition.defaultValue != "" {
      self.settings[name] = nil
    } else {
      self.settings[name] = Setting(value: value, origin: origin)
    }
  }
}

let environmentPrefix = "APUS_"

/// The variable that sets a key: `log.retention.ms` is `APUS_LOG_RETENTION_MS`.
package func environmentVariable(forKey key: String) -> String {
  environmentPrefix + String(decoding: key.uppercased().utf8.map { $0 == UInt8(ascii: ".") ? UInt8(ascii: "_") : $0 }, as: UTF8.self)
}

/// What Kubernetes puts into every container's environment for a service that is called "apus": nobody's configuration.
private func isServiceVariable(_ name: String) -> Bool {
  name.hasPrefix(environmentPrefix + "PORT") || name.hasPrefix(environmentPrefix + "SERVICE_")
}

/// Finds the key a variable stands for. `_` may be a dot or an underscore of the key, which only the list of known keys can tell.
private func environmentKey(_ variable: String) -> Result<String, ConfigError> {
  let matches = ConfigRegistry.brokerConfigs.lazy.map(\.name).filter { environmentVariable(forKey: $0) == variable }
  let keys = Array(matches)
  if keys.count == 1 { return .success(keys[0]) }
  if keys.count > 1 {
    return .failure(ConfigError(variable, "environment variable \(variable) could be any of \(keys.joined(separator: ", "))"))
  }
  let variables = ConfigRegistry.brokerConfigs.lazy.map { environmentVariable(forKey: $0.name) }
  let near = nearestMatch(to: variable.lowercased(), among: variables.map { $0.lowercased() })
  let hint = near.map { " (did you mean \($0.uppercased())?)" } ?? ""
  return .failure(ConfigError(variable, "environment variable \(variable) is not the name of a configuration key\(hint)"))
}
