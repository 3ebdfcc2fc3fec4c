package import Model

/// Sets feature levels, all or none (KIP-584). Every registered broker must support what is set, and so must this controller.
package struct UpdateFeatures: ControllerRequest {
  /// The numbers are Kafka's.
  package enum UpgradeType: Int8, Sendable, Hashable { case upgrade = 1, safeDowngrade = 2, unsafeDowngrade = 3 }
  package struct Update: Sendable, Hashable {
    package var name: String
    package var level: Int16
    /// As the client wrote it.
    package var upgradeType: Int8
    package init(_ name: String, _ level: Int16, _ upgradeType: Int8 = UpgradeType.upgrade.rawValue) {
      (self.name, self.level, self.upgradeType) = (name, level, upgradeType)
    }
  }

  package var updates: [Update]
  package var validateOnly: Bool
  /// The level of `kraft.version`, which the quorum keeps, not the metadata, and those that the quorum can be raised to.
  package var kraftVersion: Int16
  package var kraftVersions: ClosedRange<Int16>
  package init(
    _ updates: [Update], validateOnly: Bool = false, kraftVersion: Int16 = 0,
    kraftVersions: ClosedRange<Int16> = KRaftVersion.supported.versions
  ) {
    (self.updates, self.validateOnly, self.kraftVersion, self.kraftVersions) = (updates, validateOnly, kraftVersion, kraftVersions)
  }

  /// The level that the quorum must now be raised to; nil: it stays as it is.
  package typealias Response = Int16?

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<Int16?> {
    var records = BoundedRecords()
    var kraftVersion: Int16?
    var eligible: [MetadataChange] = []
    var names: Set<String> = []
    for update in self.updates {
      if !names.insert(update.name).inserted { throw Self.refusal(update, "It is named twice in one request.") }
      let current = update.name == KRaftVersion.feature ? self.kraftVersion : state.image.featureLevel(update.name) ?? 0
      try self.validate(update, current, state)
      if update.level == current { continue }
      switch update.name {
      case KRaftVersion.feature: kraftVersion = update.level
      case EligibleLeaderReplicasVersion.feature where update.level > 0:
        for record in self.safetyRecords(state) { try records.append(record) }
        try records.append(.featureLevel(name: update.name, level: update.level))
      case EligibleLeaderReplicasVersion.feature:
        eligible = self.withoutEligible(state)
        try records.append(.featureLevel(name: update.name, level: update.level))
      default: try records.append(.featureLevel(name: update.name, level: update.level))
      }
    }
    if self.validateOnly { return Decision([], nil) }
    return Decision(
      eligible + records.records, kraftVersion, isDivisible: !eligible.isEmpty, atomicTail: records.records.count)
  }

  private func validate(_ update: Update, _ current: Int16, _ state: ControllerMachine) throws(ApiError) {
    guard let type = UpgradeType(rawValue: update.upgradeType) else { throw Self.refusal(update, "There is no such upgrade type.") }
    if update.level < 0 { throw Self.refusal(update, "A level cannot be negative.") }
    let range = update.name == KRaftVersion.feature ? self.kraftVersions : SupportedFeatures.range(update.name)
    guard let supported = range else {
      throw Self.refusal(update, "This controller does not know the feature.")
    }
    // The controller may run with any level it knows; a level of 0 turns a feature off, which metadata.version cannot be.
    if !supported.contains(update.level) {
      throw Self.refusal(update, "This controller supports \(supported.lowerBound) to \(supported.upperBound).")
    }
    for broker in state.image.brokers {
      let range = broker.features.first { $0.name == update.name }?.versions ?? 0...0
      if !range.contains(update.level) {
        throw Self.refusal(update, "Broker \(broker.nodeID) supports \(range.lowerBound) to \(range.upperBound).")
      }
    }
    if update.level < current {
      if update.name == KRaftVersion.feature { throw Self.refusal(update, "The level of this feature cannot be lowered.") }
      if type == .upgrade {
        throw Self.refusal(update, "The level is \(current) now; to lower it ask for a downgrade, safe or unsafe.")
      }
    } else if update.level > current && type != .upgrade {
      throw Self.refusal(update, "The level is \(current) now, so that this is no downgrade.")
    }
  }

  /// With an ELR all nodes must mean the same by `min.insync.replicas`: one value for the cluster and none for single brokers.
  private func safetyRecords(_ state: ControllerMachine) -> [MetadataChange] {
    let name = ControllerConfig.minInSyncReplicas
    var records: [MetadataChange] = []
    if state.image.configs(of: .defaultBroker)[name] == nil {
      let value = state.settings.staticConfig[name] ?? ConfigRegistry.brokerConfig(name)?.defaultValue ?? "1"
      records.append(.config(.defaultBroker, name: name, value: value))
    }
    for resource in state.image.configuredResources where resource.kind == .broker && resource != .defaultBroker {
      if state.image.configs(of: resource)[name] != nil { records.append(.config(resource, name: name, value: nil)) }
    }
    return records
  }

  /// Nobody is forgotten who may lead: where the ISR is empty those of the ELR are in it, or the last known leader.
  private func withoutEligible(_ state: ControllerMachine) -> [MetadataChange] {
    var records: [MetadataChange] = []
    for topic in state.image.topicsByName {
      for (index, partition) in topic.partitions.enumerated() {
        var change = PartitionChange()
        change.reason = .eligibleLeaderReplicasDisabled
        let eligible = partition.eligibleLeaderReplicas, lastKnown = partition.lastKnownEligibleLeaderReplicas
        if !eligible.isEmpty { change.eligibleLeaderReplicas = [] }
        if !lastKnown.isEmpty { change.lastKnownEligibleLeaderReplicas = [] }
        if partition.inSyncReplicas.isEmpty { change.inSyncReplicas = eligible.isEmpty ? lastKnown : eligible }
        if !change.isEmpty { records.append(.partitionChange(TopicIDPartition(topic.id, PartitionID(Int32(index))), change)) }
      }
    }
    return records
  }

  private static func refusal(_ update: Update, _ reason: String) -> ApiError {
    ApiError(.invalidUpdateVersion, "\(update.name) cannot be set to level \(update.level). \(reason)")
  }
}
