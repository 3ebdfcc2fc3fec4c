import Base
import Controller
import Environment
import Metadata
import Model
import Raft
import Wire

// DescribeQuorum (KIP-836): how far each replica of the metadata log has come, by its leader.
extension Broker {
  func handleDescribeQuorum(_ exchange: Exchange<Env.Disk.File>, _ request: DescribeQuorumRequest) {
    guard request.topics.count == 1, request.topics[0].topicName == TopicName.clusterMetadata, request.topics[0].partitions.count == 1,
      request.topics[0].partitions[0].partitionIndex == 0
    else {
      return exchange.respond(request.refusal(.unknownTopicOrPartition, message: nil, version: exchange.version))
    }
    let now = self.environment.now()
    let machine = self.controller.quorum.machine
    guard let quorum = machine.describe(at: now) else {
      Self.noteNotController(ApiError(.notController), exchange)
      return exchange.respond(self.describeQuorum(.notLeaderOrFollower))
    }
    let wall = self.environment.wallClock()
    func state(_ progress: ReplicaProgress) -> DescribeQuorumResponse.ReplicaState {
      func timestamp(_ instant: Instant?) -> Int64 { instant.map { wall.rawValue - (now - $0).wholeMilliseconds } ?? -1 }
      return .init(
        replicaId: progress.replica.node.rawValue, replicaDirectoryId: progress.replica.directory,
        logEndOffset: progress.endIndex?.rawValue ?? -1, lastFetchTimestamp: progress.hasFetched ? timestamp(progress.lastHeard) : -1,
        lastCaughtUpTimestamp: timestamp(progress.lastCaughtUp))
    }
    var response = self.describeQuorum(.none)
    response.topics[0].partitions[0].leaderId = quorum.leader.rawValue
    response.topics[0].partitions[0].leaderEpoch = quorum.term.rawValue
    response.topics[0].partitions[0].highWatermark = quorum.highWatermark.rawValue
    response.topics[0].partitions[0].currentVoters = quorum.voters.map(state)
    response.topics[0].partitions[0].observers = quorum.observers.map(state)
    response.nodes = machine.log.voters.voters.map { voter in
      .init(
        nodeId: voter.key.node.rawValue,
        listeners: voter.endpoints.map { .init(name: $0.listener, host: $0.address.host, port: $0.address.port) })
    }
    exchange.respond(response)
  }

  private func describeQuorum(_ error: ErrorCode) -> DescribeQuorumResponse {
    var response = DescribeQuorumResponse(errorCode: .none, errorMessage: nil)
    response.topics = [
      .init(
        topicName: TopicName.clusterMetadata,
        partitions: [.init(partitionIndex: 0, errorCode: error, errorMessage: nil, leaderId: -1, leaderEpoch: -1, highWatermark: -1)])
    ]
    return response
  }
}
