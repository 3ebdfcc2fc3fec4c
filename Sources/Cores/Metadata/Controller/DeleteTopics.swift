package import Model

/// Deletes topics, named or by id. With deletion switched off the request is refused as a whole.
package struct DeleteTopics: ControllerRequest {
  /// What a client wrote: exactly one of the two must be there (`.zero` is no id).
  package struct Topic: Sendable, Hashable {
    package var name: String?
    package var id: KafkaUUID
    package init(name: String?, id: KafkaUUID = .zero) { (self.name, self.id) = (name, id) }
  }
  package struct TopicResult: Sendable, Hashable {
    package var name: String?
    package var id: KafkaUUID
    /// Nil: deleted.
    package var error: ApiError?
  }

  package var topics: [Topic]
  package init(_ topics: [Topic]) { self.topics = topics }

  /// In the order of the request.
  package typealias Response = [TopicResult]

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<[TopicResult]> {
    if !state.settings.deleteTopicsEnabled {
      throw ApiError(.topicDeletionDisabled, "Topics cannot be deleted: delete.topic.enable is false.")
    }
    var counts: [Topic: Int] = [:]
    var ids: [KafkaUUID: Int] = [:]
    for topic in self.topics {
      counts[topic, default: 0] += 1
      if let id = topic.name.map({ state.image.topicID($0) }) ?? topic.id { ids[id, default: 0] += 1 }
    }
    var records = BoundedRecords()
    var results: [TopicResult] = []
    var answered: Set<Topic> = []
    for topic in self.topics where answered.insert(topic).inserted {
      do throws(ApiError) {
        if counts[topic]! > 1 {
          throw ApiError(.invalidRequest, topic.name == nil ? "Duplicate topic id." : "Duplicate topic name.")
        }
        let image = try self.find(topic, state.image)
        if ids[image.id]! > 1 {
          throw ApiError(.invalidRequest, "The topic is named twice, by its name and by its id.")
        }
        try records.append(.removeTopic(id: image.id))
        results.append(TopicResult(name: image.name, id: image.id, error: nil))
      } catch {
        if error == BoundedRecords.tooMany { throw error }
        results.append(TopicResult(name: topic.name, id: topic.id, error: error))
      }
    }
    return Decision(records.records, results)
  }

  private func find(_ topic: Topic, _ image: MetadataImage) throws(ApiError) -> TopicImage {
    switch (topic.name, topic.id) {
    case (nil, .zero): throw ApiError(.invalidRequest, "A topic needs a name or an id.")
    case (nil, let id):
      guard let found = image.topic(id) else { throw ApiError(.unknownTopicId, "There is no topic with id \(id).") }
      return found
    case (let name?, .zero):
      guard let found = image.topic(name) else { throw ApiError(.unknownTopicOrPartition, "There is no topic named \(name).") }
      return found
    case (_?, _): throw ApiError(.invalidRequest, "A topic is given by its name or by its id, not by both.")
    }
  }
}
