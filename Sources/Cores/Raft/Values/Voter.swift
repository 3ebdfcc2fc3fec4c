package import Model

/// A replica of the log: a node together with the directory it keeps the log in, for a node that lost its disk is another replica
/// (KIP-853). A zero directory means that it is not known, as with voters from the configuration.
package struct ReplicaKey: Hashable, Comparable, Sendable, CustomStringConvertible {
  package var node: NodeID
  package var directory: KafkaUUID
  package init(_ node: NodeID, _ directory: KafkaUUID = .zero) { (self.node, self.directory) = (node, directory) }
  package static func < (a: ReplicaKey, b: ReplicaKey) -> Bool { (a.node, a.directory) < (b.node, b.directory) }
  package var description: String { self.directory == .zero ? "\(self.node)" : "\(self.node)-\(self.directory)" }

  /// Whether a voter known by this key is `replica`: a voter without a directory is any replica of its node.
  package func covers(_ replica: ReplicaKey) -> Bool {
    self.node == replica.node && (self.directory == .zero || self.directory == replica.directory)
  }
}

/// Where a node can be reached.
package struct Address: Hashable, Sendable, CustomStringConvertible {
  package var host: String
  package var port: UInt16
  package init(host: String, port: UInt16) { (self.host, self.port) = (host, port) }
  package var description: String { "\(self.host):\(self.port)" }
}

/// An address under a listener's name.
package struct Endpoint: Hashable, Sendable {
  package var listener: String
  package var address: Address
  package init(listener: String, address: Address) { (self.listener, self.address) = (listener, address) }
}

/// The range of `kraft.version` a node can run with.
package struct SupportedVersions: Hashable, Sendable {
  package var lowest: KRaftVersion
  package var highest: KRaftVersion
  package init(_ lowest: KRaftVersion, _ highest: KRaftVersion) { (self.lowest, self.highest) = (lowest, highest) }
  package func contains(_ version: KRaftVersion) -> Bool { self.lowest <= version && version <= self.highest }
}

/// One member of the voter set, as a VotersRecord tells it.
package struct Voter: Hashable, Sendable {
  package var key: ReplicaKey
  package var endpoints: [Endpoint]
  package var versions: SupportedVersions
  package init(key: ReplicaKey, endpoints: [Endpoint], versions: SupportedVersions) {
    (self.key, self.endpoints, self.versions) = (key, endpoints, versions)
  }
  /// Its address at `listener`; nil if it has no such listener.
  package func address(at listener: String) -> Address? { self.endpoints.first { $0.listener == listener }?.address }
}

/// The replicas whose majority elects and commits. Sorted by node; no node is in it twice.
package struct VoterSet: Hashable, Sendable, CustomStringConvertible {
  package private(set) var voters: [Voter]

  /// Nil if a node is named twice.
  package init?(_ voters: [Voter]) {
    self.voters = voters.sorted { $0.key < $1.key }
    for (voter, next) in zip(self.voters, self.voters.dropFirst()) where voter.key.node == next.key.node { return nil }
  }

  private init(sorted voters: [Voter]) { self.voters = voters }

  /// No voters: how a controller starts that is to join later.
  package static let empty = VoterSet(sorted: [])

  package var isEmpty: Bool { self.voters.isEmpty }
  /// How many make a majority.
  package var majority: Int { self.voters.count / 2 + 1 }
  package subscript(node: NodeID) -> Voter? { self.voters.first { $0.key.node == node } }
  package func contains(_ replica: ReplicaKey) -> Bool { self.voters.contains { $0.key.covers(replica) } }
  package func contains(node: NodeID) -> Bool { self[node] != nil }

  /// Nil if the node is a voter already.
  package func adding(_ voter: Voter) -> VoterSet? { VoterSet(self.voters + [voter]) }

  /// Nil if that replica is no voter, or the last one.
  package func removing(_ replica: ReplicaKey) -> VoterSet? {
    guard self.voters.count > 1, let place = self.voters.firstIndex(where: { $0.key == replica }) else { return nil }
    var voters = self.voters
    voters.remove(at: place)
    return VoterSet(sorted: voters)
  }

  /// The set with what is known of `voter` replaced; nil if that replica is no voter.
  package func updating(_ voter: Voter) -> VoterSet? {
    guard let place = self.voters.firstIndex(where: { $0.key == voter.key }) else { return nil }
    var voters = self.voters
    voters[place] = voter
    return VoterSet(sorted: voters)
  }

  /// Whether every majority of one meets every majority of the other: they differ by one voter at most (Raft dissertation, section 4.1).
  package func overlaps(_ other: VoterSet) -> Bool {
    let gone = self.voters.count { voter in !other.voters.contains { $0.key == voter.key } }
    let new = other.voters.count { voter in !self.voters.contains { $0.key == voter.key } }
    return gone + new <= 1
  }

  package var description: String { "{" + self.voters.map { "\($0.key)" }.joined(separator: ", ") + "}" }
}
