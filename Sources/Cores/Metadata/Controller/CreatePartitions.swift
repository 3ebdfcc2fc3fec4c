package import Model

/// Adds partitions to topics, each independently of the others' fate.
package struct CreatePartitions: ControllerRequest {
  package struct Topic: Sendable, Hashable {
    package var name: String
    /// Partitions the topic shall have in all.
    package var count: Int32
    /// The replicas of each new partition, or nil to have them placed.
    package var assignments: [[NodeID]]?
    package init(_ name: String, count: Int32, assignments: [[NodeID]]? = nil) {
      (self.name, self.count, self.assignments) = (name, count, assignments)
    }
  }
  package struct TopicResult: Sendable, Hashable {
    package var name: String
    /// Nil: done.
    package var error: ApiError?
  }

  package var topics: [Topic]
  package var validateOnly: Bool
  package init(_ topics: [Topic], validateOnly: Bool = false) { (self.topics, self.validateOnly) = (topics, validateOnly) }

  /// In the order of the request; a name that comes twice is answered once.
  package typealias Response = [TopicResult]

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<[TopicResult]> {
    var counts: [String: Int] = [:]
    for topic in self.topics { counts[topic.name, default: 0] += 1 }
    var records = BoundedRecords()
    var results: [TopicResult] = []
    var answered: Set<String> = []
    var generator = state.generator(at: nextOffset)
    for topic in self.topics where answered.insert(topic.name).inserted {
      do throws(ApiError) {
        if counts[topic.name]! > 1 { throw ApiError(.invalidRequest, "Duplicate topic name.") }
        guard let image = state.image.topic(topic.name) else {
          throw ApiError(.unknownTopicOrPartition, "There is no topic named \(topic.name).")
        }
        let existing = image.partitions.count
        let additional = try self.additional(topic, existing)
        let factor = image.partitions[0].assignedReplicas.count
        let added: [PartitionImage]
        if let assignments = topic.assignments {
          added = try self.assigned(assignments, from: existing, factor, state.image)
        } else {
          let placer = ReplicaPlacer(state.image.brokers, using: &generator)
          added = try newPartitions(try placer.place(count: additional, replicationFactor: factor), in: state.image)
        }
        for (index, partition) in added.enumerated() {
          try records.append(.partition(TopicIDPartition(image.id, PartitionID(Int32(existing + index))), partition))
        }
        results.append(TopicResult(name: topic.name, error: nil))
      } catch {
        if error == BoundedRecords.tooMany { throw error }
        results.append(TopicResult(name: topic.name, error: error))
      }
    }
    return Decision(self.validateOnly ? [] : records.records, results)
  }

  private func additional(_ topic: Topic, _ existing: Int) throws(ApiError) -> Int {
    let wanted = Int(topic.count)
    if wanted == existing { throw ApiError(.invalidPartitions, "The topic has \(existing) partition(s) already.") }
    if wanted < existing {
      throw ApiError(
        .invalidPartitions,
        "The topic has \(existing) partition(s); it cannot be cut down to \(wanted).")
    }
    if let assignments = topic.assignments, assignments.count != wanted - existing {
      throw ApiError(
        .invalidReplicaAssignment,
        "\(wanted - existing) partition(s) are to be added, but \(assignments.count) assignment(s) are given.")
    }
    // Refused before anything is allocated for it.
    if wanted - existing > BoundedRecords.countMax { throw BoundedRecords.tooMany }
    return wanted - existing
  }

  private func assigned(
    _ assignments: [[NodeID]], from first: Int, _ factor: Int, _ image: MetadataImage
  ) throws(ApiError) -> [PartitionImage] {
    var partitions: [PartitionImage] = []
    for replicas in assignments {
      try validateAssignment(replicas, replicationFactor: factor, in: image)
      guard let partition = newPartition(replicas, in: image) else {
        throw allInactive(PartitionID(Int32(first + partitions.count)))
      }
      partitions.append(partition)
    }
    return partitions
  }
}
