package import Model

/// Levels of the feature `metadata.version`: which records the metadata log may hold, and in which versions.
package enum MetadataVersion {
  package static let feature = "metadata.version"
  /// 4.0-IV1, the oldest with the record versions that are written here (KIP-966).
  package static let minimum: Int16 = 23
  /// 4.2-IV1, that of Kafka 4.2. A new cluster begins with it.
  package static let latest: Int16 = 29
  /// What this version of Apus works with.
  package static let supported = BrokerRegistration.FeatureRange(name: feature, versions: minimum...latest)
}

/// Levels of the feature `eligible.leader.replicas.version`: 1 keeps an ELR for each partition (KIP-966), 0 does not.
package enum EligibleLeaderReplicasVersion {
  package static let feature = "eligible.leader.replicas.version"
  package static let latest: Int16 = 1
  package static let supported = BrokerRegistration.FeatureRange(name: feature, versions: 0...latest)
}

/// It is not among `SupportedFeatures`: it is the quorum's, not the metadata's.
extension KRaftVersion {
  package static let supported = BrokerRegistration.FeatureRange(
    name: feature, versions: staticVoters.rawValue...dynamicVoters.rawValue)
}

/// What this version of Apus works with, as a broker registers it.
package enum SupportedFeatures {
  /// In the order of their names.
  package static let all = [EligibleLeaderReplicasVersion.supported, MetadataVersion.supported]
  package static func range(_ name: String) -> ClosedRange<Int16>? { self.all.first { $0.name == name }?.versions }
}
