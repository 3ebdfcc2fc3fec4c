import Controller
import Environment
import Metadata
import Model
import Wire

// AlterPartitionReassignments and ListPartitionReassignments (KIP-455).
extension Broker {
  func handleAlterPartitionReassignments(_ exchange: Exchange<Env.Disk.File>, _ request: AlterPartitionReassignmentsRequest) {
    let partitions = request.topics.flatMap { topic in
      topic.partitions.map { partition in
        AlterPartitionReassignments.Partition(
          topic.name, PartitionID(partition.partitionIndex), partition.replicas.map { $0.map { NodeID($0) } })
      }
    }
    let decision = AlterPartitionReassignments(partitions, allowsOtherFactor: request.allowReplicationFactorChange)
    self.decide(decision, for: exchange, timeoutMs: request.timeoutMs) { result in
      switch result {
      case .failure(let error):
        exchange.respond(request.refusal(error.code, message: error.message, version: exchange.version))
      case .success(let results):
        var next = results.makeIterator()
        var response = AlterPartitionReassignmentsResponse(errorMessage: nil)
        response.allowReplicationFactorChange = request.allowReplicationFactorChange
        response.responses = request.topics.map { topic in
          .init(
            name: topic.name,
            partitions: topic.partitions.map {
              let error = next.next()?.error
              return .init(partitionIndex: $0.partitionIndex, errorCode: error?.code ?? .none, errorMessage: error?.message)
            })
        }
        exchange.respond(response)
      }
    }
  }

  func handleListPartitionReassignments(_ exchange: Exchange<Env.Disk.File>, _ request: ListPartitionReassignmentsRequest) {
    let query = ListPartitionReassignments(
      request.topics?.map { topic in .init(topic.name, topic.partitionIndexes.map { PartitionID($0) }) })
    let call = ControllerCall<Env, [ListPartitionReassignments.Ongoing]>(deadlines: self.deadlines) { result in
      switch result {
      case .failure(let error):
        Self.noteNotController(error, exchange)
        exchange.respond(request.refusal(error.code, message: error.message, version: exchange.version))
      case .success(let ongoing): exchange.respond(Self.reassignments(ongoing))
      }
    }
    call.start(timeout: .milliseconds(Int64(max(0, request.timeoutMs))), now: self.environment.now())
    self.controller.read({ query.answer(from: $0) }) { call.complete($0) }
  }

  private static func reassignments(_ ongoing: [ListPartitionReassignments.Ongoing]) -> ListPartitionReassignmentsResponse {
    var response = ListPartitionReassignmentsResponse(errorMessage: nil)
    for partition in ongoing {
      if response.topics.last?.name != partition.topic { response.topics.append(.init(name: partition.topic)) }
      response.topics[response.topics.count - 1].partitions.append(
        .init(
          partitionIndex: partition.partition.rawValue, replicas: partition.replicas.map(\.rawValue),
          addingReplicas: partition.addingReplicas.map(\.rawValue), removingReplicas: partition.removingReplicas.map(\.rawValue)))
    }
    return response
  }
}
