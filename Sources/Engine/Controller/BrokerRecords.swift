import Metadata
import Model
import Wire

/// Brokers between the core's words and Kafka's stored records.

extension RegisterBrokerRecord {
  init(_ registration: BrokerRegistration) {
    self.init(
      brokerId: registration.nodeID.rawValue, incarnationId: registration.incarnationID, brokerEpoch: registration.epoch.rawValue,
      endPoints: registration.endpoints.map {
        BrokerEndpoint(name: $0.name, host: $0.host, port: $0.port, securityProtocol: $0.securityProtocol.rawValue)
      },
      features: registration.features.map {
        BrokerFeature(name: $0.name, minSupportedVersion: $0.versions.lowerBound, maxSupportedVersion: $0.versions.upperBound)
      },
      rack: registration.rack, fenced: registration.isFenced, inControlledShutdown: registration.isInControlledShutdown,
      logDirs: registration.logDirectories)
  }
}

extension BrokerRegistration {
  init(_ record: RegisterBrokerRecord) throws(MetadataRecordError) {
    let endpoints = try record.endPoints.map { endpoint throws(MetadataRecordError) in
      guard let securityProtocol = SecurityProtocol(rawValue: endpoint.securityProtocol) else {
        throw .invalidField("BrokerEndpoint.securityProtocol", Int64(endpoint.securityProtocol))
      }
      return Listener(name: endpoint.name, host: endpoint.host, port: endpoint.port, securityProtocol: securityProtocol)
    }
    let features = try record.features.map { feature throws(MetadataRecordError) in
      guard feature.minSupportedVersion <= feature.maxSupportedVersion else {
        throw .invalidField("BrokerFeature.maxSupportedVersion", Int64(feature.maxSupportedVersion))
      }
      return FeatureRange(name: feature.name, versions: feature.minSupportedVersion...feature.maxSupportedVersion)
    }
    self.init(
      nodeID: NodeID(record.brokerId), incarnationID: record.incarnationId, epoch: BrokerEpoch(record.brokerEpoch), endpoints: endpoints,
      features: features, rack: record.rack, isFenced: record.fenced, isInControlledShutdown: record.inControlledShutdown,
      logDirectories: record.logDirs)
  }
}

/// How a BrokerRegistrationChangeRecord speaks of fencing (`BrokerRegistrationFencingChange`).
private enum Fencing {
  static let unfence: Int8 = -1
  static let same: Int8 = 0
  static let fence: Int8 = 1
}

extension BrokerRegistrationChangeRecord {
  init(_ change: BrokerRegistrationChange) {
    self.init(
      brokerId: change.nodeID.rawValue, brokerEpoch: change.epoch.rawValue,
      fenced: change.isFenced.map { $0 ? Fencing.fence : Fencing.unfence } ?? Fencing.same,
      inControlledShutdown: change.beginsControlledShutdown ? 1 : 0, logDirs: change.logDirectories ?? [],
      cause: change.cause?.rawValue ?? 0)
  }
}

extension BrokerRegistrationChange {
  init(_ record: BrokerRegistrationChangeRecord) throws(MetadataRecordError) {
    self.init(NodeID(record.brokerId), epoch: BrokerEpoch(record.brokerEpoch))
    switch record.fenced {
    case Fencing.unfence: self.isFenced = false
    case Fencing.same: break
    case Fencing.fence: self.isFenced = true
    default: throw .invalidField("BrokerRegistrationChangeRecord.fenced", Int64(record.fenced))
    }
    switch record.inControlledShutdown {
    case 0: break
    case 1: self.beginsControlledShutdown = true
    default: throw .invalidField("BrokerRegistrationChangeRecord.inControlledShutdown", Int64(record.inControlledShutdown))
    }
    // A number of a later version is read as none.
    self.cause = FencingCause(rawValue: record.cause)
    if !record.logDirs.isEmpty { self.logDirectories = record.logDirs }
  }
}
