import Model
import Raft
import Wire

// Changes of the voter set (KIP-853).

extension AddRaftVoterRequest {
  init(_ request: AddVoterRequest, timeoutMs: Int32) {
    self.init(
      clusterId: request.clusterID, timeoutMs: timeoutMs, voterId: request.voter.node.rawValue,
      voterDirectoryId: request.voter.directory,
      listeners: request.endpoints.map { .init(name: $0.listener, host: $0.address.host, port: $0.address.port) },
      ackWhenCommitted: request.answersWhenCommitted)
  }

  var decoded: AddVoterRequest {
    AddVoterRequest(
      clusterID: self.clusterId, voter: ReplicaKey(NodeID(self.voterId), self.voterDirectoryId),
      endpoints: self.listeners.map { Endpoint(listener: $0.name, address: Address(host: $0.host, port: $0.port)) },
      answersWhenCommitted: self.ackWhenCommitted)
  }
}

extension AddRaftVoterResponse {
  init(_ answer: OutgoingAnswer) { self.init(errorCode: answer.status.error) }
  /// These answers carry neither epoch nor leader.
  var decoded: IncomingAnswer { IncomingAnswer(QuorumStatus(error: self.errorCode, term: .zero)) }
}

extension RemoveRaftVoterRequest {
  init(_ request: RemoveVoterRequest) {
    self.init(clusterId: request.clusterID, voterId: request.voter.node.rawValue, voterDirectoryId: request.voter.directory)
  }

  var decoded: RemoveVoterRequest {
    RemoveVoterRequest(clusterID: self.clusterId, voter: ReplicaKey(NodeID(self.voterId), self.voterDirectoryId))
  }
}

extension RemoveRaftVoterResponse {
  init(_ answer: OutgoingAnswer) { self.init(errorCode: answer.status.error) }
  var decoded: IncomingAnswer { IncomingAnswer(QuorumStatus(error: self.errorCode, term: .zero)) }
}

extension UpdateRaftVoterRequest {
  init(_ request: UpdateVoterRequest) {
    self.init(
      clusterId: request.clusterID, currentLeaderEpoch: request.term.rawValue, voterId: request.voter.key.node.rawValue,
      voterDirectoryId: request.voter.key.directory,
      listeners: request.voter.endpoints.map { .init(name: $0.listener, host: $0.address.host, port: $0.address.port) },
      kRaftVersionFeature: .init(
        minSupportedVersion: request.voter.versions.lowest.rawValue, maxSupportedVersion: request.voter.versions.highest.rawValue))
  }

  var decoded: UpdateVoterRequest {
    UpdateVoterRequest(
      clusterID: self.clusterId, term: Term(self.currentLeaderEpoch),
      voter: Voter(
        key: ReplicaKey(NodeID(self.voterId), self.voterDirectoryId),
        endpoints: self.listeners.map { Endpoint(listener: $0.name, address: Address(host: $0.host, port: $0.port)) },
        versions: SupportedVersions(
          KRaftVersion(self.kRaftVersionFeature.minSupportedVersion), KRaftVersion(self.kRaftVersionFeature.maxSupportedVersion))))
  }
}

extension UpdateRaftVoterResponse {
  init(_ answer: OutgoingAnswer) {
    self.init(errorCode: answer.status.error)
    self.currentLeader = .init(
      leaderId: answer.status.leaderField, leaderEpoch: answer.status.termField, host: answer.status.leaderAddress?.host ?? "",
      port: Int32(answer.status.leaderAddress?.port ?? 0))
  }

  var decoded: IncomingAnswer {
    let leader = self.currentLeader
    let address = leader.host.isEmpty ? nil : Address(host: leader.host, port: UInt16(clamping: leader.port))
    return IncomingAnswer(QuorumStatus(self.errorCode, leader: leader.leaderId, epoch: leader.leaderEpoch, address))
  }
}
