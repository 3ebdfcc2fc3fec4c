package import Model

/// A topic as a request names it: by id from Fetch v13 and Produce v13 on, by name before.
package enum TopicReference: Hashable, Sendable {
  case name(String)
  case id(KafkaUUID)
}

/// What a fetch asks of one partition.
package struct FetchInterest: Hashable, Sendable {
  package var topic: TopicReference
  package var partition: PartitionID
  package var fetchOffset: Offset
  /// The client's idea of the leader epoch; `unknown` skips the check.
  package var currentLeaderEpoch: LeaderEpoch
  /// The epoch of the last batch the client has (v12); `unknown` skips the search for a divergence.
  package var lastFetchedEpoch: LeaderEpoch
  package var maxByteCount: Int
  /// A follower's; `unknown` from a consumer.
  package var logStartOffset: Offset
  /// Its place in the session it came from; meaningless elsewhere.
  package var slot = 0

  package init(
    topic: TopicReference, partition: PartitionID, fetchOffset: Offset, currentLeaderEpoch: LeaderEpoch = .unknown,
    lastFetchedEpoch: LeaderEpoch = .unknown, maxByteCount: Int, logStartOffset: Offset = .unknown
  ) {
    self.topic = topic
    self.partition = partition
    self.fetchOffset = fetchOffset
    self.currentLeaderEpoch = currentLeaderEpoch
    self.lastFetchedEpoch = lastFetchedEpoch
    self.maxByteCount = maxByteCount
    self.logStartOffset = logStartOffset
  }

  package var key: FetchPartitionKey { FetchPartitionKey(topic: self.topic, partition: self.partition) }
}

/// A partition as a fetch session tells it from others.
package struct FetchPartitionKey: Hashable, Sendable {
  package var topic: TopicReference
  package var partition: PartitionID
  package init(topic: TopicReference, partition: PartitionID) { (self.topic, self.partition) = (topic, partition) }
}

/// What an answer says about one partition, as far as its session cares.
package struct FetchOutcome: Hashable, Sendable {
  package var highWatermark: Offset
  package var logStartOffset: Offset
  package var hasRecords: Bool
  package var isError: Bool
  package var isDiverging: Bool

  package init(highWatermark: Offset, logStartOffset: Offset, hasRecords: Bool, isError: Bool, isDiverging: Bool) {
    self.highWatermark = highWatermark
    self.logStartOffset = logStartOffset
    self.hasRecords = hasRecords
    self.isError = isError
    self.isDiverging = isDiverging
  }
}
