import Controller
import Environment
import Metadata
import Model
import Wire

// ElectLeaders (KIP-460, KIP-183): leaders at an administrator's wish.
extension Broker {
  func handleElectLeaders(_ exchange: Exchange<Env.Disk.File>, _ request: ElectLeadersRequest) {
    let topics = request.topicPartitions?.map { topic in
      ElectLeaders.Topic(topic.topic, topic.partitions.map { PartitionID($0) })
    }
    let call = ControllerCall<Env, [ElectLeaders.PartitionResult]>(deadlines: self.deadlines) { result in
      switch result {
      case .failure(let error):
        Self.noteNotController(error, exchange)
        exchange.respond(request.refusal(error.code, message: error.message, version: exchange.version))
      case .success(let results): exchange.respond(Self.electLeadersResponse(results))
      }
    }
    call.start(timeout: .milliseconds(Int64(max(0, request.timeoutMs))), now: self.environment.now())
    // Version 0 knows preferred elections only.
    let type = exchange.version >= 1 ? request.electionType : ElectLeaders.ElectionType.preferred.rawValue
    self.controller.elect(ElectLeaders(electionType: type, topics)) { call.complete($0) }
  }

  private static func electLeadersResponse(_ results: [ElectLeaders.PartitionResult]) -> ElectLeadersResponse {
    var response = ElectLeadersResponse()
    for result in results {
      var partition = ElectLeadersResponse.PartitionResult(partitionId: result.partition.rawValue)
      switch result.outcome {
      case .elected: partition.errorCode = .none
      case .refused(let error): (partition.errorCode, partition.errorMessage) = (error.code, error.message)
      // The replicas were asked, and nobody could be elected.
      case .needsLogEnds: partition.errorCode = .eligibleLeadersNotAvailable
      }
      if response.replicaElectionResults.last?.topic != result.topic {
        response.replicaElectionResults.append(.init(topic: result.topic))
      }
      response.replicaElectionResults[response.replicaElectionResults.count - 1].partitionResult.append(partition)
    }
    return response
  }
}
