/// Levels of the feature `metadata.version`: which records the metadata log may hold, and in which versions.
package enum MetadataVersion {
  package static let feature = "metadata.version"
  /// 3.3-IV3, the oldest that Kafka 4 reads.
  package static let minimum: Int16 = 7
  /// 4.2-IV1, that of Kafka 4.2. A new cluster begins with it.
  package static let latest: Int16 = 29
  /// What this version of Apus works with.
  package static let supported = BrokerRegistration.FeatureRange(name: feature, versions: minimum...latest)
}
