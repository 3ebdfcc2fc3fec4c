import Environment
import Metadata
import Model
import Wire

// The BROKER_LOGGER resource (KIP-412): levels of this process's loggers, seen and changed while it runs. Nothing of it is stored.
extension Broker {
  func describeLoggers(of name: String) throws(ApiError) -> [ConfigDescription] {
    try self.checkIsThisNode(name)
    return (self.logLevels?.loggers ?? []).map { ConfigDescription.logger($0.name, level: $0.level.rawValue) }
  }

  /// Checks all changes before it makes any.
  func alterLogLevels(
    _ resource: IncrementalAlterConfigsRequest.AlterConfigsResource, validateOnly: Bool, clientID: String?
  ) throws(ApiError) {
    try self.checkIsThisNode(resource.resourceName)
    let known = (self.logLevels?.loggers ?? []).map(\.name)
    var changes: [(logger: String, level: LogLevel)] = []
    for config in resource.configs {
      guard known.contains(config.name) else {
        throw ApiError(.invalidConfig, "There is no logger \(config.name); there is \(known.joined(separator: ", ")).")
      }
      switch IncrementalAlterConfigs.Operation(rawValue: config.configOperation) {
      case .set:
        guard let value = config.value, let level = LogLevel(rawValue: value) else {
          let levels = LogLevel.allCases.map(\.rawValue).joined(separator: ", ")
          throw ApiError(.invalidConfig, "\(config.value ?? "null") is no level for logger \(config.name): one of \(levels).")
        }
        changes.append((config.name, level))
      case .delete: throw ApiError(.invalidRequest, "Logger \(config.name) has none above it, so that it cannot do without a level.")
      case .append, .subtract: throw ApiError(.invalidRequest, "A level is no list: it can only be set.")
      case nil: throw ApiError(.invalidRequest, "Operation \(config.configOperation) on \(config.name) is not known.")
      }
    }
    if validateOnly { return }
    for change in changes {
      self.events.record(.logLevelChanged(logger: change.logger, change.level, clientID: clientID))
      self.logLevels?.set(change.level, of: change.logger)
    }
  }

  private func checkIsThisNode(_ name: String) throws(ApiError) {
    guard !name.isEmpty, Int32(name) == self.config.nodeID.rawValue else {
      throw ApiError(.invalidRequest, "Loggers of broker '\(name)' were asked of broker \(self.config.nodeID): ask that broker.")
    }
  }
}
