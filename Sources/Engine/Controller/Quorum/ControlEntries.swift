import Model
import NIOCore
import Raft
import Wire

// Raft's control entries as Kafka's control records.

extension ControlEntry {
  static func leaderChange(_ message: LeaderChangeMessage) -> ControlEntry {
    .leaderChange(
      leader: NodeID(message.leaderId), voters: message.voters.map { ReplicaKey(NodeID($0.voterId), $0.voterDirectoryId) },
      grantedBy: message.grantingVoters.map { ReplicaKey(NodeID($0.voterId), $0.voterDirectoryId) })
  }

  /// The record that says the same. Leader changes name directories as soon as voters have them (version 1 of the message).
  var record: ControlRecord {
    switch self {
    case .leaderChange(let leader, let voters, let grantedBy):
      let version: Int16 = (voters + grantedBy).contains { $0.directory != .zero } ? 1 : 0
      func voter(_ key: ReplicaKey) -> LeaderChangeMessage.Voter { .init(voterId: key.node.rawValue, voterDirectoryId: key.directory) }
      return .leaderChange(
        LeaderChangeMessage(
          version: version, leaderId: leader.rawValue, voters: voters.map(voter), grantingVoters: grantedBy.map(voter)))
    case .voters(let voters): return .voters(VotersRecord(voters))
    case .kraftVersion(let version): return .kraftVersion(KRaftVersionRecord(version: 0, kRaftVersion: version.rawValue))
    }
  }
}

extension VotersRecord {
  init(_ set: VoterSet) {
    self.init(
      version: 0,
      voters: set.voters.map { voter in
        .init(
          voterId: voter.key.node.rawValue, voterDirectoryId: voter.key.directory,
          endpoints: voter.endpoints.map { .init(name: $0.listener, host: $0.address.host, port: $0.address.port) },
          kRaftVersionFeature: .init(
            minSupportedVersion: voter.versions.lowest.rawValue, maxSupportedVersion: voter.versions.highest.rawValue))
      })
  }
}

extension VoterSet {
  init(_ record: VotersRecord) throws(QuorumMessageError) {
    let voters = record.voters.map { voter in
      Voter(
        key: ReplicaKey(NodeID(voter.voterId), voter.voterDirectoryId),
        endpoints: voter.endpoints.map { Endpoint(listener: $0.name, address: Address(host: $0.host, port: $0.port)) },
        versions: SupportedVersions(
          KRaftVersion(voter.kRaftVersionFeature.minSupportedVersion), KRaftVersion(voter.kRaftVersionFeature.maxSupportedVersion)))
    }
    guard let set = VoterSet(voters) else { throw QuorumMessageError("a set of voters names a node twice") }
    self = set
  }
}
