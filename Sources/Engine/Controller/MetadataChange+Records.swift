package import Metadata
import Model
package import NIOCore
package import Wire

/// The one place where the core's changes meet Kafka's stored records.
extension MetadataChange {
  /// The record as it stands in the log: Kafka's frame and the record, in the newest version (`MetadataVersion.minimum` has them all).
  package var encoded: ByteBuffer { self.record.encoded() }

  package var record: MetadataRecord {
    switch self {
    case .topic(let name, let id): .topic(TopicRecord(name: name, topicId: id))
    case .partition(let partition, let image): .partition(PartitionRecord(partition, image))
    case .partitionChange(let partition, let change): .partitionChange(PartitionChangeRecord(partition, change))
    case .removeTopic(let id): .removeTopic(RemoveTopicRecord(topicId: id))
    case .registerBroker(let registration): .registerBroker(RegisterBrokerRecord(registration))
    case .unregisterBroker(let id, let epoch):
      .unregisterBroker(UnregisterBrokerRecord(brokerId: id.rawValue, brokerEpoch: epoch.rawValue))
    case .brokerRegistrationChange(let change): .brokerRegistrationChange(BrokerRegistrationChangeRecord(change))
    case .fenceBroker(let id, let epoch): .fenceBroker(FenceBrokerRecord(id: id.rawValue, epoch: epoch.rawValue))
    case .unfenceBroker(let id, let epoch): .unfenceBroker(UnfenceBrokerRecord(id: id.rawValue, epoch: epoch.rawValue))
    case .config(let resource, let name, let value):
      .config(ConfigRecord(resourceType: resource.kind.rawValue, resourceName: resource.name, name: name, value: value))
    case .featureLevel(let name, let level): .featureLevel(FeatureLevelRecord(name: name, featureLevel: level))
    case .producerIDs(let broker, let epoch, let next):
      .producerIds(ProducerIdsRecord(brokerId: broker.rawValue, brokerEpoch: epoch.rawValue, nextProducerId: next.rawValue))
    case .clearEligibleLeaderReplicas(let name): .clearElr(ClearElrRecord(topicName: name ?? ""))
    case .noOp: .noOp(NoOpRecord())
    }
  }

  /// Reads a record's value. Records of features that this version does not have are refused, not passed over: an image without
  /// what they say would be wrong.
  package init(decoding value: ByteBuffer) throws(MetadataRecordError) {
    let record: MetadataRecord
    do throws(WireError) { record = try MetadataRecord(decoding: value) } catch {
      if case .unknownRecordType(let type) = error { throw .notSupported(type: type) }
      throw .malformed(error)
    }
    try self.init(record)
  }

  package init(_ record: MetadataRecord) throws(MetadataRecordError) {
    switch record {
    case .topic(let record): self = .topic(name: record.name, id: record.topicId)
    case .partition(let record):
      self = .partition(TopicIDPartition(record.topicId, PartitionID(record.partitionId)), try PartitionImage(record))
    case .partitionChange(let record):
      self = .partitionChange(TopicIDPartition(record.topicId, PartitionID(record.partitionId)), try PartitionChange(record))
    case .removeTopic(let record): self = .removeTopic(id: record.topicId)
    case .registerBroker(let record): self = .registerBroker(try BrokerRegistration(record))
    case .unregisterBroker(let record): self = .unregisterBroker(NodeID(record.brokerId), epoch: BrokerEpoch(record.brokerEpoch))
    case .brokerRegistrationChange(let record): self = .brokerRegistrationChange(try BrokerRegistrationChange(record))
    case .fenceBroker(let record): self = .fenceBroker(NodeID(record.id), epoch: BrokerEpoch(record.epoch))
    case .unfenceBroker(let record): self = .unfenceBroker(NodeID(record.id), epoch: BrokerEpoch(record.epoch))
    case .config(let record):
      guard let kind = ConfigResource.Kind(rawValue: record.resourceType) else {
        throw .invalidField("ConfigRecord.resourceType", Int64(record.resourceType))
      }
      self = .config(ConfigResource(kind, record.resourceName), name: record.name, value: record.value)
    case .featureLevel(let record): self = .featureLevel(name: record.name, level: record.featureLevel)
    case .producerIds(let record):
      self = .producerIDs(
        broker: NodeID(record.brokerId), epoch: BrokerEpoch(record.brokerEpoch), next: ProducerID(record.nextProducerId))
    case .clearElr(let record): self = .clearEligibleLeaderReplicas(topicName: record.topicName.isEmpty ? nil : record.topicName)
    case .noOp: self = .noOp
    case .delegationToken, .userScramCredential, .clientQuota, .accessControlEntry, .removeAccessControlEntry, .zkMigrationState,
      .removeUserScramCredential, .beginTransaction, .endTransaction, .abortTransaction, .removeDelegationToken, .registerController:
      throw .notSupported(type: UInt32(type(of: record.value).apiKey))
    }
  }
}

/// Why a record of the metadata log cannot be used.
package enum MetadataRecordError: Error, Hashable, Sendable, CustomStringConvertible {
  case malformed(WireError)
  /// Kafka's number of a record type that this version has no meaning for.
  case notSupported(type: UInt32)
  case invalidField(String, Int64)

  package var description: String {
    switch self {
    case .malformed(let error): "it is malformed: \(error)"
    case .notSupported(let type): "records of type \(type) are not supported by this version"
    case .invalidField(let field, let value): "\(field) has the unknown value \(value)"
    }
  }
}
