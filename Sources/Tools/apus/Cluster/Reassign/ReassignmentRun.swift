import JSON
import KafkaClient

/// Starts reassignments, waits for them, cancels them. Shared by `reassign` and `drain`.
struct ReassignmentRun {
  let admin: KafkaAdmin
  /// How often the cluster is asked how far it is.
  private static let interval = Duration.milliseconds(500)

  /// Brokers that may be given replicas: alive, and not on the way out.
  static func targets(_ cluster: ClusterDescription, only: [Int32]? = nil, without: [Int32] = []) throws -> [ReassignmentPlanner.Broker] {
    let alive = cluster.brokers.filter { $0.isFenced != true && $0.isInControlledShutdown != true }
    if let only {
      for id in only where !alive.contains(where: { $0.id == id }) { throw CommandFailure("broker \(id) is not alive in this cluster") }
    }
    let chosen = alive.filter { (only?.contains($0.id) ?? true) && !without.contains($0.id) }
    return chosen.map { ReassignmentPlanner.Broker($0.id, rack: $0.rack) }
  }

  /// Submits what changes. Says what was refused; false if anything was.
  func start(_ moves: ReassignmentMoves, throttle: Int?) async throws -> Bool {
    if let throttle { try await ReplicationThrottle.set(throttle, on: moves, self.admin) }
    let targets = Dictionary(uniqueKeysWithValues: moves.moves.map { ($0.id, Optional($0.to)) })
    return Self.report(try await self.admin.alterReassignments(targets))
  }

  static func report(_ results: [TopicPartition: KafkaError?]) -> Bool {
    var isDone = true
    for (id, error) in results.sorted(by: { $0.key < $1.key }) {
      guard let error else { continue }
      StandardError.line("Error: \(id): \(error)")
      isDone = false
    }
    return isDone
  }

  /// Waits until none of the partitions is being reassigned any more.
  func wait(for partitions: [TopicPartition]) async throws {
    var line = StatusLine()
    while true {
      let left = try await self.admin.listReassignments(partitions)
      if left.isEmpty { return line.clear() }
      if StandardError.isTerminal {
        let survey = try await ReplicaSurvey.take(self.admin, topics: Set(left.keys.map(\.topic)).sorted())
        line.show(ReassignmentProgress.lines(survey.progress(left)).last ?? "")
      }
      try await Task.sleep(for: Self.interval)
    }
  }

  func clearThrottle(_ moves: ReassignmentMoves) async -> Bool {
    let problems = await ReplicationThrottle.clear(
      topics: Set(moves.moves.map(\.id.topic)).sorted(), brokers: Set(moves.moves.flatMap { $0.from + $0.to }).sorted(), self.admin)
    for problem in problems { StandardError.line("Warning: \(problem)") }
    return problems.isEmpty
  }
}

/// One line on the terminal that is written over.
struct StatusLine {
  private var isShown = false

  mutating func show(_ text: String) {
    guard StandardError.isTerminal else { return }
    StandardError.text("\r\u{1B}[K" + text)
    self.isShown = true
  }

  mutating func clear() {
    if self.isShown { StandardError.text("\r\u{1B}[K") }
    self.isShown = false
  }
}
