import Environment
import Metadata
import Model
import Wire

// CreateTopics, DeleteTopics, CreatePartitions: decided by the controller, answered when the decision is committed.
extension Broker {
  func handleCreateTopics(_ exchange: Exchange<Env.Disk.File>, _ request: CreateTopicsRequest) {
    let topics = request.topics.map { topic in
      CreateTopics.Topic(
        topic.name, numPartitions: topic.numPartitions, replicationFactor: topic.replicationFactor,
        assignments: topic.assignments.map {
          .init(partition: PartitionID($0.partitionIndex), replicas: $0.brokerIds.map { NodeID($0) })
        },
        configs: topic.configs.map { .init(name: $0.name, value: $0.value) })
    }
    self.decide(CreateTopics(topics, validateOnly: request.validateOnly), for: exchange, timeoutMs: request.timeoutMs) { result in
      var response = CreateTopicsResponse()
      switch result {
      case .success(let results): response.topics = results.map(Self.createdTopic)
      case .failure(let error):
        response.topics = request.topics.map {
          .init(name: $0.name, errorCode: error.code, errorMessage: error.message, configs: [])
        }
      }
      exchange.respond(response)
    }
  }

  private static func createdTopic(_ result: CreateTopics.TopicResult) -> CreateTopicsResponse.CreatableTopicResult {
    switch result.outcome {
    case .failure(let error): .init(name: result.name, errorCode: error.code, errorMessage: error.message, configs: [])
    case .success(let created):
      .init(
        name: result.name, topicId: created.topicID, errorMessage: nil, numPartitions: created.numPartitions,
        replicationFactor: created.replicationFactor,
        configs: created.configs.map {
          .init(
            name: $0.name, value: $0.value, readOnly: $0.isReadOnly, configSource: $0.source.rawValue, isSensitive: $0.isSensitive)
        })
    }
  }

  func handleDeleteTopics(_ exchange: Exchange<Env.Disk.File>, _ request: DeleteTopicsRequest) {
    let topics =
      exchange.version >= 6
      ? request.topics.map { DeleteTopics.Topic(name: $0.name, id: $0.topicId) }
      : request.topicNames.map { DeleteTopics.Topic(name: $0) }
    self.decide(DeleteTopics(topics), for: exchange, timeoutMs: request.timeoutMs) { result in
      var response = DeleteTopicsResponse()
      switch result {
      case .success(let results):
        response.responses = results.map {
          .init(name: $0.name, topicId: $0.id, errorCode: $0.error?.code ?? .none, errorMessage: $0.error?.message)
        }
      case .failure(let error):
        // The code for a switched-off deletion came with v3 (KIP-322); before, the request itself counted as wrong.
        let code: ErrorCode = error.code == .topicDeletionDisabled && exchange.version < 3 ? .invalidRequest : error.code
        response.responses = topics.map { .init(name: $0.name, topicId: $0.id, errorCode: code, errorMessage: error.message) }
      }
      exchange.respond(response)
    }
  }

  func handleCreatePartitions(_ exchange: Exchange<Env.Disk.File>, _ request: CreatePartitionsRequest) {
    let topics = request.topics.map { topic in
      CreatePartitions.Topic(
        topic.name, count: topic.count, assignments: topic.assignments.map { $0.map { $0.brokerIds.map { NodeID($0) } } })
    }
    self.decide(CreatePartitions(topics, validateOnly: request.validateOnly), for: exchange, timeoutMs: request.timeoutMs) { result in
      var response = CreatePartitionsResponse()
      switch result {
      case .success(let results):
        response.results = results.map { .init(name: $0.name, errorCode: $0.error?.code ?? .none, errorMessage: $0.error?.message) }
      case .failure(let error):
        response.results = topics.map { .init(name: $0.name, errorCode: error.code, errorMessage: error.message) }
      }
      exchange.respond(response)
    }
  }

  /// Creates topics that a client asked for by name, with the broker's defaults. `answer` gets the names that could not be created and why.
  func createTopicsAutomatically(
    _ names: [String], _ exchange: Exchange<Env.Disk.File>, answer: @escaping @Sendable ([String: ErrorCode]) -> Void
  ) {
    let request = CreateTopicsRequest(
      topics: names.map { .init(name: $0, numPartitions: -1, replicationFactor: -1) }, timeoutMs: Self.autoCreationTimeoutMs)
    self.askController(
      request, timeout: .milliseconds(Int64(Self.autoCreationTimeoutMs)),
      isUndecided: { $0.topics.contains { $0.errorCode == .notController } }
    ) { result in
      var problems: [String: ErrorCode] = [:]
      switch result {
      case .success(let response):
        for topic in response.topics {
          switch topic.errorCode {
          // Somebody else made it meanwhile: it is there, and that is what was asked for.
          case .none, .topicAlreadyExists: break
          // The client asks again; the topic may be there by then.
          case .requestTimedOut: problems[topic.name] = .leaderNotAvailable
          default: problems[topic.name] = topic.errorCode
          }
        }
      case .failure(let error):
        for name in names { problems[name] = error.code == .requestTimedOut ? .leaderNotAvailable : error.code }
      }
      answer(problems)
    }
  }

  private static var autoCreationTimeoutMs: Int32 { 10_000 }
}
