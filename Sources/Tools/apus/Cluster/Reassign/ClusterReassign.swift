import ArgumentParser
import JSON
import KafkaClient

/// `apus cluster reassign`
struct ClusterReassign: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reassign",
    abstract: "Plan, apply, watch and cancel moves of replicas between brokers.",
    discussion: """
      Plans are files as kafka-reassign-partitions.sh reads and writes them.

      Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 64 the command line was wrong.
      """,
    subcommands: [ReassignPlan.self, ReassignApply.self, ReassignStatus.self, ReassignCancel.self, ReassignUnthrottle.self])
}

/// Broker ids with commas between them.
struct BrokerListArgument: ExpressibleByArgument, Hashable {
  var ids: [Int32]
  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int32($0) }
    let ids = parts.compactMap { $0 }
    guard ids.count == parts.count, !ids.isEmpty, ids.allSatisfy({ $0 >= 0 }), Set(ids).count == ids.count else { return nil }
    self.ids = ids
  }
}

/// `apus cluster reassign plan`
struct ReassignPlan: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Make an even assignment that moves as little as possible. Nothing is changed.",
    discussion: """
      Replicas of a partition go to different racks where there are enough, every broker gets about as many replicas as any other, and \
      leads about as many partitions. After adding brokers, plan as it is; to empty some, name them with --drain.

      The plan goes to --out, or else to stdout, with what it moves on stderr. --rollback saves how things are, should it be a mistake.

      Exit codes: 0 done; 1 it is not possible; 64 the command line was wrong.
      """)

  @Option(name: .long, parsing: .singleValue, help: ArgumentHelp("Only this topic; may be repeated.", valueName: "name"))
  var topic: [String] = []
  @Option(name: .long, help: ArgumentHelp("The brokers that are to hold the replicas. Default: all that are alive.", valueName: "ids"))
  var brokers: BrokerListArgument?
  @Option(name: .long, help: ArgumentHelp("Brokers to empty.", valueName: "ids")) var drain: BrokerListArgument?
  @Option(name: .long, help: ArgumentHelp("Where to put the plan.", valueName: "file")) var out: String?
  @Option(name: .long, help: ArgumentHelp("Where to put the present assignment of what moves.", valueName: "file")) var rollback: String?
  @OptionGroup var client: ClientOptions

  func run() async throws {
    try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { admin in
      let cluster = try await admin.describeCluster(includingFenced: true)
      let targets = try ReassignmentRun.targets(cluster, only: self.brokers?.ids, without: self.drain?.ids ?? [])
      let survey = try await ReplicaSurvey.take(admin, topics: self.topic.isEmpty ? nil : self.topic)
      let plan: [TopicPartition: [Int32]]
      do throws(ReassignmentPlanner.Failure) {
        plan = try ReassignmentPlanner.plan(survey.assignments, targets: targets, byteCounts: survey.byteCountsByPartition)
      } catch { throw CommandFailure("\(error)") }
      let moves = ReassignmentMoves(from: survey.assignments, to: plan, byteCounts: survey.byteCountsByPartition)
      try self.write(moves, survey)
    }
  }

  private func write(_ moves: ReassignmentMoves, _ survey: ReplicaSurvey) throws {
    for (broker, reason) in survey.silent {
      StandardError.line("Warning: broker \(broker) did not tell the sizes of its replicas: \(reason)")
    }
    if let rollback {
      try ReassignmentFile(Dictionary(uniqueKeysWithValues: moves.moves.map { ($0.id, $0.from) })).write(rollback)
    }
    let file = ReassignmentFile(Dictionary(uniqueKeysWithValues: moves.moves.map { ($0.id, $0.to) }))
    var output = StandardOutput()
    if let out {
      try file.write(out)
      for line in moves.summary { output.line(line) }
    } else {
      for line in moves.summary { StandardError.line(line) }
      output.line(file.json.text)
    }
  }
}

/// `apus cluster reassign apply`
struct ReassignApply: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apply",
    abstract: "Begin what a plan says.",
    discussion: """
      Without --wait it returns once the cluster has begun. A throttle then stays until `apus cluster reassign status` with this plan \
      finds everything moved, or until `apus cluster reassign unthrottle`; with --wait it is taken off at the end.

      Exit codes: 0 begun, or done with --wait; 1 something was refused; 64 the command line was wrong.
      """)

  @Argument(help: ArgumentHelp("The plan; - is stdin.", valueName: "file")) var file: String
  @Option(
    name: .long,
    help: ArgumentHelp(
      "How much each broker may copy in a second of what moves, and how much it may give to others, such as 50MB.", valueName: "size"))
  var throttle: ByteCountArgument?
  @Flag(name: .long, help: "Wait until everything has moved.") var wait = false
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if let throttle, throttle.byteCount < 1 { throw ValidationError("A throttle of nothing would never end.") }
  }

  func run() async throws {
    let plan = try ReassignmentFile.read(self.file)
    let isDone = try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { admin in
      let known = Set(try await admin.describeCluster(includingFenced: true).brokers.map(\.id))
      for (id, replicas) in plan.assignments.sorted(by: { $0.key < $1.key }) {
        for replica in replicas where !known.contains(replica) {
          throw CommandFailure("\(id) is to go to broker \(replica), which this cluster does not have")
        }
      }
      let survey = try await ReplicaSurvey.take(admin, topics: Set(plan.assignments.keys.map(\.topic)).sorted())
      for id in plan.assignments.keys.sorted() where survey.assignments[id] == nil {
        throw CommandFailure("\(id) is in the plan and not in the cluster")
      }
      let moves = ReassignmentMoves(from: survey.assignments, to: plan.assignments, byteCounts: survey.byteCountsByPartition)
      for line in moves.summary { StandardError.line(line) }
      if moves.moves.isEmpty { return true }
      let run = ReassignmentRun(admin: admin)
      let isBegun = try await run.start(moves, throttle: self.throttle?.byteCount)
      if !self.wait { return isBegun }
      try await run.wait(for: moves.moves.map(\.id))
      let isClear = self.throttle == nil ? true : await run.clearThrottle(moves)
      return isBegun && isClear
    }
    if !isDone { throw ExitCode.failure }
  }
}

/// `apus cluster reassign status`
struct ReassignStatus: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show the reassignments that are under way, and how far they are.",
    discussion: """
      With a plan, also whether each of its partitions is where it should be. If nothing is under way in the whole cluster any more, the \
      throttle of `apply` is taken off then, as kafka-reassign-partitions.sh --verify does.

      Exit codes: 0 done or under way; 1 a partition of the plan is neither; 64 the command line was wrong.
      """)

  @Argument(help: ArgumentHelp("The plan; - is stdin.", valueName: "file")) var file: String?
  @Flag(name: .long, help: "Leave the throttle on.") var preserveThrottles = false
  @Flag(name: .long, help: "One JSON object.") var json = false
  @OptionGroup var client: ClientOptions

  func run() async throws {
    let plan = try self.file.map { try ReassignmentFile.read($0) }
    let (progress, strays, problems) = try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { admin in
      let ids = plan.map { $0.assignments.keys.sorted() }
      let under = try await admin.listReassignments(ids)
      let topics = Set((ids ?? []).map(\.topic)).union(under.keys.map(\.topic)).sorted()
      let survey = topics.isEmpty ? ReplicaSurvey() : try await ReplicaSurvey.take(admin, topics: topics)
      let strays = (plan?.assignments ?? [:]).filter { under[$0.key] == nil && survey.assignments[$0.key] != $0.value }
      let problems = try await self.unthrottle(plan, under.isEmpty, topics: topics.filter { survey.has($0) }, admin)
      return (
        survey.progress(under), strays.map { ($0.key, survey.assignments[$0.key] ?? [], $0.value) }.sorted { $0.0 < $1.0 }, problems
      )
    }
    var output = StandardOutput()
    if self.json {
      let missed = strays.map { id, has, wants in
        JSONValue.object([
          ("topic", .string(id.topic)), ("partition", .integer(Int64(id.partition))), ("replicas", ClusterText.json(has)),
          ("planned", ClusterText.json(wants)),
        ])
      }
      output.line(JSONValue.object([("underWay", .array(progress.map(\.json))), ("elsewhere", .array(missed))]).text)
    } else {
      for line in ReassignmentProgress.lines(progress) { output.line(line) }
      if plan != nil, strays.isEmpty, progress.isEmpty { output.line("every partition of the plan is where it should be") }
    }
    output.flush()
    for (id, has, wants) in strays {
      StandardError.line("Error: \(id) is on \(ClusterText.list(has)), not on \(ClusterText.list(wants)), and nothing moves it")
    }
    for problem in problems { StandardError.line("Error: \(problem)") }
    if !strays.isEmpty || !problems.isEmpty { throw ExitCode.failure }
  }

  /// Takes the throttle off the topics of the plan and off all brokers, if nothing is under way any more: the rates are the brokers', and
  /// would go for every reassignment.
  private func unthrottle(
    _ plan: ReassignmentFile?, _ planIsDone: Bool, topics: [String], _ admin: KafkaAdmin
  ) async throws -> [String] {
    if plan == nil || !planIsDone || self.preserveThrottles { return [] }
    if !(try await admin.listReassignments(nil)).isEmpty { return [] }
    let brokers = try await admin.describeCluster().brokers.map(\.id)
    return await ReplicationThrottle.clear(topics: topics, brokers: brokers, admin)
  }
}

/// `apus cluster reassign cancel`
struct ReassignCancel: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cancel", abstract: "Put back what is under way: all of it, or the partitions of a plan.",
    discussion: "A throttle is taken off.\n\nExit codes: 0 done; 1 something was refused; 64 the command line was wrong.")

  @Argument(help: ArgumentHelp("The plan; - is stdin.", valueName: "file")) var file: String?
  @Flag(name: .long, help: "Everything that is under way.") var all = false
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if self.all == (self.file != nil) { throw ValidationError("Say what to cancel: a plan, or --all.") }
  }

  func run() async throws {
    let plan = try self.file.map { try ReassignmentFile.read($0) }
    let isDone = try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { admin in
      let under = try await admin.listReassignments(plan.map { $0.assignments.keys.sorted() })
      var output = StandardOutput()
      if under.isEmpty {
        output.line("no reassignment is under way")
        return true
      }
      let isCancelled = ReassignmentRun.report(try await admin.alterReassignments(under.mapValues { _ in nil }))
      if isCancelled { output.line("\(under.count) cancelled") }
      let problems = await ReplicationThrottle.clear(
        topics: Set(under.keys.map(\.topic)).sorted(), brokers: Set(under.values.flatMap(\.replicas)).sorted(), admin)
      for problem in problems { StandardError.line("Warning: \(problem)") }
      return isCancelled && problems.isEmpty
    }
    if !isDone { throw ExitCode.failure }
  }
}

/// `apus cluster reassign unthrottle`
struct ReassignUnthrottle: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unthrottle", abstract: "Take the limit off that a reassignment was given.",
    discussion: "Exit codes: 0 done; 1 something was refused; 64 the command line was wrong.")

  @Option(name: .long, parsing: .singleValue, help: ArgumentHelp("Only this topic; may be repeated.", valueName: "name"))
  var topic: [String] = []
  @OptionGroup var client: ClientOptions

  func run() async throws {
    let problems = try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { admin in
      let topics = try await admin.describeTopics(self.topic.isEmpty ? nil : self.topic).map { try $0.get().name }
      let brokers = try await admin.describeCluster().brokers.map(\.id)
      return await ReplicationThrottle.clear(topics: topics, brokers: brokers, admin)
    }
    for problem in problems { StandardError.line("Error: \(problem)") }
    if !problems.isEmpty { throw ExitCode.failure }
  }
}
