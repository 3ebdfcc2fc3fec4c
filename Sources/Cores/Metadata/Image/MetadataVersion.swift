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
