import Environment
import Metadata
import Model
import Wire

// AssignReplicasToDirs (KIP-858): a broker says in which of its log directories replicas are.
extension Broker {
  func handleAssignReplicasToDirs(_ exchange: Exchange<Env.Disk.File>, _ request: AssignReplicasToDirsRequest) {
    var assignments: [AssignReplicasToDirectories.Assignment] = []
    for directory in request.directories {
      for topic in directory.topics {
        for partition in topic.partitions {
          assignments.append(.init(TopicIDPartition(topic.topicId, PartitionID(partition.partitionIndex)), directory.id))
        }
      }
    }
    let decision = AssignReplicasToDirectories(
      nodeID: NodeID(request.brokerId), epoch: BrokerEpoch(request.brokerEpoch), assignments)
    self.decide(decision, for: exchange, timeoutMs: Self.controlTimeoutMs) { result in
      switch result {
      case .failure(let error):
        self.note(error.code, request.brokerId, exchange)
        exchange.respond(AssignReplicasToDirsResponse(errorCode: error.code))
      case .success(let results):
        var next = results.makeIterator()
        var response = AssignReplicasToDirsResponse()
        response.directories = request.directories.map { directory in
          var answered = AssignReplicasToDirsResponse.DirectoryData(id: directory.id)
          answered.topics = directory.topics.map { topic in
            .init(
              topicId: topic.topicId,
              partitions: topic.partitions.map {
                .init(partitionIndex: $0.partitionIndex, errorCode: next.next()?.error ?? .unknownServerError)
              })
          }
          return answered
        }
        exchange.respond(response)
      }
    }
  }
}
