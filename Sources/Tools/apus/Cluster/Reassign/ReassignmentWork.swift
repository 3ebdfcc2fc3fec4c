import JSON
import KafkaClient

/// What moves where when assignments change, and how far it is.
struct ReassignmentMoves {
  struct Move: Hashable {
    var id: TopicPartition
    var from: [Int32]
    var to: [Int32]
    /// Of one replica, as far as the brokers told.
    var byteCount: Int64
    /// Brokers that have to copy it.
    var adding: [Int32] { self.to.filter { !self.from.contains($0) } }
  }
  /// Partitions whose assignment changes at all, if only in its order.
  let moves: [Move]

  init(from current: [TopicPartition: [Int32]], to target: [TopicPartition: [Int32]], byteCounts: [TopicPartition: Int64]) {
    self.moves = target.sorted { $0.key < $1.key }.compactMap { id, to in
      guard let from = current[id], from != to else { return nil }
      return Move(id: id, from: from, to: to, byteCount: byteCounts[id] ?? 0)
    }
  }

  var byteCount: Int64 { self.moves.reduce(0) { $0 + $1.byteCount * Int64($1.adding.count) } }
  var replicaCount: Int { self.moves.reduce(0) { $0 + $1.adding.count } }

  private static func replicas(_ count: Int) -> String { count == 1 ? "1 replica" : "\(count) replicas" }

  /// One line per broker that gets or loses something, and one for all.
  var summary: [String] {
    if self.moves.isEmpty { return ["nothing has to move: every partition is where it should be"] }
    var incoming: [Int32: (count: Int, bytes: Int64)] = [:]
    var outgoing: [Int32: Int] = [:]
    for move in self.moves {
      for broker in move.adding {
        incoming[broker, default: (0, 0)].count += 1
        incoming[broker, default: (0, 0)].bytes += move.byteCount
      }
      for broker in move.from where !move.to.contains(broker) { outgoing[broker, default: 0] += 1 }
    }
    var lines = Set(incoming.keys).union(outgoing.keys).sorted().map { broker in
      let gets = incoming[broker].map { "gets \(Self.replicas($0.count)), \(Readable.bytes($0.bytes))" }
      let gives = outgoing[broker].map { "gives up \(Self.replicas($0))" }
      return "broker \(broker): " + [gets, gives].compactMap { $0 }.joined(separator: "; ")
    }
    let reordered = self.moves.count { $0.adding.isEmpty }
    lines.append(
      "\(self.moves.count) \(self.moves.count == 1 ? "partition changes" : "partitions change"), \(Self.replicas(self.replicaCount)) "
        + "\(self.replicaCount == 1 ? "is" : "are") copied, \(Readable.bytes(self.byteCount)) in all"
        + (reordered > 0 ? "; \(reordered) only change their order or drop replicas" : ""))
    return lines
  }
}

/// How far one reassignment is.
struct ReassignmentProgress {
  let id: TopicPartition
  let reassignment: Reassignment
  /// Of the leader's replica; nil: not known.
  let byteCount: Int64?
  /// What the brokers that copy it have; those that did not tell are left out.
  let copied: [Int32: Int64]

  /// Bytes that all new replicas have together, and are to have.
  var done: Int64 { self.reassignment.adding.reduce(0) { $0 + min(self.copied[$1] ?? 0, self.byteCount ?? .max) } }
  var total: Int64? { self.byteCount.map { $0 * Int64(self.reassignment.adding.count) } }
  /// From 0 to 1; nil where it cannot be told.
  var share: Double? {
    guard let total else { return nil }
    return total == 0 ? 1 : Double(self.done) / Double(total)
  }

  var json: JSONValue {
    .object([
      ("topic", .string(self.id.topic)), ("partition", .integer(Int64(self.id.partition))),
      ("replicas", ClusterText.json(self.reassignment.replicas)), ("adding", ClusterText.json(self.reassignment.adding)),
      ("removing", ClusterText.json(self.reassignment.removing)), ("copiedBytes", .integer(self.done)),
      ("totalBytes", ClusterText.json(self.total)), ("percent", self.share.map { .number(($0 * 1000).rounded() / 10) } ?? .null),
    ])
  }

  static func lines(_ all: [ReassignmentProgress]) -> [String] {
    if all.isEmpty { return ["no reassignment is under way"] }
    var table = TextTable([
      ("PARTITION", .left), ("FROM", .left), ("TO", .left), ("COPYING", .left), ("COPIED", .right), ("OF", .right), ("", .right),
    ])
    for one in all {
      table.add([
        "\(one.id)", ClusterText.list(one.reassignment.original), ClusterText.list(one.reassignment.target),
        ClusterText.list(one.reassignment.adding), Readable.bytes(one.done), one.total.map(Readable.bytes) ?? "?",
        one.share.map { "\(Readable.fixed($0 * 100, 1)) %" } ?? "?",
      ])
    }
    let (done, total) = all.reduce((Int64(0), Int64(0))) { ($0.0 + $1.done, $0.1 + ($1.total ?? 0)) }
    let share = total > 0 ? ", \(Readable.fixed(Double(done) / Double(total) * 100, 1)) %" : ""
    return table.lines + ["\(all.count) under way: \(Readable.bytes(done)) of \(Readable.bytes(total)) copied\(share)"]
  }
}

/// What is asked of a cluster about replicas and their sizes.
struct ReplicaSurvey {
  /// Replicas by partition, the preferred leader first.
  var assignments: [TopicPartition: [Int32]] = [:]
  var leaders: [TopicPartition: Int32] = [:]
  /// Bytes by broker and partition, as far as the brokers tell.
  var byteCounts: [Int32: [TopicPartition: Int64]] = [:]
  /// Brokers that did not tell, and why.
  var silent: [(broker: Int32, reason: String)] = []

  /// - Parameter topics: nil: all.
  static func take(_ admin: KafkaAdmin, topics: [String]? = nil) async throws -> ReplicaSurvey {
    var survey = ReplicaSurvey()
    for result in try await admin.describePartitions(topics) {
      let topic = try result.get()
      for partition in topic.partitions {
        let id = TopicPartition(topic: topic.name, partition: partition.partition)
        survey.assignments[id] = partition.replicas
        survey.leaders[id] = partition.leader
      }
    }
    let partitions = topics == nil ? nil : survey.assignments.keys.sorted()
    for broker in Set(survey.assignments.values.flatMap { $0 }).sorted() {
      do throws(KafkaError) {
        for directory in try await admin.describeLogDirectories(brokers: [broker], topics: partitions) {
          for replica in directory.replicas { survey.byteCounts[broker, default: [:]][replica.partition] = replica.byteCount }
        }
      } catch {
        // A broker that is down holds replicas all the same; their size is known from others.
        survey.silent.append((broker, "\(error)"))
      }
    }
    return survey
  }

  /// Whether the topic was found.
  func has(_ topic: String) -> Bool { self.assignments.keys.contains { $0.topic == topic } }

  /// The size of a partition: the leader's replica, else the largest.
  func byteCount(of id: TopicPartition) -> Int64? {
    if let leader = self.leaders[id], let count = self.byteCounts[leader]?[id] { return count }
    return self.byteCounts.values.compactMap { $0[id] }.max()
  }

  var byteCountsByPartition: [TopicPartition: Int64] {
    var counts: [TopicPartition: Int64] = [:]
    for id in self.assignments.keys { counts[id] = self.byteCount(of: id) }
    return counts
  }

  func progress(_ reassignments: [TopicPartition: Reassignment]) -> [ReassignmentProgress] {
    reassignments.sorted { $0.key < $1.key }.map { id, reassignment in
      var copied: [Int32: Int64] = [:]
      for broker in reassignment.adding { copied[broker] = self.byteCounts[broker]?[id] }
      return ReassignmentProgress(id: id, reassignment: reassignment, byteCount: self.byteCount(of: id), copied: copied)
    }
  }
}
