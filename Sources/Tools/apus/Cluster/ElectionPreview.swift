import JSON
import KafkaClient

/// What an election of one partition would do: who the candidates are, and what each of them would lose.
///
/// Nothing here is more certain than what the replicas said when they were asked. The high watermark is the highest that one of them
/// knows; the true one may be beyond, for what only the last leader told nobody.
struct ElectionPreview {
  /// What a candidate may be, by the cluster's own account.
  enum Standing: String {
    case leader
    case inSync = "in sync"
    case eligible
    case lastKnown = "last known"
    case outOfSync = "out of sync"
  }
  /// What a candidate said of its log.
  enum Answer {
    case end(ReplicaLogEnd)
    case unreachable(String)
  }
  struct Candidate {
    var node: Int32
    var standing: Standing
    var answer: Answer
    /// Records that are known to be committed and that it lacks; nil: not known. At least so many.
    var lostCommitted: Int64?
    /// Records that another replica which answered has and it lacks, committed or not. At least so many; nil: not known.
    var lostInAll: Int64?
    var end: ReplicaLogEnd? { if case .end(let end) = self.answer { end } else { nil } }
  }

  let id: TopicPartition
  let type: ElectionType
  let partition: PartitionDescription
  /// In the order of the assignment.
  let candidates: [Candidate]
  /// The highest that any replica knows; nil: none told.
  let highWatermark: Int64?
  /// What would come of it.
  let outcome: String

  init(_ id: TopicPartition, _ partition: PartitionDescription, _ type: ElectionType, answers: [Int32: Answer]) {
    (self.id, self.partition, self.type) = (id, partition, type)
    let ends = answers.values.compactMap { answer -> ReplicaLogEnd? in if case .end(let end) = answer { end } else { nil } }
    self.highWatermark = ends.compactMap(\.highWatermark).max()
    // The leader's log is the partition's; without one, the log that a careful election takes: the newest epoch, then the longest.
    let reference: ReplicaLogEnd? =
      if let leader = partition.leader, case .end(let end)? = answers[leader] { end } else { ends.max { Self.isShorter($0, $1) } }
    let watermark = self.highWatermark
    self.candidates = partition.replicas.map { node in
      let answer = answers[node] ?? .unreachable("it was not asked")
      var candidate = Candidate(node: node, standing: Self.standing(of: node, partition), answer: answer)
      if let end = candidate.end {
        let isSafe = [.leader, .inSync, .eligible].contains(candidate.standing)
        candidate.lostCommitted = isSafe ? 0 : watermark.map { max(0, $0 - end.offset) }
        candidate.lostInAll = reference.map { max(0, $0.offset - end.offset) }
      }
      return candidate
    }
    self.outcome = Self.outcome(partition, type, self.candidates)
  }

  private static func isShorter(_ a: ReplicaLogEnd, _ b: ReplicaLogEnd) -> Bool {
    (a.leaderEpoch ?? -1, a.offset) < (b.leaderEpoch ?? -1, b.offset)
  }

  private static func standing(of node: Int32, _ partition: PartitionDescription) -> Standing {
    if node == partition.leader { return .leader }
    if partition.inSyncReplicas.contains(node) { return .inSync }
    if partition.eligibleLeaderReplicas?.contains(node) == true { return .eligible }
    if partition.lastKnownEligibleLeaderReplicas?.contains(node) == true { return .lastKnown }
    return .outOfSync
  }

  private static func outcome(_ partition: PartitionDescription, _ type: ElectionType, _ candidates: [Candidate]) -> String {
    switch type {
    case .preferred:
      guard let preferred = candidates.first else { return "it has no replicas" }
      if preferred.standing == .leader { return "nothing: the preferred leader leads" }
      if preferred.standing == .inSync {
        return preferred.end == nil
          ? "broker \(preferred.node) is in sync and did not answer: the controller decides"
          : "broker \(preferred.node) would lead; nothing is lost"
      }
      return "refused: the preferred leader, broker \(preferred.node), is \(preferred.standing.rawValue)"
    case .unclean:
      if let leader = partition.leader { return "nothing: broker \(leader) leads" }
      let safe = candidates.filter { ($0.standing == .inSync || $0.standing == .eligible) && $0.end != nil }
      if let first = safe.first { return "broker \(first.node) would lead; nothing is lost" }
      let there = candidates.filter { $0.end != nil }
      guard let longest = there.max(by: { Self.isShorter($0.end!, $1.end!) }) else { return "nobody answers, so nobody can lead" }
      let missing = candidates.filter { $0.end == nil }.map(\.node)
      let rest =
        missing.isEmpty ? "" : ", and what only \(missing.count == 1 ? "broker" : "brokers") \(ClusterText.list(missing)) "
          + "\(missing.count == 1 ? "has" : "have") would be lost"
      return "broker \(longest.node) has the longest log\(rest)"
    }
  }

  // MARK: Words

  static let columns: [(title: String, alignment: TextTable.Alignment)] = [
    ("PARTITION", .left), ("CANDIDATE", .right), ("STANDING", .left), ("END", .right), ("EPOCH", .right), ("COMMITTED TO", .right),
    ("LOSES COMMITTED", .right), ("LACKS IN ALL", .right),
  ]

  var rows: [[String]] {
    self.candidates.map { candidate in
      func number(_ value: Int64?) -> String { value.map { "\($0)" } ?? "?" }
      guard let end = candidate.end else {
        return ["\(self.id)", "\(candidate.node)", candidate.standing.rawValue, "no answer", "", "", "?", "?"]
      }
      return [
        "\(self.id)", "\(candidate.node)", candidate.standing.rawValue, "\(end.offset)", number(end.leaderEpoch.map(Int64.init)),
        number(end.highWatermark), number(candidate.lostCommitted), number(candidate.lostInAll),
      ]
    }
  }

  var json: JSONValue {
    .object([
      ("topic", .string(self.id.topic)), ("partition", .integer(Int64(self.id.partition))),
      ("leader", ClusterText.json(self.partition.leader)), ("highWatermark", ClusterText.json(self.highWatermark)),
      ("outcome", .string(self.outcome)),
      ("candidates", .array(self.candidates.map { candidate in
        var problem: String?
        if case .unreachable(let reason) = candidate.answer { problem = reason }
        return .object([
          ("node", .integer(Int64(candidate.node))), ("standing", .string(candidate.standing.rawValue)),
          ("endOffset", ClusterText.json(candidate.end?.offset)), ("leaderEpoch", ClusterText.json(candidate.end?.leaderEpoch)),
          ("highWatermark", ClusterText.json(candidate.end?.highWatermark)), ("losesCommitted", ClusterText.json(candidate.lostCommitted)),
          ("lacksInAll", ClusterText.json(candidate.lostInAll)), ("problem", ClusterText.json(problem)),
        ])
      })),
    ])
  }
}
