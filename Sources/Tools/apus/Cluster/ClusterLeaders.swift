import ArgumentParser
import JSON
import KafkaClient
import Metadata
import Model

/// `apus cluster leaders`
struct ClusterLeaders: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "leaders",
    abstract: "Show who leads each partition, who may, and why; or watch it change.",
    discussion: """
      ELIGIBLE are replicas out of sync that hold everything committed (the ELR, KIP-966). WHY and SINCE come from the metadata log, where \
      the brokers let clients read it.

      --watch prints a line for each change as it is committed, until it is interrupted. On a cluster whose metadata log cannot be read it \
      asks twice a second and tells the differences.

      Exit codes: 0 done; 1 a topic does not exist, or the cluster was not reachable; 64 the command line was wrong.
      """)

  @Option(name: .long, parsing: .singleValue, help: ArgumentHelp("Only this topic; may be repeated.", valueName: "name"))
  var topic: [String] = []
  @Flag(name: .long, help: "Only partitions without a leader, or with replicas out of sync.") var unhealthy = false
  @Flag(name: .long, help: "Print changes as they happen.") var watch = false
  @Flag(name: .long, help: "One JSON array; with --watch one JSON object a line.") var json = false
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if self.watch, self.unhealthy { throw ValidationError("Give --watch or --unhealthy, not both.") }
  }

  func run() async throws {
    try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { admin in
      if self.watch { try await ClusterWatch(topics: Set(self.topic), json: self.json).run(admin) } else { try await self.show(admin) }
    }
  }

  private func show(_ admin: KafkaAdmin) async throws {
    var topics: [TopicDescription] = []
    var hasFailed = false
    for result in try await admin.describePartitions(self.topic.isEmpty ? nil : self.topic) {
      switch result {
      case .success(let topic): topics.append(topic)
      case .failure(let error):
        StandardError.line("Error: \(error)")
        hasFailed = true
      }
    }
    var history: ClusterHistory?
    do {
      var tail = MetadataLogTail(admin)
      try await tail.catchUp { _ in }
      history = tail.history
    } catch { StandardError.line("Note: reasons and times are not known: \(error)") }
    let table = LeadersTable(topics, history, unhealthyOnly: self.unhealthy)
    var output = StandardOutput()
    if self.json { output.line(table.json.text) } else { for line in table.lines { output.line(line) } }
    output.flush()
    if hasFailed { throw ExitCode.failure }
  }
}

/// Partitions with who leads them and what the log says of it.
struct LeadersTable {
  struct Row {
    var topic: String
    var partition: PartitionDescription
    var logged: ClusterHistory.Partition?
  }
  let rows: [Row]

  init(_ topics: [TopicDescription], _ history: ClusterHistory?, unhealthyOnly: Bool) {
    self.rows = topics.flatMap { topic in
      topic.partitions.compactMap { partition in
        let isHealthy = partition.leader != nil && partition.inSyncReplicas.count >= partition.replicas.count
        if unhealthyOnly, isHealthy { return nil }
        var logged = history?.partition(topic.name, PartitionID(partition.partition))
        // What the log says of another moment than the cluster's answer would explain nothing.
        if let epoch = logged?.image.leaderEpoch.rawValue, epoch != partition.leaderEpoch { logged = nil }
        return Row(topic: topic.name, partition: partition, logged: logged)
      }
    }
  }

  private static func time(_ milliseconds: Int64) -> String { TimeArgument.text(milliseconds: milliseconds) }

  var lines: [String] {
    var table = TextTable([
      ("TOPIC", .left), ("PARTITION", .right), ("LEADER", .right), ("EPOCH", .right), ("REPLICAS", .left), ("IN SYNC", .left),
      ("ELIGIBLE", .left), ("SINCE", .left), ("WHY", .left),
    ])
    for row in self.rows {
      let partition = row.partition
      var why = row.logged.map { HistoryWords.name($0.image.reason) } ?? "-"
      if let leaderless = row.logged?.leaderless { why += ", offline since \(Self.time(leaderless.time))" }
      let lastKnown = partition.lastKnownEligibleLeaderReplicas ?? []
      let eligible = partition.eligibleLeaderReplicas.map { $0.isEmpty ? "-" : ClusterText.list($0) } ?? "?"
      table.add([
        row.topic, "\(partition.partition)", partition.leader.map { "\($0)" } ?? "none", "\(partition.leaderEpoch)",
        ClusterText.list(partition.replicas), ClusterText.list(partition.inSyncReplicas),
        lastKnown.isEmpty ? eligible : eligible + " (last led: \(ClusterText.list(lastKnown)))",
        row.logged?.changed.map { Self.time($0.time) } ?? "-", why,
      ])
    }
    return table.lines
  }

  var json: JSONValue {
    .array(self.rows.map { row in
      let partition = row.partition
      return .object([
        ("topic", .string(row.topic)), ("partition", .integer(Int64(partition.partition))), ("leader", ClusterText.json(partition.leader)),
        ("leaderEpoch", .integer(Int64(partition.leaderEpoch))), ("replicas", ClusterText.json(partition.replicas)),
        ("isr", ClusterText.json(partition.inSyncReplicas)), ("elr", ClusterText.json(partition.eligibleLeaderReplicas)),
        ("lastKnownElr", ClusterText.json(partition.lastKnownEligibleLeaderReplicas)),
        ("offline", ClusterText.json(partition.offlineReplicas)), ("changed", ClusterText.json(row.logged?.changed?.time)),
        ("offlineSince", ClusterText.json(row.logged?.leaderless?.time)),
        ("reason", row.logged.map { .string(HistoryWords.name($0.image.reason)) } ?? .null),
      ])
    })
  }
}
