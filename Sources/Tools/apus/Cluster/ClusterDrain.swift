import ArgumentParser
import KafkaClient

/// `apus cluster drain`
struct ClusterDrain: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "drain",
    abstract: "Move everything away from a broker: its leaderships, and its replicas unless they are to stay.",
    discussion: """
      With --leaders-only the broker keeps its replicas and is made the last choice for each: this is quick, and can be taken back by \
      applying the file that --rollback saved (`apus cluster reassign apply`), and then `apus cluster elect --preferred --all`. Without it \
      every replica is copied to another broker, as evenly and in as different racks as there are.

      It waits until all is done. Interrupted, the cluster goes on by itself: see `apus cluster reassign status`.

      Exit codes: 0 done; 1 something could not be moved, with the reason on stderr; 64 the command line was wrong.
      """)

  @Argument(help: ArgumentHelp("The broker.", valueName: "node")) var node: Int32
  @Flag(name: .long, help: "Only leaderships: the replicas stay.") var leadersOnly = false
  @Flag(name: .long, help: "Only tell what would move.") var preview = false
  @Option(name: .long, help: ArgumentHelp("How much each broker may copy in a second, such as 50MB.", valueName: "size"))
  var throttle: ByteCountArgument?
  @Option(name: .long, help: ArgumentHelp("Where to put the present assignment of what moves.", valueName: "file")) var rollback: String?
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if self.leadersOnly, self.throttle != nil { throw ValidationError("With --leaders-only nothing is copied that a throttle could slow.") }
    if let throttle, throttle.byteCount < 1 { throw ValidationError("A throttle of nothing would never end.") }
  }

  func run() async throws {
    let isDone = try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { admin in
      let cluster = try await admin.describeCluster(includingFenced: true)
      guard cluster.brokers.contains(where: { $0.id == self.node }) else { throw CommandFailure("this cluster has no broker \(self.node)") }
      return self.leadersOnly ? try await self.moveLeaders(admin) : try await self.moveReplicas(cluster, admin)
    }
    if !isDone { throw ExitCode.failure }
  }

  private func begin(_ moves: ReassignmentMoves) throws -> Bool {
    for line in moves.summary { StandardError.line(line) }
    if self.preview || moves.moves.isEmpty { return false }
    if let rollback { try ReassignmentFile(Dictionary(uniqueKeysWithValues: moves.moves.map { ($0.id, $0.from) })).write(rollback) }
    return true
  }

  private func moveReplicas(_ cluster: ClusterDescription, _ admin: KafkaAdmin) async throws -> Bool {
    let targets = try ReassignmentRun.targets(cluster, without: [self.node])
    let survey = try await ReplicaSurvey.take(admin)
    let concerned = survey.assignments.filter { $0.value.contains(self.node) }
    let plan: [TopicPartition: [Int32]]
    do throws(ReassignmentPlanner.Failure) {
      // What the broker does not hold counts for the balance and stays where it is.
      plan = try ReassignmentPlanner.replacing(self.node, in: survey.assignments, targets: targets)
    } catch { throw CommandFailure("\(error)") }
    let moves = ReassignmentMoves(
      from: concerned, to: plan.filter { concerned[$0.key] != nil }, byteCounts: survey.byteCountsByPartition)
    guard try self.begin(moves) else { return true }
    let run = ReassignmentRun(admin: admin)
    let isBegun = try await run.start(moves, throttle: self.throttle?.byteCount)
    try await run.wait(for: moves.moves.map(\.id))
    let isClear = self.throttle == nil ? true : await run.clearThrottle(moves)
    let left = try await admin.describePartitions().compactMap { try? $0.get() }.reduce(0) { count, topic in
      count + topic.partitions.count { $0.replicas.contains(self.node) }
    }
    if left > 0 { StandardError.line("Error: broker \(self.node) still holds \(left) partitions: some were cancelled, or are new") }
    return isBegun && isClear && left == 0
  }

  private func moveLeaders(_ admin: KafkaAdmin) async throws -> Bool {
    let topics = try await admin.describePartitions().map { try $0.get() }
    let plan = LeaderDrain(self.node, topics)
    for (id, reason) in plan.stuck { StandardError.line("Error: \(id) stays: \(reason)") }
    let moves = ReassignmentMoves(from: plan.current, to: plan.target, byteCounts: [:])
    guard try self.begin(moves) || (!self.preview && !plan.elections.isEmpty) else { return plan.stuck.isEmpty }
    let run = ReassignmentRun(admin: admin)
    var isDone = plan.stuck.isEmpty
    if !moves.moves.isEmpty {
      isDone = try await run.start(moves, throttle: nil) && isDone
      try await run.wait(for: moves.moves.map(\.id))
    }
    if !plan.elections.isEmpty {
      let results = try await admin.electLeaders(.preferred, plan.elections)
      isDone = ReassignmentRun.report(results.filter { $0.value?.kind != .broker(code: 84, name: "ELECTION_NOT_NEEDED") }) && isDone
    }
    return isDone
  }
}

/// How a broker is made the last choice of every partition that it holds.
struct LeaderDrain {
  private(set) var current: [TopicPartition: [Int32]] = [:]
  private(set) var target: [TopicPartition: [Int32]] = [:]
  /// Partitions that it leads, and that others can lead.
  private(set) var elections: [TopicPartition] = []
  /// Partitions that nobody else can lead now, with the reason.
  private(set) var stuck: [(TopicPartition, String)] = []

  init(_ node: Int32, _ topics: [TopicDescription]) {
    var led: [Int32: Int] = [:]
    for topic in topics { for partition in topic.partitions { if let leader = partition.leader { led[leader, default: 0] += 1 } } }
    for topic in topics {
      for partition in topic.partitions where partition.replicas.contains(node) {
        let id = TopicPartition(topic: topic.name, partition: partition.partition)
        let others = partition.replicas.filter { $0 != node }
        let isLed = partition.leader == node
        if others.isEmpty {
          if isLed { self.stuck.append((id, "it has no other replica")) }
          continue
        }
        // Whoever leads goes on; else those in sync that lead the least.
        let inSync = others.filter { partition.inSyncReplicas.contains($0) }
        if isLed, inSync.isEmpty {
          self.stuck.append((id, "no other replica is in sync"))
          continue
        }
        let next =
          isLed ? inSync.min { (led[$0] ?? 0, $0) < (led[$1] ?? 0, $1) } : partition.leader.flatMap { others.contains($0) ? $0 : nil }
        let first = next ?? others[0]
        if isLed {
          self.elections.append(id)
          led[first, default: 0] += 1
          led[node, default: 0] -= 1
        }
        self.current[id] = partition.replicas
        self.target[id] = isLed || partition.replicas.first == node
          ? [first] + others.filter { $0 != first } + [node] : others + [node]
      }
    }
  }
}
