package import Model

/// Changes single configs of topics and brokers, each resource all or none (KIP-339).
package struct IncrementalAlterConfigs: ControllerRequest {
  /// The numbers are Kafka's.
  package enum Operation: Int8, Sendable, Hashable {
    case set = 0, delete = 1, append = 2, subtract = 3
    fileprivate var name: String {
      switch self {
      case .set: "SET"
      case .delete: "DELETE"
      case .append: "APPEND"
      case .subtract: "SUBTRACT"
      }
    }
  }
  package struct Change: Sendable, Hashable {
    package var name: String
    package var operation: Operation
    package var value: String?
    package init(_ name: String, _ operation: Operation, _ value: String?) {
      (self.name, self.operation, self.value) = (name, operation, value)
    }
  }
  package struct Resource: Sendable, Hashable {
    package var resource: ConfigResource
    package var changes: [Change]
    package init(_ resource: ConfigResource, _ changes: [Change]) { (self.resource, self.changes) = (resource, changes) }
  }

  package var resources: [Resource]
  package var validateOnly: Bool
  package init(_ resources: [Resource], validateOnly: Bool = false) { (self.resources, self.validateOnly) = (resources, validateOnly) }

  package typealias Response = [AlterConfigsResult]

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<[AlterConfigsResult]> {
    try decideResources(self.resources.map { ($0.resource, $0.changes) }, state, validateOnly: self.validateOnly) {
      (resource, changes, current) throws(ApiError) in
      var proposed = current
      var names: Set<String> = []
      for change in changes {
        if !names.insert(change.name).inserted { throw ApiError(.invalidRequest, "\(change.name) is changed twice in one request.") }
        proposed[change.name] = try self.newValue(of: change, resource, current)
      }
      return proposed
    }
  }

  private func newValue(of change: Change, _ resource: ConfigResource, _ current: ConfigValues) throws(ApiError) -> String? {
    if change.operation == .delete { return nil }
    guard let value = change.value else { throw ApiError(.invalidRequest, "\(change.name) needs a value.") }
    if change.operation == .set { return value }
    let definition = resource.kind == .topic ? ConfigRegistry.topicConfig(change.name) : ConfigRegistry.brokerConfig(change.name)
    guard let definition, definition.type == .list else {
      throw ApiError(.invalidConfig, "\(change.operation.name) works on lists only, and \(change.name) is not one.")
    }
    var elements = configList(current[change.name] ?? definition.defaultValue ?? "").filter { !$0.isEmpty }
    for element in configList(value) {
      if change.operation == .subtract {
        elements.removeAll { $0 == element }
      } else if !elements.contains(element) {
        elements.append(element)
      }
    }
    return elements.joined(separator: ",")
  }
}

/// Replaces all configs of topics and brokers: what is not named goes back to its default (the API that KIP-339 deprecates).
package struct AlterConfigs: ControllerRequest {
  package struct Resource: Sendable, Hashable {
    package var resource: ConfigResource
    package var configs: [CreateTopics.Topic.Config]
    package init(_ resource: ConfigResource, _ configs: [CreateTopics.Topic.Config]) { (self.resource, self.configs) = (resource, configs) }
  }

  package var resources: [Resource]
  package var validateOnly: Bool
  package init(_ resources: [Resource], validateOnly: Bool = false) { (self.resources, self.validateOnly) = (resources, validateOnly) }

  package typealias Response = [AlterConfigsResult]

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<[AlterConfigsResult]> {
    try decideResources(self.resources.map { ($0.resource, $0.configs) }, state, validateOnly: self.validateOnly) {
      (_, configs, _) throws(ApiError) in
      var proposed = ConfigValues()
      for config in configs {
        guard let value = config.value else { throw ApiError(.invalidRequest, "\(config.name) needs a value.") }
        proposed[config.name] = value
      }
      return proposed
    }
  }
}

/// What became of one resource.
package struct AlterConfigsResult: Sendable, Hashable {
  package var resource: ConfigResource
  /// Nil: done.
  package var error: ApiError?
}

/// What both APIs share: `propose` gives what the resource's configs shall be; they are checked, and the difference is written.
private func decideResources<Changes>(
  _ resources: [(ConfigResource, Changes)], _ state: ControllerMachine, validateOnly: Bool,
  propose: (ConfigResource, Changes, ConfigValues) throws(ApiError) -> ConfigValues
) throws(ApiError) -> Decision<[AlterConfigsResult]> {
  var counts: [ConfigResource: Int] = [:]
  for (resource, _) in resources { counts[resource, default: 0] += 1 }
  var records = BoundedRecords()
  var results: [AlterConfigsResult] = []
  var minChanges = MinInSyncReplicasChange()
  for (resource, changes) in resources {
    do throws(ApiError) {
      if counts[resource]! > 1 { throw ApiError(.invalidRequest, "A resource may appear only once in a request.") }
      try validateExists(resource, state.image)
      let current = state.image.configs(of: resource)
      let proposed = try propose(resource, changes, current)
      try validate(proposed, current, of: resource, state)
      minChanges.note(resource, current, proposed)
      for pair in current.pairs where proposed[pair.name] == nil {
        try records.append(.config(resource, name: pair.name, value: nil))
      }
      for pair in proposed.pairs where current[pair.name] != pair.value {
        try records.append(.config(resource, name: pair.name, value: pair.value))
      }
      results.append(AlterConfigsResult(resource: resource, error: nil))
    } catch {
      if error == BoundedRecords.tooMany { throw error }
      results.append(AlterConfigsResult(resource: resource, error: error))
    }
  }
  if validateOnly { return Decision([], results) }
  // Whoever is eligible no longer must be known not to be before anybody may commit by the new minimum.
  let eligible = minChanges.records(on: state)
  return Decision(eligible + records.records, results, isDivisible: !eligible.isEmpty, atomicTail: records.records.count)
}

/// The partitions whose ELR must change with `min.insync.replicas` (KIP-966): where the ISR is no longer too small, records are committed
/// that the replicas of the ELR do not have.
private struct MinInSyncReplicasChange {
  private static let name = ControllerConfig.minInSyncReplicas
  /// By topic; a nil value: the topic has none of its own any more.
  private var topics: [String: String?] = [:]
  private var cluster: String??

  mutating func note(_ resource: ConfigResource, _ current: ConfigValues, _ proposed: ConfigValues) {
    if current[Self.name] == proposed[Self.name] { return }
    if resource.kind == .topic { self.topics[resource.name] = .some(proposed[Self.name]) }
    if resource == .defaultBroker { self.cluster = .some(proposed[Self.name]) }
  }

  func records(on state: ControllerMachine) -> [MetadataChange] {
    if !state.keepsEligible || (self.topics.isEmpty && self.cluster == nil) { return [] }
    var planner = PartitionPlanner(state)
    planner.minOverride = { topic in
      var layers = state.layers
      if let cluster = self.cluster { layers.dynamicDefault[Self.name] = cluster }
      let own = self.topics[topic.name] ?? state.image.configs(of: .topic(topic.name))[Self.name]
      return max(1, (own ?? layers.value(Self.name)).flatMap { Int($0) } ?? 1)
    }
    return state.index.partitionsWithEligible.compactMap { id in
      guard let topic = state.image.topic(id.topicID), self.cluster != nil || self.topics[topic.name] != nil else { return nil }
      return planner.plan(id, .minInSyncReplicasChanged)?.change().map { .partitionChange(id, $0) }
    }
  }
}

private func validateExists(_ resource: ConfigResource, _ image: MetadataImage) throws(ApiError) {
  switch resource.kind {
  case .topic:
    if resource.name.isEmpty {
      throw ApiError(.invalidRequest, "A topic's name is needed: what holds for all topics is set on the brokers.")
    }
    if image.topicID(resource.name) == nil {
      throw ApiError(.unknownTopicOrPartition, "There is no topic named \(resource.name).")
    }
  case .broker:
    if resource.name.isEmpty { return }
    guard let id = Int32(resource.name), String(id) == resource.name else {
      throw ApiError(.invalidRequest, "A broker is named by its id, a decimal number, not \(resource.name).")
    }
    if image.broker(NodeID(id)) == nil { throw ApiError(.brokerIdNotRegistered, "There is no broker with id \(id).") }
  case .brokerLogger, .clientMetrics, .group:
    throw ApiError(.invalidRequest, "Configs of resource type \(resource.kind) are not supported by this version.")
  }
}

private func validate(
  _ proposed: ConfigValues, _ current: ConfigValues, of resource: ConfigResource, _ state: ControllerMachine
) throws(ApiError) {
  if resource.kind == .topic {
    do throws(ConfigError) { try TopicConfig.validate(proposed, over: state.topicDefaults()) } catch {
      throw ApiError(.invalidConfig, error.description)
    }
    return
  }
  // With an ELR every node must mean the same by it (Kafka answers these two with INVALID_CONFIG).
  let minimum = ControllerConfig.minInSyncReplicas
  if state.keepsEligible && current[minimum] != proposed[minimum] {
    if resource != .defaultBroker {
      throw ApiError(.invalidConfig, "\(minimum) cannot be set for single brokers while ELR is enabled; set it for the cluster or a topic.")
    }
    if proposed[minimum] == nil { throw ApiError(.invalidConfig, "The cluster's \(minimum) cannot be removed while ELR is enabled.") }
  }
  for pair in proposed.pairs where current[pair.name] != pair.value {
    guard let definition = ConfigRegistry.brokerConfig(pair.name) else {
      throw ApiError(.invalidRequest, ConfigRegistry.unknownBrokerConfig(pair.name))
    }
    if case .accepted(let reason) = definition.status {
      throw ApiError(.invalidRequest, "\(pair.name) would have no effect: \(reason)")
    }
    if !definition.isDynamic {
      throw ApiError(.invalidRequest, "\(pair.name) cannot be changed while the broker runs; set it in server.properties and restart.")
    }
    // Kafka answers a bad value of a broker config with INVALID_REQUEST, where a topic's gives INVALID_CONFIG.
    do throws(ConfigError) { try definition.validate(pair.value) } catch { throw ApiError(.invalidRequest, error.description) }
  }
  var layers = state.layers(nodeConfigs: [:])
  if resource == .defaultBroker { layers.dynamicDefault = proposed } else { layers.dynamicBroker = proposed }
  do throws(ConfigError) { _ = try layers.topicDefaults() } catch { throw ApiError(.invalidRequest, error.description) }
}
