package import Model

/// One record of the metadata log in Apus' own terms. The Controller translates to and from Kafka's stored records.
package enum MetadataChange: Sendable, Hashable {
  case topic(name: String, id: KafkaUUID)
  case partition(TopicIDPartition, PartitionImage)
  case partitionChange(TopicIDPartition, PartitionChange)
  case removeTopic(id: KafkaUUID)
  case registerBroker(BrokerRegistration)
  case unregisterBroker(NodeID, epoch: BrokerEpoch)
  case brokerRegistrationChange(BrokerRegistrationChange)
  case fenceBroker(NodeID, epoch: BrokerEpoch)
  case unfenceBroker(NodeID, epoch: BrokerEpoch)
  /// A nil value removes the config.
  case config(ConfigResource, name: String, value: String?)
  case featureLevel(name: String, level: Int16)
  /// Producer ids below `next` have been given out.
  case producerIDs(broker: NodeID, epoch: BrokerEpoch, next: ProducerID)
  /// Empties the ELR and the last known ELR of every partition of one topic, or of all topics if the name is nil.
  case clearEligibleLeaderReplicas(topicName: String?)
  case noOp
}

/// What changes of a partition; nil leaves a field as it is.
package struct PartitionChange: Sendable, Hashable {
  package var inSyncReplicas: [NodeID]?
  /// Setting it begins a new leader epoch. `.none`: nobody leads.
  package var leader: NodeID?
  package var assignedReplicas: [NodeID]?
  package var removingReplicas: [NodeID]?
  package var addingReplicas: [NodeID]?
  package var leaderRecoveryState: PartitionImage.LeaderRecoveryState?
  package var directories: [KafkaUUID]?
  package var eligibleLeaderReplicas: [NodeID]?
  package var lastKnownEligibleLeaderReplicas: [NodeID]?
  /// Says nothing about the partition itself: it goes along with the change.
  package var reason: PartitionChangeReason = .unspecified
  package init() {}

  /// Whether nothing of the partition would be changed but its epoch.
  package var isEmpty: Bool {
    var same = PartitionChange()
    same.reason = self.reason
    return self == same
  }
}

/// What changes of a broker's registration without a new incarnation; nil leaves a field as it is.
package struct BrokerRegistrationChange: Sendable, Hashable {
  package var nodeID: NodeID
  package var epoch: BrokerEpoch
  package var isFenced: Bool?
  /// The record can only say that a shutdown begins: it ends with a new registration.
  package var beginsControlledShutdown = false
  package var logDirectories: [KafkaUUID]?
  /// Why it is fenced: explains the change and is no part of what is.
  package var cause: FencingCause?
  package init(_ nodeID: NodeID, epoch: BrokerEpoch) { (self.nodeID, self.epoch) = (nodeID, epoch) }
}

/// What a config is set on, with the numbers of Kafka's `ConfigResource.Type`.
package struct ConfigResource: Sendable, Hashable, Comparable, CustomStringConvertible {
  package enum Kind: Int8, Sendable, Hashable {
    case topic = 2, broker = 4, brokerLogger = 8, clientMetrics = 16, group = 32
  }
  package var kind: Kind
  /// A topic's name, a broker's id, or empty for the default of all brokers.
  package var name: String
  package init(_ kind: Kind, _ name: String) { (self.kind, self.name) = (kind, name) }

  package static func topic(_ name: String) -> ConfigResource { ConfigResource(.topic, name) }
  package static func broker(_ id: NodeID) -> ConfigResource { ConfigResource(.broker, String(id.rawValue)) }
  package static let defaultBroker = ConfigResource(.broker, "")

  package var description: String { "\(self.kind) \(self.name.isEmpty ? "<default>" : self.name)" }
  package static func < (a: ConfigResource, b: ConfigResource) -> Bool { (a.kind.rawValue, a.name) < (b.kind.rawValue, b.name) }
}
