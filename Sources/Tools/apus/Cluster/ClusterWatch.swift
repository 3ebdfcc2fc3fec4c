import JSON
import KafkaClient
import Metadata

/// Prints changes as they happen.
struct ClusterWatch {
  /// Empty: all.
  let topics: Set<String>
  let json: Bool
  /// How long a broker is asked to wait for news.
  private static let wait = Duration.seconds(5)
  /// How often a cluster is asked whose log cannot be read.
  private static let interval = Duration.milliseconds(500)

  func run(_ admin: KafkaAdmin) async throws {
    var tail = MetadataLogTail(admin)
    do {
      try await tail.catchUp { _ in }
    } catch is MetadataLogNotServed {
      StandardError.line("Note: the metadata log cannot be read: asking twice a second instead")
      return try await self.poll(admin)
    }
    StandardError.line("watching from offset \(tail.history.endOffset) of the metadata log")
    var isLost = false
    while !Task.isCancelled {
      do {
        try await tail.step(wait: Self.wait) { self.print($0) }
        if isLost { StandardError.line("Note: a broker answers again") }
        isLost = false
      } catch let error as KafkaError where error.isRetriable {
        // The one that was read from is gone, perhaps all are: that is what one watches for.
        if !isLost { StandardError.line("Warning: \(error); trying the others until one answers") }
        isLost = true
        try await Task.sleep(for: .milliseconds(50))
      }
    }
  }

  private func print(_ entry: ClusterHistory.Entry) {
    if !self.topics.isEmpty {
      switch entry.event {
      case .partition(let topic, _), .topicCreated(let topic, _), .topicRemoved(let topic, _), .topicConfigured(let topic, _, _):
        if !self.topics.contains(topic) { return }
      case .broker, .controller: break
      }
    }
    self.printLine(self.json ? HistoryJSON.entry(entry, gap: nil).text : Self.line(entry))
  }

  static func line(_ entry: ClusterHistory.Entry) -> String {
    let time = TimeArgument.text(milliseconds: entry.place.time)
    if case .partition(let topic, let transition) = entry.event {
      return "\(time)  \(topic)-\(transition.partition.partition): \(HistoryWords.text(entry))"
    }
    return "\(time)  \(HistoryWords.text(entry))"
  }

  private func printLine(_ text: String) {
    var output = StandardOutput()
    output.line(text)
  }

  // MARK: Without the log

  private func poll(_ admin: KafkaAdmin) async throws {
    var known: [TopicPartition: PartitionDescription]?
    while !Task.isCancelled {
      let topics = try await admin.describePartitions(self.topics.isEmpty ? nil : self.topics.sorted()).compactMap { try? $0.get() }
      var now: [TopicPartition: PartitionDescription] = [:]
      for topic in topics {
        for partition in topic.partitions { now[TopicPartition(topic: topic.name, partition: partition.partition)] = partition }
      }
      if let known {
        for line in Self.differences(known, now, at: WallClock.milliseconds(), json: self.json) { self.printLine(line) }
      }
      known = now
      try await Task.sleep(for: Self.interval)
    }
  }

  /// What differs between two looks at a cluster, a line each.
  static func differences(
    _ before: [TopicPartition: PartitionDescription], _ after: [TopicPartition: PartitionDescription], at time: Int64, json: Bool
  ) -> [String] {
    Set(before.keys).union(after.keys).sorted().compactMap { id in
      let (old, new) = (before[id], after[id])
      if old == new { return nil }
      if json {
        func state(_ partition: PartitionDescription?) -> JSONValue {
          guard let partition else { return .null }
          return .object([
            ("leader", ClusterText.json(partition.leader)), ("leaderEpoch", .integer(Int64(partition.leaderEpoch))),
            ("replicas", ClusterText.json(partition.replicas)), ("isr", ClusterText.json(partition.inSyncReplicas)),
            ("elr", ClusterText.json(partition.eligibleLeaderReplicas)),
          ])
        }
        return JSONValue.object([
          ("time", .integer(time)), ("event", .string("partition")), ("topic", .string(id.topic)),
          ("partition", .integer(Int64(id.partition))), ("before", state(old)), ("after", state(new)),
        ]).text
      }
      let head = "\(TimeArgument.text(milliseconds: time))  \(id): "
      guard let new else { return head + "deleted" }
      func leader(_ partition: PartitionDescription) -> String { partition.leader.map { "\($0)" } ?? "none" }
      guard let old else { return head + "new: leader \(leader(new)), replicas \(ClusterText.list(new.replicas))" }
      var changes: [String] = []
      if old.leader != new.leader || old.leaderEpoch != new.leaderEpoch {
        changes.append("leader \(leader(old)) -> \(leader(new)) (epoch \(old.leaderEpoch) -> \(new.leaderEpoch))")
      }
      func changed(_ what: String, _ old: [Int32], _ new: [Int32]) {
        if old != new { changes.append("\(what) \(ClusterText.list(old)) -> \(ClusterText.list(new))") }
      }
      changed("replicas", old.replicas, new.replicas)
      changed("in sync", old.inSyncReplicas, new.inSyncReplicas)
      changed("eligible", old.eligibleLeaderReplicas ?? [], new.eligibleLeaderReplicas ?? [])
      changed("offline", old.offlineReplicas, new.offlineReplicas)
      return changes.isEmpty ? nil : head + changes.joined(separator: "; ")
    }
  }
}
