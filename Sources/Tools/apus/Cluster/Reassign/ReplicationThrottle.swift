import KafkaClient

/// The limit on what a reassignment may copy, as Kafka's tools set it: a rate on every broker that takes part, and on each topic which
/// replicas it holds for (KIP-73). It stays until it is taken off.
enum ReplicationThrottle {
  private static let rates = ["leader.replication.throttled.rate", "follower.replication.throttled.rate"]
  private static let leaders = "leader.replication.throttled.replicas"
  private static let followers = "follower.replication.throttled.replicas"

  /// What is set on each topic: `partition:broker` pairs, of who sends and of who copies.
  static func topicConfigs(_ moves: ReassignmentMoves) -> [String: [String: ConfigChange]] {
    var pairs: [String: (leaders: [String], followers: [String])] = [:]
    for move in moves.moves where !move.adding.isEmpty {
      pairs[move.id.topic, default: ([], [])].leaders += move.from.map { "\(move.id.partition):\($0)" }
      pairs[move.id.topic, default: ([], [])].followers += move.adding.map { "\(move.id.partition):\($0)" }
    }
    return pairs.mapValues { pairs in
      [
        Self.leaders: .set(pairs.leaders.joined(separator: ",")), Self.followers: .set(pairs.followers.joined(separator: ",")),
      ]
    }
  }

  static func set(_ bytesPerSecond: Int, on moves: ReassignmentMoves, _ admin: KafkaAdmin) async throws {
    let brokers = Set(moves.moves.filter { !$0.adding.isEmpty }.flatMap { $0.from + $0.to }).sorted()
    for broker in brokers {
      try await admin.alterConfigs(
        .broker(broker), Dictionary(uniqueKeysWithValues: Self.rates.map { ($0, .set("\(bytesPerSecond)")) }))
    }
    for (topic, configs) in Self.topicConfigs(moves).sorted(by: { $0.key < $1.key }) {
      try await admin.alterConfigs(.topic(topic), configs)
    }
  }

  /// - Returns: what could not be cleared, with the reason.
  static func clear(topics: [String], brokers: [Int32], _ admin: KafkaAdmin) async -> [String] {
    var problems: [String] = []
    func attempt(_ what: String, _ body: () async throws(KafkaError) -> Void) async {
      do throws(KafkaError) { try await body() } catch { problems.append("the throttle of \(what) is still set: \(error)") }
    }
    for broker in brokers {
      await attempt("broker \(broker)") { () throws(KafkaError) in
        try await admin.alterConfigs(.broker(broker), Dictionary(uniqueKeysWithValues: Self.rates.map { ($0, .delete) }))
      }
    }
    for topic in topics {
      await attempt("topic \(topic)") { () throws(KafkaError) in
        try await admin.alterConfigs(.topic(topic), [Self.leaders: .delete, Self.followers: .delete])
      }
    }
    return problems
  }
}
