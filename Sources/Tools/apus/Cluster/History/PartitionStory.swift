import JSON
import Metadata
import Model

/// What concerns one partition, gathered while the log goes by.
struct PartitionStory: Sendable {
  let topic: String
  let partition: PartitionID
  /// Of the partition and its topic: of every topic of the name, should it have been deleted and made anew.
  private var entries: [ClusterHistory.Entry] = []
  /// Everything that happened to brokers and controllers; which of it matters is known at the end.
  private var context: [ClusterHistory.Entry] = []
  private var holders: Set<NodeID> = []

  init(topic: String, partition: PartitionID) { (self.topic, self.partition) = (topic, partition) }

  mutating func take(_ entry: ClusterHistory.Entry) {
    switch entry.event {
    case .topicCreated(self.topic, _), .topicRemoved(self.topic, _), .topicConfigured(self.topic, _, _): self.entries.append(entry)
    case .partition(self.topic, let transition) where transition.partition.partition == self.partition:
      self.holders.formUnion(transition.after.assignedReplicas)
      self.holders.formUnion(transition.before?.assignedReplicas ?? [])
      self.entries.append(entry)
    case .broker, .controller: self.context.append(entry)
    case .topicCreated, .topicRemoved, .topicConfigured, .partition: break
    }
  }

  /// The story, in the log's order, with what happened to the brokers that held the partition and to the controllers, unless that is not
  /// wanted.
  ///
  /// - Parameter holding: brokers that hold the partition now: they may have since before the log began.
  func told(withContext: Bool, holding: [NodeID]) -> [ClusterHistory.Entry] {
    guard withContext else { return self.entries }
    let holders = self.holders.union(holding)
    let relevant = self.context.filter { entry in
      switch entry.event {
      case .broker(let node, _): holders.contains(node)
      case .controller: true
      case .topicCreated, .topicRemoved, .topicConfigured, .partition: false
      }
    }
    return (self.entries + relevant).sorted { $0.place.offset < $1.place.offset }
  }

  /// Why the broker was fenced whose fencing changed the partition: the log tells what becomes of the partitions first, and the fencing
  /// itself behind.
  func fencing(of entry: ClusterHistory.Entry) -> FencingCause? {
    guard case .partition(_, let transition) = entry.event, transition.reason == .brokerFenced, let before = transition.before else {
      return nil
    }
    let gone = before.inSyncReplicas.filter { !transition.after.inSyncReplicas.contains($0) } + [before.leader]
    for later in self.context where later.place.offset > entry.place.offset {
      switch later.event {
      case .broker(let node, .fenced(let cause)) where gone.contains(node): return cause
      // It came back before: the fencing that follows is another.
      case .broker(let node, _) where gone.contains(node): return nil
      case .broker, .controller, .topicCreated, .topicRemoved, .topicConfigured, .partition: continue
      }
    }
    return nil
  }
}

/// The story of a partition for people and for programs.
struct PartitionReport {
  private let story: PartitionStory
  private let entries: [ClusterHistory.Entry]
  /// Nil: it was deleted.
  private let now: ClusterHistory.Partition?
  private let snapshot: (endOffset: Int64, time: Int64)?

  /// Nil if the log knows nothing of the partition.
  init?(_ story: PartitionStory, _ history: ClusterHistory, since: Int64?, only: Bool) {
    self.story = story
    self.now = history.partition(story.topic, story.partition)
    self.snapshot = history.snapshot
    let told = story.told(withContext: !only, holding: self.now?.image.assignedReplicas ?? [])
    let isKnown = self.now != nil || told.contains { if case .partition = $0.event { true } else { false } }
    guard isKnown else { return nil }
    self.entries = told.filter { entry in since.map { entry.place.time >= $0 } ?? true }
  }

  private static func time(_ milliseconds: Int64) -> String { milliseconds < 0 ? "-" : TimeArgument.text(milliseconds: milliseconds) }

  private var name: String { "\(self.story.topic)-\(self.story.partition)" }

  /// How long nobody led, for entries that end such a time.
  private func gaps() -> [Int64?] {
    var since: Int64?
    return self.entries.map { entry in
      guard case .partition(_, let transition) = entry.event else { return nil }
      defer { since = transition.after.hasLeader ? nil : (since ?? entry.place.time) }
      guard transition.after.hasLeader, let since else { return nil }
      return max(0, entry.place.time - since)
    }
  }

  var lines: [String] {
    var lines: [String] = []
    if let now = self.now {
      let image = now.image
      let leader = image.hasLeader ? "leader \(image.leader)" : "no leader"
      var head = "\(self.name): \(leader), epoch \(image.leaderEpoch), replicas \(HistoryWords.list(image.assignedReplicas)), "
      head += "in sync \(HistoryWords.list(image.inSyncReplicas))"
      if !image.eligibleLeaderReplicas.isEmpty { head += ", eligible \(HistoryWords.list(image.eligibleLeaderReplicas))" }
      if !image.lastKnownEligibleLeaderReplicas.isEmpty {
        head += ", last known \(HistoryWords.list(image.lastKnownEligibleLeaderReplicas))"
      }
      lines.append(head)
      if let since = now.leaderless { lines.append("without a leader since \(Self.time(since.time))") }
    } else {
      lines.append("\(self.name): deleted")
    }
    if let snapshot = self.snapshot {
      lines.append("what happened before \(Self.time(snapshot.time)) (offset \(snapshot.endOffset)) is in a snapshot, which has no story")
    }
    var table = TextTable([("TIME", .left), ("OFFSET", .right), ("WHAT", .left)])
    for (entry, gap) in zip(self.entries, self.gaps()) {
      var text = HistoryWords.text(entry, fencing: self.story.fencing(of: entry))
      if let gap { text += "; nobody led for \(HistoryWords.duration(milliseconds: gap))" }
      table.add([Self.time(entry.place.time), "\(entry.place.offset)", text])
    }
    return lines + [""] + table.lines
  }

  var json: JSONValue {
    .object([
      ("topic", .string(self.story.topic)), ("partition", .integer(Int64(self.story.partition.rawValue))),
      ("now", self.now.map { HistoryJSON.partition($0.image) } ?? .null),
      ("leaderlessSince", ClusterText.json(self.now?.leaderless?.time)),
      ("snapshot", self.snapshot.map { .object([("endOffset", .integer($0.endOffset)), ("time", .integer($0.time))]) } ?? .null),
      ("events", .array(zip(self.entries, self.gaps()).map { HistoryJSON.entry($0, gap: $1, fencing: self.story.fencing(of: $0)) })),
    ])
  }

}
