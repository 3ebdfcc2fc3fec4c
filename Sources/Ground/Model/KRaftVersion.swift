/// A level of the feature `kraft.version`: 0 takes the voters from the configuration, 1 from the log (KIP-853).
///
/// The level is in the log's control records, not in the metadata, and what the quorum can do with it is the quorum's to say.
package struct KRaftVersion: Newtype {
  package var rawValue: Int16
  package init(rawValue: Int16) { self.rawValue = rawValue }
  package static let staticVoters = KRaftVersion(rawValue: 0)
  package static let dynamicVoters = KRaftVersion(rawValue: 1)
  package static let feature = "kraft.version"
}
